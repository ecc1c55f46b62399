import DataflowColumnar

/// The statements that write into one table; identifiers are quoted, values never stand in them.
struct PgStatements {
    let table: PgName
    /// In the order of the COPY: the key first.
    let columns: [PgColumn]
    /// Whether a null may occur in the key.
    let keyMayBeNull: Bool

    private static let stage = "pg_temp.\"dataflow_stage\""

    var isUpsert: Bool { columns.first?.isKey == true }
    private var keys: [PgColumn] { columns.filter(\.isKey) }

    private func list(_ columns: [PgColumn]) -> String { columns.map { PgName.quote($0.name) }.joined(separator: ", ") }

    private var stageColumns: String { columns.indices.map { "c\($0)" }.joined(separator: ", ") }

    /// COPY straight into the table.
    var copyIntoTable: String {
        // A stream may have no column left (`keep: []`); PostgreSQL has no syntax for an empty list, and needs none.
        "copy \(table.sql)\(columns.isEmpty ? "" : " (\(list(columns)))") from stdin (format binary)"
    }

    /// A temporary table with the columns' types; lives as long as the connection, its rows as long as a transaction.
    var createStage: String {
        """
        create temporary table if not exists "dataflow_stage" (\(stageColumns), d) on commit delete rows as \
        select \(list(columns)), false from \(table.sql) with no data
        """
    }

    var copyIntoStage: String { "copy \(PgStatements.stage) (\(stageColumns), d) from stdin (format binary)" }

    /// Empties the stage between two segments of a transaction. A truncation costs a new file, deleting leaves rows
    /// behind that later merges must read past.
    func clearStage(rowCount: Int) -> String {
        rowCount > 10_000 ? "truncate \(PgStatements.stage)" : "delete from \(PgStatements.stage)"
    }

    /// The deletes of the stage. Rows with a whole key are found through the index; `is not distinct from` cannot use
    /// one, so it is left to the few keys that hold a null.
    var mergeDeletes: String {
        let equal = keys.indices.map { "t.\(PgName.quote(keys[$0].name)) = s.c\($0)" }.joined(separator: " and ")
        let plain = "delete from \(table.sql) as t using \(PgStatements.stage) as s where s.d and \(equal)"
        guard keyMayBeNull else { return plain }
        let same = keys.indices.map { "t.\(PgName.quote(keys[$0].name)) is not distinct from s.c\($0)" }
        let null = keys.indices.map { "s.c\($0) is null" }.joined(separator: " or ")
        return plain + "; " + """
            delete from \(table.sql) as t using \(PgStatements.stage) as s \
            where s.d and (\(null)) and \(same.joined(separator: " and "))
            """
    }

    /// The rows of the stage that are no deletes.
    var mergeRows: String {
        let values = columns.filter { !$0.isKey }
        let set = values.map { "\(PgName.quote($0.name)) = excluded.\(PgName.quote($0.name))" }
        return """
            insert into \(table.sql) (\(list(columns))) select \(stageColumns) from \(PgStatements.stage) where not d \
            on conflict (\(list(keys))) do \(values.isEmpty ? "nothing" : "update set " + set.joined(separator: ", "))
            """
    }

    var deleteAll: String { "delete from \(table.sql)" }

    /// The table for a stream, with a unique key where there is one.
    ///
    /// - Parameter fields: the stream's columns in their order.
    static func createTable(_ table: PgName, fields: [Field], key: [String], ifMissing: Bool = false) -> String {
        var lines = fields.map { field in
            "\(PgName.quote(field.name)) \(PgTypeMapping.sqlType(of: field.type))\(field.nullable ? "" : " not null")"
        }
        if !key.isEmpty {
            let nullable = fields.contains { key.contains($0.name) && $0.nullable }
            let names = key.map(PgName.quote).joined(separator: ", ")
            lines.append(nullable ? "unique nulls not distinct (\(names))" : "primary key (\(names))")
        }
        return "create table \(ifMissing ? "if not exists " : "")\(table.sql) (\(lines.joined(separator: ", ")))"
    }
}
