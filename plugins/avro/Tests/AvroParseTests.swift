import DataflowCodec
import DataflowConfig
import DataflowOperator
import DataflowRuntime
import DataflowSchemaRegistry
import DataflowTesting
import Foundation
import Glibc
import Testing

@testable import Avro

let input = Schema([Field("value", .bytes), Field("offset", .int64)])

func batch(_ messages: [[UInt8]?]) -> RecordBatch {
    RecordBatch(input, [.bytes(messages), .int64(messages.indices.map { Int64($0) })])
}

func recorded(_ name: String = "avro.json", _ file: StaticString = #filePath) throws -> RecordedMessages {
    let root = "\(file)".split(separator: "/", omittingEmptySubsequences: false).dropLast(4).joined(separator: "/")
    return try RecordedMessages("\(root)/Tests/Resources/codecs/\(name)")
}

func settings(
    _ columns: [(name: String, type: DataType)], _ change: (inout AvroParseConfig) -> Void
) -> AvroParseConfig {
    var config = AvroParseConfig()
    config.columns = ConfigMap(
        columns.map { name, type in
            var column = MessageColumnConfig()
            column.type = ColumnType(type)
            return .init(name, column)
        })
    change(&config)
    return config
}

func registry(_ server: StandInRegistry, retryFor: Duration = .seconds(20)) -> SchemaRegistryConfig {
    var config = SchemaRegistryConfig()
    config.url = OneOrMany([server.url])
    config.retryFor = retryFor
    return config
}

func framed(_ id: Int32, _ message: [UInt8]) -> [UInt8] { ConfluentFrame.bytes(id) + message }

/// A file of its own with a schema.
final class SchemaFile {
    let folder: TemporaryDirectory
    let path: String

    init(_ text: String) throws {
        folder = try TemporaryDirectory()
        path = "\(folder.path)/schema.avsc"
        try Data(text.utf8).write(to: URL(filePath: path))
    }
}

