public import DataflowOperator

/// Which rows without a match are in the result.
public enum JoinKind: String, ConfigEnum {
    /// None.
    case inner
    /// Those of the left input.
    case left
    /// Those of both inputs.
    case full

    public init(decoding node: ConfigNode) throws(ConfigError) {
        let expected = "one of \(JoinKind.typeName)"
        let text = try node.scalarText(expected: expected)
        guard let kind = JoinKind(rawValue: text) else {
            throw .expected(
                expected, found: node,
                hint: text == "right"
                    ? "swap the inputs and use `kind: left`"
                    : Suggestion.nearest(to: text, among: JoinKind.allCases.map(\.rawValue)).map {
                        "did you mean `\($0)`?"
                    })
        }
        self = kind
    }
}

/// Which rows of the right side a `lookup` join answers with.
public enum JoinLookup: String, ConfigEnum {
    /// The row of the key that is current when the left row arrives.
    case latest
}

/// `window:` of a join: `{ tumbling: 10s }` or `{ sliding: 60s, every: 10s }`.
public struct JoinWindow: OperatorConfig {
    public var tumbling: Duration?
    public var sliding: Duration?
    public var every: Duration?
    public var offset = Duration.zero

    public init() {}

    public static let schema = ConfigSchema<Self>(
        rules: [
            .exactlyOne(of: "tumbling", "sliding"), .key("sliding", requires: "every"),
            .key("every", requires: "sliding"),
        ]
    ) {
        ConfigField(
            "tumbling", \.tumbling, "Windows of this length, one behind the other.", check: JoinWindow.tooShort)
        ConfigField(
            "sliding", \.sliding, "Windows of this length that overlap; a new one begins `every` so often.",
            check: JoinWindow.tooShort)
        ConfigField(
            "every", \.every, "The time from the start of one sliding window to the next.", check: JoinWindow.tooShort)
        ConfigField("offset", \.offset, .advanced, "Moves the starts of windows, which are otherwise cut at the epoch.")
    }

    private static func tooShort(_ duration: Duration?) -> String? {
        duration.map { $0 < .microseconds(1) ? "must be at least 1us" : nil } ?? nil
    }

    public func validate() -> [Diagnostic] {
        guard let sliding, let every, every > sliding else { return [] }
        return [
            .error(
                field: "every",
                "`every` is longer than the windows: rows between them would be in none, expected at most \(sliding.unitDescription)"
            )
        ]
    }

    var grid: WindowGrid {
        let size = tumbling ?? sliding ?? .seconds(1)
        return WindowGrid(
            size: max(1, size.nanoseconds / 1000), every: max(1, (every ?? size).nanoseconds / 1000),
            offset: offset.nanoseconds / 1000)
    }
}

/// `within:` of a join: how far the right row's time may lie from the left row's.
public struct JoinInterval: OperatorConfig {
    public var before = Duration.zero
    public var after = Duration.zero

    public init() {}

    public static let schema = ConfigSchema<Self>(rules: [.atLeastOne(of: "before", "after")]) {
        ConfigField(
            "before", \.before, "How much earlier than the left row the right row may be.",
            check: { $0 < .zero ? "must not be negative" : nil })
        ConfigField(
            "after", \.after, "How much later than the left row the right row may be.",
            check: { $0 < .zero ? "must not be negative" : nil })
    }
}

/// `prefix:` of a join: tells columns of the same name apart.
public struct JoinPrefix: OperatorConfig {
    public var left = ""
    public var right = ""

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField("left", \.left, "Put in front of the name of each column of the left input.")
        ConfigField("right", \.right, "Put in front of the name of each column of the right input.")
    }
}

/// The settings of a `join` node.
public struct JoinConfig: OperatorConfig {
    public var kind = JoinKind.inner
    public var on = JoinKeys()
    public var window: JoinWindow?
    public var within: JoinInterval?
    public var lookup: JoinLookup?
    public var condition: ExpressionText?
    public var columns: ConfigMap<ExpressionText>?
    public var prefix = JoinPrefix()
    public var allowedLateness = Duration.zero

    public init() {}

    public static let schema = ConfigSchema<Self>(rules: [.exactlyOne(of: "window", "within", "lookup")]) {
        ConfigField(
            "kind", \.kind, .definesState,
            "`inner`: pairs that match. `left`: left rows without a match too, with nulls for the right columns. `full`: those of both sides."
        )
        ConfigField(
            "on", \.on, [.required, .definesState],
            "The columns whose values must be equal, of the same type: `{ left column: right column }`, or a list of names that both inputs have. Null equals nothing.",
            examples: [JoinKeys([("auction", "id")])])
        ConfigField(
            "window", \.window, .definesState,
            "Rows of both sides in the same window of event time match; they leave when it closes.")
        ConfigField(
            "within", \.within, .definesState,
            "Rows match when right time lies between left time less `before` and left time plus `after`; a pair leaves as soon as both rows are there."
        )
        ConfigField(
            "lookup", \.lookup, .definesState,
            "`latest`: each left row meets the right row of its key that is current when it arrives; the right input is an upsert stream keyed by `on`."
        )
        ConfigField(
            "where", \.condition, .definesState,
            "A further condition on a pair, over the columns of both inputs; pairs for which it is not true do not match."
        )
        ConfigField(
            "columns", \.columns,
            "The columns of the output, each with the expression that gives its values. Default: all columns of both inputs."
        ) {
            $0?.isEmpty == true ? "must have at least one column" : nil
        }
        ConfigField(
            "prefix", \.prefix,
            "Put in front of the column names of an input, where both inputs have a column of the same name.")
        ConfigField(
            "allowed_lateness", \.allowedLateness,
            "How far a row may be behind its split's watermark and still be joined: until that passes the end of the row's window, or with `within` its time, by so much. Later rows go to `late_left` and `late_right`.",
            check: { $0 < .zero ? "must not be negative" : nil })
    }

    public func validate() -> [Diagnostic] {
        guard lookup != nil else { return [] }
        var found: [Diagnostic] = []
        if kind == .full {
            found.append(
                .error(
                    field: "kind", code: "key-combination",
                    "`kind: full` has no meaning with `lookup`, which answers left rows: expected `inner` or `left`"))
        }
        if allowedLateness != .zero {
            found.append(
                .error(
                    field: "allowed_lateness", code: "key-combination",
                    "`allowed_lateness` has no meaning with `lookup`, where no row is late"))
        }
        return found
    }
}
