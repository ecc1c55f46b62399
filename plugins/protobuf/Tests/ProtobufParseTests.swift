import DataflowCodec
import DataflowConfig
import DataflowOperator
import DataflowSchemaRegistry
import DataflowTesting
import Foundation
import Glibc
import Testing

@testable import Protobuf

let input = Schema([Field("value", .bytes), Field("offset", .int64)])

func batch(_ messages: [[UInt8]?]) -> RecordBatch {
    RecordBatch(input, [.bytes(messages), .int64(messages.indices.map { Int64($0) })])
}

func recorded(_ file: StaticString = #filePath) throws -> RecordedMessages {
    let root = "\(file)".split(separator: "/", omittingEmptySubsequences: false).dropLast(4).joined(separator: "/")
    return try RecordedMessages("\(root)/Tests/Resources/codecs/protobuf.json")
}

func settings(
    _ columns: [(name: String, type: DataType)], _ change: (inout ProtobufParseConfig) -> Void
) -> ProtobufParseConfig {
    var config = ProtobufParseConfig()
    config.columns = ConfigMap(
        columns.map { name, type in
            var column = MessageColumnConfig()
            column.type = ColumnType(type)
            return .init(name, column)
        })
    change(&config)
    return config
}

func registry(_ server: StandInRegistry) -> SchemaRegistryConfig {
    var config = SchemaRegistryConfig()
    config.url = OneOrMany([server.url])
    return config
}

/// Files with schemas in a folder of their own.
final class SchemaFiles {
    let folder: TemporaryDirectory

    init(_ files: [String: [UInt8]]) throws {
        folder = try TemporaryDirectory()
        for (name, bytes) in files { try Data(bytes).write(to: URL(filePath: "\(folder.path)/\(name)")) }
    }

    convenience init(_ recorded: RecordedMessages) throws {
        try self.init([
            "order.proto": Array((recorded.file["schema"]?.text ?? "").utf8),
            "parts.proto": Array((recorded.file["imports"]?["parts.proto"]?.text ?? "").utf8),
            "order.desc": RecordedMessages.bytes(recorded.file["descriptors"]?.text ?? ""),
        ])
    }

    func path(_ name: String) -> String { "\(folder.path)/\(name)" }
}

private let small = """
    syntax = "proto3";
    message First { int32 a = 1; }
    message Second {
      message Inner { string s = 1; int64 n = 2; repeated int32 l = 3; }
      Inner inner = 1;
    }
    """

/// A harness over `small`, for its innermost message.
private func inner(_ columns: [(name: String, type: DataType)]) throws -> OperatorHarness<ProtobufParse> {
    let files = try SchemaFiles(["small.proto": Array(small.utf8)])
    let config = settings(columns) {
        $0.schemaFile = files.path("small.proto")
        $0.message = "Second.Inner"
    }
    return try OperatorHarness(ProtobufParse.self, config, input: Stream(input))
}

