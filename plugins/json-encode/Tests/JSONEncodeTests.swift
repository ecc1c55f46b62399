import DataflowCodec
import DataflowConfig
import DataflowOperator
import DataflowTesting
import JSONEncode
import Testing

private let schema = Schema([
    Field("id", .int64, nullable: false), Field("name", .string), Field("tags", .list(.string)),
])

private let rows: [[Value]] = [[1, "a \"quoted\" name", ["x", nil]], [2, nil, nil]]

private func settings(_ change: (inout JSONEncodeConfig) -> Void = { _ in }) -> JSONEncodeConfig {
    var config = JSONEncodeConfig()
    change(&config)
    return config
}

private func texts(_ rows: [[Value]], column: Int = 0) -> [String?] {
    rows.map { if case .bytes(let bytes) = $0[column] { String(decoding: bytes, as: UTF8.self) } else { nil } }
}

@Suite struct JSONEncodeTests {
    @Test func `each row becomes one object with all columns`() throws {
        let harness = try OperatorHarness(JSONEncode.self, settings(), input: Stream(schema))
        try harness.process(rows, schema: schema)
        #expect(harness.outputs[0].schema == Schema([Field("value", .bytes, nullable: false)]))
        #expect(
            texts(harness.output.rows()) == [
                #"{"id":1,"name":"a \"quoted\" name","tags":["x",null]}"#, #"{"id":2,"name":null,"tags":null}"#,
            ])
        #expect(harness.accountsForEveryRow)
    }

    @Test func `chosen columns in the chosen order, and the key beside`() throws {
        let config = settings {
            $0.columns = ["name", "id"]
            $0.keep = ["id"]
            $0.name = "text"
        }
        let harness = try OperatorHarness(JSONEncode.self, config, input: Stream(schema))
        try harness.process(rows, schema: schema)
        #expect(harness.outputs[0].schema.names == ["text", "id"])
        #expect(texts(harness.output.rows())[1] == #"{"name":null,"id":2}"#)
        #expect(harness.output.rows().map { $0[1] } == [1, 2])
    }

    @Test func `a delete of an upsert stream has its key and no text`() throws {
        let input = Stream(schema, kind: .upsert(key: ["id"]), deletes: true)
        let harness = try OperatorHarness(JSONEncode.self, settings { $0.keep = ["id"] }, input: input)
        try harness.process(RecordBatch(schema, rows: rows, deletes: [false, true]))
        #expect(harness.outputs[0].kind == .upsert(key: ["id"]) && harness.outputs[0].deletes)
        #expect(texts(harness.output.rows())[1] == nil)
        #expect(harness.output.changes().map(\.isDelete) == [false, true])
    }

    @Test(arguments: [
        (settings { $0.columns = ["nam"] }, "the input has no column `nam`"),
        (settings { $0.columns = ["id", "id"] }, "names a column twice"),
        (settings { $0.columns = [] }, "names no column"),
        (
            settings {
                $0.keep = ["name"]
                $0.name = "name"
            }, "has the name of the message's column"
        ),
    ])
    func `what cannot be written is refused`(config: JSONEncodeConfig, message: String) {
        #expect { try JSONEncode.outputs(config, inputs: [Stream(schema)]) } throws: { "\($0)".contains(message) }
    }

    @Test func `an upsert stream without its key beside the text is refused`() {
        #expect {
            try JSONEncode.outputs(settings(), inputs: [Stream(schema, kind: .upsert(key: ["id"]))])
        } throws: {
            "\($0)".contains("must go on beside the message")
        }
    }

    @Test func `json-encode keeps to what every operator has to`() throws {
        let batches = [RecordBatch(schema, rows: rows), RecordBatch(schema, rows: rows)]
        #expect(
            try OperatorConformance.check(
                JSONEncode.self, settings { $0.keep = ["id"] }, inputs: [Stream(schema)], batches: batches) == [])
    }
}
