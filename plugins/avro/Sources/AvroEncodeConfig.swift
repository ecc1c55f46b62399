import DataflowCodec
public import DataflowOperator
public import DataflowSchemaRegistry

/// The settings of `avro-encode`.
public struct AvroEncodeConfig: RegistryEncodingConfig {
    public var columns: [Located<String>]?
    public var keep: [Located<String>] = []
    public var name: Located<String> = "value"
    public var schemaFile: String?
    public var record = "Row"
    public var registry: SchemaRegistryConfig?
    public var subject: String?
    public var register = true

    package static let operatorName = "avro-encode"

    public init() {}

    public static let schema = ConfigSchema<Self>(rules: registryRules + [.atMostOne(of: "record", "schema_file")]) {
        ConfigField("columns", \.columns, "The columns that become fields of the record, in this order. Default: all.")
        outputFields
        registryFields
        ConfigField(
            "schema_file", \.schemaFile,
            "A file with the schema (`.avsc`) to write, whose fields are looked up among the columns by name. Default: a "
                + "record made from the columns.")
        ConfigField("record", \.record, "The name of the record that is made from the columns.") {
            AvroNames.isFullName($0) ? nil : "must be a name of letters, digits and `_`, with dots between its parts"
        }
    }

    public func validate() -> [Diagnostic] { registryFindings }
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