@Suite struct ProtobufParseTests {
    @Test(arguments: ["order.proto", "order.desc"])
    func `messages of another implementation give the rows that it wrote`(schema: String) throws {
        let recorded = try recorded()
        let files = try SchemaFiles(recorded)
        let config = settings(recorded.columns) {
            $0.schemaFile = files.path(schema)
            $0.message = "shop.Order"
        }
        let harness = try OperatorHarness(ProtobufParse.self, config, input: Stream(input))
        try harness.process(batch(recorded.cases.map(\.message)))
        #expect(harness.output.errors.map(\.reason) == [])
        let rows = harness.output.batches()[0]
        #expect(rows.rowCount == recorded.cases.count)
        for (row, expected) in recorded.cases.enumerated() {
            let found = try RecordedMessages.row(rows, row)
            #expect(
                RecordedMessages.isSame(found, expected.row),
                "\(found.serialized(indent: 0)) is not \(expected.row.serialized(indent: 0))")
        }
    }

    @Test func `fields may come twice, in any order, packed or not, and unknown ones are passed over`() throws {
        let harness = try inner([("s", .string), ("n", .int64), ("l", .list(.int32))])
        try harness.process(
            batch([
                // n twice; l packed, single and packed; s; unknown: varint, group with a field, fixed32, fixed64, bytes.
                [
                    0x10, 5, 0x1A, 2, 1, 2, 0x18, 3, 0x0A, 1, 0x61, 0x10, 7, 0x1A, 1, 4, 0x50, 1, 0x53, 0x08, 1, 0x54,
                    0x5D, 0, 0, 0, 0, 0x61, 0, 0, 0, 0, 0, 0, 0, 0, 0x6A, 1, 0,
                ],
                [],
                // n with another wire type is unknown.
                [0x12, 1, 5],
            ]))
        let expected: [[Value]] = [["a", 7, [1, 2, 3, 4]], ["", 0, .list([])], ["", 0, .list([])]]
        #expect(harness.output.rows() == expected)
        #expect(harness.accountsForEveryRow)
    }

    @Test func `a wrong message goes to errors with the place`() throws {
        let harness = try inner([("s", .string), ("n", .int32), ("l", .list(.int32))])
        try harness.process(
            batch([
                [0x10], [0x0A, 5, 1], [0x0A, 1, 0xFF], [0x00, 1], [0x0C], [0x17], [0x53, 0x08, 1],
                [0x10, 0x80, 0x80, 0x80, 0x80, 0x10], [0x18, 1, 0x1A, 2, 1, 0x80], nil, [0x10, 3],
            ]))
        #expect(harness.output.rows() == [["", 3, .list([])]])
        #expect(
            harness.output.errors.map(\.reason) == [
                "byte 1: column n: the message ends inside of a value, or an integer has more than ten bytes",
                "byte 2: column s: the message ends inside of a value, or an integer has more than ten bytes",
                "byte 2: column s: the text is not UTF-8", "byte 1: the number or the wire type of a field is none",
                "byte 1: a group ends that did not begin", "byte 1: the number or the wire type of a field is none",
                "byte 3: the message ends inside of a value, or an integer has more than ten bytes",
                "byte 6: column n: the value is out of the column's range",
                "byte 6: column l: the message ends inside of a value, or an integer has more than ten bytes",
                "the value is null",
            ])
        #expect(harness.accountsForEveryRow)
    }

    @Test func `the registry says which schema and which of its messages it is`() throws {
        let recorded = try recorded()
        let server = try StandInRegistry([
            .init("small", type: "PROTOBUF", small),
            .init("parts", type: "PROTOBUF", recorded.file["imports"]?["parts.proto"]?.text ?? ""),
            .init(
                "order", type: "PROTOBUF", recorded.file["schema"]?.text ?? "",
                references: [("parts.proto", "parts", 1)]),
            .init("avro", #"{"type":"record","name":"A","fields":[]}"#), .init("bad", type: "PROTOBUF", "message {"),
        ])
        let config = settings([("n", .int64), ("a", .int32)]) { $0.registry = registry(server) }
        let harness = try OperatorHarness(ProtobufParse.self, config, input: Stream(input))
        try harness.process(
            batch([
                [0, 0, 0, 0, 1, 0, 0x08, 5], [0, 0, 0, 0, 1, 4, 2, 0, 0x10, 6], [0, 0, 0, 0, 1, 2, 0, 0x08, 7],
                [0, 0, 0, 0, 1, 2, 18, 0x08, 7], [0, 0, 0, 0, 4, 0], [0, 0, 0, 0, 5, 0], [0, 0, 0, 0, 77, 0],
                [0, 0, 0, 0, 1], [0, 0, 0, 0, 1, 0, 0x08, 8],
            ]))
        // A column that a message does not have is null; one without presence is zero.
        #expect(harness.output.rows() == [[nil, 5], [6, nil], [nil, 7], [nil, 8]])
        #expect(
            harness.output.errors.map(\.code) == [
                "no_such_message", "schema_mismatch", "bad_schema", "no_such_schema", "no_schema_id",
            ])
        #expect(server.requests == [1, 4, 5, 77].map { "GET /schemas/ids/\($0)" })

        let orders = settings(recorded.columns) {
            $0.registry = registry(server)
            $0.message = "shop.Order"
        }
        let imported = try OperatorHarness(ProtobufParse.self, orders, input: Stream(input))
        try imported.process(
            batch([[0, 0, 0, 0, 3, 0] + recorded.cases[0].message, [0, 0, 0, 0, 3, 4, 0, 0] + [0x0A, 0]]))
        #expect(
            RecordedMessages.isSame(
                try RecordedMessages.row(imported.output.batches()[0], 0), recorded.cases[0].row))
        #expect(imported.output.errors.map(\.reason) == ["the message is shop.Order.Line, not shop.Order"])
    }

    @Test(arguments: [
        ("syntax = \"proto3\"; message A { int32 a = 1; }", "B", "has no message `B`; its messages are A"),
        ("message {", "A", "small.proto:1:"), ("import \"other.proto\";", "A", "other.proto"),
        ("syntax = \"proto3\"; message A { string a = 1; }", "A", "column a is int32, but the field is string"),
        ("syntax = \"proto3\"; message A { repeated int32 a = 1; }", "A", "the field is repeated: a list"),
        ("syntax = \"proto3\"; message A { A a = 1; }", "A", "the field is the message A"),
    ])
    func `a schema that does not fit is refused when the node opens`(text: String, message: String, reason: String)
        throws
    {
        let files = try SchemaFiles(["small.proto": Array(text.utf8)])
        let config = settings([("a", .int32)]) {
            $0.schemaFile = files.path("small.proto")
            $0.message = message
        }
        let error = #expect(throws: OperatorError.self) {
            try OperatorHarness(ProtobufParse.self, config, input: Stream(input))
        }
        #expect(error?.domain == .user && error?.message.contains(reason) == true, "\(error?.message ?? "")")
    }

    /// Half a million messages with `DATAFLOW_SOAK`.
    @Test func `no rubbish stops it, and what is left of it is whole`() throws {
        let recorded = try recorded()
        let files = try SchemaFiles(recorded)
        let config = settings(recorded.columns) {
            $0.schemaFile = files.path("order.proto")
            $0.message = "shop.Order"
        }
        let harness = try OperatorHarness(ProtobufParse.self, config, input: Stream(input))
        var random = SplitMix(state: 12)
        for turn in 0..<(getenv("DATAFLOW_SOAK") == nil ? 100 : 10_000) {
            let messages = recorded.mutated(50, using: &random)
            // Behind them one that is right, which must not be harmed.
            let whole = recorded.cases[turn % recorded.cases.count]
            try harness.process(batch(messages + [whole.message]))
            guard let rows = harness.take().batches().first else { return }
            #expect(RecordedMessages.isSame(try RecordedMessages.row(rows, rows.rowCount - 1), whole.row))
        }
        #expect(harness.accountsForEveryRow)
    }

    @Test func `a required column is refused only where it can be absent`() throws {
        let files = try SchemaFiles([
            "a.proto": Array("syntax = \"proto3\"; message A { optional int32 a = 1; int32 b = 2; }".utf8)
        ])
        let config = settings([("a", .int32), ("b", .int32)]) {
            $0.schemaFile = files.path("a.proto")
            $0.message = "A"
            $0.columns.entries[0].value.required = true
            $0.columns.entries[1].value.required = true
        }
        let harness = try OperatorHarness(ProtobufParse.self, config, input: Stream(input))
        try harness.process(batch([[], [0x08, 0]]))
        #expect(harness.output.rows() == [[0, 0]] && harness.output.errors.map(\.code) == ["missing_value"])
    }

    @Test func `protobuf-parse keeps to what every operator has to`() throws {
        let files = try SchemaFiles(["small.proto": Array(small.utf8)])
        let config = settings([("a", .int64)]) {
            $0.schemaFile = files.path("small.proto")
            $0.message = "First"
            $0.keep = ["offset"]
        }
        let batches = [batch([[0x08, 1], [0x08], nil]), batch([[0x08, 2], []])]
        #expect(
            try OperatorConformance.check(ProtobufParse.self, config, inputs: [Stream(input)], batches: batches) == [])
    }
}
