package import DataflowCodec
package import DataflowConfig

/// The settings of a node that writes messages by a schema, of a file or in a registry.
package protocol RegistryEncodingConfig: EncodingConfig {
    var schemaFile: String? { get set }
    var registry: SchemaRegistryConfig? { get set }
    var subject: String? { get set }
    var register: Bool { get set }
}

extension RegistryEncodingConfig {
    /// `registry`, `subject` and `register`, for the operator's schema.
    package static var registryFields: [ConfigField<Self>] {
        [
            ConfigField(
                "registry", \.registry,
                "The schema registry to write for: each message has the schema's number in front (Confluent's wire format). "
                    + "Without it a message has nothing in front."),
            ConfigField(
                "subject", \.subject, "The registry's name for the schema; for a topic's values `<topic>-value`.",
                examples: ["orders-value"]),
            ConfigField(
                "register", \.register,
                "Whether the schema is made known to the registry when the node opens; `false`: the subject's newest schema "
                    + "is written, and the columns must fit it."),
        ]
    }

    /// Which of these keys need each other.
    package static var registryRules: [ConfigRule] {
        [
            .key("registry", requires: "subject"), .key("subject", requires: "registry"),
            .key("register", requires: "registry"),
        ]
    }

    /// What is wrong with these settings as a whole: for `validate()`.
    package var registryFindings: [Diagnostic] {
        guard schemaFile != nil, !register else { return [] }
        return [.error(field: "schema_file", "goes with `register: true`: else the registry says what is written")]
    }
}
