public import DataflowColumnar
public import DataflowExpression
import DataflowText

/// The shape of every `node.errors` port: what could not be processed, where it stood and why.
public struct ErrorRows: ~Copyable {
    /// `node`, `code`, `reason`, `position` (e.g. `file.ndjson:4096` or an URL), `at` (processing time), `raw` (the bytes).
    public static let schema = Schema([
        Field("node", .string, nullable: false),
        Field("code", .string, nullable: false),
        Field("reason", .string, nullable: false),
        Field("position", .string),
        Field("at", .timestamp, nullable: false),
        Field("raw", .bytes),
    ])

    private let node: String
    private let at: Int64
    private var nodes = ViewBuilder()
    private var codes = ViewBuilder()
    private var reasons = ViewBuilder()
    private var positions = ViewBuilder()
    private var raws = ViewBuilder()
    /// Rows so far.
    public private(set) var count = 0

    /// An empty table of errors of the context's node, stamped with the time of now.
    public init(_ context: OperatorContext) {
        node = context.node
        at = context.clock.wallMicroseconds
    }

    /// Adds a row. Copies the bytes.
    public mutating func append(
        code: OperatorError.Code, reason: String, position: String? = nil, raw: UnsafeRawBufferPointer? = nil
    ) {
        nodes.append(node)
        codes.append(code.rawValue)
        reasons.append(reason)
        if let position { positions.append(position) } else { positions.appendNull() }
        if let raw { raws.append(raw) } else { raws.appendNull() }
        count += 1
    }

    /// The rows so far; begins anew.
    public mutating func finish() -> RecordBatch {
        let rows = count
        count = 0
        return RecordBatch(
            ErrorRows.schema,
            [
                nodes.finish(), codes.finish(), reasons.finish(), positions.finish(),
                Column(.timestamp, .int64(Values(repeating: at, count: rows))), raws.finish(.bytes),
            ])
    }
}

extension ErrorRows {
    /// Adds all rows of `batch`, each as a JSON object, for one reason.
    public mutating func append(_ batch: RecordBatch, code: OperatorError.Code, reason: String) {
        guard batch.rowCount > 0, let texts = JSONRows.column(batch).viewValues else { return }
        texts.withUnsafeViews { texts in
            for row in 0..<batch.rowCount { append(code: code, reason: reason, raw: texts.bytes(row)) }
        }
    }

    /// Adds the rows of `batch` for which an expression has no value, each as a JSON object with the reason.
    public mutating func append(_ errors: RowErrors, of batch: RecordBatch) {
        guard !errors.isEmpty else { return }
        let failed = errors.rows
        let rows = batch.take(Values(failed.map { Int32(truncatingIfNeeded: $0.row) }))
        guard let texts = JSONRows.column(rows).viewValues else { return }
        texts.withUnsafeViews { texts in
            for (index, entry) in failed.enumerated() {
                append(
                    code: OperatorError.Code(rawValue: entry.error.code.rawValue), reason: entry.error.message,
                    raw: texts.bytes(index))
            }
        }
    }
}

extension ErrorRows {
    /// Adds the rows of `batch` at `rows`, each as a JSON object; `reason` is asked once a row.
    public mutating func append(
        code: OperatorError.Code, rows: Values<Int32>, of batch: RecordBatch, reason: (Int) -> String
    ) {
        guard let texts = JSONRows.column(batch.take(rows)).viewValues else { return }
        texts.withUnsafeViews { texts in
            for index in 0..<rows.count {
                append(code: code, reason: reason(Int(rows[index])), raw: texts.bytes(index))
            }
        }
    }
}
