import DataflowOperator
import DataflowText

/// Rows on their way to the dead letters, or to the end of the run.
enum DeadLetterRows {
    /// Rows of any shape as ``ErrorRows``: the row as JSON text in `raw`. For late rows that no node reads; not a fast path.
    static func convert(_ batch: RecordBatch, port: String, _ context: OperatorContext) -> RecordBatch {
        var rows = ErrorRows(context)
        JSONRows.column(batch).viewValues?.withUnsafeViews { texts in
            for row in 0..<batch.rowCount {
                rows.append(code: OperatorError.Code(rawValue: port), reason: reason(port), raw: texts.bytes(row))
            }
        }
        return rows.finish()
    }

    private static func reason(_ port: String) -> String {
        port == "late" || port.hasPrefix("late_")
            ? "the row came after its window was closed" : "no node reads the port \(port)"
    }

    /// The error that ends a run with `on_error: fail`.
    static func refusal(_ batch: RecordBatch) -> OperatorError {
        func text(_ column: String) -> String? {
            if case .string(let text)? = batch[column]?.value(at: 0) { text } else { nil }
        }
        let place = text("position").map { " at \($0)" } ?? ""
        return OperatorError(
            .data, .never, OperatorError.Code(rawValue: text("code") ?? "bad_row"),
            "a row cannot be processed: \(text("reason") ?? "unknown reason")\(place) (on_error: fail; `dead_letter` would set such rows aside)"
        )
    }
}
