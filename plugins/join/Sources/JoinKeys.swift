public import DataflowOperator

/// `on:` of a join: `{ left column: right column }`, or a list of names that both inputs have.
public struct JoinKeys: ConfigValue {
    /// Two columns whose values must be equal.
    public struct Pair: Sendable {
        public var left: Located<String>
        public var right: Located<String>
    }

    public var pairs: [Pair]
    /// Whether names of both inputs were listed: such a column is one in the output.
    public var isShared: Bool

    public init() {
        pairs = []
        isShared = true
    }

    /// Columns of the left input and those of the right that they must be equal to.
    public init(_ pairs: [(String, String)]) {
        self.pairs = pairs.map { Pair(left: Located($0.0), right: Located($0.1)) }
        isShared = false
    }

    /// Columns that both inputs have.
    public init(shared names: [String]) {
        pairs = names.map { Pair(left: Located($0), right: Located($0)) }
        isShared = true
    }

    public static var typeName: String { "mapping of left columns to right columns, or list of columns" }
    public static var jsonSchema: JSONSchema {
        JSONSchema([
            "anyOf": [
                ["type": "array", "items": ["type": "string"], "minItems": 1],
                ["type": "object", "additionalProperties": ["type": "string"], "minProperties": 1],
            ]
        ])
    }

    public init(decoding node: ConfigNode) throws(ConfigError) {
        var collector = DiagnosticCollector()
        pairs = []
        isShared = node.entries == nil
        if let entries = node.entries {
            for entry in entries {
                let right = collector.attempt(under: entry.key) { () throws(ConfigError) in
                    try Located<String>(decoding: entry.value)
                }
                if let right { pairs.append(Pair(left: Located(entry.key, at: entry.keyMark), right: right)) }
            }
        } else {
            guard let elements = node.elements else {
                throw .expected(
                    "`{ left column: right column }` or a list of columns", found: node,
                    hint: node.scalar.map { "write a list: `[\($0.displayText)]`" })
            }
            for element in elements {
                let name = collector.attempt { () throws(ConfigError) in try Located<String>(decoding: element) }
                if let name { pairs.append(Pair(left: name, right: name)) }
            }
        }
        for (index, pair) in pairs.enumerated()
        where isShared && pairs[..<index].contains(where: { $0.left.value == pair.left.value }) {
            collector.append(
                Diagnostic(
                    .error, "duplicate-name", "`\(pair.left.value)` is there twice in `on`", at: pair.left.mark,
                    length: pair.left.value.unicodeScalars.count))
        }
        if pairs.isEmpty, !collector.hasErrors {
            collector.append(
                Diagnostic(
                    .error, "invalid-value", "`on` is empty, expected at least one pair of columns", at: node.mark))
        }
        try collector.throwErrors()
    }

    public var encoded: ConfigNode {
        isShared
            ? ConfigNode(.sequence(pairs.map { $0.left.encoded }))
            : .mapping(pairs.map { ($0.left.value, $0.right.encoded) })
    }
}
