import DataflowColumnar
import DataflowText

/// Prints rows as a table with aligned columns: widths grow with what comes, and the names are printed again when they did.
final class TableRows {
    private static let maxWidth = 40

    private let names: [String]
    private let isNumber: [Bool]
    private let key: [String]?
    private let isKey: [Bool]
    private let cells: [JSONCell]
    private var widths: [Int]
    private var hasHeader = false
    private var scratch = TextBuffer()

    init(_ schema: Schema, key: [String]?) {
        self.key = key
        names = (key == nil ? [] : [""]) + schema.names
        isNumber = (key == nil ? [] : [false]) + schema.fields.map(\.type.isNumeric)
        isKey = schema.fields.map { key?.contains($0.name) ?? true }
        cells = schema.fields.map { JSONCell.make($0.type) }
        widths = names.map { min($0.count, TableRows.maxWidth) }
    }

    func write(_ batch: RecordBatch, into text: inout TextBuffer) {
        for (cell, column) in zip(cells, batch.columns) { cell.prepare(column) }
        var table: [[String]] = []
        var hasGrown = false
        for row in 0..<batch.rowCount {
            let isDelete = batch.deletes?[row] ?? false
            var line = key == nil ? [] : [isDelete ? "-" : "+"]
            for (number, cell) in cells.enumerated() {
                line.append(isDelete && !isKey[number] ? "" : value(cell, batch.columns[number], row))
            }
            for (number, value) in line.enumerated() where value.count > widths[number] {
                widths[number] = value.count
                hasGrown = true
            }
            table.append(line)
        }
        if !hasHeader || hasGrown {
            write(names.map { TableRows.cut($0) }, into: &text)
            write(widths.map { String(repeating: "─", count: $0) }, into: &text)
            hasHeader = true
        }
        for line in table { write(line, into: &text) }
    }

    private func value(_ cell: JSONCell, _ column: Column, _ row: Int) -> String {
        if column.isNull(row) { return "" }
        scratch.removeAll()
        cell.write(row, into: &scratch)
        var value = scratch.text
        if value.hasPrefix("\"") { value = String(value.dropFirst().dropLast()) }
        return TableRows.cut(value)
    }

    private static func cut(_ text: String) -> String {
        text.count > maxWidth ? text.prefix(maxWidth - 1) + "…" : text
    }

    private func write(_ line: [String], into text: inout TextBuffer) {
        var out = ""
        for (number, value) in line.enumerated() {
            if number > 0 { out += "  " }
            let space = String(repeating: " ", count: max(0, widths[number] - value.count))
            if isNumber[number] {
                out += space + value
            } else {
                out += number + 1 < line.count ? value + space : value
            }
        }
        text.append(out)
        text.append(UInt8(ascii: "\n"))
    }
}