@Suite struct AvroParseTests {
    @Test func `messages of another implementation give the rows that it wrote`() throws {
        let recorded = try recorded()
        let file = try SchemaFile(recorded.file["schema"]?.text ?? "")
        let harness = try OperatorHarness(
            AvroParse.self, settings(recorded.columns) { $0.schemaFile = file.path }, input: Stream(input))
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

    @Test func `columns that nothing uses are passed over`() throws {
        let recorded = try recorded()
        let file = try SchemaFile(recorded.file["schema"]?.text ?? "")
        let harness = try OperatorHarness(
            AvroParse.self, settings(recorded.columns) { $0.schemaFile = file.path }, input: Stream(input),
            usedColumns: .some(["count"]))
        try harness.process(batch(recorded.cases.map(\.message)))
        let counts = harness.output.rows().map { $0[1] }
        #expect(counts == recorded.cases.map { .int(Int64($0.row["count"]?.integer ?? .min)) })
        #expect(harness.output.rows().allSatisfy { $0[0] == .null })
    }

    @Test func `writers' schemas change and the columns stay, by the registry`() throws {
        let server = try StandInRegistry([
            .init("a-value", #"{"type":"record","name":"A","fields":[{"name":"id","type":"int"}]}"#),
            .init(
                "a-value",
                #"{"type":"record","name":"A","fields":[{"name":"note","type":["null","string"]},{"name":"number","aliases":["id"],"type":"long"}]}"#
            ),
            .init("b-value", type: "JSON", "{}"),
            .init("c-value", #"{"type":"record","name":"A","fields":[{"name":"id","type":"string"}]}"#),
            .init("d-value", #"{"type":"record","name":"A","fields":[{"name":"id","type":"Missing"}]}"#),
        ])
        let config = settings([("id", .int64), ("note", .string)]) { $0.registry = registry(server) }
        let harness = try OperatorHarness(AvroParse.self, config, input: Stream(input))
        try harness.process(
            batch([
                framed(1, [2]), framed(2, [2, 4, 0x68, 0x69, 6]), framed(1, [8]), framed(2, [0, 10]), framed(3, [0]),
                framed(4, [0]), framed(5, [0]), framed(99, [0]), [1, 2, 3], nil,
            ]))
        #expect(harness.output.rows() == [[1, nil], [3, "hi"], [4, nil], [5, nil]])
        #expect(
            harness.output.errors.map(\.code) == [
                "schema_mismatch", "schema_mismatch", "bad_schema", "no_such_schema", "no_schema_id", "no_value",
            ])
        #expect(harness.output.errors[1].reason.contains("column id is int64, but the writer's field is string"))
        #expect(harness.output.rows(.errors)[3][5] == .bytes(framed(99, [0])))
        #expect(harness.accountsForEveryRow)
        // Each schema is asked for once, the unknown one not again at once.
        try harness.process(batch([framed(1, [2]), framed(99, [0])]))
        #expect(server.requests == [1, 2, 3, 4, 5, 99].map { "GET /schemas/ids/\($0)" })
    }

    @Test func `a schema may refer to others of the registry`() throws {
        let server = try StandInRegistry([
            .init(
                "city", #"{"type":"record","name":"City","namespace":"geo","fields":[{"name":"name","type":"string"}]}"#
            ),
            .init(
                "order", #"{"type":"record","name":"Order","fields":[{"name":"city","type":"geo.City"}]}"#,
                references: [("geo.City", "city", 1)]),
        ])
        let config = settings([("city", .structure([Field("name", .string)]))]) { $0.registry = registry(server) }
        let harness = try OperatorHarness(AvroParse.self, config, input: Stream(input))
        try harness.process(batch([framed(2, [4, 0x68, 0x69])]))
        #expect(harness.output.rows() == [[.structure(["hi"])]])
    }

    @Test func `a registry that is out of order is asked again, then the run is to start again`() throws {
        let server = try StandInRegistry([
            .init("a", #"{"type":"record","name":"A","fields":[{"name":"id","type":"int"}]}"#)
        ])
        server.fail([503, 0, 429])
        var config = settings([("id", .int64)]) { $0.registry = registry(server) }
        let harness = try OperatorHarness(AvroParse.self, config, input: Stream(input))
        try harness.process(batch([framed(1, [2])]))
        #expect(harness.output.rows() == [[1]])
        #expect(server.requests.count == 4)

        server.fail([500])
        config = settings([("id", .int64)]) { $0.registry = registry(server, retryFor: .zero) }
        let impatient = try OperatorHarness(AvroParse.self, config, input: Stream(input))
        let error = #expect(throws: OperatorError.self) { try impatient.process(batch([framed(1, [2])])) }
        #expect(error?.code == "registry_unavailable" && error?.domain == .external)
        #expect(error?.message.contains("answered 500: out of order") == true)
    }

    @Test func `a registry that does not answer is not waited for when the task is cancelled`() async throws {
        let server = try SilentServer()
        var config = SchemaRegistryConfig()
        config.url = OneOrMany(["http://127.0.0.1:\(server.port)"])
        config.timeout = .seconds(3600)
        config.retryFor = .seconds(3600)
        let thread = try BlockingExecutor(name: "asking")
        defer { thread.shutDown() }
        let task = Task(executorPreference: thread) { [config] () -> OperatorError? in
            do throws(OperatorError) {
                _ = try SchemaRegistry(config).schema(id: 1)
                return nil
            } catch { return error }
        }
        server.waitForVisitor()
        task.cancel()
        #expect(await task.value?.code == "registry_unavailable")
        withExtendedLifetime(server) {}
    }

    @Test func `credentials go to the registry and to no message`() throws {
        let schema = #"{"type":"record","name":"A","fields":[{"name":"id","type":"int"}]}"#
        let server = try StandInRegistry([.init("a", schema)], authorization: "Basic bWU6c2VjcmV0")
        var settings = registry(server)
        settings.user = "me"
        settings.password = Secret("secret")
        let config = withID(settings)
        let harness = try OperatorHarness(AvroParse.self, config, input: Stream(input))
        try harness.process(batch([framed(1, [2])]))
        #expect(harness.output.rows() == [[1]])
        settings.password = Secret("wrong")
        let refused = try OperatorHarness(AvroParse.self, withID(settings), input: Stream(input))
        let error = #expect(throws: OperatorError.self) { try refused.process(batch([framed(1, [2])])) }
        #expect(error?.domain == .user && error?.message.contains("401") == true)
        #expect(error?.message.contains("wrong") == false)
    }

    @Test func `a wrong message goes to errors with the place`() throws {
        let file = try SchemaFile(
            #"{"type":"record","name":"A","fields":[{"name":"id","type":"int"},{"name":"s","type":"string"},{"name":"l","type":{"type":"array","items":"null"}}]}"#
        )
        let config = settings([("id", .int32), ("s", .string)]) { $0.schemaFile = file.path }
        let harness = try OperatorHarness(AvroParse.self, config, input: Stream(input))
        try harness.process(
            batch([
                [2, 2, 0x61, 0], [], [2, 4, 0x61], [2, 2, 0xFF, 0], [2, 0, 0, 7],
                [0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1], [2, 0, 0x80, 0x80, 0x80, 0x80, 0x40],
                [0x80, 0x80, 0x80, 0x80, 0x20, 0, 0],
            ]))
        #expect(harness.output.rows() == [[1, "a"]])
        #expect(
            harness.output.errors.map(\.reason) == [
                "byte 0: column id: the message ends inside of a value",
                "byte 2: column s: the message ends inside of a value", "byte 3: column s: the text is not UTF-8",
                "byte 3: bytes are left behind the last field",
                "byte 10: column id: the message ends inside of a value",
                "byte 7: a list claims more elements than the message can hold",
                "byte 5: column id: the value is out of the column's range",
            ])
        #expect(harness.accountsForEveryRow)
    }

    @Test func `blocks of a list may come with their size, and elements may be nothing`() throws {
        let file = try SchemaFile(
            #"{"type":"record","name":"A","fields":[{"name":"x","type":{"type":"array","items":"null"}},{"name":"y","type":{"type":"array","items":"int"}}]}"#
        )
        let message: [UInt8] = [4, 0, 3, 4, 2, 4, 2, 6, 0]
        let both = settings([("x", .list(.int32)), ("y", .list(.int64))]) { $0.schemaFile = file.path }
        let harness = try OperatorHarness(AvroParse.self, both, input: Stream(input))
        try harness.process(batch([message]))
        #expect(harness.output.rows() == [[[nil, nil], [1, 2, 3]]])
        let other = settings([("z", .int32)]) { $0.schemaFile = file.path }
        let passing = try OperatorHarness(AvroParse.self, other, input: Stream(input))
        try passing.process(batch([message, [0, 3, 7, 2, 4, 0]]))
        #expect(passing.output.rows() == [[nil]])
        #expect(passing.output.errors.map(\.reason) == ["byte 3: a length or count is negative or does not fit"])
    }

    @Test func `a required column without a value is an error`() throws {
        let file = try SchemaFile(#"{"type":"record","name":"A","fields":[{"name":"id","type":["null","int"]}]}"#)
        let config = settings([("id", .int32)]) {
            $0.schemaFile = file.path
            $0.columns.entries[0].value.required = true
        }
        let harness = try OperatorHarness(AvroParse.self, config, input: Stream(input))
        try harness.process(batch([[0], [2, 2]]))
        #expect(harness.output.rows() == [[1]] && harness.output.errors.map(\.code) == ["missing_value"])
    }

    /// Half a million messages with `DATAFLOW_SOAK`.
    @Test func `no rubbish stops it, and what is left of it is whole`() throws {
        let recorded = try recorded()
        let file = try SchemaFile(recorded.file["schema"]?.text ?? "")
        let config = settings(recorded.columns) { $0.schemaFile = file.path }
        let harness = try OperatorHarness(AvroParse.self, config, input: Stream(input))
        var random = SplitMix(state: 11)
        var passed = 0
        for _ in 0..<(getenv("DATAFLOW_SOAK") == nil ? 100 : 10_000) {
            let messages = recorded.mutated(50, using: &random)
            // Between them one that is right, which must not be harmed.
            let whole = recorded.cases[passed % recorded.cases.count]
            try harness.process(batch(messages + [whole.message]))
            passed += 1
            guard let rows = harness.take().batches().first else { return }
            #expect(RecordedMessages.isSame(try RecordedMessages.row(rows, rows.rowCount - 1), whole.row))
        }
        #expect(harness.accountsForEveryRow)
    }

    @Test func `avro-parse keeps to what every operator has to`() throws {
        let file = try SchemaFile(#"{"type":"record","name":"A","fields":[{"name":"id","type":"int"}]}"#)
        let config = settings([("id", .int64)]) {
            $0.schemaFile = file.path
            $0.keep = ["offset"]
        }
        let batches = [batch([[2], [], nil]), batch([[4], [6]])]
        #expect(try OperatorConformance.check(AvroParse.self, config, inputs: [Stream(input)], batches: batches) == [])
    }
}

/// Reads `id` with a registry.
private func withID(_ registry: SchemaRegistryConfig) -> AvroParseConfig {
    settings([("id", .int64)]) { $0.registry = registry }
}
