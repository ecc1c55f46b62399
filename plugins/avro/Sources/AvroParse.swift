import DataflowCodec
public import DataflowOperator
import DataflowSchemaRegistry
import Glibc

/// `avro-parse`: Avro messages to typed columns.
///
/// The columns are the reader's schema; for each schema that messages were written with there is a program that fits the
/// two together, made when its first message comes. It waits for the registry then, on a thread of its own.
public final class AvroParse: Transform {
    public typealias Config = AvroParseConfig

    public static let info = OperatorInfo(
        "avro-parse", .transform, "Parses Avro messages into typed columns and declares event time.", blocks: true)

    /// What is known of a writer's schema.
    private enum Reader {
        case ready(AvroDecoder)
        /// No message of it can be read.
        case refused(code: OperatorError.Code, reason: String)
    }

    private let config: Config
    private let context: OperatorContext
    private let rows: ParsedRows
    private let columns: [AvroProgram.Column]
    private let required: [(name: String, node: Int)]
    private let assembler: RowAssembler
    private let registry: SchemaRegistry?
    private var readers: [Int32: Reader] = [:]
    private var decoders: [AvroDecoder] = []
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
            AvroProgram.Column(
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
        let reader = try makeReader(readSchemaFile(path), references: [], what: path)
        if case .refused(_, let reason) = reader {
            throw OperatorError(.user, .never, "bad_schema", reason)
        }
        fileReader = reader
    }

    private func makeReader(_ text: String, references: [String], what: String) throws(OperatorError) -> Reader {
        let schema: AvroSchema
        do throws(AvroSchema.Malformed) { schema = try AvroSchema(text, references: references) } catch {
            return .refused(code: "bad_schema", reason: "\(what) is no Avro schema: \(error.message)")
        }
        let program = AvroProgram(schema, columns: columns, assembler: assembler)
        if let problem = program.problem {
            return .refused(code: "schema_mismatch", reason: "\(what) does not fit the columns: \(problem)")
        }
        let decoder = AvroDecoder(program, assembler)
        decoders.append(decoder)
        return .ready(decoder)
    }

    /// What reads messages of the schema with that number. Waits for the registry the first time.
    private func reader(_ id: Int32) throws(OperatorError) -> Reader {
        if let reader = readers[id] { return reader }
        guard let registry else { return .refused(code: "no_schema", reason: "there is no registry to ask") }
        guard let schema = try registry.schema(id: id) else {
            return .refused(code: "no_such_schema", reason: "the registry has no schema \(id)")
        }
        let reader: Reader
        if schema.type == "AVRO" {
            reader = try makeReader(
                schema.text, references: schema.references.map(\.text), what: "schema \(id) of the registry")
        } else {
            reader = .refused(
                code: "schema_mismatch", reason: "schema \(id) of the registry is \(schema.type), not Avro")
        }
        readers[id] = reader
        return reader
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
        for (number, decoder) in decoders.enumerated() { decoder.constantBuffer = storage.buffers.count + number }
        try storage.withUnsafeViews { (views) throws(OperatorError) in
            var lastID: Int32?
            var last = fileReader
            for row in 0..<batch.rowCount {
                let bytes = views.bytes(row)
                if messages.isNull(row) {
                    rows.refuse(batch, row: row, code: "no_value", reason: "the value is null", raw: nil)
                    continue
                }
                var frame = 0
                if registry != nil {
                    guard let id = ConfluentFrame.schemaID(bytes) else {
                        rows.refuse(
                            batch, row: row, code: "no_schema_id", reason: ConfluentFrame.expected, raw: bytes)
                        continue
                    }
                    if id != lastID || last == nil {
                        let known = decoders.count
                        last = try reader(id)
                        lastID = id
                        if decoders.count > known { decoders[known].constantBuffer = storage.buffers.count + known }
                    }
                    frame = ConfluentFrame.byteCount
                }
                switch last {
                case .ready(let decoder):
                    let view = views[row]
                    if read(
                        decoder, UnsafeRawBufferPointer(rebasing: bytes[frame...]),
                        buffer: view.isInline ? 0 : Int32(truncatingIfNeeded: view.bufferIndex),
                        offset: view.isInline ? 0 : view.offset + frame, batch, row, bytes)
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

    /// Reads one message into a row; what fails goes to errors whole.
    private func read(
        _ decoder: AvroDecoder, _ message: UnsafeRawBufferPointer, buffer: Int32, offset: Int, _ batch: RecordBatch,
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
        _ decoder: AvroDecoder, _ message: UnsafeRawBufferPointer, _ batch: RecordBatch, _ row: Int,
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

/// `avro-parse` and `avro-encode`.
public enum AvroPlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.transform(AvroParse.self), .transform(AvroEncode.self)]
}
