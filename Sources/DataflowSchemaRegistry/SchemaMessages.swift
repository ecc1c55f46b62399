public import DataflowCodec
public import DataflowColumnar
public import DataflowOperator
import Glibc

/// What stands in front of a message whose schema is in a registry.
@usableFromInline
package protocol SchemaFrame {
    /// Nil where the bytes are no such frame.
    init?(_ message: UnsafeRawBufferPointer)
    /// Bytes of all of it.
    var byteCount: Int { get }
}

/// Why a message cannot be read.
@usableFromInline
package protocol MessageProblem {
    var code: String { get }
    var reason: String { get }
}

/// Reads messages of one schema into the nodes of a ``RowAssembler``.
@usableFromInline
package protocol SchemaDecoder: AnyObject {
    associatedtype Problem: MessageProblem
    /// What values refer to besides the messages: to be put behind the buffers of the messages.
    var constants: Buffer { get }
    /// The number that the constants' buffer has among those of the batch.
    var constantBuffer: Int { get set }
    var problem: Problem { get }
    /// Where the last message was given up: bytes from its start, and the node that a value was meant for, or -1.
    var failure: (offset: Int, node: Int) { get }

    /// Reads one message into `row` of the assembler.
    ///
    /// - Parameters:
    ///   - buffer: the number of the buffer that the message stands in, among those of the batch.
    ///   - offset: where it stands there.
    /// - Returns: false where it cannot be read; ``problem`` and ``failure`` tell why. The row is then to be taken back.
    func decode(_ message: UnsafeRawBufferPointer, row: Int, buffer: Int32, offset: Int) -> Bool
}

/// What a column is read from.
@usableFromInline
package struct MessageColumn {
    package var name: String
    package var field: String
    package var type: DataType
    /// The root node; nil where the column is not built.
    package var node: Int?
}

/// Parses messages whose schema is not in them: known beforehand, or told by a frame in front of each.
///
/// For each frame there is a reader, asked for when its first message comes. One instance belongs to one operator.
@usableFromInline
package final class SchemaMessages<Decoder: SchemaDecoder, Frame: SchemaFrame> {
    /// What is known of a schema.
    @usableFromInline
    package enum Reader {
        case ready(Decoder)
        /// No message of it can be read.
        case refused(code: OperatorError.Code, reason: String)
    }

    @usableFromInline package let rows: ParsedRows
    @usableFromInline package let columns: [MessageColumn]
    @usableFromInline package let assembler: RowAssembler
    @usableFromInline let context: OperatorContext
    @usableFromInline let required: [(name: String, node: Int)]
    @usableFromInline var decoders: [Decoder] = []
    /// By the bytes in front of the messages.
    @usableFromInline var readers: [[UInt8]: Reader] = [:]
    @usableFromInline var frame: [UInt8] = []

    /// - Parameter fields: what each column is read from; nil for the field of its name.
    package init(
        _ settings: ParseSettings, fields: [String?], _ context: OperatorContext
    ) throws(OperatorError) {
        self.context = context
        let rows = try ParsedRows(settings, context)
        self.rows = rows
        let isBuilt = settings.columns.enumerated().map { rows.isUsed($0) || settings.isRequired($1) }
        let assembler = RowAssembler(zip(settings.columns, isBuilt).map { $1 ? $0.type : nil })
        self.assembler = assembler
        columns = settings.columns.enumerated().map { number, column in
            MessageColumn(
                name: column.name, field: fields[number] ?? column.name, type: column.type,
                node: assembler.roots[number])
        }
        required = settings.columns.enumerated().compactMap { number, column in
            settings.isRequired(column) ? assembler.roots[number].map { (column.name, $0) } : nil
        }
    }

    /// Takes up a decoder, made for ``columns`` and ``assembler``.
    package func add(_ decoder: Decoder) -> Reader {
        decoders.append(decoder)
        return .ready(decoder)
    }

    /// Parses the messages of a batch and sends their rows on, with what was refused.
    ///
    /// - Parameters:
    ///   - reader: what reads messages that have nothing in front; nil where each has a frame.
    ///   - find: answers what reads messages with that frame; asked once a frame.
    @inlinable
    package func process(
        _ batch: RecordBatch, into output: inout OutputBuffer, reader: Reader?,
        find: (Frame) throws(OperatorError) -> Reader
    ) throws(OperatorError) {
        let messages = batch.columns[rows.inputColumn]
        guard let storage = messages.viewValues else {
            throw OperatorError(.engine, .never, "type_mismatch", "the messages are no text or bytes")
        }
        assembler.reserve(batch.rowCount)
        var origins: [Int32] = []
        origins.reserveCapacity(batch.rowCount)
        number(storage.buffers.count)
        try storage.withUnsafeViews { (views) throws(OperatorError) in
            var last = reader
            for row in 0..<batch.rowCount {
                let bytes = views.bytes(row)
                if messages.isNull(row) {
                    rows.refuse(batch, row: row, code: "no_value", reason: "the value is null", raw: nil)
                    continue
                }
                let current: Reader
                if let last, reader != nil || starts(bytes, with: frame) {
                    current = last
                } else {
                    guard let head = Frame(bytes) else {
                        rows.refuse(
                            batch, row: row, code: "no_schema_id", reason: ConfluentFrame.expected, raw: bytes)
                        continue
                    }
                    frame = Array(bytes[..<head.byteCount])
                    if let known = readers[frame] {
                        current = known
                    } else {
                        current = try find(head)
                        // What the registry does not know today it may know tomorrow.
                        if case .refused("no_such_schema", _) = current {} else { readers[frame] = current }
                        number(storage.buffers.count)
                    }
                    last = current
                }
                switch current {
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
                }
            }
        }
        context.counters.add(passed: origins.count, errors: batch.rowCount - origins.count)
        let built = assembler.finish(storage.buffers + decoders.map(\.constants))
        rows.emit(
            built.enumerated().map { rows.isUsed($0) ? $1 : nil }, origins: Values(origins), of: batch, into: &output)
        rows.emitErrors(into: &output)
    }

    /// Says where the constants of each decoder will stand: behind the messages' buffers.
    @usableFromInline
    func number(_ bufferCount: Int) {
        for (number, decoder) in decoders.enumerated() { decoder.constantBuffer = bufferCount + number }
    }

    @usableFromInline
    func starts(_ bytes: UnsafeRawBufferPointer, with frame: [UInt8]) -> Bool {
        guard let base = bytes.baseAddress, bytes.count >= frame.count else { return false }
        return memcmp(base, frame, frame.count) == 0
    }

    /// Reads one message into a row; what fails goes to errors whole.
    @inlinable
    func read(
        _ decoder: Decoder, _ message: UnsafeRawBufferPointer, buffer: Int32, offset: Int, _ batch: RecordBatch,
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

    @usableFromInline
    func refuse(
        _ decoder: Decoder, _ message: UnsafeRawBufferPointer, _ batch: RecordBatch, _ row: Int,
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
}
