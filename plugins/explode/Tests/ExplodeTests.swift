import DataflowConfig
import DataflowOperator
import DataflowTesting
import Synchronization
import Testing

@testable import Explode

private let schema = Schema([
    Field("id", .int64), Field("tags", .list(.string)), Field("names", .list(.structure([Field("lang", .string)]))),
])

private let batch = RecordBatch(
    schema,
    rows: [
        [1, ["a", nil, "b"], [.structure(["en"])]],
        [2, [], []],
        [3, nil, nil],
        [4, ["a text longer than twelve bytes"], [.structure(["fr"]), .null]],
    ])

private func config(_ column: String, _ change: (inout ExplodeConfig) -> Void = { _ in }) -> ExplodeConfig {
    var config = ExplodeConfig()
    config.column = Located(column)
    change(&config)
    return config
}

private func rows(_ config: ExplodeConfig, _ batch: RecordBatch = batch) throws -> [[Value]] {
    let harness = try OperatorHarness(Explode.self, config, input: Stream(schema))
    try harness.process(batch)
    return harness.output.rows()
}

@Suite struct ExplodeTests {
    @Test func `each element is a row, null elements too`() throws {
        #expect(
            try rows(config("tags")).map { [$0[0], $0[1]] } == [
                [1, "a"], [1, nil], [1, "b"], [4, "a text longer than twelve bytes"],
            ])
    }

    @Test func `outer keeps rows without elements, position counts from 0`() throws {
        let settings = config("tags") {
            $0.outer = true
            $0.name = "tag"
            $0.position = "at"
        }
        #expect(
            try rows(settings).map { [$0[0], $0[1], $0[3]] } == [
                [1, "a", 0], [1, nil, 1], [1, "b", 2], [2, nil, nil], [3, nil, nil],
                [4, "a text longer than twelve bytes", 0],
            ])
        #expect(try rows(settings, batch.slice(1..<3)).map { $0[0] } == [2, 3])
    }

    @Test func `elements that are structs stay structs`() throws {
        #expect(
            try rows(config("names")).map { [$0[0], $0[2]] } == [
                [1, .structure(["en"])], [4, .structure(["fr"])], [4, nil],
            ])
    }

    @Test func `a sliced batch gives only its own elements`() throws {
        #expect(try rows(config("tags"), batch.slice(3..<4)).count == 1)
        #expect(try rows(config("tags"), batch.slice(1..<3)).isEmpty)
        #expect(try rows(config("tags"), .empty(schema)).isEmpty)
    }

    @Test func `a long list leaves in batches of the usual size`() throws {
        let long = RecordBatch(schema, rows: [[1, .list((0..<20_000).map { .string("\($0)") }), nil]])
        let harness = try OperatorHarness(Explode.self, config("tags"), input: Stream(schema))
        try harness.process(long)
        #expect(harness.output.batches().map(\.rowCount) == [8192, 8192, 3616])
        #expect(harness.context.counters.passed.load(ordering: .relaxed) == 1)
    }

    @Test(arguments: [
        ("tag", "there is no column `tag`"), ("id", "only a list can be exploded"),
    ])
    func `what cannot be exploded is refused`(column: String, message: String) {
        #expect { try Explode.outputs(config(column), inputs: [Stream(schema)]) } throws: {
            "\($0)".contains(message)
        }
    }

    @Test func `an upsert stream is refused`() {
        #expect { try Explode.outputs(config("tags"), inputs: [Stream(schema, kind: .upsert(key: ["id"]))]) } throws: {
            "\($0)".contains("append stream")
        }
    }

    @Test func `only columns that are used downstream are asked for`() {
        let used = Explode.columnsUsed(
            config("tags") { $0.name = "tag" }, inputs: [Stream(schema)], downstream: .some(["id", "tag"]))
        #expect(used == [.some(["id", "tags"])])
    }
}
