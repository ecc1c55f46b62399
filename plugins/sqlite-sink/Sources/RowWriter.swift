import DataflowColumnar

/// Writes batches into the table, row by row in the order of the stream, in the transaction that is open.
final class RowWriter {
    /// The statements; identifiers are quoted, values never stand in them.
    struct Statements {
        let insert: String
        /// For keys that can be null, which no unique index holds together: tried before `insert`.
        let update: String?
        let delete: String?
        let deleteAll: String

        init(table: String, columns: [TargetColumn], keyMayBeNull: Bool) {
            let target = SQLiteName.quote(table)
            let keys = columns.filter(\.isKey)
            let values = columns.filter { !$0.isKey }
            func list(_ columns: [TargetColumn]) -> String {
                columns.map { SQLiteName.quote($0.name) }.joined(separator: ", ")
            }
            let parameters = (1...max(1, columns.count)).map { "?\($0)" }.joined(separator: ", ")
            let plain = "insert into \(target) (\(list(columns))) values (\(parameters))"
            let matches = keys.enumerated().map {
                "\(SQLiteName.quote($1.name)) \(keyMayBeNull ? "is" : "=") ?\($0 + 1)"
            }.joined(separator: " and ")
            if keys.isEmpty || keyMayBeNull {
                insert = plain
            } else {
                let set = values.map { "\(SQLiteName.quote($0.name)) = excluded.\(SQLiteName.quote($0.name))" }
                insert =
                    plain + " on conflict (\(list(keys))) do "
                    + (set.isEmpty ? "nothing" : "update set " + set.joined(separator: ", "))
            }
            if keyMayBeNull {
                // A key alone is set to itself: what counts is whether there is such a row.
                let set = columns.enumerated().filter { values.isEmpty || !$1.isKey }.map {
                    "\(SQLiteName.quote($1.name)) = ?\($0 + 1)"
                }
                update = "update \(target) set \(set.joined(separator: ", ")) where \(matches)"
            } else {
                update = nil
            }
            delete = keys.isEmpty ? nil : "delete from \(target) where \(matches)"
            deleteAll = "delete from \(target)"
        }
    }

    /// What to do with a row that the database refuses: called with its number in the batch.
    typealias Refused = (_ row: Int, _ failure: SQLiteFailure) throws(SQLiteFailure) -> Void

    private let database: SQLiteDatabase
    private let columns: [TargetColumn]
    private let binders: [ValueBinder]
    private let keyCount: Int
    private let insert: SQLiteStatement
    private let update: SQLiteStatement?
    private let delete: SQLiteStatement?

    init(_ database: SQLiteDatabase, columns: [TargetColumn], _ statements: Statements) throws(SQLiteFailure) {
        self.database = database
        self.columns = columns
        keyCount = columns.prefix { $0.isKey }.count
        binders = columns.map { ValueBinder.make($0) }
        insert = try database.prepare(statements.insert)
        if let sql = statements.update { update = try database.prepare(sql) } else { update = nil }
        if let sql = statements.delete { delete = try database.prepare(sql) } else { delete = nil }
    }

    /// Writes the rows of a batch.
    ///
    /// - Throws: what is not the row's fault, and what `refused` throws; the transaction is to be rolled back then.
    func write(_ batch: RecordBatch, refused: Refused) throws(SQLiteFailure) {
        for (binder, column) in zip(binders, columns) { binder.prepare(batch.columns[column.source]) }
        let deletes = delete == nil ? nil : batch.deletes
        for row in 0..<batch.rowCount {
            do throws(SQLiteFailure) {
                if let deletes, deletes[row], let delete {
                    bind(row, keyCount, to: delete)
                    try delete.run()
                } else {
                    try write(row)
                }
            } catch {
                // A trigger may end the transaction, too (`raise(rollback)`): then the other rows are gone with it.
                guard error.kind == .row, !database.isOutsideTransaction else { throw error }
                try refused(row, error)
            }
        }
    }

    @inline(__always)
    private func write(_ row: Int) throws(SQLiteFailure) {
        if let update {
            bind(row, columns.count, to: update)
            try update.run()
            if database.changes > 0 { return }
        }
        bind(row, columns.count, to: insert)
        try insert.run()
    }

    @inline(__always)
    private func bind(_ row: Int, _ count: Int, to statement: SQLiteStatement) {
        for index in 0..<count { binders[index].bind(row, to: statement, at: Int32(truncatingIfNeeded: index + 1)) }
    }
}
