public import DataflowCodec
public import DataflowOperator
public import DataflowSchemaRegistry

/// The settings of `avro-parse`.
public struct AvroParseConfig: ParsingConfig {
    public var column: Located<String> = "value"
    public var columns: ConfigMap<MessageColumnConfig> = [:]
    public var registry: SchemaRegistryConfig?
    public var schemaFile: String?
    public var keep: [Located<String>] = []
    public var eventTime: EventTimeConfig?

    package static let parses = (operatorName: "avro-parse", content: "an Avro message")

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
        inputFields
    }
}
