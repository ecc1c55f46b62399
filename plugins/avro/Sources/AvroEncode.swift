public import DataflowCodec
public import DataflowOperator
import DataflowSchemaRegistry
import DataflowText

/// `avro-encode`: rows to Avro messages in a bytes column.
///
/// The schema is known when the node opens: made from the columns, read from a file, or the newest of a registry's
/// subject. It waits for the registry then, on a thread of its own.
public final class AvroEncode: EncodingTransform {
    public typealias Config = AvroEncodeConfig

    public static let info = OperatorInfo(
        "avro-encode", .transform, "Writes each row as an Avro record into a bytes column.", blocks: true)

    private let config: Config
    private let rows: EncodedRows
    private let refusal = Refusal()
    private var record: AvroRecordCell?
    /// What stands in front of each message.
    private var frame: [UInt8] = []

    public static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        let output = try config.encoding.output(of: inputs)
        let message = config.encoding.message(inputs[0].schema)
        if config.schemaFile == nil, config.register, let bad = AvroSchema.badName(message.fields) {
            throw ConfigError(
                "bad-name", "`\(bad)` is no name in Avro, which takes letters, digits and `_`",
                hint: "rename it in a `select` in front, or leave it out of `columns`")
        }
        return [output]
    }

    public init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        self.config = config
        rows = try EncodedRows(config.encoding, context)
    }

    public func open(restoring state: StateSnapshot) throws(OperatorError) {
        var text = try config.schemaFile.map { (path) throws(OperatorError) in try readSchemaFile(path) }
        var references: [String] = []
        var what = config.schemaFile ?? "the schema made of the columns"
        if let settings = config.registry, let subject = config.subject {
            let registry = SchemaRegistry(settings)
            if config.register {
                let made = text ?? AvroSchema.text(rows.message, record: config.record)
                frame = ConfluentFrame.bytes(try registry.register(made, type: "AVRO", subject: subject))
                text = made
            } else {
                let newest = try registry.latest(subject, type: "AVRO")
                frame = ConfluentFrame.bytes(newest.id)
                text = newest.text
                references = newest.references.map(\.text)
                what = "schema \(newest.id) of `\(subject)`"
            }
        }
        do {
            let schema = try AvroSchema(
                text ?? AvroSchema.text(rows.message, record: config.record), references: references)
            record = try AvroWriter(schema, refusal).record(rows.message.fields)
        } catch let error as AvroSchema.Malformed {
            throw OperatorError(.user, .never, "bad_schema", "\(what) is no Avro schema: \(error.message)")
        } catch let error as AvroWriter.Mismatch {
            throw OperatorError(.user, .never, "schema_mismatch", "\(what) does not fit the columns: \(error.message)")
        } catch {
            throw OperatorError(.engine, .never, "bad_schema", "\(what): \(error)")
        }
    }

    public func process(
        _ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress {
        guard let record else { throw OperatorError(.engine, .never, "not_open", "avro-encode was not opened") }
        let columns = rows.messageColumns(batch)
        record.prepare(members: columns.columns)
        rows.encode(columns, of: batch, into: &output) { row, text in
            text.append(frame)
            record.writeValue(row, into: &text)
            return refusal.take()
        }
        return .done
    }
}
