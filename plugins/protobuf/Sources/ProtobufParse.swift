public import DataflowCodec
public import DataflowOperator
import DataflowSchemaRegistry

/// `protobuf-parse`: Protobuf messages to typed columns.
///
/// Schemas are compiled by libprotobuf, messages read by our own loop, straight into columns. For each message type of
/// each schema there is a plan, made when its first message comes. It waits for the registry then, on a thread of its own.
public final class ProtobufParse: ParsingTransform {
    public typealias Config = ProtobufParseConfig

    public static let info = OperatorInfo(
        "protobuf-parse", .transform, "Parses Protobuf messages into typed columns and declares event time.",
        blocks: true)

    /// What the registry has under a number.
    private enum SchemaOfID {
        case ready(ProtobufSchema)
        case refused(code: OperatorError.Code, reason: String)
    }

    private typealias Messages = SchemaMessages<MessageDecoder, MessageFrame>

    private let config: Config
    private let messages: Messages
    private let registry: SchemaRegistry?
    private var schemas: [Int32: SchemaOfID] = [:]
    private var fileReader: Messages.Reader?
    package var rows: ParsedRows { messages.rows }

    public init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        self.config = config
        messages = try Messages(config.parsing, fields: config.columns.map(\.value.field), context)
        registry = config.registry.map { SchemaRegistry($0) }
    }

    public func open(restoring state: StateSnapshot) throws(OperatorError) {
        try rows.open(restoring: state)
        guard let path = config.schemaFile else { return }
        let schema = try ProtobufSchema.file(path)
        guard let name = config.message, let message = schema.message(name) else {
            throw OperatorError(
                .user, .never, "no_such_message",
                "\(path) has no message `\(config.message ?? "")`; its messages are \(schema.messageNames)")
        }
        let reader = makeReader(schema, message, what: "\(path), message \(name),")
        if case .refused(_, let reason) = reader { throw OperatorError(.user, .never, "schema_mismatch", reason) }
        fileReader = reader
    }

    private func makeReader(_ schema: ProtobufSchema, _ message: Int32, what: String) -> Messages.Reader {
        let plans = MessagePlans(
            schema, message: message, columns: messages.columns, assembler: messages.assembler)
        if let problem = plans.problem {
            return .refused(code: "schema_mismatch", reason: "\(what) does not fit the columns: \(problem)")
        }
        return messages.add(MessageDecoder(plans, messages.assembler))
    }

    /// The schema with that number. Waits for the registry the first time.
    private func schema(_ id: Int32) throws(OperatorError) -> SchemaOfID {
        if let schema = schemas[id] { return schema }
        guard let registry else { return .refused(code: "no_schema", reason: "there is no registry to ask") }
        guard let found = try registry.schema(id: id) else {
            return .refused(code: "no_such_schema", reason: "the registry has no schema \(id)")
        }
        let schema: SchemaOfID
        if found.type == "PROTOBUF" {
            do throws(ProtobufSchema.Malformed) {
                schema = .ready(
                    try ProtobufSchema(
                        found.text, name: "schema-\(id).proto", imports: found.references.map { ($0.name, $0.text) }))
            } catch {
                schema = .refused(
                    code: "bad_schema", reason: "schema \(id) of the registry cannot be read: \(error.message)")
            }
        } else {
            schema = .refused(
                code: "schema_mismatch", reason: "schema \(id) of the registry is \(found.type), not Protobuf")
        }
        schemas[id] = schema
        return schema
    }

    /// What reads messages of that type. Waits for the registry the first time.
    private func reader(_ frame: MessageFrame) throws(OperatorError) -> Messages.Reader {
        switch try schema(frame.schemaID) {
        case .refused(let code, let reason): return .refused(code: code, reason: reason)
        case .ready(let schema):
            guard let message = schema.message(at: frame.path) else {
                return .refused(
                    code: "no_such_message",
                    reason: "schema \(frame.schemaID) of the registry has no message at \(frame.path)")
            }
            let name = schema.name(message)
            if let wanted = config.message, wanted != name {
                return .refused(code: "other_message", reason: "the message is \(name), not \(wanted)")
            }
            return makeReader(schema, message, what: "schema \(frame.schemaID) of the registry, message \(name),")
        }
    }

    public func process(
        _ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress {
        try messages.process(batch, into: &output, reader: fileReader) { (frame) throws(OperatorError) in
            try reader(frame)
        }
        return .done
    }
}

/// `protobuf-parse` and `protobuf-encode`.
public enum ProtobufPlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [
        .transform(ProtobufParse.self), .transform(ProtobufEncode.self),
    ]
}
