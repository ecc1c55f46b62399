public import DataflowConfig

/// `emit:` of operators whose results change until they are final: when they leave.
public enum Emission: ConfigValue, Hashable {
    /// `on_close`: once, when they are final.
    case onClose
    /// A duration: whenever they have changed, but no closer than this.
    case every(Duration)

    public static var typeName: String { "`on_close` or duration" }

    public static var jsonSchema: JSONSchema {
        JSONSchema(["anyOf": [["enum": ["on_close"]], Duration.jsonSchema.json]])
    }

    public init(decoding node: ConfigNode) throws(ConfigError) {
        let expected = "`on_close`, or a duration with its unit, such as `1s`"
        let text = try node.scalarText(expected: expected)
        if text == "on_close" {
            self = .onClose
        } else if text.first.map({ "0"..."9" ~= $0 }) == true {
            self = .every(try Duration(decoding: node))
        } else {
            throw .expected(
                expected, found: node,
                hint: Suggestion.nearest(to: text, among: ["on_close"]).map { "did you mean `\($0)`?" })
        }
    }

    public var encoded: ConfigNode {
        switch self {
        case .onClose: .text("on_close")
        case .every(let interval): interval.encoded
        }
    }
}
