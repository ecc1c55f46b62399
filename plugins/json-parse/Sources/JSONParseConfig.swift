public import DataflowCodec
import DataflowColumnar
public import DataflowConfig
public import DataflowOperator

extension EpochUnit: ConfigEnum {}

extension JSONPath: ConfigValue {
    public static var typeName: String { "JSON path" }
    public static var jsonSchema: JSONSchema { JSONSchema(["type": "string", "pattern": "^\\$"]) }
    public var encoded: ConfigNode { .text(description, quoted: true) }

    public init(decoding node: ConfigNode) throws(ConfigError) {
        let text = try node.scalarText(expected: "a JSON path, such as `$.items[*]`")
        do throws(Malformed) {
            try self.init(parsing: text)
        } catch {
            throw ConfigError("json-path", error.message, at: node.mark(atUTF8Offset: error.offset))
        }
    }
}

/// The settings of `json-parse`.
public struct JSONParseConfig: ParsingConfig {
    public var column: Located<String> = "value"
    public var rows = Located(JSONPath.root)
    public var columns: ConfigMap<JSONColumnConfig> = [:]
    public var keep: [Located<String>] = []
    public var eventTime: EventTimeConfig?
    public var onMismatch = MismatchPolicy.error
    public var maxDocumentSize = ByteSize.mebibytes(256)
    public var maxDepth = 512

    package static let parses = (operatorName: "json-parse", content: "JSON text")
    package static var timestampHint: String { ", with `unit:` if the document has numbers" }

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField(
            "columns", \.columns, .required,
            "The columns to read: `name: type`, or the long form with `path`, `required`, `unit`, `on_mismatch`. Where a "
                + "field occurs twice in an object, the last one counts.",
            check: { $0.isEmpty ? "needs at least one column" : nil })
        ConfigField(
            "rows", \.rows,
            "Where the rows are in a document; each match is a row. Default: the document is one row. `null` in place of "
                + "a list is an empty list; a document without the path goes to `errors`.")
        inputFields
        ConfigField(
            "on_mismatch", \.onMismatch,
            "What becomes of a value of another type than its column, for columns that do not say it themselves: `error` "
                + "sends the row to `errors`, `null` makes the value null.")
        ConfigField(
            "max_document_size", \.maxDocumentSize, .advanced, "Longer documents go to `errors`.",
            check: { 1...(1 << 30) ~= $0.bytes ? nil : "must be from 1B to 1GiB" })
        ConfigField(
            "max_depth", \.maxDepth, .advanced, "Documents nested deeper go to `errors`.",
            check: { 1...10_000 ~= $0 ? nil : "must be from 1 to 10000" })
    }
}

/// One column: `name: type` for short.
public struct JSONColumnConfig: ParsedColumnConfig {
    public var type = ColumnType(.string)
    public var path: Located<JSONPath>?
    public var required = false
    public var unit: EpochUnit?
    public var onMismatch = ColumnMismatchPolicy()

    public init() {}

    public static let schema = ConfigSchema<Self>(shorthands: [.field("type")]) {
        ConfigField("type", \.type, .required, "The column's type.")
        ConfigField(
            "path", \.path, "Where the value is, from the row: `$.meta.ts`. Default: the field of the column's name.",
            check: {
                $0?.value.hasEvery == true ? "is one value: `[*]` belongs into `rows`, or read a list<…> column" : nil
            })
        ConfigField("required", \.required, "Rows where the value is missing or null go to `errors`.")
        ConfigField(
            "unit", \.unit,
            "What numbers in a timestamp column count since 1970; without it only ISO 8601 text is read.")
        ConfigField("on_mismatch", \.onMismatch, "As `on_mismatch` of the node, for this column.")
    }

    public func validate() -> [Diagnostic] {
        guard unit != nil, !type.type.holdsTimestamp else { return [] }
        return [.error(field: "unit", "`unit` is for timestamp columns, this one is \(type.type)")]
    }
}

extension DataType {
    /// A timestamp, or a list or struct with one in it.
    fileprivate var holdsTimestamp: Bool {
        switch self {
        case .timestamp: true
        case .list(let element): element.holdsTimestamp
        case .structure(let fields): fields.contains { $0.type.holdsTimestamp }
        default: false
        }
    }
}
