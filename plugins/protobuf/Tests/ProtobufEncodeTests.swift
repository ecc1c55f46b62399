import DataflowCodec
import DataflowConfig
import DataflowOperator
import DataflowSchemaRegistry
import DataflowTesting
import Testing

@testable import Protobuf

private let schema = Schema([
    Field("id", .int64, nullable: false), Field("name", .string), Field("sizes", .list(.int32)),
])

private let rows: [[Value]] = [[1, "a", [1, -1]], [0, nil, nil]]

private let text = """
    syntax = "proto3";
    message Other { string x = 1; }
    message Row {
      optional string name = 2;
      sint64 id = 1;
      repeated int32 sizes = 3;
      oneof choice { int32 a = 4; int32 b = 5; }
      uint32 small = 6;
      enum State { OPEN = 0; CLOSED = 1; }
      State state = 7;
    }
    """

private func encoding(_ change: (inout ProtobufEncodeConfig) -> Void) -> ProtobufEncodeConfig {
    var config = ProtobufEncodeConfig()
    change(&config)
    return config
}

private func messages(_ rows: [[Value]]) -> [[UInt8]?] {
    rows.map { if case .bytes(let bytes) = $0[0] { bytes } else { nil } }
}

@Suite struct ProtobufEncodeTests {
    @Test func `what is read from another implementation is written so that it reads the same`() throws {
        let recorded = try recorded()
        let files = try SchemaFiles(recorded)
        // Doubles into a field of floats would lose digits, and are refused.
        let columns = recorded.columns.map { $0.name == "ratio" ? (name: $0.name, type: .float32) : $0 }
        let parsing = settings(columns) {
            $0.schemaFile = files.path("order.desc")
            $0.message = "shop.Order"
        }
        let parse = try OperatorHarness(ProtobufParse.self, parsing, input: Stream(input))
        try parse.process(batch(recorded.cases.map(\.message)))
        let encode = try OperatorHarness(
            ProtobufEncode.self,
            encoding {
                $0.schemaFile = files.path("order.proto")
                $0.message = "shop.Order"
            }, input: parse.outputs[0])
        try encode.process(parse.output.batches()[0])
        #expect(encode.output.errors.map(\.reason) == [])
        let written = messages(encode.output.rows())
        let again = try OperatorHarness(ProtobufParse.self, parsing, input: Stream(input))
        try again.process(batch(written))
        #expect(again.output.rows() == parse.output.rows())
        // Where every field has a column, the bytes are the same: lines have one that has none.
        var same = 0
        for (number, recorded) in recorded.cases.enumerated()
        where recorded.row["lines"]?.elements?.isEmpty == true {
            #expect(written[number] == recorded.message)
            same += 1
        }
        #expect(same > 10)
    }

    @Test func `a schema is registered, and the message's place stands in front`() throws {
        let server = try StandInRegistry()
        let files = try SchemaFiles(["row.proto": Array(text.utf8)])
        let config = encoding {
            $0.schemaFile = files.path("row.proto")
            $0.message = "Row"
            $0.registry = registry(server)
            $0.subject = "rows-value"
            $0.keep = ["id"]
        }
        let encode = try OperatorHarness(ProtobufEncode.self, config, input: Stream(schema))
        try encode.process(rows, schema: schema)
        #expect(server.entries.map(\.type) == ["PROTOBUF"] && server.entries[0].text == text)
        #expect(
            messages(encode.output.rows()) == [
                [0, 0, 0, 0, 1, 2, 2, 0x08, 2, 0x12, 1, 0x61, 0x1A, 11, 1]
                    + [UInt8](repeating: 0xFF, count: 9) + [1],
                [0, 0, 0, 0, 1, 2, 2],
            ])
        #expect(encode.output.rows().map { $0[1] } == [1, 0])
        let newest = encoding {
            $0.message = "Row"
            $0.registry = registry(server)
            $0.subject = "rows-value"
            $0.register = false
        }
        let second = try OperatorHarness(ProtobufEncode.self, newest, input: Stream(schema))
        try second.process(rows, schema: schema)
        #expect(messages(second.output.rows()) == messages(encode.output.rows()))
        #expect(server.entries.count == 1)
    }

    @Test func `a value that the message has no place for is an error of its row`() throws {
        let files = try SchemaFiles(["row.proto": Array(text.utf8)])
        let wide = Schema([
            Field("a", .int32), Field("b", .int32), Field("small", .int64), Field("sizes", .list(.int32)),
            Field("state", .string),
        ])
        let config = encoding {
            $0.schemaFile = files.path("row.proto")
            $0.message = "Row"
        }
        let encode = try OperatorHarness(ProtobufEncode.self, config, input: Stream(wide))
        try encode.process(
            [
                [1, nil, 5, nil, "CLOSED"], [1, 2, nil, nil, nil], [nil, nil, -1, nil, nil],
                [nil, nil, nil, [nil], nil],
                [nil, nil, nil, nil, "GONE"], [nil, nil, nil, nil, "OPEN"], [nil, nil, nil, nil, "9"],
            ], schema: wide)
        #expect(messages(encode.output.rows()) == [[0x20, 1, 0x30, 5, 0x38, 1], [], [0x38, 9]])
        #expect(
            encode.output.errors.map(\.reason) == [
                "Row: only one of a, b may have a value", "small: -1 does not fit the field's uint32",
                "sizes: an element is null, which a repeated field cannot say",
                "state: `GONE` is no symbol of the field's enum",
            ])
        #expect(encode.accountsForEveryRow)
    }

    @Test(arguments: [
        ("Missing", ["id"], "its messages are Other, Row"), ("Other", ["id"], "Other has no field for the column `id`"),
        ("Row", ["wrong"], "the column `small` is string, but the field is uint32"),
    ])
    func `a message that does not fit is refused when the node opens`(
        message: String, columns: [String], reason: String
    ) throws {
        let files = try SchemaFiles(["row.proto": Array(text.utf8)])
        let config = encoding {
            $0.schemaFile = files.path("row.proto")
            $0.message = message
        }
        let input = Schema(columns.map { $0 == "wrong" ? Field("small", .string) : Field($0, .int64) })
        let error = #expect(throws: OperatorError.self) {
            try OperatorHarness(ProtobufEncode.self, config, input: Stream(input))
        }
        #expect(error?.domain == .user && error?.message.contains(reason) == true, "\(error?.message ?? "")")
    }

    @Test func `settings that do not fit together are refused`() {
        let without = encoding { $0.registry = SchemaRegistryConfig() }
        #expect(without.validate().map(\.message) == ["is needed with `register: true`"])
        let descriptors = encoding {
            $0.registry = SchemaRegistryConfig()
            $0.schemaFile = "a.desc"
        }
        #expect(descriptors.validate().count == 1)
    }

    @Test func `protobuf-encode keeps to what every operator has to`() throws {
        let files = try SchemaFiles(["row.proto": Array(text.utf8)])
        let config = encoding {
            $0.schemaFile = files.path("row.proto")
            $0.message = "Row"
            $0.keep = ["id"]
        }
        let batches = [RecordBatch(schema, rows: rows), RecordBatch(schema, rows: rows)]
        #expect(
            try OperatorConformance.check(ProtobufEncode.self, config, inputs: [Stream(schema)], batches: batches) == []
        )
    }
}
