import DataflowOperator
import DataflowRuntime
import Testing

@Suite struct `Watermark merger` {
    @Test func `the least lane counts, and a lane that has not spoken holds all back`() {
        var merger = WatermarkMerger(eventTime: [true, true])
        #expect(merger.update(0, .time(5)) == nil)
        #expect(merger.update(1, .time(3)) == .time(3))
        #expect(merger.update(1, .time(9)) == .time(5))
        #expect(merger.update(1, .time(10)) == nil)
    }

    @Test func `a lane without event time never counts`() {
        var merger = WatermarkMerger(eventTime: [true, false])
        #expect(merger.update(0, .time(5)) == .time(5))
        #expect(merger.end(1) == nil)
    }

    @Test func `an idle lane lets the others go on and cannot pull them back`() {
        var merger = WatermarkMerger(eventTime: [true, true])
        _ = merger.update(0, .time(5))
        #expect(merger.update(1, .idle) == .time(5))
        #expect(merger.update(0, .time(20)) == .time(20))
        #expect(merger.update(1, .time(7)) == nil)
        #expect(merger.update(0, .time(30)) == nil)
        #expect(merger.update(1, .time(25)) == .time(25))
    }

    @Test func `when all are idle that is passed on once, and coming back ends it`() {
        var merger = WatermarkMerger(eventTime: [true, true])
        _ = merger.update(0, .time(5))
        _ = merger.update(1, .time(6))
        #expect(merger.update(0, .idle) == .time(6))
        #expect(merger.update(1, .idle) == .idle)
        #expect(merger.update(1, .idle) == nil)
        #expect(merger.update(0, .time(6)) == .time(6))
    }

    @Test func `the end of one lane leaves the decision to the others, the last word closes everything`() {
        var merger = WatermarkMerger(eventTime: [true, true])
        #expect(merger.update(0, .time(5)) == nil)
        #expect(merger.end(1) == .time(5))
        #expect(merger.update(0, .end) == .end)
        #expect(merger.end(0) == nil)
    }

    @Test func `the end waits for an idle lane, which may bring rows again`() {
        var merger = WatermarkMerger(eventTime: [true, true])
        _ = merger.update(0, .time(5))
        #expect(merger.update(1, .idle) == .time(5))
        #expect(merger.update(0, .end) == .idle)
        #expect(merger.end(0) == nil)
        #expect(merger.update(1, .time(7)) == .time(7))
        #expect(merger.update(1, .end) == .end)
    }
}
