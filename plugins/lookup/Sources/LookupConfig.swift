public import DataflowConfig
public import DataflowOperator
import DataflowPostgres

/// What becomes of a row without a match.
public enum MissingPolicy: String, ConfigEnum {
    /// It goes on, the added columns null.
    case keep
    /// It is counted as filtered.
    case drop
    /// It leaves through `errors`.
    case error
}

/// What becomes of rows of the table that have the key of an earlier one.
public enum DuplicatePolicy: String, ConfigEnum {
    /// The table is refused.
    case error
    /// The first one counts.
    case first
}

/// The columns that a lookup adds: a list of names, or `new name: column of the table`.
public struct AddedColumns: ConfigValue {
    public var entries: [(name: Located<String>, column: Located<String>)]

    public init(_ entries: [(name: Located<String>, column: Located<String>)] = []) { self.entries = entries }

    public static var typeName: String { "list of columns, or mapping of new names to columns" }
    public static var jsonSchema: JSONSchema {
        JSONSchema(["anyOf": [[String].jsonSchema.json, ConfigMap<String>.jsonSchema.json]])
    }

    public init(decoding node: ConfigNode) throws(ConfigError) {
        if node.elements != nil {
            entries = try [Located<String>](decoding: node).map { ($0, $0) }
        } else {
            entries = try ConfigMap<Located<String>>(decoding: node).map {
                (Located($0.key, at: $0.keyMark), $0.value)
            }
        }
    }

    public var encoded: ConfigNode {
        .mapping(entries.map { ($0.name.value, .text($0.column.value, quoted: true)) })
    }
}

/// A table in a CSV file.
public struct CSVTableConfig: OperatorConfig {
    public var path = ""
    public var columns: ConfigMap<TypeText> = [:]
    public var header = true
    public var delimiter = ","

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField(
            "path", \.path, .required,
            "The file; decompressed where it ends in `.gz`. Write a new one beside it and rename "
                + "it, so that a refresh never reads half a file.", examples: ["countries.csv"]
        ) { $0.isEmpty ? "must name a file" : nil }
        ConfigField(
            "columns", \.columns, .required,
            "Its columns and their types: looked up in the header, or in this order where there is none. An empty field is "
                + "null, `\"\"` the empty text."
        ) { $0.isEmpty ? "must have at least one column" : nil }
        ConfigField("header", \.header, "Whether the first line names the columns.")
        ConfigField("delimiter", \.delimiter, "What stands between fields: one ASCII character.") {
            $0.utf8.count == 1 && $0 != "\"" && $0 != "\n" ? nil : "must be one ASCII character"
        }
    }

    public func validate() -> [Diagnostic] { TableColumns.check(columns) }
}

/// A table that a PostgreSQL query gives.
public struct PostgresTableConfig: OperatorConfig {
    public var connection = Secret()
    public var query = ""
    public var columns: ConfigMap<TypeText> = [:]
    public var connectTimeout: Duration = .seconds(10)
    public var statementTimeout: Duration = .seconds(300)

    public init() {}

    private static let positive: @Sendable (Duration) -> String? = { $0 > .zero ? nil : "must be longer than 0s" }

    public static let schema = ConfigSchema<Self> {
        ConfigField(
            "connection", \.connection, .required,
            "Where the server is: a libpq URL or keyword string. Keep the password out of the file: `${PG_URL}`.")
        ConfigField("query", \.query, .required, "One `select`; it runs in a read-only transaction.") {
            PostgresTableConfig.trimmed($0).isEmpty ? "must be a query" : nil
        }
        ConfigField(
            "columns", \.columns, .required,
            "The query's columns and their types, compared with the server's when the table is loaded. A string column takes "
                + "any type, as its text."
        ) { $0.isEmpty ? "must have at least one column" : nil }
        ConfigField(
            "connect_timeout", \.connectTimeout, .advanced,
            "How long one attempt to connect may take, if the connection string does not say.", check: positive)
        ConfigField(
            "statement_timeout", \.statementTimeout, .advanced, "How long the server may take to answer.",
            check: positive)
    }

    /// Without spaces and semicolons at its end: it will stand in brackets.
    static func trimmed(_ query: String) -> String {
        var text = Substring(query)
        while let last = text.last, last.isWhitespace || last == ";" { text.removeLast() }
        return String(text)
    }

    public func validate() -> [Diagnostic] {
        var found = TableColumns.check(columns)
        do throws(PgFailure) {
            _ = try PgSettings(parsing: connection.revealed)
        } catch {
            found.append(.error(field: "connection", error.message))
        }
        if connection.isEmpty { found.append(.error(field: "connection", "`connection` is empty")) }
        return found
    }
}

private enum TableColumns {
    static func check(_ columns: ConfigMap<TypeText>) -> [Diagnostic] {
        columns.compactMap { entry in
            switch entry.value.parsed {
            case .list, .structure:
                .error(
                    field: "columns",
                    "the column `\(entry.key)` is \(entry.value.parsed): a lookup table has scalars only")
            default: nil
            }
        }
    }
}

/// Settings of `lookup`.
public struct LookupConfig: OperatorConfig {
    public var csv: CSVTableConfig?
    public var postgres: PostgresTableConfig?
    public var on: ConfigMap<Located<String>> = [:]
    public var columns = AddedColumns()
    public var missing = MissingPolicy.keep
    public var duplicates = DuplicatePolicy.error
    public var refresh = Duration.zero
    public var maxRows = 1_000_000

    public init() {}

    public static let schema = ConfigSchema<Self>(rules: [.exactlyOne(of: "csv", "postgres")]) {
        ConfigField("csv", \.csv, "The table stands in a CSV file.")
        ConfigField("postgres", \.postgres, "The table is what a PostgreSQL query gives.")
        ConfigField(
            "on", \.on, .required,
            "Which rows belong together: `column of the stream: column of the table`. Null matches nothing."
        ) { $0.isEmpty ? "must name at least one column" : nil }
        ConfigField(
            "columns", \.columns, .required,
            "The columns of the table that are added: `[name, vat]`, or `new_name: name`."
        ) { $0.entries.isEmpty ? "must name at least one column" : nil }
        ConfigField(
            "missing", \.missing,
            "What becomes of a row without a match: `keep` (the added columns are null), `drop` (counted as filtered) or "
                + "`error`.")
        ConfigField(
            "duplicates", \.duplicates,
            "What becomes of a table in which a key stands twice: `error` refuses it, `first` takes the first row.")
        ConfigField(
            "refresh", \.refresh,
            "How often the whole table is loaded anew, beside the stream. `0s`: never. Where that fails, the old table stays "
                + "and loading is tried again, after 1s at first."
        ) { $0 < .zero ? "must not be negative" : nil }
        ConfigField(
            "max_rows", \.maxRows, .advanced, "A larger table is refused: it is held in memory, once for each subtask."
        ) { $0 > 0 && $0 <= 1 << 30 ? nil : "must lie between 1 and 1073741824" }
    }

    /// The columns of the table, as declared.
    var tableColumns: ConfigMap<TypeText> { csv?.columns ?? postgres?.columns ?? [:] }
}
