public import DataflowOperator

/// The settings of a `window-agg` node.
public struct WindowAggConfig: OperatorConfig {
    public var condition: ExpressionText?
    public var groupBy = GroupBy()
    public var window = WindowShape.global
    public var time: Located<String>?
    public var allowedLateness = Duration.zero
    public var emit: Emission?
    public var stateTTL: Duration?
    public var aggregates = ConfigMap<AggregateText>()

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField(
            "where", \.condition, .definesState,
            "Only rows for which this is true are aggregated; the others are counted as filtered."
        )
        ConfigField(
            "group_by", \.groupBy, .definesState,
            "The groups: a list of columns, or a mapping of new names to expressions. Null is a group of its own. Without it all rows are one group."
        )
        ConfigField(
            "window", \.window, .definesState,
            "`global`: one updating result a group. `{ tumbling: 10s }`: windows one behind the other. `{ sliding: 60s, every: 10s }`: windows that overlap. `{ session: 30s }`: windows that end where a group is silent for so long. `{ count: 1000 }`: so many rows of a group. Tumbling and sliding windows start at the epoch plus `offset`."
        )
        ConfigField(
            "time", \.time, .definesState,
            "The timestamp column that windows are over: the input's event time. Without it windows are over the time of processing."
        )
        ConfigField(
            "allowed_lateness", \.allowedLateness,
            "How long behind its end a window takes rows that are behind their split's watermark and tells its corrected result (an upsert stream); later rows go to the port `late`.",
            check: { $0 < .zero ? "must not be negative" : nil })
        ConfigField(
            "emit", \.emit,
            "When results leave. `on_close` (default for windows): once, when the window closes. A duration (default `1s` for `global`): the shortest time between two updates of a group; before a checkpoint every change is sent."
        )
        ConfigField(
            "state_ttl", \.stateTTL,
            "With `window: global`: a group that has had no row for so long (by the clock) is forgotten, without a delete; a later row begins it anew. Without it groups are kept for ever.",
            check: { $0.map { $0 <= .zero } == true ? "must be positive" : nil })
        ConfigField(
            "aggregates", \.aggregates, [.required, .definesState],
            "New columns and what they hold: `count(*)`, `count(x)`, `count(distinct x)`, `sum`, `avg`, `min`, `max`, `first`, `last`, `any`, `bool_and`, `bool_or`, `min_by(x, y)`, `max_by(x, y)`, `mode`, `stddev_samp`, `stddev_pop`, `var_samp`, `var_pop`, `collect_list(x, n order by y)`, `collect_set(x, n)`, `string_agg(x, ', ' order by y)`, `approx_count_distinct(x)`, `approx_quantile(x, 0.99)`, `approx_top_k(x, k)`; each may be followed by `filter (where …)`. See docs/aggregates.md."
        )
    }

    public func validate() -> [Diagnostic] {
        var found: [Diagnostic] = []
        if aggregates.isEmpty {
            found.append(
                .error(field: "aggregates", "`aggregates` is empty, expected at least one such as `n: count(*)`"))
        }
        switch window.kind {
        case .global:
            if time != nil {
                found.append(
                    meaningless("time", "with `window: global`", hint: "use a window such as `{ tumbling: 10s }`"))
            }
            if allowedLateness != .zero {
                found.append(meaningless("allowed_lateness", "with `window: global`, which takes every row"))
            }
            if emit == .onClose {
                found.append(
                    .error(
                        field: "emit", code: "key-combination",
                        "`emit: on_close` has no meaning with `window: global`, which never closes",
                        hint: "write the shortest time between two updates: `emit: 1s`"))
            }
        case .count:
            if time != nil {
                found.append(meaningless("time", "with count windows: they go by the order of arrival"))
            }
            if allowedLateness != .zero {
                found.append(meaningless("allowed_lateness", "with count windows: no row is late for them"))
            }
            if case .every(let interval) = emit {
                found.append(
                    .error(
                        field: "emit", code: "key-combination",
                        "`emit: \(interval.unitDescription)` has no meaning with count windows: a result leaves with its window's last row",
                        hint: "leave it out, or write `emit: on_close`"))
            }
        case .tumbling, .sliding, .session:
            if time == nil, allowedLateness != .zero {
                found.append(
                    meaningless(
                        "allowed_lateness", "over the time of processing, where no row is late",
                        hint: "name the column of the event time: `time: …`"))
            }
        }
        if let grid = window.kind.grid, grid.size / grid.every >= 1000 {
            found.append(
                .warning(
                    field: "window",
                    "each row is in \(grid.size / grid.every) windows, and each of them is merged and written on its own when it closes",
                    hint: "a longer `every` costs less"))
        }
        if stateTTL != nil, window.kind != .global {
            found.append(meaningless("state_ttl", "with windows: their state goes when they have closed"))
        }
        return found
    }

    private func meaningless(_ key: String, _ place: String, hint: String? = nil) -> Diagnostic {
        .error(field: key, code: "key-combination", "`\(key)` has no meaning \(place)", hint: hint)
    }

    /// When results leave, the default of the window's shape included.
    var emission: Emission { emit ?? (window.kind == .global ? .every(.seconds(1)) : .onClose) }
}
