import DataflowOperator

/// A whole table in memory: rows by key, the columns beside.
///
/// Made on one thread and handed over to another, never shared: looking up uses scratch memory of its own.
final class LookupTable {
    /// Row n has the key number n.
    let columns: [Column]
    let rowCount: Int
    private let keys: GroupTable

    fileprivate init(_ keys: GroupTable, _ columns: [Column], rowCount: Int) {
        self.keys = keys
        self.columns = columns
        self.rowCount = rowCount
    }

    /// The row of each key, -1 where there is none. O(count).
    func find(_ columns: [Column], count: Int) -> [Int32] { keys.find(columns, count: count) }

    /// A column's values at `rows`, null where a row is negative. O(rows).
    func take(_ column: Int, _ rows: [Int32], found: Bitmap?) -> Column {
        guard let found else { return columns[column].take(Values(rows)) }
        guard rowCount > 0 else { return .nulls(columns[column].type, count: rows.count) }
        let taken = columns[column].take(
            Values(count: rows.count) { target in
                for i in 0..<rows.count { target[i] = max(rows[i], 0) }
            })
        return taken.withValidity(Bitmap.bothValid(taken.validity, found))
    }

    var byteCount: Int { keys.byteCount + columns.reduce(0) { $0 + $1.byteCount } }
}

/// Puts a table together from batches of texts.
final class TableBuilder {
    private let shape: TableShape
    /// Where the rows come from, for messages: a path, a server.
    private let origin: String
    private let casts: [CompiledExpression?]
    private let keys: GroupTable
    private var parts: [[Column]]
    private var readCount = 0
    private(set) var rowCount = 0
    /// Rows left out because their key has a null.
    private(set) var nullKeys = 0

    init(_ shape: TableShape, origin: String) throws(OperatorError) {
        self.shape = shape
        self.origin = origin
        keys = GroupTable(shape.columns.prefix(shape.keyCount).map(\.type))
        parts = shape.columns.map { _ in [] }
        var casts: [CompiledExpression?] = []
        for column in shape.columns {
            if column.type == .string || column.type == .bytes {
                casts.append(nil)
                continue
            }
            do throws(ExpressionErrors) {
                casts.append(
                    try Expression.compile(
                        "cast(value as \(column.type))", schema: Schema([Field("value", .string)])))
            } catch {
                throw OperatorError(.engine, .never, "bad_plan", "no text can be read as \(column.type): \(error)")
            }
        }
        self.casts = casts
    }

    /// Takes rows: a column of text (of bytes where the table's is bytes) for each of the shape's.
    func append(_ texts: [Column], count: Int) throws(OperatorError) {
        guard count > 0 else { return }
        var columns: [Column] = []
        for (index, column) in shape.columns.enumerated() {
            guard let cast = casts[index] else {
                columns.append(texts[index])
                continue
            }
            let (values, errors) = cast.evaluate(
                RecordBatch(Schema([Field("value", .string)]), [texts[index]], rowCount: count))
            if let first = errors.rows.first {
                throw OperatorError(
                    .user, .never, "bad_lookup_value",
                    "\(origin): row \(readCount + first.row + 1), column `\(column.name)`: \(first.error.message)")
            }
            columns.append(values)
        }
        let chosen = try newKeys(columns, count: count)
        for index in columns.indices {
            let values = chosen.count == count ? columns[index] : columns[index].take(chosen)
            // The rows stay, so what they were read from must not.
            parts[index].append(values.compacted())
        }
        readCount += count
        rowCount += chosen.count
        guard rowCount <= shape.maxRows else {
            throw OperatorError(
                .user, .never, "lookup_too_large",
                "\(origin) has more than \(shape.maxRows) rows, the most that `max_rows` lets into memory; choose fewer rows or raise it"
            )
        }
    }

    /// The rows whose key is new, in order; their keys get the numbers from `rowCount` on.
    private func newKeys(_ columns: [Column], count: Int) throws(OperatorError) -> Values<Int32> {
        var valid: Bitmap?
        for key in columns.prefix(shape.keyCount) { valid = Bitmap.bothValid(valid, key.validity) }
        let rows =
            valid?.setIndices
            ?? Values(count: count) { target in
                for i in 0..<count { target[i] = Int32(truncatingIfNeeded: i) }
            }
        nullKeys += count - rows.count
        let keyColumns = columns.prefix(shape.keyCount).map { rows.count == count ? $0 : $0.take(rows) }
        let ids = keys.findOrInsert(keyColumns, count: rows.count)
        var next = Int32(truncatingIfNeeded: rowCount)
        var chosen: [Int32] = []
        chosen.reserveCapacity(rows.count)
        for i in 0..<rows.count {
            if ids[i] == next {
                chosen.append(rows[i])
                next += 1
            } else if shape.duplicates == .error {
                let key = KeyText(shape.keyNames, keyColumns.map { $0.slice(i..<i + 1) })[0]
                throw OperatorError(
                    .user, .never, "duplicate_key",
                    "\(origin): row \(readCount + Int(rows[i]) + 1) has the key \(key) a second time; make it unique, or set `duplicates: first`"
                )
            }
        }
        return Values(chosen)
    }

    func finish() -> LookupTable {
        let columns = shape.columns.indices.map { Column.concatenate(shape.columns[$0].type, parts[$0]) }
        return LookupTable(keys, columns, rowCount: rowCount)
    }
}

/// Keys in words, for messages: `country = 'DE', year = 2024`.
struct KeyText {
    private let names: [String]
    private let columns: [(text: Column, isQuoted: Bool)]

    init(_ names: [String], _ columns: [Column]) {
        self.names = names
        self.columns = columns.map { column in
            if column.type == .string { return (column, true) }
            let batch = RecordBatch(Schema([Field("value", column.type)]), [column])
            let text = try? Expression.compile("cast(value as string)", schema: batch.schema).evaluate(batch).column
            return (text ?? column, false)
        }
    }

    subscript(row: Int) -> String {
        zip(names, columns).map { name, column in
            guard case .string(let text) = column.text.value(at: row) else { return "\(name) = null" }
            return column.isQuoted ? "\(name) = '\(text)'" : "\(name) = \(text)"
        }.joined(separator: ", ")
    }
}
