import Testing

@testable import HTTPServerSource

@Suite struct `Fullness report` {
    @Test func `a buffer that fills and empties all the time is told of once in ten seconds`() {
        var report = FullnessReport()
        let start = ContinuousClock.now
        func told(_ isFull: Bool, _ milliseconds: Int) -> FullnessReport.Line? {
            report.note(isFull: isFull, at: start + .milliseconds(milliseconds))
        }
        #expect(told(false, 0) == nil)
        #expect(told(true, 10) == .full)
        #expect(told(true, 20) == nil)
        #expect(told(false, 30) == .roomAgain)
        for time in stride(from: 40, to: 10_000, by: 20) {
            #expect(told(true, time) == nil)
            #expect(told(false, time + 10) == nil)
        }
        #expect(told(true, 10_010) == .full)
        #expect(told(true, 30_000) == nil)
        #expect(told(false, 30_010) == .roomAgain)
    }

    @Test func `a buffer that stays full is told of when the time has come`() {
        var report = FullnessReport()
        let start = ContinuousClock.now
        #expect(report.note(isFull: true, at: start) == .full)
        #expect(report.note(isFull: false, at: start) == .roomAgain)
        #expect(report.note(isFull: true, at: start + .seconds(1)) == nil)
        #expect(report.note(isFull: true, at: start + FullnessReport.interval) == .full)
    }
}
