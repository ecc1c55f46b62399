public import DataflowCodec
public import DataflowOperator

/// The settings of `csv-parse`.
public struct CSVParseConfig: ParsingConfig {
    public var column: Located<String> = "value"
    public var columns: ConfigMap<CSVColumnConfig> = [:]
    public var header = false
    public var fields: [String] = []
    public var delimiter = ","
    public var keep: [Located<String>] = []
    public var eventTime: EventTimeConfig?
    public var onMismatch = MismatchPolicy.error

    package static let parses = (operatorName: "csv-parse", content: "CSV text")

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField(
            "columns", \.columns, .required,
            "The columns to read: `name: type`, or the long form with `field`, `required`, `on_mismatch`.",
            check: { $0.isEmpty ? "needs at least one column" : nil })
        ConfigField(
            "header", \.header,
            "Whether each message begins with a line that names its fields; columns are looked up there.")
        ConfigField(
            "fields", \.fields,
            "The names of the fields in their order, where there is no header. Default: the names of `columns`.")
        ConfigField("delimiter", \.delimiter, "What stands between fields: one ASCII character.") {
            $0.utf8.count == 1 && $0 != "\"" && $0 != "\n" && $0 != "\r" ? nil : "must be one ASCII character"
        }
        inputFields
        ConfigField(
            "on_mismatch", \.onMismatch,
            "What becomes of a text that is no value of its column, for columns that do not say it themselves: `error` "
                + "sends the row to `errors`, `null` makes the value null.")
    }

    public func validate() -> [Diagnostic] {
        var found: [Diagnostic] = []
        if header, !fields.isEmpty {
            found.append(.error(field: "fields", "goes without `header`, whose line names the fields"))
        }
        if Set(fields).count != fields.count {
            found.append(.error(field: "fields", "names a field twice"))
        }
        for entry in columns {
            if !entry.value.type.type.isScalar {
                found.append(
                    .error(
                        field: "columns.\(entry.key)", "a field of CSV is one value, not \(entry.value.type.type)",
                        hint: "read it as string, and behind it use `json-parse` or the expression language"))
            }
            if !header, !fieldNames.contains(entry.value.field ?? entry.key) {
                found.append(
                    .error(
                        field: "columns.\(entry.key)",
                        "there is no field `\(entry.value.field ?? entry.key)` in `fields`"))
            }
        }
        return found
    }

    /// The fields of a message without header.
    var fieldNames: [String] { fields.isEmpty ? columns.keys : fields }
}

/// One column: `name: type` for short.
public struct CSVColumnConfig: ParsedColumnConfig {
    public var type = ColumnType(.string)
    public var field: String?
    public var required = false
    public var onMismatch = ColumnMismatchPolicy()

    public init() {}

    public static let schema = ConfigSchema<Self>(shorthands: [.field("type")]) {
        ConfigField("type", \.type, .required, "The column's type; no list or struct.")
        ConfigField("field", \.field, "The field's name. Default: the column's.")
        ConfigField("required", \.required, "Rows where the field is empty go to `errors`.")
        ConfigField("on_mismatch", \.onMismatch, "As `on_mismatch` of the node, for this column.")
    }
}
