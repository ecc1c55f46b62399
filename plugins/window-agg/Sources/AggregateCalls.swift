import DataflowOperator

/// The aggregates of a node as they were written: which accumulators they need and which result each takes from them.
///
/// Aggregates of the same family with the same arguments and filter share an accumulator. Accumulator 0 always counts
/// the group's rows.
struct AggregateCalls: Sendable {
    /// One accumulator: what it is of.
    struct Key: Hashable, Sendable {
        var family: AggregateFamily
        var arguments: [Expression]
        var filter: Expression?
    }

    /// One output column.
    struct Item: Sendable {
        var name: String
        var accumulator: Int
        var finish: AggregateFinish
        /// Where it is written, for messages.
        var text: String
    }

    private(set) var keys: [Key] = [Key(family: .count, arguments: [], filter: nil)]
    private(set) var items: [Item] = []

    /// An aggregate that there is not, or that is called wrongly: a message, a hint, and where in the text.
    struct Refusal: Error {
        var message: String
        var hint: String?
        var offset: Int
        var length: Int
    }

    /// The names that can be called, for messages.
    static let names = [
        "count", "sum", "avg", "min", "max", "first", "last", "any", "bool_and", "bool_or", "min_by", "max_by", "mode",
    ]

    private static let aliases = [
        "any_value": "any", "first_value": "first", "last_value": "last", "arg_min": "min_by", "arg_max": "max_by",
        "every": "bool_and", "mean": "avg", "average": "avg",
    ]

    private static func meaning(_ call: AggregateCall) throws(Refusal) -> (AggregateFamily, AggregateFinish) {
        let name = aliases[call.name] ?? call.name
        func refuse(_ message: String, _ hint: String? = nil) -> Refusal {
            Refusal(message: message, hint: hint, offset: call.offset, length: call.length)
        }
        let meaning: (AggregateFamily, AggregateFinish)
        switch name {
        case "count": meaning = call.distinct ? (.distinct, .distinctCount) : (.count, .count)
        case "sum": meaning = (.sum, .value)
        case "avg": meaning = (.sum, .average)
        case "min": meaning = (.min, .value)
        case "max": meaning = (.max, .value)
        case "first": meaning = (.first, .value)
        case "last": meaning = (.last, .value)
        case "any": meaning = (.any, .value)
        case "bool_and": meaning = (.boolean, .and)
        case "bool_or": meaning = (.boolean, .or)
        case "min_by": meaning = (.minBy, .member(1))
        case "max_by": meaning = (.maxBy, .member(1))
        case "mode": meaning = (.mode, .value)
        default:
            throw refuse(
                "there is no aggregate \(call.name)",
                Suggestion.nearest(to: name, among: names).map { "did you mean \($0)?" }
                    ?? "available are \(names.joined(separator: ", "))")
        }
        if call.star {
            guard meaning.0 == .count else { throw refuse("\(call.name)(*) has no meaning: name a column") }
            return meaning
        }
        guard call.arguments.count == meaning.0.argumentCount else {
            let wanted = meaning.0.argumentCount == 1 ? "one argument" : "two arguments, the value and what orders it"
            throw refuse("\(call.name) takes \(wanted), found \(call.arguments.count)")
        }
        // Repeated values change nothing for these; for the others they would.
        let ignoresRepeats = [.distinct, .min, .max, .boolean].contains(meaning.0)
        if call.distinct && !ignoresRepeats {
            throw refuse("\(call.name)(distinct …) is not available", "count(distinct x) is")
        }
        return meaning
    }

    /// Adds an output column.
    mutating func append(_ name: String, _ call: AggregateCall) throws(Refusal) {
        let (family, finish) = try AggregateCalls.meaning(call)
        // The ordering argument of min_by and max_by comes first: the first column decides whether a row counts.
        let arguments = family.argumentCount == 2 ? call.arguments.reversed() : call.arguments
        let key = Key(family: family, arguments: arguments, filter: call.filter)
        let index: Int
        if let known = keys.firstIndex(of: key) {
            index = known
        } else {
            index = keys.count
            keys.append(key)
        }
        items.append(Item(name: name, accumulator: index, finish: finish, text: call.description))
    }

    /// All argument expressions, each once.
    var arguments: [Expression] {
        keys.reduce(into: []) { all, key in
            for argument in key.arguments where !all.contains(argument) { all.append(argument) }
        }
    }

    /// All filters, each once.
    var filters: [Expression] {
        keys.reduce(into: []) { all, key in
            if let filter = key.filter, !all.contains(filter) { all.append(filter) }
        }
    }
}

/// How the accumulators of a node are made, and the columns of their partial states and results.
struct AggregateLayout: Sendable {
    var kinds: [AccumulatorKind]
    var items: [AggregateCalls.Item]

    /// The partial states' columns: `#2.sum`.
    var stateFields: [Field] {
        kinds.enumerated().flatMap { index, kind in
            kind.stateFields.map { Field("#\(index).\($0.suffix)", $0.type) }
        }
    }

    /// The results' columns.
    var resultFields: [Field] {
        items.map { item in
            Field(item.name, kinds[item.accumulator].resultType(item.finish), nullable: !isCount(item.finish))
        }
    }

    private func isCount(_ finish: AggregateFinish) -> Bool { finish == .count || finish == .distinctCount }

    init(kinds: [AccumulatorKind], items: [AggregateCalls.Item]) {
        self.kinds = kinds
        self.items = items
    }

    /// The layout behind the exchange, from the columns of the partial states.
    init?(_ calls: AggregateCalls, states: some Sequence<Field>) {
        let states = Array(states)
        kinds = []
        items = calls.items
        for (index, key) in calls.keys.enumerated() {
            let own = states.filter { $0.name.hasPrefix("#\(index).") }.map(\.type)
            guard !own.isEmpty else { return nil }
            let types = AccumulatorKind.argumentTypes(key.family, state: own)
            guard let kind = AccumulatorKind(key.family, types, retracts: false) else { return nil }
            kinds.append(kind)
        }
    }
}
