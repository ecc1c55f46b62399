package import DataflowConfig
package import DataflowOperator

/// The settings of a node that parses messages.
package protocol ParsingConfig: OperatorConfig {
    associatedtype ColumnConfig: ParsedColumnConfig
    /// The operator's name, and what its messages are: for our messages.
    static var parses: (operatorName: String, content: String) { get }
    /// What to add where event time names a column of another type. Default: nothing.
    static var timestampHint: String { get }
    var column: Located<String> { get set }
    var columns: ConfigMap<ColumnConfig> { get set }
    var keep: [Located<String>] { get set }
    var eventTime: EventTimeConfig? { get set }
}

/// The settings of a column that is read from messages.
package protocol ParsedColumnConfig: OperatorConfig {
    var type: ColumnType { get set }
    var required: Bool { get set }
}

extension ParsingConfig {
    package static var timestampHint: String { "" }

    /// `column`, `keep` and `event_time`, for the operator's schema.
    package static var inputFields: [ConfigField<Self>] {
        [
            ConfigField("column", \.column, "The input column that holds the messages (bytes or string)."),
            ConfigField("keep", \.keep, "Columns of the input that each row keeps, such as `offset`, `key` or `url`."),
            ConfigField("event_time", \.eventTime, "Declares the column that event time and watermarks come from."),
        ]
    }

    /// What the settings have in common with other parsers'.
    package var parsing: ParseSettings {
        ParseSettings(
            operatorName: Self.parses.operatorName, content: Self.parses.content, column: column,
            columns: columns.map { ParseSettings.Column($0.key, $0.value.type.type, isRequired: $0.value.required) },
            keep: keep, eventTime: eventTime, timestampHint: Self.timestampHint)
    }
}

/// A transform that parses messages: its streams, event time and state are those of its ``ParsedRows``.
package protocol ParsingTransform: Transform where Config: ParsingConfig {
    var rows: ParsedRows { get }
}

extension ParsingTransform {
    public static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        [try config.parsing.output(of: inputs)]
    }

    public static func columnsUsed(_ config: Config, inputs: [Stream], downstream: ColumnSet) -> [ColumnSet] {
        config.parsing.columnsUsed(downstream: downstream)
    }

    public func open(restoring state: StateSnapshot) throws(OperatorError) { try rows.open(restoring: state) }

    public func advance(to watermark: Watermark, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        rows.advance(to: watermark, into: &output)
        return .done
    }

    public func split(_ event: SplitEvent, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        rows.split(event, into: &output)
        return .done
    }

    public func tick(_ now: ContinuousClock.Instant, into output: inout OutputBuffer) throws(OperatorError) -> Progress
    {
        rows.tick(now, into: &output)
        return .done
    }

    public func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot { rows.snapshot() }
}
