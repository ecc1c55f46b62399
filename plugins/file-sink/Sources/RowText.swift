import DataflowColumnar
import DataflowText

/// Writes batches in the chosen format. Batches may differ in their columns (dead letters): each line is complete.
final class RowText {
    private let format: RowFormat
    private var json: JSONRows?
    private var csv: (schema: Schema, rows: CSVRows)?

    init(_ format: RowFormat) { self.format = format }

    /// Appends the rows of a batch.
    func write(_ batch: RecordBatch, into text: inout TextBuffer) {
        switch format {
        case .ndjson:
            let rows = json.flatMap { $0.schema == batch.schema ? $0 : nil } ?? JSONRows(batch.schema)
            json = rows
            rows.write(batch, into: &text)
        case .csv: csvRows(batch.schema).write(batch, into: &text)
        }
    }

    /// Appends the line of column names, where the format has one.
    func writeHeader(_ schema: Schema, into text: inout TextBuffer) {
        if format == .csv { csvRows(schema).writeHeader(into: &text) }
    }

    private func csvRows(_ schema: Schema) -> CSVRows {
        if let csv, csv.schema == schema { return csv.rows }
        let rows = CSVRows(schema)
        csv = (schema, rows)
        return rows
    }
}
