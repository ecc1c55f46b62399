import DataflowCodec
public import DataflowOperator
public import DataflowSchemaRegistry

/// The settings of `avro-encode`.
public struct AvroEncodeConfig: OperatorConfig {
    public var columns: [Located<String>]?
    public var keep: [Located<String>] = []
    public var name: Located<String> = "value"
    public var schemaFile: String?
    public var record = "Row"
    public var registry: SchemaRegistryConfig?
    public var subject: String?
    public var register = true

    public init() {}

    public static let schema = ConfigSchema<Self>(rules: [
        .atMostOne(of: "record", "schema_file"), .key("registry", requires: "subject"),
        .key("subject", requires: "registry"), .key("register", requires: "registry"),
    ]) {
        ConfigField("columns", \.columns, "The columns that become fields of the record, in this order. Default: all.")
        ConfigField(
            "keep", \.keep,
            "Columns that go on beside the message, such as its key. Of an upsert stream its key must be among them.")
        ConfigField("as", \.name, "The name of the bytes column that holds the message.")
        ConfigField(
            "registry", \.registry,
            "The schema registry to write for: each message has the schema's number in front (Confluent's wire format). "
                + "Without it a message is the bare record.")
        ConfigField(
            "subject", \.subject, "The registry's name for the schema; for a topic's values `<topic>-value`.",
            examples: ["orders-value"])
        ConfigField(
            "register", \.register,
            "Whether the schema is made known to the registry when the node opens; `false`: the subject's newest schema is "
                + "written, and the columns must fit it.")
        ConfigField(
            "schema_file", \.schemaFile,
            "A file with the schema (`.avsc`) to write, whose fields are looked up among the columns by name. Default: a "
                + "record made from the columns.")
        ConfigField("record", \.record, "The name of the record that is made from the columns.") {
            AvroNames.isFullName($0) ? nil : "must be a name of letters, digits and `_`, with dots between its parts"
        }
    }

    public func validate() -> [Diagnostic] {
        guard schemaFile != nil, !register else { return [] }
        return [.error(field: "schema_file", "goes with `register: true`: else the registry says what is written")]
    }

    var encoding: EncodeSettings {
        EncodeSettings(operatorName: "avro-encode", columns: columns, keep: keep, name: name)
    }
}

/// What Avro takes for a name.
enum AvroNames {
    static func isName(_ name: some StringProtocol) -> Bool {
        guard let first = name.utf8.first, !(48...57 ~= first) else { return false }
        return name.utf8.allSatisfy { byte in
            switch byte {
            case 48...57, 65...90, 97...122, 95: true
            default: false
            }
        }
    }

    static func isFullName(_ name: String) -> Bool {
        name.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { isName($0) }
    }
}
