import DataflowColumnar

/// How the values of a column are stored: SQLite's own storage classes, and what is made of the rest.
enum StorageForm: Equatable {
    /// INTEGER: integers, and booleans as 0 and 1.
    case integer
    /// REAL.
    case real
    /// TEXT, as it is.
    case text
    case blob
    /// TEXT: the exact decimal number.
    case decimalText
    /// TEXT: `2025-01-02T03:04:05.000006Z`; `2025-01-02`.
    case timeText
    /// INTEGER: microseconds, or days, since 1970.
    case timeNumber
    /// TEXT: JSON.
    case json

    /// The form for a column of a table that the sink creates.
    static func created(for type: DataType) -> StorageForm {
        switch type {
        case .bool, .int32, .int64: .integer
        case .float32, .float64: .real
        case .decimal: .decimalText
        case .string: .text
        case .bytes: .blob
        case .timestamp, .date: .timeText
        case .list, .structure: .json
        }
    }

    /// The column's type in such a table. The tables are STRICT: SQLite refuses values of another type, whoever writes them.
    var sqlType: String {
        switch self {
        case .integer, .timeNumber: "INTEGER"
        case .real: "REAL"
        case .blob: "BLOB"
        case .text, .decimalText, .timeText, .json: "TEXT"
        }
    }
}

/// What SQLite does to values that are stored in a column (https://www.sqlite.org/datatype3.html, 3.1).
enum ColumnAffinity: String {
    case integer = "INTEGER"
    case real = "REAL"
    case text = "TEXT"
    case numeric = "NUMERIC"
    /// Values stay as they are.
    case none = "BLOB"

    /// - Parameter strict: the table is STRICT, where `ANY` keeps values as they are.
    init(declared: String, strict: Bool) {
        let type = declared.uppercased()
        if strict, type == "ANY" {
            self = .none
        } else if type.contains("INT") {
            self = .integer
        } else if type.contains("CHAR") || type.contains("CLOB") || type.contains("TEXT") {
            self = .text
        } else if type.isEmpty || type.contains("BLOB") {
            self = .none
        } else if type.contains("REAL") || type.contains("FLOA") || type.contains("DOUB") {
            self = .real
        } else {
            self = .numeric
        }
    }

    /// How values of `type` are stored so that they come back as they were; nil where they would not.
    func form(for type: DataType) -> StorageForm? {
        switch (type, self) {
        case (.bool, .integer), (.bool, .numeric), (.bool, .none): .integer
        case (.int32, .integer), (.int32, .numeric), (.int32, .none), (.int32, .real): .integer
        case (.int64, .integer), (.int64, .numeric), (.int64, .none): .integer
        case (.float32, .real), (.float32, .none), (.float32, .numeric): .real
        case (.float64, .real), (.float64, .none), (.float64, .numeric): .real
        case (.decimal, .text), (.decimal, .none): .decimalText
        case (.string, .text), (.string, .none): .text
        case (.bytes, .none): .blob
        case (.timestamp, .text), (.timestamp, .none), (.date, .text), (.date, .none): .timeText
        case (.timestamp, .integer), (.timestamp, .numeric), (.date, .integer), (.date, .numeric): .timeNumber
        case (.list, .text), (.list, .none), (.structure, .text), (.structure, .none): .json
        default: nil
        }
    }

    /// The affinities that `type` may be written to, for messages.
    static func accepted(for type: DataType) -> String {
        [ColumnAffinity.integer, .real, .text, .numeric, .none].filter { $0.form(for: type) != nil }
            .map(\.rawValue).joined(separator: " or ")
    }
}

/// A column of the target, and which column of the stream feeds it.
struct TargetColumn: Equatable {
    var name: String
    /// The position in the stream's schema.
    var source: Int
    var type: DataType
    var form: StorageForm
    var isKey: Bool
}

/// The target table as the database has it, and the check that the stream fits.
struct TableSchema {
    struct ColumnInfo {
        var name: String
        var declared: String
        var affinity: ColumnAffinity
        var isNotNull: Bool
        var hasDefault: Bool
        var isGenerated: Bool
    }

    var columns: [ColumnInfo] = []
    /// Column sets that are unique, the primary key among them.
    var uniqueKeys: [[String]] = []
    /// A CHECK, a trigger or the like may refuse a row.
    private var mayRefuse: Bool

    /// How a table of the stream is to be filled, or everything that is in the way.
    enum Fit {
        case fits([TargetColumn])
        case mismatch([String])
    }

    /// What stands under that name: `table`, `view`, `virtual` …; nil for nothing.
    static func kind(of table: String, _ database: SQLiteDatabase) throws(SQLiteFailure) -> String? {
        try database.query(
            "select type from pragma_table_list where schema = 'main' and name = ?1 collate nocase", [table]
        ).first?[0]
    }

