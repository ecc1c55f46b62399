import DataflowConfig
import DataflowOperator
import DataflowRuntime
import DataflowTesting
import Select
import Testing

private let schema = Schema([Field("id", .int64), Field("us", .int64)])

/// `at` from microseconds in `us`; a condition where wanted.
private func settings(
    outOfOrderness: String = "5us", condition: String? = nil, at: String = "timestamp_micros(us)"
) throws -> SelectConfig {
    var entries: [(String, ConfigNode)] = [
        ("columns", .mapping([("id", .text("id")), ("at", .text(at))])),
        (
            "event_time",
            .mapping([
                ("column", .text("at")), ("out_of_orderness", .text(outOfOrderness)), ("idle_timeout", .text("30s")),
            ])
        ),
    ]
    if let condition { entries.append(("where", .text(condition))) }
    return try SelectConfig(decoding: .mapping(entries))
}

private func harness(
    _ settings: SelectConfig, restoring state: StateSnapshot = []
) throws -> OperatorHarness<Select> {
    try OperatorHarness(Select.self, settings, input: Stream(schema), restoring: state)
}

private func rows(_ times: [Int64?], split: Int32) -> RecordBatch {
    RecordBatch(schema, rows: times.map { [1, $0.map { .int($0) } ?? .null] }).withSplit(split, splitWatermark: nil)
}

@Suite struct EventTimeTests {
    @Test func `event time comes from any expression, and rows behind their split's watermark carry it`() throws {
        let harness = try harness(settings())
        #expect(harness.outputs[0].eventTime == "at")
        #expect(harness.outputs[0].schema["at"] == Field("at", .timestamp, nullable: false))
        try harness.split(.assigned([0, 1]))
        try harness.process(rows([100, 94, 95, 120, 100], split: 0))
        let first = harness.take()
        #expect(first.batches()[0].splitWatermark?.array == [.min, 95, .min, .min, 115])
        #expect(first.batches()[0].split == 0)
        #expect(first.watermarks.isEmpty, "split 1 has brought nothing yet")
        try harness.process(rows([60], split: 1))
        #expect(harness.take().watermarks == [.time(55)])
        try harness.split(.ended(1))
        #expect(harness.take().watermarks == [.time(115)])
        try harness.finish()
        #expect(harness.take().watermarks == [.end])
    }

    @Test func `rows whose time is null or cannot be computed go to errors`() throws {
        let harness = try harness(settings(at: "timestamp_micros(10 / (us - 1))"))
        try harness.process(rows([2, nil, 1, 3], split: 0))
        #expect(harness.output.rows().count == 2)
        #expect(harness.output.errors.map(\.code) == ["missing_value", "division_by_zero"])
        #expect(harness.output.errors[0].reason == "the event time is null")
        #expect(harness.accountsForEveryRow)
    }

    @Test func `rows that the condition refuses do not move the watermark`() throws {
        let harness = try harness(settings(condition: "us < 100"))
        try harness.split(.assigned([0]))
        try harness.process(rows([50, 500, nil, 51], split: 0))
        #expect(harness.output.watermarks == [.time(46)])
        #expect(harness.output.errors.isEmpty)
        try harness.process(rows([700], split: 0))
        #expect(harness.output.watermarks == [.time(46)])
    }

    @Test func `a quiet split is left out after the timeout and comes back at the watermark`() throws {
        let harness = try harness(settings())
        try harness.split(.assigned([0, 1]))
        try harness.process(rows([100], split: 0))
        try harness.process(rows([50], split: 1))
        try harness.split(.idle(1))
        try harness.advanceClock(by: .seconds(30))
        #expect(harness.take().watermarks == [.time(45), .time(95)])
        try harness.process(rows([60, 96], split: 1))
        #expect(harness.take().batches()[0].splitWatermark?.array == [95, .min])
    }

