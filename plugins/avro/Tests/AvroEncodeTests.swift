import DataflowCodec
import DataflowConfig
import DataflowOperator
import DataflowSchemaRegistry
import DataflowTesting
import Testing

@testable import Avro

private let schema = Schema([
    Field("id", .int64, nullable: false), Field("name", .string), Field("at", .timestamp),
    Field("price", .decimal(precision: 10, scale: 2)), Field("tags", .list(.string)),
    Field("line", .structure([Field("sku", .string), Field("sizes", .list(.int32))])),
])

private let rows: [[Value]] = [
    [1, "a name", .timestamp(5), .decimal(-1250, scale: 2), ["x", nil], .structure(["s", [1, nil]])],
    [2, nil, nil, nil, nil, nil],
]

private func encoding(_ change: (inout AvroEncodeConfig) -> Void = { _ in }) -> AvroEncodeConfig {
    var config = AvroEncodeConfig()
    change(&config)
    return config
}

private func messages(_ rows: [[Value]]) -> [[UInt8]?] {
    rows.map { if case .bytes(let bytes) = $0[0] { bytes } else { nil } }
}

@Suite struct AvroEncodeTests {
    @Test func `what is read from another implementation is written byte by byte as it wrote it`() throws {
        let recorded = try recorded("avro-again.json")
        let file = try SchemaFile(recorded.file["schema"]?.text ?? "")
        let parse = try OperatorHarness(
            AvroParse.self, settings(recorded.columns) { $0.schemaFile = file.path }, input: Stream(input))
        try parse.process(batch(recorded.cases.map(\.message)))
        let encode = try OperatorHarness(
            AvroEncode.self, encoding { $0.schemaFile = file.path }, input: parse.outputs[0])
        try encode.process(parse.output.batches()[0])
        #expect(encode.output.errors.map(\.reason) == [])
        #expect(messages(encode.output.rows()) == recorded.cases.map(\.message))
    }

    @Test func `a record made of the columns reads back, by the registry`() throws {
        let server = try StandInRegistry()
        let config = encoding {
            $0.registry = registry(server)
            $0.subject = "rows/value"
            $0.keep = ["id"]
        }
        let encode = try OperatorHarness(AvroEncode.self, config, input: Stream(schema))
        try encode.process(rows, schema: schema)
        #expect(server.entries.map(\.subject) == ["rows%2Fvalue"])
        #expect(encode.output.rows().map { $0[1] } == [1, 2])
        let again = try OperatorHarness(AvroEncode.self, config, input: Stream(schema))
        try again.process(rows, schema: schema)
        #expect(server.entries.count == 1)

        let parse = try OperatorHarness(
            AvroParse.self, settings(schema.fields.map { ($0.name, $0.type) }) { $0.registry = registry(server) },
            input: Stream(input))
        try parse.process(batch(messages(encode.output.rows())))
        #expect(parse.output.errors.map(\.reason) == [])
        #expect(parse.output.rows() == rows)
    }

    @Test func `the registry's newest schema is written where nothing is to be registered`() throws {
        let server = try StandInRegistry([
            .init("a", #"{"type":"record","name":"A","fields":[{"name":"id","type":"string"}]}"#),
            .init(
                "a",
                #"{"type":"record","name":"A","fields":[{"name":"more","type":["null","int"]},{"name":"id","type":["null","int"]}]}"#
            ),
        ])
        let config = encoding {
            $0.registry = registry(server)
            $0.subject = "a"
            $0.register = false
            $0.columns = ["id"]
        }
        let encode = try OperatorHarness(AvroEncode.self, config, input: Stream(schema))
        let ids: [[Value]] = [3, 1 << 40].map { [.int($0), nil, nil, nil, nil, nil] }
        try encode.process(ids, schema: schema)
        #expect(messages(encode.output.rows()) == [framed(2, [0, 2, 6])])
        #expect(encode.output.errors.map(\.code) == ["not_encodable"])
        #expect(encode.output.errors[0].reason.contains("does not fit the schema's int"))
        #expect(encode.accountsForEveryRow)
        let unknown = encoding {
            $0.registry = registry(server)
            $0.subject = "b"
            $0.register = false
        }
        let error = #expect(throws: OperatorError.self) {
            try OperatorHarness(AvroEncode.self, unknown, input: Stream(schema))
        }
        #expect(error?.code == "no_such_schema")
    }

    @Test(arguments: [
        (#"{"type":"record","name":"A","fields":[{"name":"id","type":"long"}]}"#, "has no field for the column `name`"),
        (
            #"{"type":"record","name":"A","fields":[{"name":"id","type":"string"}]}"#,
            "the column `id` is int64, but the schema's field is string"
        ),
        (
            #"{"type":"record","name":"A","fields":[{"name":"id","type":"long"},{"name":"name","type":"string"},{"name":"z","type":"int"}]}"#,
            "there is no such column"
        ),
        ("[", "is no Avro schema"), (#""string""#, "not a record"),
        (#"{"type":"record","name":"A","fields":[{"name":"id","type":"B"}]}"#, "there is no type `B`"),
    ])
    func `a schema that does not fit is refused when the node opens`(text: String, message: String) throws {
        let file = try SchemaFile(text)
        let config = encoding {
            $0.schemaFile = file.path
            $0.columns = ["id", "name"]
        }
        let error = #expect(throws: OperatorError.self) {
            try OperatorHarness(AvroEncode.self, config, input: Stream(schema))
        }
        #expect(error?.domain == .user && error?.message.contains(message) == true)
    }

    @Test func `a null that the schema has no place for is an error of its row`() throws {
        let file = try SchemaFile(#"{"type":"record","name":"A","fields":[{"name":"name","type":"string"}]}"#)
        let config = encoding {
            $0.schemaFile = file.path
            $0.columns = ["name"]
        }
        let encode = try OperatorHarness(AvroEncode.self, config, input: Stream(schema))
        try encode.process(rows, schema: schema)
        #expect(messages(encode.output.rows()) == [[12] + Array("a name".utf8)])
        #expect(encode.output.errors.map(\.reason) == ["name: the value is null, but the schema has no null there"])
    }

    @Test func `a column whose name Avro does not take is refused`() {
        let odd = Schema([Field("ok", .int64), Field("not ok", .int64)])
        #expect { try AvroEncode.outputs(encoding(), inputs: [Stream(odd)]) } throws: { "\($0)".contains("`not ok`") }
    }

    @Test func `avro-encode keeps to what every operator has to`() throws {
        let batches = [RecordBatch(schema, rows: rows), RecordBatch(schema, rows: rows)]
        #expect(
            try OperatorConformance.check(
                AvroEncode.self, encoding { $0.keep = ["id"] }, inputs: [Stream(schema)], batches: batches) == [])
    }
}