    /// Reads columns and keys of a table.
    init(of table: String, _ database: SQLiteDatabase) throws(SQLiteFailure) {
        let strict =
            try database.query(
                "select strict from pragma_table_list where schema = 'main' and name = ?1 collate nocase", [table]
            ).first?[0] == "1"
        var primary: [(position: Int, name: String)] = []
        for row in try database.query(
            "select name, type, \"notnull\", dflt_value is not null, pk, hidden from pragma_table_xinfo(?1)", [table])
        {
            let name = row[0] ?? ""
            let declared = row[1] ?? ""
            let position = row[4].flatMap { Int($0) } ?? 0
            if position > 0 { primary.append((position, name)) }
            columns.append(
                ColumnInfo(
                    name: name, declared: declared, affinity: ColumnAffinity(declared: declared, strict: strict),
                    isNotNull: row[2] == "1", hasDefault: row[3] == "1", isGenerated: row[5] == "2" || row[5] == "3"))
        }
        if !primary.isEmpty { uniqueKeys.append(primary.sorted { $0.position < $1.position }.map(\.name)) }
        let indexes = try database.query(
            """
            select i.name, c.name from pragma_index_list(?1) i, pragma_index_xinfo(i.name) c
            where i."unique" = 1 and i.partial = 0 and c.key = 1 order by i.seq, c.seqno
            """, [table])
        var last: String?
        for row in indexes {
            if row[0] != last {
                uniqueKeys.append([])
                last = row[0]
            }
            // An expression has no name: such an index is no key, but may refuse.
            uniqueKeys[uniqueKeys.count - 1].append(row[1] ?? "\u{0}")
        }
        let text =
            try database.query(
                "select upper(sql) from sqlite_schema where type = 'table' and name = ?1 collate nocase", [table]
            ).first?[0] ?? ""
        let triggers = try database.query(
            "select 1 from sqlite_schema where type = 'trigger' and tbl_name = ?1 collate nocase limit 1", [table])
        let partial = try database.query(
            "select 1 from pragma_index_list(?1) where \"unique\" = 1 and partial = 1 limit 1", [table])
        mayRefuse =
            text.contains("CHECK") || !triggers.isEmpty || !partial.isEmpty
            || columns.contains { $0.isGenerated && $0.isNotNull }
    }

    /// Finds for every column of the stream how it is written; the key's columns come first.
    func fit(_ table: String, fields: [Field], key: [String]) -> Fit {
        let target = SQLiteName.quote(table)
        var problems: [String] = []
        var fitted: [TargetColumn] = []
        for (source, field) in fields.enumerated() {
            guard let column = columns.first(where: { SQLiteName.isSame($0.name, field.name) }) else {
                problems.append(
                    "column \(field.name) is missing; add it: alter table \(target) add column "
                        + "\(SQLiteName.quote(field.name)) \(StorageForm.created(for: field.type).sqlType)")
                continue
            }
            if column.isGenerated {
                problems.append("column \(field.name) is generated by the database, so nothing can be written to it")
            } else if let form = column.affinity.form(for: field.type) {
                fitted.append(
                    TargetColumn(
                        name: field.name, source: source, type: field.type, form: form,
                        isKey: key.contains(field.name)))
            } else {
                let declared = column.declared.isEmpty ? "declared without a type" : "declared \(column.declared)"
                problems.append(
                    "column \(field.name) is \(declared); the stream has \(field.type), which needs "
                        + ColumnAffinity.accepted(for: field.type))
            }
        }
        for column in columns where column.isNotNull && !column.hasDefault && !column.isGenerated {
            if !fields.contains(where: { SQLiteName.isSame($0.name, column.name) }), !isRowID(column.name) {
                problems.append(
                    "column \(column.name) is not null and has no default, and the stream has no such column")
            }
        }
        if !key.isEmpty, !uniqueKeys.contains(where: { TableSchema.isSame($0, key) }) {
            let list = key.map(SQLiteName.quote).joined(separator: ", ")
            problems.append(
                "no unique index on the key (\(key.joined(separator: ", "))); create it: create unique index "
                    + "\(SQLiteName.quote(table + "_key")) on \(target) (\(list))")
        }
        if !problems.isEmpty { return .mismatch(problems) }
        return .fits(fitted.filter(\.isKey) + fitted.filter { !$0.isKey })
    }

    /// Whether a row of the stream may be refused although every value has the right type.
    func mayRefuse(fields: [Field], key: [String]) -> Bool {
        mayRefuse || uniqueKeys.contains { !TableSchema.isSame($0, key) && !isGivenByDatabase($0, fields) }
            || fields.contains { field in
                field.nullable && columns.contains { SQLiteName.isSame($0.name, field.name) && $0.isNotNull }
            }
    }

    /// A row id that the stream does not write.
    private func isGivenByDatabase(_ key: [String], _ fields: [Field]) -> Bool {
        key.count == 1 && isRowID(key[0]) && !fields.contains { SQLiteName.isSame($0.name, key[0]) }
    }

    private func isRowID(_ name: String) -> Bool {
        columns.contains { SQLiteName.isSame($0.name, name) && $0.declared.uppercased() == "INTEGER" }
            && uniqueKeys.first.map { $0.count == 1 && SQLiteName.isSame($0[0], name) } == true
    }

    private static func isSame(_ left: [String], _ right: [String]) -> Bool {
        left.count == right.count && Set(left.map(SQLiteName.folded)) == Set(right.map(SQLiteName.folded))
    }

    /// The table for a stream, with a unique key where there is one.
    static func createTable(_ table: String, fields: [Field], key: [String]) -> String {
        var lines = fields.map { field in
            "\(SQLiteName.quote(field.name)) \(StorageForm.created(for: field.type).sqlType)"
                + (field.nullable ? "" : " NOT NULL")
        }
        if !key.isEmpty {
            let nullable = fields.contains { key.contains($0.name) && $0.nullable }
            lines.append(
                "\(nullable ? "UNIQUE" : "PRIMARY KEY") (\(key.map(SQLiteName.quote).joined(separator: ", ")))")
        }
        return "CREATE TABLE \(SQLiteName.quote(table)) (\(lines.joined(separator: ", "))) STRICT"
    }
}
