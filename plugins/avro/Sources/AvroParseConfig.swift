public import DataflowCodec
public import DataflowOperator
public import DataflowSchemaRegistry

/// The settings of `avro-parse`.
public struct AvroParseConfig: OperatorConfig {
    public var column: Located<String> = "value"
    public var columns: ConfigMap<AvroColumnConfig> = [:]
    public var registry: SchemaRegistryConfig?
    public var schemaFile: String?
    public var keep: [Located<String>] = []
    public var eventTime: EventTimeConfig?

    public init() {}

    public static let schema = ConfigSchema<Self>(rules: [.exactlyOne(of: "registry", "schema_file")]) {
        ConfigField(
            "columns", \.columns, .required,
            "The columns to read: `name: type`, or the long form with `field`, `required`. They are the reader's schema: "
                + "fields that they do not name are passed over, columns that a message's schema does not have are null.",
            check: { $0.isEmpty ? "needs at least one column" : nil })
        ConfigField(
            "registry", \.registry,
            "The schema registry that knows the messages' schemas by the number in front of each (Confluent's wire format)."
        )
        ConfigField(
            "schema_file", \.schemaFile,
            "A file with the schema (`.avsc`) of messages that have nothing in front.", examples: ["order.avsc"])
        ConfigField("column", \.column, "The input column that holds the messages.")
        ConfigField("keep", \.keep, "Columns of the input that each row keeps, such as `offset` or `key`.")
        ConfigField("event_time", \.eventTime, "Declares the column that event time and watermarks come from.")
    }

    /// What the settings have in common with other parsers'.
    var parsing: ParseSettings {
        ParseSettings(
            operatorName: "avro-parse", content: "an Avro message", column: column,
            columns: columns.map { ParseSettings.Column($0.key, $0.value.type.type, isRequired: $0.value.required) },
            keep: keep, eventTime: eventTime)
    }
}

/// One column: `name: type` for short.
public struct AvroColumnConfig: OperatorConfig {
    public var type = ColumnType(.string)
    public var field: String?
    public var required = false

    public init() {}

    public static let schema = ConfigSchema<Self>(shorthands: [.field("type")]) {
        ConfigField("type", \.type, .required, "The column's type.")
        ConfigField("field", \.field, "The name of the record's field, or an alias of it. Default: the column's name.")
        ConfigField("required", \.required, "Rows without a value go to `errors`.")
    }
}
