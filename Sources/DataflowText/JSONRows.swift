public import DataflowColumnar

/// Writes rows as JSON objects, one a line (NDJSON). Nulls are written, so that every line has the same keys.
///
/// Of an upsert stream each line may begin with an `op` field: `upsert`, or `delete`, which has the key columns only.
public final class JSONRows {
    public let schema: Schema
    /// A column without references to count: what the loop over a row's columns reads.
    private struct Part {
        /// The key's bytes, padded as ``TextBuffer/append(padded:_:)`` wants them.
        var key: UnsafePointer<UInt8>
        var keyCount: Int
        var cell: Unmanaged<JSONCell>
        /// Whether it is written in deletes.
        var isKey: Bool
    }

    private let cells: [JSONCell]
    private let keys: UnsafeMutablePointer<UInt8>
    private let parts: UnsafeMutableBufferPointer<Part>
    private let operations: (upsert: [UInt8], delete: [UInt8])?

    /// - Parameter key: the key columns of an upsert stream: turns the `op` field on.
    /// - Parameter operationField: the name of the `op` field.
    public init(_ schema: Schema, key: [String]? = nil, operationField: String = "op") {
        self.schema = schema
        cells = schema.fields.map { JSONCell.make($0.type) }
        let texts = schema.fields.enumerated().map { number, field in
            jsonKey(field.name, isFirst: number == 0 && key == nil)
        }
        let sizes = texts.map { ($0.count + 15) & ~15 }
        keys = .allocate(capacity: max(1, sizes.reduce(0, +)))
        keys.initialize(repeating: 0, count: max(1, sizes.reduce(0, +)))
        parts = .allocate(capacity: cells.count)
        var offset = 0
        for (number, text) in texts.enumerated() {
            (keys + offset).update(from: text, count: text.count)
            parts.initializeElement(
                at: number,
                to: Part(
                    key: UnsafePointer(keys + offset), keyCount: text.count, cell: .passUnretained(cells[number]),
                    isKey: key?.contains(schema.fields[number].name) ?? true))
            offset += sizes[number]
        }
        if key != nil {
            let start = jsonKey(operationField, isFirst: true)
            operations = (start + Array("\"upsert\"".utf8), start + Array("\"delete\"".utf8))
        } else {
            operations = nil
        }
    }

    deinit {
        parts.deallocate()
        keys.deallocate()
    }

    /// Takes up a batch of the schema.
    public func prepare(_ batch: RecordBatch) {
        for (cell, column) in zip(cells, batch.columns) { cell.prepare(column) }
    }

    /// Appends a row of the prepared batch, without a line end.
    @inline(__always)
    public func write(_ row: Int, isDelete: Bool = false, into text: inout TextBuffer) {
        text.append(UInt8(ascii: "{"))
        if let operations { text.append(isDelete ? operations.delete : operations.upsert) }
        for part in parts {
            if isDelete, !part.isKey { continue }
            text.append(padded: part.key, part.keyCount)
            part.cell._withUnsafeGuaranteedRef { $0.write(row, into: &text) }
        }
        text.append(UInt8(ascii: "}"))
    }

    /// Appends the rows of a batch, each with a line end.
    public func write(_ batch: RecordBatch, into text: inout TextBuffer) {
        prepare(batch)
        let deletes = batch.deletes
        for row in 0..<batch.rowCount {
            write(row, isDelete: deletes?[row] ?? false, into: &text)
            text.append(UInt8(ascii: "\n"))
        }
    }

    /// The rows of a batch as one column of bytes, a JSON object each: what dead letters of rows without raw bytes hold.
    public static func column(_ batch: RecordBatch) -> Column {
        let rows = JSONRows(batch.schema)
        rows.prepare(batch)
        var builder = ViewBuilder(capacity: batch.rowCount)
        var text = TextBuffer()
        for row in 0..<batch.rowCount {
            text.removeAll()
            rows.write(row, into: &text)
            text.withUnsafeBytes { builder.append($0) }
        }
        return builder.finish(.bytes)
    }
}
