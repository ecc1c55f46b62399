import DataflowCodec
public import DataflowOperator
import DataflowSchemaRegistry
import Glibc

/// `protobuf-parse`: Protobuf messages to typed columns.
///
/// Schemas are compiled by libprotobuf, messages read by our own loop, straight into columns. For each message type of
/// each schema there is a plan, made when its first message comes. It waits for the registry then, on a thread of its own.
public final class ProtobufParse: Transform {
    public typealias Config = ProtobufParseConfig

    public static let info = OperatorInfo(
        "protobuf-parse", .transform, "Parses Protobuf messages into typed columns and declares event time.",
        blocks: true)

    /// What the registry has under a number.
    private enum SchemaOfID {
        case ready(ProtobufSchema)
        case refused(code: OperatorError.Code, reason: String)
    }

    /// What is known of a message type.
    private enum Reader {
        case ready(MessageDecoder)
        /// No message of it can be read.
        case refused(code: OperatorError.Code, reason: String)
    }

    private let config: Config
    private let context: OperatorContext
    private let rows: ParsedRows
    private let columns: [MessagePlans.Column]
    private let required: [(name: String, node: Int)]
    private let assembler: RowAssembler
    private let registry: SchemaRegistry?
    private var schemas: [Int32: SchemaOfID] = [:]
    /// By the bytes in front of the messages.
    private var readers: [[UInt8]: Reader] = [:]
    private var frame: [UInt8] = []
    private var decoders: [MessageDecoder] = []
    private var fileReader: Reader?

