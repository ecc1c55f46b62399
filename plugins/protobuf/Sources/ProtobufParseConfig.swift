public import DataflowCodec
public import DataflowOperator
public import DataflowSchemaRegistry

/// The settings of `protobuf-parse`.
public struct ProtobufParseConfig: ParsingConfig {
    public var column: Located<String> = "value"
    public var columns: ConfigMap<MessageColumnConfig> = [:]
    public var registry: SchemaRegistryConfig?
    public var schemaFile: String?
    public var message: String?
    public var keep: [Located<String>] = []
    public var eventTime: EventTimeConfig?

    package static let parses = (operatorName: "protobuf-parse", content: "a Protobuf message")

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
        inputFields
    }
}
