public import DataflowOperator

/// The settings of a `dedupe` node.
public struct DedupeConfig: OperatorConfig {
    public var key = OneOrMany<ExpressionText>()
    public var within: Duration?
    public var keep = Keep.first

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField(
            "key", \.key, [.required, .definesState],
            "Columns or expressions: of the rows that have the same values in all of them, the first goes on. Null is a value."
        )
        ConfigField(
            "within", \.within, .definesState,
            "How far apart in time two rows may lie to be duplicates: in event time where the input has it, else in the time of processing. Without it every key is remembered for ever."
        ) { $0.map { $0 >= .microseconds(1) } ?? true ? nil : "must be at least 1us" }
        ConfigField("keep", \.keep, .advanced, "`first`: the row that comes first goes on, at once.")
    }

    public func validate() -> [Diagnostic] {
        var found: [Diagnostic] = []
        if key.elements.isEmpty {
            found.append(.error(field: "key", "`key` is empty, expected at least one column such as `order_id`"))
        }
        if within == nil {
            found.append(
                .warning(
                    field: "key", code: "unbounded-state",
                    "without `within` every key is remembered for ever: the state grows with the number of keys",
                    hint: "say how far apart duplicates may come: `within: 1h`"))
        }
        return found
    }
}

/// `keep:` of a dedupe: which of the rows with one key goes on.
public enum Keep: String, ConfigEnum {
    case first

    public init(decoding node: ConfigNode) throws(ConfigError) {
        switch node.scalar?.text {
        case "first": self = .first
        case "last":
            throw ConfigError(
                "not-available",
                "`keep` cannot be `last`, which would hold every row back until no other can come",
                at: node.mark, length: 4,
                hint:
                    "`top-n` with `n: 1` and `order_by: [time desc]` keeps the last row of each key; so does a sink with a `key` behind it"
            )
        default: throw .expected("`first`", found: node)
        }
    }
}
