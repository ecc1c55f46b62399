public import DataflowCodec
public import DataflowOperator
import DataflowSchemaRegistry

/// `avro-parse`: Avro messages to typed columns.
///
/// The columns are the reader's schema; for each schema that messages were written with there is a program that fits the
/// two together, made when its first message comes. It waits for the registry then, on a thread of its own.
public final class AvroParse: ParsingTransform {
    public typealias Config = AvroParseConfig

    public static let info = OperatorInfo(
        "avro-parse", .transform, "Parses Avro messages into typed columns and declares event time.", blocks: true)

    private typealias Messages = SchemaMessages<AvroDecoder, ConfluentFrame>

    private let config: Config
    private let messages: Messages
    private let registry: SchemaRegistry?
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
        let reader = makeReader(try readSchemaFile(path), references: [], what: path)
        if case .refused(_, let reason) = reader {
            throw OperatorError(.user, .never, "bad_schema", reason)
        }
        fileReader = reader
    }

    private func makeReader(_ text: String, references: [String], what: String) -> Messages.Reader {
        let schema: AvroSchema
        do throws(AvroSchema.Malformed) { schema = try AvroSchema(text, references: references) } catch {
            return .refused(code: "bad_schema", reason: "\(what) is no Avro schema: \(error.message)")
        }
        let program = AvroProgram(schema, columns: messages.columns, assembler: messages.assembler)
        if let problem = program.problem {
            return .refused(code: "schema_mismatch", reason: "\(what) does not fit the columns: \(problem)")
        }
        return messages.add(AvroDecoder(program, messages.assembler))
    }

    /// What reads messages of the schema with that number. Waits for the registry.
    private func reader(_ frame: ConfluentFrame) throws(OperatorError) -> Messages.Reader {
        let id = frame.schemaID
        guard let registry else { return .refused(code: "no_schema", reason: "there is no registry to ask") }
        guard let schema = try registry.schema(id: id) else {
            return .refused(code: "no_such_schema", reason: "the registry has no schema \(id)")
        }
        guard schema.type == "AVRO" else {
            return .refused(
                code: "schema_mismatch", reason: "schema \(id) of the registry is \(schema.type), not Avro")
        }
        return makeReader(schema.text, references: schema.references.map(\.text), what: "schema \(id) of the registry")
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

/// `avro-parse` and `avro-encode`.
public enum AvroPlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.transform(AvroParse.self), .transform(AvroEncode.self)]
}
