import DataflowCodec
public import DataflowOperator
public import DataflowSchemaRegistry

/// The settings of `protobuf-encode`.
public struct ProtobufEncodeConfig: OperatorConfig {
    public var columns: [Located<String>]?
    public var keep: [Located<String>] = []
    public var name: Located<String> = "value"
    public var schemaFile: String?
    public var message: String?
    public var registry: SchemaRegistryConfig?
    public var subject: String?
    public var register = true

    public init() {}

    public static let schema = ConfigSchema<Self>(rules: [
        .atLeastOne(of: "schema_file", "registry"), .key("schema_file", requires: "message"),
        .key("registry", requires: "subject"), .key("subject", requires: "registry"),
        .key("register", requires: "registry"),
    ]) {
        ConfigField(
            "columns", \.columns,
            "The columns of a message, each for the field of its name. Default: all.")
        ConfigField(
            "keep", \.keep,
            "Columns that go on beside the message, such as its key. Of an upsert stream its key must be among them.")
        ConfigField("as", \.name, "The name of the bytes column that holds the message.")
        ConfigField(
            "registry", \.registry,
            "The schema registry to write for: each message has the schema's number in front (Confluent's wire format). "
                + "Without it a message has nothing in front.")
        ConfigField(
            "subject", \.subject, "The registry's name for the schema; for a topic's values `<topic>-value`.",
            examples: ["orders-value"])
        ConfigField(
            "register", \.register,
            "Whether `schema_file` is made known to the registry when the node opens. `false`: the subject's newest schema "
                + "is written, and the columns must fit it.")
        ConfigField(
            "schema_file", \.schemaFile,
            "A `.proto` file with the message to write. To be registered it must not import other files, but for "
                + "google/protobuf/….", examples: ["order.proto"])
        ConfigField(
            "message", \.message, "The full name of the message's type. Default: the first of the registry's schema.",
            examples: ["shop.Order"])
    }

    public func validate() -> [Diagnostic] {
        if registry != nil, register, schemaFile == nil {
            return [
                .error(
                    field: "schema_file", "is needed with `register: true`",
                    hint:
                        "name the `.proto` file to register, or set `register: false` to write the newest schema there")
            ]
        }
        if schemaFile != nil, registry != nil, !register {
            return [.error(field: "schema_file", "goes with `register: true`: else the registry says what is written")]
        }
        if registry != nil, let schemaFile, !schemaFile.hasSuffix(".proto") {
            return [.error(field: "schema_file", "must be a `.proto` file: a registry takes text")]
        }
        return []
    }

    var encoding: EncodeSettings {
        EncodeSettings(operatorName: "protobuf-encode", columns: columns, keep: keep, name: name)
    }
}
