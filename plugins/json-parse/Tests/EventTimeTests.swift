import DataflowColumnar
import DataflowConfig
import DataflowOperator
import DataflowTesting
import JSONParse
import Testing

@Suite struct EventTimeTests {
    private func harness(
        outOfOrderness: String = "5us", restoring state: StateSnapshot = []
    ) throws -> OperatorHarness<JSONParse> {
        let columns = ConfigNode.mapping([
            ("t", .mapping([("type", .text("timestamp")), ("unit", .text("us"))]))
        ])
        let eventTime = ConfigNode.mapping([
            ("column", .text("t")), ("out_of_orderness", .text(outOfOrderness)), ("idle_timeout", .text("30s")),
        ])
        return try OperatorHarness(
            JSONParse.self, JSONParseConfig(decoding: .mapping([("columns", columns), ("event_time", eventTime)])),
            input: Stream(valueSchema), restoring: state)
    }

    private func times(_ times: [Int64], split: Int32) -> RecordBatch {
        batch(times.map { #"{"t":\#($0)}"# }, split: split)
    }

    @Test func `the watermark is the latest time less the out-of-orderness, over the least split`() throws {
        let harness = try harness()
        try harness.split(.assigned([0, 1]))
        try harness.process(times([100, 90], split: 0))
        #expect(harness.take().watermarks.isEmpty)
        try harness.process(times([50], split: 1))
        #expect(harness.take().watermarks == [.time(45)])
        try harness.process(times([200], split: 1))
        #expect(harness.take().watermarks == [.time(95)])
    }

    @Test func `rows behind their split's watermark carry it, as it was in front of them`() throws {
        let harness = try harness()
        try harness.split(.assigned([0, 1]))
        try harness.process(times([100, 94, 95, 120, 100], split: 0))
        #expect(harness.take().batches()[0].splitWatermark?.array == [.min, 95, .min, .min, 115])
        try harness.process(times([10, 114], split: 0))
        #expect(harness.take().batches()[0].splitWatermark?.array == [115, 115])
        try harness.process(times([3, 4], split: 1))
        #expect(harness.take().batches()[0].splitWatermark == nil)
    }

    @Test func `marks do not depend on how the rows are cut into batches`() throws {
        let all: [Int64] = (0..<500).map { ($0 * 7919) % 1000 + $0 * 3 }
        let whole = try harness(outOfOrderness: "300us")
        try whole.process(times(all, split: 0))
        let expected = whole.output.batches()[0].splitWatermark?.array
        #expect(expected?.contains { $0 != .min } == true)
        for size in [1, 7, 100] {
            let cut = try harness(outOfOrderness: "300us")
            for start in stride(from: 0, to: all.count, by: size) {
                try cut.process(times(Array(all[start..<min(start + size, all.count)]), split: 0))
            }
            let marks = cut.output.batches().flatMap { batch in
                batch.splitWatermark?.array ?? [Int64](repeating: .min, count: batch.rowCount)
            }
            #expect(marks == expected)
        }
    }

    @Test func `an ended split no longer holds back, and behind the last one comes the end`() throws {
        let harness = try harness()
        try harness.split(.assigned([0, 1]))
        try harness.process(times([100], split: 0))
        try harness.split(.ended(1))
        #expect(harness.take().watermarks == [.time(95)])
        try harness.split(.ended(0))
        #expect(harness.take().watermarks.isEmpty)
        try harness.finish()
        #expect(harness.take().watermarks == [.end])
    }

    @Test func `a subtask without splits is idle`() throws {
        let harness = try harness()
        try harness.split(.assigned([]))
        #expect(harness.take().watermarks == [.idle])
    }

    @Test func `a quiet split is left out after the timeout and comes back with its next row`() throws {
        let harness = try harness()
        try harness.split(.assigned([0, 1]))
        try harness.process(times([100], split: 0))
        try harness.process(times([50], split: 1))
        #expect(harness.take().watermarks == [.time(45)])
        try harness.split(.idle(1))
        try harness.advanceClock(by: .seconds(29))
        #expect(harness.take().watermarks.isEmpty)
        try harness.advanceClock(by: .seconds(1))
        #expect(harness.take().watermarks == [.time(95)])
        try harness.process(times([60, 200], split: 1))
        #expect(harness.take().watermarks.isEmpty)
        try harness.process(times([300], split: 0))
        #expect(harness.take().watermarks == [.time(195)])
    }

    @Test func `rows without event time go to errors`() throws {
        let harness = try harness()
        try harness.process(batch([#"{"t":1}"#, "{}"]))
        #expect(harness.output.rows().count == 1)
        #expect(harness.output.errors.map(\.code) == ["missing_value"])
    }

    @Test func `lateness goes on where a checkpoint was taken`() throws {
        let first = try harness()
        try first.split(.assigned([0, 1]))
        try first.process(times([100], split: 0))
        try first.process(times([70], split: 1))
        let second = try harness(restoring: first.checkpoint())
        try second.split(.assigned([0, 1]))
        #expect(second.take().watermarks == [.time(65)])
        try second.process(times([94], split: 0))
        #expect(second.take().batches()[0].splitWatermark?.array == [95])
    }
}
