public import DataflowCodec
public import DataflowOperator
import DataflowSchemaRegistry
import DataflowText

/// `protobuf-encode`: rows to Protobuf messages in a bytes column.
///
/// The schema is known when the node opens: read from a file, or the newest of a registry's subject. It waits for the registry then, on a thread of its own.
public final class ProtobufEncode: EncodingTransform {
    public typealias Config = ProtobufEncodeConfig

    public static let info = OperatorInfo(
        "protobuf-encode", .transform, "Writes each row as a Protobuf message into a bytes column.", blocks: true)

    private let config: Config
    private let rows: EncodedRows
    private let refusal = Refusal()
    private var record: MessageCell?
    /// What stands in front of each message.
    private var frame: [UInt8] = []

    public init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        self.config = config
        rows = try EncodedRows(config.encoding, context)
    }

    public func open(restoring state: StateSnapshot) throws(OperatorError) {
        let schema: ProtobufSchema
        var what = config.schemaFile ?? ""
        var schemaID: Int32?
        if let settings = config.registry, let subject = config.subject, !config.register {
            let newest = try SchemaRegistry(settings).latest(subject, type: "PROTOBUF")
            schemaID = newest.id
            what = "schema \(newest.id) of `\(subject)`"
            do throws(ProtobufSchema.Malformed) {
                schema = try ProtobufSchema(
                    newest.text, imports: newest.references.map { ($0.name, $0.text) })
            } catch {
                throw OperatorError(.user, .never, "bad_schema", "\(what) cannot be read: \(error.message)")
            }
        } else {
            schema = try ProtobufSchema.file(what)
        }
        guard let message = config.message.map({ schema.message($0) }) ?? schema.message(at: [0]) else {
            throw OperatorError(
                .user, .never, "no_such_message",
                "\(what) has no message `\(config.message ?? "")`; its messages are \(schema.messageNames)")
        }
        do throws(MessageWriter.Mismatch) {
            record = try MessageWriter(schema, refusal).message(message, rows.message.fields)
        } catch {
            throw OperatorError(.user, .never, "schema_mismatch", "\(what) does not fit the columns: \(error.message)")
        }
        guard let settings = config.registry, let subject = config.subject else { return }
        let path = schema.path(message)
        guard !path.isEmpty else {
            throw OperatorError(
                .user, .never, "no_such_message",
                "the message `\(schema.name(message))` is imported by \(what), not defined there")
        }
        if schemaID == nil {
            schemaID = try SchemaRegistry(settings).register(
                readSchemaFile(what), type: "PROTOBUF", subject: subject)
        }
        frame = MessageFrame.bytes(schemaID ?? 0, path: path)
    }

    public func process(
        _ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress {
        guard let record else { throw OperatorError(.engine, .never, "not_open", "protobuf-encode was not opened") }
        let columns = rows.messageColumns(batch)
        record.prepare(members: columns.columns)
        rows.encode(columns, of: batch, into: &output) { row, text in
            text.append(frame)
            record.writeFields(row, into: &text)
            return refusal.take()
        }
        return .done
    }
}
