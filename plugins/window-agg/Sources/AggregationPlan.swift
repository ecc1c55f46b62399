import DataflowOperator

/// A checked window-agg: every expression typed against the input. Made by `validate` and by each instance alike.
struct AggregationPlan: Sendable {
    /// Where the windows' time comes from.
    enum Time: Sendable, Hashable {
        case none
        /// The position of the timestamp column.
        case event(column: Int)
        case processing
    }

    var condition: TypedExpression?
    var keys: [TypedExpression]
    var keyFields: [Field]
    var arguments: [TypedExpression]
    var filters: [TypedExpression]
    var calls: AggregateCalls
    /// For each accumulator: its arguments' and its filter's positions.
    var uses: [(arguments: [Int], filter: Int?)]
    var layout: AggregateLayout
    var window: WindowShape.Kind
    var time: Time
    var allowedLateness: Int64
    /// Whether a window may be told more than once: while it is open, or corrected.
    var updates: Bool
    /// The key of an upsert input; rows of it are taken back when they are replaced.
    var inputKey: [String]?

    static let windowStart = Field("window_start", .timestamp, nullable: false)
    static let lastWindow = Field("last_window", .timestamp, nullable: false)
    static let windowEnd = Field("window_end", .timestamp, nullable: false)

    /// Checks everything.
    ///
    /// - Throws: all findings at once, at their places in the file.
    init(_ config: WindowAggConfig, input: Stream) throws(ConfigError) {
        var collector = DiagnosticCollector()
        let schema = input.schema
        window = config.window.kind
        allowedLateness = config.allowedLateness.nanoseconds / 1000
        updates = config.emission != .onClose || allowedLateness > 0
        inputKey = input.kind.key
        if inputKey != nil, window != .global {
            collector.append(
                Diagnostic(
                    .error, "stream-kind",
                    "windows need a stream of facts, found an upsert stream keyed by \(input.kind.key?.joined(separator: ", ") ?? "")",
                    at: config.window.mark,
                    hint:
                        "use `window: global`, or put the window in front of what makes the updates: a window-agg does with `allowed_lateness`, `emit: 1s` or `window: global`"
                ))
        }
        if inputKey != nil, config.stateTTL != nil {
            collector.append(
                Diagnostic(
                    .error, "stream-kind",
                    "`state_ttl` needs a stream of facts: rows of an upsert stream are taken back when they are replaced, and that of a forgotten group could not be",
                    at: config.window.mark, hint: "leave `state_ttl` out; deletes free the state of this node"))
        }
        time = .none
        if window.isOverTime {
            time =
                collector.attempt { () throws(ConfigError) in try AggregationPlan.time(config, input) } ?? .processing
        }

        condition = nil
        if let text = config.condition {
            condition = collector.attempt { () throws(ConfigError) in
                try AggregationPlan.typed(text.parsed, text, schema, expecting: .bool)
            }
        }
        keys = []
        keyFields = []
        for term in config.groupBy.terms {
            let typed = collector.attempt { () throws(ConfigError) in
                try AggregationPlan.typed(term.expression.parsed, term.expression, schema)
            }
            guard let typed else { continue }
            keys.append(typed)
            keyFields.append(Field(term.name, typed.type, nullable: typed.nullable))
        }

        calls = AggregateCalls()
        arguments = []
        filters = []
        uses = []
        layout = AggregateLayout(kinds: [], items: [])
        for entry in config.aggregates {
            collector.attempt { () throws(ConfigError) in
                try AggregationPlan.append(entry.key, entry.value, &calls, schema, retracts: inputKey != nil)
            }
        }
        AggregationPlan.checkNames(config, AggregationPlan.outputFields(window), &collector)
        try collector.throwErrors()
        try resolve(config, schema)
    }

    static func typed<Parsed>(
        _ expression: Expression, _ text: SQLText<Parsed>, _ schema: Schema, expecting type: DataType? = nil
    ) throws(ConfigError) -> TypedExpression {
        do throws(ExpressionErrors) {
            if let type { return try expression.check(schema, expecting: type) }
            return try expression.check(schema)
        } catch {
            throw text.placed(error)
        }
    }

    private static func time(_ config: WindowAggConfig, _ input: Stream) throws(ConfigError) -> Time {
        guard let time = config.time else { return .processing }
        guard let index = input.schema.index(of: time.value) else {
            throw ConfigError(
                "unknown-column",
                "there is no column `\(time.value)`" + Suggestion.phrase(for: time.value, among: input.schema.names),
                at: time.mark, length: time.value.unicodeScalars.count)
        }
        let field = input.schema.fields[index]
        guard field.type == .timestamp else {
            throw ConfigError(
                "type-mismatch", "`\(time.value)` is of type \(field.type), expected a timestamp", at: time.mark,
                length: time.value.unicodeScalars.count)
        }
        guard input.eventTime == time.value else {
            let declared = input.eventTime.map { "the event time declared upstream is `\($0)`" }
            throw ConfigError(
                "event-time", "`\(time.value)` is not declared as event time" + (declared.map { ": \($0)" } ?? ""),
                at: time.mark, length: time.value.unicodeScalars.count,
                hint:
                    "where the column first appears, write `event_time: { column: \(time.value), out_of_orderness: 5s }`"
            )
        }
        return .event(column: index)
    }

