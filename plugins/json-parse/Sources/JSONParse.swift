public import DataflowCodec
public import DataflowColumnar
import DataflowConfig
public import DataflowOperator

/// The plugin of `json-parse`.
public enum JSONParsePlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.transform(JSONParse.self)]
}

/// `json-parse`: JSON documents to typed columns.
///
/// Documents are parsed by simdjson; the columns are built from its tape, chunk by chunk. Only columns that something
/// downstream uses are built (others are emitted as nulls); unused parts of a document cost a comparison of their key.
/// What cannot be read goes to the errors port: a whole document, or one of its rows while the others go on.
public final class JSONParse: ParsingTransform {
    public typealias Config = JSONParseConfig

    public static let info = OperatorInfo(
        "json-parse", .transform, "Parses JSON documents into typed columns and declares event time.")

    /// The rest of a batch whose output did not fit the buffer.
    private struct Pending {
        var batch: RecordBatch
        var next: Int
    }

    private let config: Config
    private let context: OperatorContext
    package let rows: ParsedRows
    private let parser: RowParser
    private var pending: Pending?

    public init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        self.config = config
        self.context = context
        let parsing = config.parsing
        let rows = try ParsedRows(parsing, context)
        self.rows = rows
        let plans = config.columns.enumerated().map { number, entry in
            ColumnPlan(
                name: entry.key, type: entry.value.type.type, path: entry.value.path?.value ?? .field(entry.key),
                isRequired: parsing.isRequired(parsing.columns[number]),
                nullOnMismatch: (entry.value.onMismatch.policy ?? config.onMismatch) == .null, unit: entry.value.unit,
                isUsed: rows.isUsed(number))
        }
        guard
            let parser = RowParser(
                rows: config.rows.value, columns: plans, maxDocumentBytes: config.maxDocumentSize.bytes,
                maxDepth: config.maxDepth)
        else { throw JSONParse.noMemory }
        self.parser = parser
    }

    private static let noMemory = OperatorError(
        .external, .withBackoff, "no_memory",
        "there was no memory for parsing; give the process more, or lower max_document_size or the sources' batch sizes"
    )

    // MARK: - Rows

    public func process(
        _ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress {
        try run(Pending(batch: batch, next: 0), &output)
    }

    public func resume(into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        guard let pending else { return .done }
        self.pending = nil
        return try run(pending, &output)
    }

    private func run(_ work: Pending, _ output: inout OutputBuffer) throws(OperatorError) -> Progress {
        let batch = work.batch
        guard let storage = batch.columns[rows.inputColumn].viewValues else {
            throw OperatorError(
                .engine, .never, "type_mismatch", "the column `\(config.column.value)` holds no text or bytes")
        }
        let validity = batch.columns[rows.inputColumn].validity
        var next = work.next
        try storage.withUnsafeViews { (views) throws(OperatorError) in
            // Every buffer has readable bytes behind its end, so no text is copied.
            var bases = [storage.views.withUnsafeBufferPointer { UnsafeRawBufferPointer($0) }]
            bases += storage.buffers.map { UnsafeRawBufferPointer(start: $0.base, count: $0.byteCount) }
            while next < batch.rowCount, !output.isFull {
                let first = next
                guard let after = parser.parse(views, bases: bases, from: next, isNull: { validity?[$0] == false })
                else { throw JSONParse.noMemory }
                next = after
                context.counters.add(
                    passed: parser.passedTexts, errors: after - first - parser.passedTexts)
                if !parser.rejected.isEmpty { gatherErrors(batch) }
                if parser.rowCount >= RecordBatch.defaultRowCount { emitRows(batch, &output) }
            }
        }
        emitRows(batch, &output)
        rows.emitErrors(into: &output)
        guard next < batch.rowCount else { return .done }
        pending = Pending(batch: batch, next: next)
        return .more
    }

    private func gatherErrors(_ batch: RecordBatch) {
        for rejected in parser.rejected {
            rows.refuse(
                batch, row: rejected.text, code: OperatorError.Code(rawValue: rejected.code), reason: rejected.reason,
                raw: rejected.raw)
        }
    }

    private func emitRows(_ batch: RecordBatch, _ output: inout OutputBuffer) {
        guard parser.rowCount > 0 else { return }
        let (built, origins) = parser.finish()
        rows.emit(built, origins: origins, of: batch, into: &output)
    }
}
