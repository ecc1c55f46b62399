public import DataflowColumnar

/// Writes rows as CSV, quoted as RFC 4180 has it; lines end with `\n`.
///
/// Null is an empty field, the empty string `""`. Fields with a comma, a quote, a line end or space at an end are quoted.
/// Values look as in JSON without the quotes; lists and structs are JSON text.
public final class CSVRows {
    private let schema: Schema
    private let cells: [(cell: JSONCell, kind: Kind)]
    private let key: [String]?
    private let isKey: [Bool]
    private var scratch = TextBuffer()

    private enum Kind {
        /// Never needs quotes.
        case plain
        /// A JSON string: its quotes are taken off, then it is quoted where it has to be.
        case quoted
        case text
        case bytes
        /// JSON text.
        case nested
    }

    /// - Parameter key: the key columns of an upsert stream: puts an `op` column (`upsert`, `delete`) in front.
    public init(_ schema: Schema, key: [String]? = nil) {
        self.schema = schema
        self.key = key
        isKey = schema.fields.map { key?.contains($0.name) ?? true }
        cells = schema.fields.map { field in
            let kind: Kind =
                switch field.type {
                case .bool, .int32, .int64, .decimal: .plain
                case .float32, .float64, .timestamp, .date: .quoted
                case .string: .text
                case .bytes: .bytes
                case .list, .structure: .nested
                }
            return (JSONCell.make(field.type), kind)
        }
    }

    /// Appends the line of column names.
    public func writeHeader(into text: inout TextBuffer) {
        let names = (key == nil ? [] : ["op"]) + schema.names
        for (number, name) in names.enumerated() {
            if number > 0 { text.append(UInt8(ascii: ",")) }
            var name = name
            name.withUTF8 { CSVRows.append(field: UnsafeRawBufferPointer($0), into: &text) }
        }
        text.append(UInt8(ascii: "\n"))
    }

    /// Appends the rows of a batch of the schema, each with a line end.
    public func write(_ batch: RecordBatch, into text: inout TextBuffer) {
        for (cell, column) in zip(cells, batch.columns) { cell.cell.prepare(column) }
        for row in 0..<batch.rowCount {
            let isDelete = batch.deletes?[row] ?? false
            if key != nil {
                text.append(isDelete ? "delete" : "upsert")
                if !cells.isEmpty { text.append(UInt8(ascii: ",")) }
            }
            for (number, column) in batch.columns.enumerated() {
                if number > 0 { text.append(UInt8(ascii: ",")) }
                let cell = cells[number]
                if isDelete && !isKey[number] || cell.cell.isNull(row) { continue }
                write(cell.cell, cell.kind, column, row, into: &text)
            }
            text.append(UInt8(ascii: "\n"))
        }
    }

    private func write(
        _ cell: JSONCell, _ kind: Kind, _ column: Column, _ row: Int, into text: inout TextBuffer
    ) {
        switch kind {
        case .plain: cell.writeValue(row, into: &text)
        case .quoted:
            scratch.removeAll()
            cell.writeValue(row, into: &scratch)
            scratch.withUnsafeBytes { bytes in
                // Of these types only the quotes can be special.
                let isQuoted = bytes.first == UInt8(ascii: "\"")
                text.append(isQuoted ? UnsafeRawBufferPointer(rebasing: bytes[1..<bytes.count - 1]) : bytes)
            }
        case .text:
            column.viewValues?.withUnsafeViews { CSVRows.append(field: $0.bytes(row), into: &text) }
        case .bytes:
            column.viewValues?.withUnsafeViews { views in
                let bytes = views.bytes(row)
                if isValidUTF8(bytes) {
                    CSVRows.append(field: bytes, into: &text)
                } else {
                    text.append(base64: bytes)
                }
            }
        case .nested:
            scratch.removeAll()
            cell.writeValue(row, into: &scratch)
            scratch.withUnsafeBytes { CSVRows.append(field: $0, into: &text) }
        }
    }

    private static func append(field bytes: UnsafeRawBufferPointer, into text: inout TextBuffer) {
        let space = UInt8(ascii: " ")
        var needsQuotes = bytes.isEmpty || bytes.first == space || bytes.last == space
        for byte in bytes where !needsQuotes {
            needsQuotes =
                byte == UInt8(ascii: ",") || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\n")
                || byte == UInt8(ascii: "\r")
        }
        guard needsQuotes else { return text.append(bytes) }
        text.append(UInt8(ascii: "\""))
        for byte in bytes {
            if byte == UInt8(ascii: "\"") { text.append(byte) }
            text.append(byte)
        }
        text.append(UInt8(ascii: "\""))
    }
}