    private static func checkNames(
        _ config: WindowAggConfig, _ windowFields: [Field], _ collector: inout DiagnosticCollector
    ) {
        let own = windowFields.map(\.name)
        for term in config.groupBy.terms where own.contains(term.name) {
            collector.append(
                Diagnostic(
                    .error, "duplicate-name", "the windows bring a column `\(term.name)` themselves",
                    at: term.nameMark, hint: "give the group column another name"))
        }
        let taken = Set(config.groupBy.terms.map(\.name)).union(own)
        for entry in config.aggregates where taken.contains(entry.key) {
            collector.append(
                Diagnostic(
                    .error, "duplicate-name", "the output already has a column `\(entry.key)`", at: entry.keyMark,
                    hint: "give the aggregate another name"))
        }
    }

    /// Types everything that was found to be right.
    private mutating func resolve(_ config: WindowAggConfig, _ schema: Schema) throws(ConfigError) {
        let argumentList = calls.arguments
        let filterList = calls.filters
        do throws(ExpressionErrors) {
            for argument in argumentList { arguments.append(try argument.check(schema)) }
            for filter in filterList { filters.append(try filter.check(schema, expecting: .bool)) }
        } catch {
            throw ConfigError("expression", error.description)
        }
        var kinds: [AccumulatorKind] = []
        for key in calls.keys {
            let positions = key.arguments.compactMap { argumentList.firstIndex(of: $0) }
            uses.append((positions, key.filter.flatMap { filterList.firstIndex(of: $0) }))
            let types = positions.map { arguments[$0].type }
            guard let kind = AccumulatorKind(key.family, types, retracts: inputKey != nil) else {
                throw ConfigError("aggregate", "an aggregate does not take arguments of type \(types)")
            }
            kinds.append(kind)
        }
        layout = AggregateLayout(kinds: kinds, items: calls.items)
    }

    // MARK: Streams

    /// The columns in front of the group columns in what the local stage sends and the state keeps.
    static func stateFields(_ window: WindowShape.Kind) -> [Field] {
        switch window {
        case .global, .count: []
        // The windows that a row enters: where they overlap, the first and the last.
        case .tumbling, .sliding: window.grid?.overlaps == true ? [windowStart, lastWindow] : [windowStart]
        case .session: [windowStart, windowEnd]
        }
    }

    /// The columns in front of the group columns in the output.
    static func outputFields(_ window: WindowShape.Kind) -> [Field] {
        switch window {
        case .global: []
        case .count: [CountWindows.windowNumber]
        case .tumbling, .sliding, .session: [windowStart, windowEnd]
        }
    }

    /// The columns that tell groups apart in the state: those of the window, and the keys.
    var groupFields: [Field] { AggregationPlan.stateFields(window) + keyFields }

    private var eventTime: String? { if case .event = time { AggregationPlan.windowStart.name } else { nil } }

    /// What leaves the node.
    func output(_ input: Stream) -> Stream {
        let schema = Schema(AggregationPlan.outputFields(window) + keyFields + layout.resultFields)
        switch window {
        case .global:
            return Stream(
                schema, kind: .upsert(key: keyFields.map(\.name)), deletes: inputKey != nil && !keyFields.isEmpty)
        case .tumbling, .sliding, .session:
            let names = (AggregationPlan.outputFields(window) + keyFields).map(\.name)
            // A session that grows gets another key.
            let deletes = if case .session = window { updates } else { false }
            return Stream(
                schema, kind: updates ? .upsert(key: names) : .append, deletes: deletes, eventTime: eventTime)
        case .count: return Stream(schema)
        }
    }

    /// What leaves the local stage: groups and partial states.
    var partial: Stream { Stream(Schema(groupFields + layout.stateFields), eventTime: eventTime) }

    /// How partial states are spread. What must meet in one subtask: for windows that share or merge state all of a
    /// group's, else a window's and group's.
    var exchange: Partitioning {
        let names =
            switch window {
            case .tumbling, .sliding: (window.grid?.overlaps == true ? keyFields : groupFields).map(\.name)
            case .global, .session, .count: keyFields.map(\.name)
            }
        return names.isEmpty ? .single : .hash(names)
    }

    /// The columns of the input that an exchange of it may use so that neither a group nor an input key is divided:
    /// group columns that are columns of the input's key. Nil where there is none.
    var sharedKey: [String]? {
        guard let inputKey else { return nil }
        let shared = keys.compactMap(\.columnName).filter(inputKey.contains)
        return shared.isEmpty ? nil : shared
    }

    /// The columns of the input that are read.
    func columnsUsed(_ input: Stream) -> Set<String> {
        var used = Set((keys + arguments + filters).flatMap(\.columnsUsed))
        used.formUnion(condition?.columnsUsed ?? [])
        used.formUnion(inputKey ?? [])
        if case .event(let column) = time { used.insert(input.schema.fields[column].name) }
        return used
    }
}
