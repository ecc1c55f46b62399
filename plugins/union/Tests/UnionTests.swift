import DataflowOperator
import DataflowRuntime
import DataflowTesting
import Testing

@testable import Union

private let left = Schema([
    Field("at", .timestamp, nullable: false), Field("id", .int64, nullable: false), Field("name", .string),
])
private let right = Schema([
    Field("name", .string, nullable: false), Field("at", .timestamp, nullable: false), Field("price", .float64),
])

private func settings(_ missing: UnionConfig.Missing = .error, source: String? = nil) -> UnionConfig {
    var config = UnionConfig()
    config.missing = missing
    config.source = source.map { Located($0) }
    return config
}

private func streams(_ schemas: Schema..., eventTime: String? = nil) -> [Stream] {
    zip(schemas, ["orders", "returns.late"]).map { Stream($0, eventTime: eventTime, name: $1) }
}

@Suite struct UnionTests {
    @Test func `columns are matched by name, missing ones are null, and the source is told`() throws {
        let inputs = streams(left, right, eventTime: "at")
        let harness = try OperatorHarness(Union.self, settings(.null, source: "origin"), inputs: inputs)
        let output = harness.outputs[0]
        #expect(output.eventTime == "at" && output.kind == .append)
        #expect(
            output.schema
                == Schema([
                    Field("at", .timestamp, nullable: false), Field("id", .int64), Field("name", .string),
                    Field("price", .float64), Field("origin", .string, nullable: false),
                ]))
        try harness.process([[.timestamp(1), 2, "a"], [.timestamp(2), 3, .null]], schema: left)
        try harness.process([["b", .timestamp(3), 1.5]], schema: right, from: InputPort(index: 1))
        let expected: [[Value]] = [
            [.timestamp(1), 2, "a", .null, "orders"], [.timestamp(2), 3, .null, .null, "orders"],
            [.timestamp(3), .null, "b", 1.5, "returns.late"],
        ]
        #expect(harness.output.rows() == expected)
        #expect(harness.accountsForEveryRow)
    }

    @Test func `marks, splits and watermarks go on`() throws {
        let harness = try OperatorHarness(Union.self, settings(), inputs: streams(left, left, eventTime: "at"))
        let batch = RecordBatch(left, rows: [[.timestamp(1), 2, "a"]]).withSplit(4, splitWatermark: Values([9]))
        try harness.process(batch, from: InputPort(index: 1))
        try harness.advance(to: .time(5))
        let emitted = harness.output.batches()[0]
        #expect(emitted.split == 4 && emitted.splitWatermark?.array == [9])
        #expect(harness.output.watermarks == [.time(5)])
    }

    @Test(
        arguments: [
            (
                settings(), streams(left, right),
                [
                    "`returns.late` has no column `id`, but `orders` has",
                    "`orders` has no column `price`, but `returns.late` has",
                ]
            ),
            (
                settings(.null), streams(left, Schema([Field("id", .string)])),
                ["the column `id` is string in `returns.late`, but int64 in `orders`"]
            ),
            (
                settings(.null, source: "name"), streams(left, right),
                ["the inputs already have a column `name`"]
            ),
            (
                settings(), [Stream(left, eventTime: "at", name: "a"), Stream(left, name: "b")],
                ["`a` and `b` differ in event time: at and none"]
            ),
            (
                settings(), [Stream(left, name: "a"), Stream(left, kind: .upsert(key: ["id"]), name: "b")],
                ["`b` is an upsert stream (by id): rows of the others would replace its own"]
            ),
        ] as [(UnionConfig, [Stream], [String])])
    func `inputs that do not fit are refused before running`(
        config: UnionConfig, inputs: [Stream], messages: [String]
    ) {
        let error = #expect(throws: ConfigError.self) { _ = try Union.outputs(config, inputs: inputs) }
        #expect(error?.diagnostics.map(\.message) == messages)
    }

    @Test(arguments: [1, 7, 8192], [[1], [2], [4], [1, 4, 3]])
    func `every row of every input goes on once, at any parallelism and over restarts`(
        size: Int, pieces: [Int]
    ) async throws {
        func script(_ schema: Schema, _ row: (Int64) -> [Value]) -> MemoryScript {
            let rows = (0..<300).map { row($0) }
            return MemoryScript(
                schema,
                splits: (0..<2).map { split in
                    stride(from: split * 150, to: (split + 1) * 150, by: size).map {
                        .batch(RecordBatch(schema, rows: Array(rows[$0..<min((split + 1) * 150, $0 + size)])))
                    }
                })
        }
        let found = CollectedRows()
        var pipeline = TestPipeline()
        try pipeline.add(
            "orders", MemorySource.self, .init(script(left) { [.timestamp($0), .int($0), .string("o\($0)")] }))
        try pipeline.add(
            "returns", MemorySource.self,
            .init(script(right) { [.string("r\($0)"), .timestamp($0), .float(Double($0))] }),
            parallelism: 2)
        try pipeline.add("all", Union.self, settings(.null, source: "origin"), from: "orders", "returns")
        try pipeline.add("out", CollectingSink.self, .init(found), from: "all")
        try await pipeline.run(inPieces: pieces, rows: 600)
        let orders: [[Value]] = (0..<300).map { [.timestamp($0), .int($0), .string("o\($0)"), .null, "orders"] }
        let returns: [[Value]] = (0..<300).map {
            [.timestamp($0), .null, .string("r\($0)"), .float(Double($0)), "returns"]
        }
        #expect(found.rows.count == 600)
        #expect(Set(found.rows) == Set(orders + returns))
    }

    @Test func `watermarks merge by minimum`() async throws {
        let slow = MemoryScript(left, splits: [[.batch(RecordBatch(left, rows: [[.timestamp(10), 1, "a"]])), .pause]])
        let fast = MemoryScript(left, splits: [[.batch(RecordBatch(left, rows: [[.timestamp(90), 1, "a"]]))]])
        var pipeline = TestPipeline()
        let seen = CollectedRows()
        try pipeline.add("slow", MemorySource.self, .init(slow))
        try pipeline.add("fast", MemorySource.self, .init(fast))
        try pipeline.add("timed", EventTimeStamp.self, .init("at"), from: "slow")
        try pipeline.add("early", EventTimeStamp.self, .init("at"), from: "fast")
        try pipeline.add("all", Union.self, settings(), from: "timed", "early")
        try pipeline.add("out", CollectingSink.self, .init(seen), from: "all")
        let runner = try pipeline.runner(checkpoints: try TemporaryDirectory().path)
        async let summary = runner.run()
        await slow.waitForPause()
        func watermark() -> Int64? { runner.progress().nodes.first { $0.name == "all" }?.watermark }
        while watermark() == nil { await Task.yield() }
        #expect(watermark() == 10)
        slow.resume()
        _ = try await summary
    }

    @Test func `only the columns that are read are needed`() {
        #expect(
            Union.columnsUsed(settings(), inputs: streams(left, left, eventTime: "at"), downstream: .some(["id"]))
                == [.some(["id", "at"]), .some(["id", "at"])])
    }

    @Test func `union keeps to what every operator has to`() throws {
        let batches = (0..<3).map { part in
            RecordBatch(left, rows: (0..<9).map { [.timestamp(part * 9 + $0), .int($0), .null] })
        }
        #expect(
            try OperatorConformance.check(
                Union.self, settings(.null, source: "origin"), inputs: streams(left, right), batches: batches) == [])
    }
}
