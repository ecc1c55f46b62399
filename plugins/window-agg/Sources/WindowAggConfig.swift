public import DataflowOperator

/// The settings of a `window-agg` node.
public struct WindowAggConfig: OperatorConfig {
    public var condition: ExpressionText?
    public var groupBy = GroupBy()
    public var window = WindowShape.global
    public var time: Located<String>?
    public var allowedLateness = Duration.zero
    public var emit = Duration.seconds(1)
    public var aggregates = ConfigMap<AggregateText>()

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField(
            "where", \.condition, "Only rows for which this is true are aggregated; the others are counted as filtered."
        )
        ConfigField(
            "group_by", \.groupBy,
            "The groups: a list of columns, or a mapping of new names to expressions. Null is a group of its own. Without it all rows are one group."
        )
        ConfigField(
            "window", \.window,
            "`global`: one updating result a group. `{ tumbling: 10s }`: one final row a group and window; windows start at the epoch plus `offset`."
        )
        ConfigField(
            "time", \.time,
            "The timestamp column that windows are over: the input's event time. Without it windows are over the time of processing."
        )
        ConfigField(
            "allowed_lateness", \.allowedLateness,
            "How long a window stays open behind its end for rows that are behind their split's watermark; later ones go to the port `late`.",
            check: { $0 < .zero ? "must not be negative" : nil })
        ConfigField(
            "emit", \.emit,
            "With `window: global`: the shortest time between two updates of a group. Before a checkpoint every change is sent.",
            check: { $0 < .zero ? "must not be negative" : nil })
        ConfigField(
            "aggregates", \.aggregates, .required,
            "New columns and what they hold: `count(*)`, `count(x)`, `count(distinct x)`, `sum`, `avg`, `min`, `max`, `first`, `last`, `any`, `bool_and`, `bool_or`, `min_by(x, y)`, `max_by(x, y)`, `mode`; each may be followed by `filter (where …)`."
        )
    }

    public func validate() -> [Diagnostic] {
        var found: [Diagnostic] = []
        if aggregates.isEmpty {
            found.append(
                .error(field: "aggregates", "`aggregates` is empty, expected at least one such as `n: count(*)`"))
        }
        if window.kind == .global {
            if time != nil {
                found.append(
                    .error(
                        field: "time", code: "key-combination",
                        "`time` has no meaning with `window: global`, expected a window such as `{ tumbling: 10s }`"))
            }
            if allowedLateness != .zero {
                found.append(
                    .error(
                        field: "allowed_lateness", code: "key-combination",
                        "`allowed_lateness` has no meaning with `window: global`: it takes every row"))
            }
        } else if time == nil, allowedLateness != .zero {
            found.append(
                .error(
                    field: "allowed_lateness", code: "key-combination",
                    "`allowed_lateness` has no meaning over the time of processing, where no row is late",
                    hint: "name the column of the event time: `time: …`"))
        }
        return found
    }
}
