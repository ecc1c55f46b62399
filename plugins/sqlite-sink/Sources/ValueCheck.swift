import DataflowColumnar
import Glibc

/// Finds the rows of a batch that SQLite would not store as they are: NaN, which it takes for null; the character U+0000,
/// behind which its functions see nothing of a text; more bytes than a row may have.
struct ValueCheck {
    /// A row that cannot be written.
    struct Refusal {
        var row: Int
        var code: String
        var reason: String
    }

    /// SQLite's limit of a row is a billion bytes (SQLITE_MAX_LENGTH); its header and the texts of numbers need some, too.
    static let maxRowBytes = 900_000_000

    /// The first reason of each refused row, ascending.
    static func refusals(_ columns: [TargetColumn], _ batch: RecordBatch) -> [Refusal] {
        var found: [Int: Refusal] = [:]
        for column in columns {
            let values = batch.columns[column.source]
            let deletes = column.isKey ? nil : batch.deletes
            func refuse(_ row: Int, _ code: String, _ reason: String) {
                if found[row] == nil, !values.isNull(row), deletes?[row] != true {
                    found[row] = Refusal(row: row, code: code, reason: "column \(column.name): \(reason)")
                }
            }
            switch (column.form, values.storage) {
            case (.real, .float64(let doubles)):
                doubles.withUnsafeBufferPointer { doubles in
                    for row in doubles.indices where doubles[row].isNaN { refuse(row, "not_a_number", nanReason) }
                }
            case (.real, .float32(let floats)):
                floats.withUnsafeBufferPointer { floats in
                    for row in floats.indices where floats[row].isNaN { refuse(row, "not_a_number", nanReason) }
                }
            case (.text, .view(let storage)):
                storage.withUnsafeViews { views in
                    for row in 0..<views.count {
                        let bytes = views.bytes(row)
                        guard let start = bytes.baseAddress, memchr(start, 0, bytes.count) != nil else { continue }
                        refuse(row, "zero_character", zeroReason)
                    }
                }
            default: break
            }
        }
        if batch.byteCount > maxRowBytes {
            for row in 0..<batch.rowCount where found[row] == nil {
                let size = batch.slice(row..<row + 1).byteCount
                if size > maxRowBytes {
                    found[row] = Refusal(
                        row: row, code: "row_too_large",
                        reason: "the row takes \(size) bytes; SQLite takes less than 1 GB")
                }
            }
        }
        return found.values.sorted { $0.row < $1.row }
    }

    private static let nanReason = "NaN, which SQLite would store as null"
    private static let zeroReason = "the text holds the character U+0000, behind which SQLite's functions see nothing"
}
