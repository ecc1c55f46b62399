public import DataflowCodec
public import DataflowOperator
public import DataflowSchemaRegistry

/// The settings of `protobuf-parse`.
public struct ProtobufParseConfig: OperatorConfig {
    public var column: Located<String> = "value"
    public var columns: ConfigMap<ProtobufColumnConfig> = [:]
    public var registry: SchemaRegistryConfig?
    public var schemaFile: String?
    public var message: String?
    public var keep: [Located<String>] = []
    public var eventTime: EventTimeConfig?

    public init() {}

    public static let schema = ConfigSchema<Self>(rules: [
        .exactlyOne(of: "registry", "schema_file"), .key("schema_file", requires: "message"),
    ]) {
        ConfigField(
            "columns", \.columns, .required,
            "The columns to read: `name: type`, or the long form with `field`, `required`. Fields that they do not name are "
                + "passed over, columns that the message does not have are null.",
            check: { $0.isEmpty ? "needs at least one column" : nil })
        ConfigField(
            "schema_file", \.schemaFile,
            "A `.proto` file, whose imports are looked up beside it, or a `.desc` file of `protoc --include_imports "
                + "--descriptor_set_out`. For messages that have nothing in front.", examples: ["order.proto"])
        ConfigField(
            "message", \.message,
            "The full name of the messages' type. With a registry: messages of another type go to `errors`.",
            examples: ["shop.Order"])
        ConfigField(
            "registry", \.registry,
            "The schema registry that knows the messages' schemas by the number in front of each (Confluent's wire format)."
        )
        ConfigField("column", \.column, "The input column that holds the messages.")
        ConfigField("keep", \.keep, "Columns of the input that each row keeps, such as `offset` or `key`.")
        ConfigField("event_time", \.eventTime, "Declares the column that event time and watermarks come from.")
    }

    /// What the settings have in common with other parsers'.
    var parsing: ParseSettings {
        ParseSettings(
            operatorName: "protobuf-parse", content: "a Protobuf message", column: column,
            columns: columns.map { ParseSettings.Column($0.key, $0.value.type.type, isRequired: $0.value.required) },
            keep: keep, eventTime: eventTime)
    }
}

/// One column: `name: type` for short.
public struct ProtobufColumnConfig: OperatorConfig {
    public var type = ColumnType(.string)
    public var field: String?
    public var required = false

    public init() {}

    public static let schema = ConfigSchema<Self>(shorthands: [.field("type")]) {
        ConfigField("type", \.type, .required, "The column's type.")
        ConfigField("field", \.field, "The name of the message's field. Default: the column's name.")
        ConfigField("required", \.required, "Rows without a value go to `errors`.")
    }
}
