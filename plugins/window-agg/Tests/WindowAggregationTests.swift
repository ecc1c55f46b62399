import DataflowOperator
import DataflowTesting
import Testing

@testable import WindowAgg

@Suite struct WindowAggregationTests {
    private static let narrow = Schema([Field("t", .timestamp), Field("g", .string), Field("v", .int64)])

    @Test func `windows over the time of processing close behind its clock, and all at the end`() throws {
        let config = try settings(groups: ["g"], [("n", "count(*)")], window: .tumbling(.seconds(10)))
        let clock = ManualClock(wallMicroseconds: 1_000_000_000_000)
        let harness = try OperatorHarness(WindowAgg.self, config, input: Stream(Self.narrow), clock: clock)
        #expect(harness.outputs[0].eventTime == nil)
        func rows(_ n: Int) -> [[Value]] { (0..<n).map { _ in [.null, "a", .null] } }
        try harness.process(rows(2), schema: Self.narrow)
        try harness.advanceClock(by: .seconds(9))
        try harness.process(rows(3), schema: Self.narrow)
        try harness.advanceClock(by: .milliseconds(900))
        #expect(harness.take().rows().isEmpty)
        try harness.advanceClock(by: .milliseconds(700))
        let first = Int64(1_000_000_000_000)
        #expect(harness.take().rows() == [[.timestamp(first), .timestamp(first + 10_000_000), "a", 5]])
        try harness.process(rows(1), schema: Self.narrow)
        let state = try harness.checkpoint()
        #expect(harness.take().rows().isEmpty)
        let restored = try OperatorHarness(
            WindowAgg.self, config, input: Stream(Self.narrow), restoring: state, clock: clock)
        try restored.process(rows(1), schema: Self.narrow)
        try restored.finish(lastWatermark: false)
        #expect(restored.take().rows() == [[.timestamp(first + 10_000_000), .timestamp(first + 20_000_000), "a", 2]])
    }

    @Test func `rows without a time go to errors, rows for a window that has left too`() throws {
        let config = try settings(groups: ["g"], [("n", "count(*)")], window: .tumbling(.seconds(10)), time: "t")
        let harness = try OperatorHarness(WindowAgg.self, config, input: Stream(Self.narrow, eventTime: "t"))
        try harness.process([[.null, "a", 1], [.timestamp(5_000_000), "a", 1]], schema: Self.narrow)
        #expect(harness.output.errors.map(\.code) == ["missing_time"])
        #expect(harness.accountsForEveryRow)
        try harness.advance(to: .time(12_000_000))
        #expect(harness.take().rows() == [[.timestamp(0), .timestamp(10_000_000), "a", 1]])
        // Not behind its own split, whose watermark was left out while it was idle.
        try harness.process([[.timestamp(6_000_000), "a", 1], [.timestamp(11_000_000), "a", 1]], schema: Self.narrow)
        try harness.finish()
        #expect(harness.output.errors.map(\.code) == ["window_closed"])
        #expect(harness.output.rows() == [[.timestamp(10_000_000), .timestamp(20_000_000), "a", 1]])
    }

    @Test func `closing many groups is cut in pieces and the watermark comes behind them`() throws {
        let config = try settings(groups: ["v"], [("n", "count(*)")], window: .tumbling(.seconds(10)), time: "t")
        let input = Stream(Self.narrow, eventTime: "t")
        let stage = try #require(try WindowAgg.localStage(config, inputs: [input]))
        let outputs = try WindowAgg.outputs(config, inputs: [input])
        let node = try WindowAgg(config, .testing(inputs: [stage.output], outputs: outputs))
        try node.open(restoring: [])
        let groups = 300_000
        for start in stride(from: 0, to: groups, by: 10_000) {
            let ids = (start..<start + 10_000).map { Int64($0) }
            let columns: [Column] = [.timestamp(ids.map { _ in 0 }), .int64(ids), .int64(ids.map { _ in 1 })]
            var output = OutputBuffer()
            #expect(try node.process(RecordBatch(stage.output.schema, columns), from: .main, into: &output) == .done)
        }
        var output = OutputBuffer()
        var progress = try node.advance(to: .time(10_000_000), into: &output)
        var pieces = 0
        var rows = 0
        var last: OutputBuffer.Element?
        while true {
            let elements = output.drain()
            #expect(elements.count <= 17)
            for case .batch(let batch, _) in elements { rows += batch.rowCount }
            last = elements.last
            pieces += 1
            guard progress == .more else { break }
            progress = try node.resume(into: &output)
        }
        #expect(pieces == 3 && rows == groups)
        guard case .watermark(.time(10_000_000)) = last else {
            Issue.record("the watermark is not the last")
            return
        }
        #expect(try node.snapshot(CheckpointID(1))[0].rowCount == 0)
    }
}
