public import DataflowCodec
internal import DataflowColumnar
public import DataflowConfig

/// One column that is read from a field of messages: `name: type` for short.
public struct MessageColumnConfig: ParsedColumnConfig {
    public var type = ColumnType(.string)
    public var field: String?
    public var required = false

    public init() {}

    public static let schema = ConfigSchema<Self>(shorthands: [.field("type")]) {
        ConfigField("type", \.type, .required, "The column's type.")
        ConfigField(
            "field", \.field, "The name of the message's field, or an alias of it in Avro. Default: the column's name.")
        ConfigField("required", \.required, "Rows without a value go to `errors`.")
    }
}
