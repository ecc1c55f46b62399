public import DataflowOperator

/// `group_by:` of a window-agg: a list of columns, or a mapping of new names to expressions.
public struct GroupBy: ConfigValue {
    /// One group column.
    public struct Term: Sendable {
        public var name: String
        public var nameMark: Mark
        public var expression: ExpressionText
    }

    public var terms: [Term]
    private var isList: Bool

    public init() {
        terms = []
        isList = true
    }

    /// Group columns from code: names and expressions.
    public init(_ terms: [(String, ExpressionText)]) {
        self.terms = terms.map { Term(name: $0.0, nameMark: .unknown, expression: $0.1) }
        isList = false
    }

    public static var typeName: String { "list of columns, or mapping of names to expressions" }
    public static var jsonSchema: JSONSchema {
        JSONSchema([
            "anyOf": [
                ["type": "array", "items": ["type": "string"]],
                ["type": "object", "additionalProperties": ExpressionText.jsonSchema.json],
                ["type": "string"],
            ]
        ])
    }

    public init(decoding node: ConfigNode) throws(ConfigError) {
        var collector = DiagnosticCollector()
        terms = []
        isList = node.entries == nil
        if let entries = node.entries {
            for entry in entries {
                let expression = collector.attempt(under: entry.key) { () throws(ConfigError) in
                    try ExpressionText(decoding: entry.value)
                }
                if let expression {
                    terms.append(Term(name: entry.key, nameMark: entry.keyMark, expression: expression))
                }
            }
        } else {
            for element in node.elements ?? [node] {
                let term = collector.attempt { () throws(ConfigError) -> Term in
                    let expression = try ExpressionText(decoding: element)
                    guard let name = expression.parsed.suggestedName else {
                        throw ConfigError(
                            "missing-name", "`\(expression.text.text)` needs a name, expected a column in the list",
                            at: element.mark, hint: "write a mapping: `group_by: { name: \(expression.text.text) }`")
                    }
                    return Term(name: name, nameMark: element.mark, expression: expression)
                }
                if let term { terms.append(term) }
            }
        }
        for (index, term) in terms.enumerated() where terms[..<index].contains(where: { $0.name == term.name }) {
            collector.append(
                Diagnostic(
                    .error, "duplicate-name", "the group column `\(term.name)` is there twice", at: term.nameMark))
        }
        try collector.throwErrors()
    }

    public var encoded: ConfigNode {
        isList
            ? ConfigNode(.sequence(terms.map { $0.expression.encoded }))
            : .mapping(terms.map { ($0.name, $0.expression.encoded) })
    }
}
