public import DataflowConfig
public import DataflowOperator

/// Settings of `select`.
public struct SelectConfig: OperatorConfig {
    public var condition: ExpressionText?
    public var columns: ConfigMap<ExpressionText>?
    public var keep: [Located<String>]?
    public var drop: [Located<String>]?
    public var eventTime: EventTimeConfig?

    public init() {}

    public static let schema = ConfigSchema<Self>(
        rules: [
            .atLeastOne(of: "where", "columns", "keep", "drop", "event_time"),
            .atMostOne(of: "columns", "keep", "drop"),
        ]
    ) {
        ConfigField(
            "where", \.condition, "Only rows for which this is true go on; it sees the columns of the input.")
        ConfigField("columns", \.columns, "The columns of the output, each with the expression that gives its values.")
        {
            $0?.isEmpty == true ? "must have at least one column" : nil
        }
        ConfigField("keep", \.keep, "The columns of the input that go on, in this order.") {
            $0?.isEmpty == true ? "must name at least one column" : nil
        }
        ConfigField("drop", \.drop, "The columns of the input that do not go on.")
        ConfigField(
            "event_time", \.eventTime,
            "Declares the column of the output that event time and watermarks come from. Rows that `where` refuses do not "
                + "move the watermark.")
    }
}
