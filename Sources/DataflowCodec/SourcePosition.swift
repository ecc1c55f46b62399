package import DataflowColumnar

/// Says where an input row came from, by the columns that the sources give: for the errors port.
package struct SourcePosition {
    /// Columns that tell a position, in the order in which they are put together.
    package static let names = ["url", "path", "topic", "partition", "line", "offset"]

    private let columns: [Int]

    package init(_ schema: Schema) {
        columns = SourcePosition.names.compactMap { name in
            schema.index(of: name).flatMap { schema.fields[$0].type.isScalar ? $0 : nil }
        }
    }

    /// Such as `events.ndjson:4096` or `orders:3:1200`; nil where the input has no such columns.
    package func text(_ batch: RecordBatch, row: Int) -> String? {
        let parts: [String] = columns.compactMap { column in
            switch batch.columns[column].value(at: row) {
            case .string(let text): text
            case .int(let number): String(number)
            default: nil
            }
        }
        return parts.isEmpty ? nil : parts.joined(separator: ":")
    }
}