    public static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        [try config.parsing.output(of: inputs)]
    }

    public static func columnsUsed(_ config: Config, inputs: [Stream], downstream: ColumnSet) -> [ColumnSet] {
        config.parsing.columnsUsed(downstream: downstream)
    }

    public init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        self.config = config
        self.context = context
        let parsing = config.parsing
        let rows = try ParsedRows(parsing, context)
        self.rows = rows
        let isBuilt = parsing.columns.enumerated().map { rows.isUsed($0) || parsing.isRequired($1) }
        let assembler = RowAssembler(zip(parsing.columns, isBuilt).map { $1 ? $0.type : nil })
        self.assembler = assembler
        columns = config.columns.enumerated().map { number, entry in
            MessagePlans.Column(
                name: entry.key, field: entry.value.field ?? entry.key, type: entry.value.type.type,
                node: assembler.roots[number])
        }
        required = parsing.columns.enumerated().compactMap { number, column in
            parsing.isRequired(column) ? assembler.roots[number].map { (column.name, $0) } : nil
        }
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

    private func makeReader(_ schema: ProtobufSchema, _ message: Int32, what: String) -> Reader {
        let plans = MessagePlans(schema, message: message, columns: columns, assembler: assembler)
        if let problem = plans.problem {
            return .refused(code: "schema_mismatch", reason: "\(what) does not fit the columns: \(problem)")
        }
        let decoder = MessageDecoder(plans, assembler)
        decoders.append(decoder)
        return .ready(decoder)
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

    private func reader(_ frame: MessageFrame) throws(OperatorError) -> Reader {
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

    // MARK: - Rows

    public func process(
        _ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress {
        let messages = batch.columns[rows.inputColumn]
        guard let storage = messages.viewValues else {
            throw OperatorError(.engine, .never, "type_mismatch", "the messages are no text or bytes")
        }
        assembler.reserve(batch.rowCount)
        var origins: [Int32] = []
        origins.reserveCapacity(batch.rowCount)
        number(storage.buffers.count)
        try storage.withUnsafeViews { (views) throws(OperatorError) in
            var last = fileReader
            for row in 0..<batch.rowCount {
                let bytes = views.bytes(row)
                if messages.isNull(row) {
                    rows.refuse(batch, row: row, code: "no_value", reason: "the value is null", raw: nil)
                    continue
                }
                if registry != nil, last == nil || !starts(bytes, with: frame) {
                    guard let head = MessageFrame(bytes) else {
                        rows.refuse(
                            batch, row: row, code: "no_schema_id", reason: ConfluentFrame.expected, raw: bytes)
                        continue
                    }
                    frame = Array(bytes[..<head.byteCount])
                    if let known = readers[frame] {
                        last = known
                    } else {
                        let made = try reader(head)
                        // What the registry does not know today it may know tomorrow.
                        if case .refused("no_such_schema", _) = made {} else { readers[frame] = made }
                        last = made
                        number(storage.buffers.count)
                    }
                }
                switch last {
                case .ready(let decoder):
                    let view = views[row]
                    if read(
                        decoder, UnsafeRawBufferPointer(rebasing: bytes[frame.count...]),
                        buffer: view.isInline ? 0 : Int32(truncatingIfNeeded: view.bufferIndex),
                        offset: view.isInline ? 0 : view.offset + frame.count, batch, row, bytes)
                    {
                        origins.append(Int32(truncatingIfNeeded: row))
                    }
                case .refused(let code, let reason):
                    rows.refuse(batch, row: row, code: code, reason: reason, raw: bytes)
                case nil: rows.refuse(batch, row: row, code: "no_schema", reason: "there is no schema", raw: bytes)
                }
            }
        }
        context.counters.add(passed: origins.count, errors: batch.rowCount - origins.count)
        let built = assembler.finish(storage.buffers + decoders.map(\.constants))
        rows.emit(
            built.enumerated().map { rows.isUsed($0) ? $1 : nil }, origins: Values(origins), of: batch, into: &output)
        rows.emitErrors(into: &output)
        return .done
    }

    /// Says where the constants of each decoder will stand: behind the messages' buffers.
    private func number(_ bufferCount: Int) {
        for (number, decoder) in decoders.enumerated() { decoder.constantBuffer = bufferCount + number }
    }

    private func starts(_ bytes: UnsafeRawBufferPointer, with frame: [UInt8]) -> Bool {
        guard let base = bytes.baseAddress, bytes.count >= frame.count else { return false }
        return memcmp(base, frame, frame.count) == 0
    }

    /// Reads one message into a row; what fails goes to errors whole.
    private func read(
        _ decoder: MessageDecoder, _ message: UnsafeRawBufferPointer, buffer: Int32, offset: Int, _ batch: RecordBatch,
        _ row: Int, _ raw: UnsafeRawBufferPointer
    ) -> Bool {
        let place = assembler.append(0)
        guard decoder.decode(message, row: place, buffer: buffer, offset: offset) else {
            refuse(decoder, message, batch, row, raw)
            assembler.rollback(0, to: place)
            return false
        }
        for column in required where !assembler.isPresent(column.node, place) {
            rows.refuse(
                batch, row: row, code: "missing_value",
                reason: "column \(column.name) is required, but the value is missing or null", raw: raw)
            assembler.rollback(0, to: place)
            return false
        }
        assembler.endRow(0, place)
        return true
    }

    private func refuse(
        _ decoder: MessageDecoder, _ message: UnsafeRawBufferPointer, _ batch: RecordBatch, _ row: Int,
        _ raw: UnsafeRawBufferPointer
    ) {
        let (offset, node) = decoder.failure
        // A column's nodes stand in front of its root.
        let column = columns.first { node >= 0 && node <= $0.node ?? -1 }
        let place = "byte \(offset + raw.count - message.count)" + (column.map { ": column \($0.name)" } ?? "")
        rows.refuse(
            batch, row: row, code: OperatorError.Code(rawValue: decoder.problem.code),
            reason: "\(place): \(decoder.problem.reason)", raw: raw)
    }

    // MARK: - Event time

    public func advance(to watermark: Watermark, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        rows.advance(to: watermark, into: &output)
        return .done
    }

    public func split(_ event: SplitEvent, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        rows.split(event, into: &output)
        return .done
    }

    public func tick(_ now: ContinuousClock.Instant, into output: inout OutputBuffer) throws(OperatorError) -> Progress
    {
        rows.tick(now, into: &output)
        return .done
    }

    public func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot { rows.snapshot() }
}

/// `protobuf-parse` and `protobuf-encode`.
public enum ProtobufPlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [
        .transform(ProtobufParse.self), .transform(ProtobufEncode.self),
    ]
}
