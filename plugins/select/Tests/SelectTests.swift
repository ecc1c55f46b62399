import DataflowConfig
import DataflowExpression
import DataflowOperator
import DataflowTesting
import Synchronization
import Testing

@testable import Select

private let schema = Schema([
    Field("id", .int64), Field("name", .string), Field("price", .float64), Field("tags", .list(.string)),
])

private let batch = RecordBatch(
    schema,
    rows: [
        [1, "a", 1.5, ["x"]], [2, nil, 2.5, []], [3, "c", nil, nil],
        [4, "a name longer than twelve bytes", 4.0, ["y", "z"]],
    ])

private func config(_ change: (inout SelectConfig) throws -> Void) rethrows -> SelectConfig {
    var config = SelectConfig()
    try change(&config)
    return config
}

private func expressions(_ entries: KeyValuePairs<String, String>) throws -> ConfigMap<ExpressionText> {
    ConfigMap(try entries.map { ConfigMap<ExpressionText>.Entry($0, try ExpressionText($1)) })
}

@Suite struct SelectTests {
    @Test func `rows are chosen where the condition is true, null is not`() throws {
        let harness = try OperatorHarness(
            Select.self, try config { $0.condition = try ExpressionText("price > 2") }, input: Stream(schema))
        try harness.process(batch)
        #expect(harness.output.rows().map { $0[0] } == [2, 4])
        #expect(harness.context.counters.filtered.load(ordering: .relaxed) == 2)
        #expect(harness.context.counters.passed.load(ordering: .relaxed) == 2)
    }

    @Test func `columns are computed from the input's`() throws {
        let settings = try config {
            $0.columns = try expressions(["who": "upper(name)", "double": "price * 2", "tag": "tags[0]"])
        }
        let harness = try OperatorHarness(Select.self, settings, input: Stream(schema))
        try harness.process(batch)
        #expect(
            harness.output.rows() == [
                ["A", 3.0, "x"], [nil, 5.0, nil], ["C", nil, nil], ["A NAME LONGER THAN TWELVE BYTES", 8.0, "y"],
            ])
    }

    @Test func `keep orders columns and drop leaves them out`() throws {
        #expect(
            try Select.outputs(config { $0.keep = ["tags", "id"] }, inputs: [Stream(schema)])[0].schema.names
                == ["tags", "id"])
        #expect(
            try Select.outputs(config { $0.drop = ["name", "tags"] }, inputs: [Stream(schema)])[0].schema.names
                == ["id", "price"])
    }

    @Test func `a row whose expression has no value goes to errors, the others go on`() throws {
        let settings = try config { $0.columns = try expressions(["id": "id", "share": "10 / (id - 3)"]) }
        let harness = try OperatorHarness(Select.self, settings, input: Stream(schema))
        try harness.process(batch)
        #expect(harness.output.rows() == [[1, -5], [2, -10], [4, 10]])
        #expect(harness.output.errors.map(\.code) == ["division_by_zero"])
        #expect(harness.context.counters.errors.load(ordering: .relaxed) == 1)
        #expect(harness.context.counters.passed.load(ordering: .relaxed) == 3)
    }

    @Test func `of an upsert stream a refused row becomes a delete`() throws {
        let harness = try OperatorHarness(
            Select.self, try config { $0.condition = try ExpressionText("price > 2") },
            input: Stream(schema, kind: .upsert(key: ["id"])))
        try harness.process(batch)
        let changes = harness.output.changes()
        #expect(changes.map { $0.row[0] } == [1, 2, 3, 4])
        #expect(changes.map(\.isDelete) == [true, false, true, false])
        #expect(harness.outputs[0].deletes)
    }

    @Test func `the key of an upsert stream must go on, under another name if wanted`() throws {
        let input = Stream(schema, kind: .upsert(key: ["id"]))
        let renamed = try config { $0.columns = try expressions(["number": "id", "name": "name"]) }
        #expect(try Select.outputs(renamed, inputs: [input])[0].kind == .upsert(key: ["number"]))
        let changed = try config { $0.columns = try expressions(["id": "id + 1", "name": "name"]) }
        #expect { try Select.outputs(changed, inputs: [input]) } throws: { "\($0)".contains("must go on unchanged") }
        let dropped = config { $0.drop = ["id"] }
        #expect(throws: ConfigError.self) { try Select.outputs(dropped, inputs: [input]) }
    }

    @Test func `every mistake is reported at once`() throws {
        let settings = try config {
            $0.condition = try ExpressionText("prise > 2")
            $0.columns = try expressions(["a": "nam", "b": "name + 1"])
        }
        #expect { try Select.outputs(settings, inputs: [Stream(schema)]) } throws: {
            ($0 as? ConfigError)?.diagnostics.count == 3
        }
    }

    @Test func `only what is used downstream is asked for and computed`() throws {
        let settings = try config {
            $0.condition = try ExpressionText("price > 2")
            $0.columns = try expressions(["a": "name", "b": "tags[0]"])
        }
        #expect(
            Select.columnsUsed(settings, inputs: [Stream(schema)], downstream: .some(["a"])) == [
                .some(["price", "name"])
            ])
        let harness = try OperatorHarness(Select.self, settings, input: Stream(schema), usedColumns: .some(["a"]))
        try harness.process(batch)
        #expect(harness.output.rows() == [[nil, nil], ["a name longer than twelve bytes", nil]])
    }

    @Test func `event time goes on under its new name`() throws {
        let input = Stream(Schema([Field("at", .timestamp), Field("v", .int64)]), eventTime: "at")
        let renamed = try config { $0.columns = try expressions(["when": "at", "v": "v"]) }
        #expect(try Select.outputs(renamed, inputs: [input])[0].eventTime == "when")
        #expect(try Select.outputs(config { $0.keep = ["v"] }, inputs: [input])[0].eventTime == nil)
    }
}
