import DataflowCodec
public import DataflowOperator
public import DataflowSchemaRegistry

/// The settings of `protobuf-encode`.
public struct ProtobufEncodeConfig: RegistryEncodingConfig {
    public var columns: [Located<String>]?
    public var keep: [Located<String>] = []
    public var name: Located<String> = "value"
    public var schemaFile: String?
    public var message: String?
    public var registry: SchemaRegistryConfig?
    public var subject: String?
    public var register = true

    package static let operatorName = "protobuf-encode"

    public init() {}

    public static let schema = ConfigSchema<Self>(
        rules: registryRules + [
            .atLeastOne(of: "schema_file", "registry"), .key("schema_file", requires: "message"),
        ]
    ) {
        ConfigField(
            "columns", \.columns,
            "The columns of a message, each for the field of its name. Default: all.")
        outputFields
        registryFields
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
        if registry != nil, register, let schemaFile, !schemaFile.hasSuffix(".proto") {
            return [.error(field: "schema_file", "must be a `.proto` file: a registry takes text")]
        }
        return registryFindings
    }
}
