public import DataflowConfig

/// What becomes of a value that does not fit its column.
public enum MismatchPolicy: String, ConfigEnum {
    /// The row goes to the errors port.
    case error
    /// The value becomes null.
    case null

    public static var jsonSchema: JSONSchema {
        JSONSchema([
            "anyOf": [["enum": ["error", "null", .null]], ["type": "string", "pattern": "\\$\\{"]]
        ])
    }

    public init(decoding node: ConfigNode) throws(ConfigError) {
        // Unquoted, the word is YAML's null.
        let text = node.isNull ? "null" : try node.scalarText(expected: "`error` or `null`")
        guard let value = MismatchPolicy(rawValue: text) else { throw .expected("`error` or `null`", found: node) }
        self = value
    }

    public var encoded: ConfigNode { .text(rawValue, quoted: true) }
}

/// A column's own policy, or none: unlike an optional, it keeps YAML's null as a word.
public struct ColumnMismatchPolicy: ConfigValue {
    public var policy: MismatchPolicy?

    public init(_ policy: MismatchPolicy? = nil) { self.policy = policy }

    public static var typeName: String { MismatchPolicy.typeName }
    public static var jsonSchema: JSONSchema { MismatchPolicy.jsonSchema }
    public init(decoding node: ConfigNode) throws(ConfigError) { policy = try MismatchPolicy(decoding: node) }
    public var encoded: ConfigNode { policy?.encoded ?? .null }
}