    @Test func `lateness goes on where a checkpoint was taken`() throws {
        let first = try harness(settings())
        try first.split(.assigned([0, 1]))
        try first.process(rows([100], split: 0))
        try first.process(rows([70], split: 1))
        let second = try harness(settings(), restoring: first.checkpoint())
        try second.split(.assigned([0, 1]))
        #expect(second.take().watermarks == [.time(65)])
        try second.process(rows([94], split: 0))
        #expect(second.take().batches()[0].splitWatermark?.array == [95])
    }

    @Test func `select with event time conforms`() throws {
        let batches = [rows([100, 94, nil], split: 0), rows([93, 200], split: 0)]
        #expect(
            try OperatorConformance.check(
                Select.self, settings(), inputs: [Stream(schema)], batches: batches, watermarks: [nil, .time(7)]) == [])
    }

    @Test func `event time alone is a select, and its column is always computed`() throws {
        let input = Stream(Schema([Field("id", .int64), Field("at", .timestamp)]))
        let config = try SelectConfig(decoding: .mapping([("event_time", .mapping([("column", .text("at"))]))]))
        #expect(try Select.outputs(config, inputs: [input])[0].schema.names == ["id", "at"])
        #expect(
            Select.columnsUsed(config, inputs: [input], downstream: .some(["id"])) == [.some(["id", "at"])])
    }

    @Test(arguments: [
        (Stream(schema), "zeit", "the output has no column `zeit`"),
        (Stream(schema), "us", "event time is a timestamp, but the column `us` is int64"),
        (
            Stream(Schema([Field("us", .timestamp)]), kind: .upsert(key: ["us"])), "us",
            "event time is declared on append streams"
        ),
        (Stream(Schema([Field("us", .timestamp)]), eventTime: "us"), "us", "is declared already: it is `us`"),
    ])
    func `what cannot be event time is refused`(_ input: Stream, _ column: String, _ message: String) throws {
        let config = try SelectConfig(decoding: .mapping([("event_time", .mapping([("column", .text(column))]))]))
        let error = #expect(throws: ConfigError.self) { try Select.outputs(config, inputs: [input]) }
        #expect(error.map { "\($0)" }?.contains(message) == true, "\(String(describing: error))")
    }

    @Test(arguments: [1, 2, 4])
    func `behind other nodes the marks of a split are those of its rows in order, at parallelism`(_ parallelism: Int)
        async throws
    {
        // Three splits of disordered times in batches of many sizes; ids tell rows apart.
        var expected: [Int64: Int64] = [:]
        var splits: [[MemoryScript.Step]] = []
        var state: UInt64 = 42
        func random(_ bound: Int64) -> Int64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int64(state >> 33) % bound
        }
        for split in 0..<Int64(3) {
            var steps: [MemoryScript.Step] = []
            var id = split * 100_000
            var latest = Int64.min
            for _ in 0..<60 {
                var batch: [[Value]] = []
                for _ in 0...random(40) {
                    id += 1
                    let time = id % 100_000 * 10 - random(400)
                    let watermark = latest == .min ? Int64.min : latest - 300
                    expected[id] = time < watermark ? watermark : .min
                    latest = max(latest, time)
                    batch.append([.int(id), .int(time)])
                }
                steps.append(.batch(RecordBatch(schema, rows: batch)))
            }
            splits.append(steps)
        }
        let folder = try TemporaryDirectory()
        let collected = CollectedRows()
        var pipeline = TestPipeline()
        pipeline.parallelism = parallelism
        try pipeline.add("words", MemorySource.self, .init(MemoryScript(schema, splits: splits)))
        var pass = SelectConfig()
        pass.keep = ["id", "us"]
        try pipeline.add("pass", Select.self, pass, from: "words")
        try pipeline.add("timed", Select.self, settings(outOfOrderness: "300us"), from: "pass")
        try pipeline.add("out", CollectingSink.self, .init(collected), from: "timed")
        _ = try await pipeline.runner(checkpoints: folder.path).run()
        var found: [Int64: Int64] = [:]
        for batch in collected.batches {
            let ids = try #require(batch.columns[0].int64Values)
            for row in 0..<batch.rowCount { found[ids[row]] = batch.splitWatermark?[row] ?? .min }
        }
        #expect(found == expected)
        #expect(found.values.contains { $0 > .min })
    }
}
