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

    /// Adds an output column.
    mutating func append(_ name: String, _ call: AggregateCall) throws(Refusal) {
        let meaning = try AggregateMeaning(call)
        let key = Key(family: meaning.family, arguments: meaning.arguments, filter: call.filter)
        let index: Int
        if let known = keys.firstIndex(of: key) {
            index = known
        } else {
            index = keys.count
            keys.append(key)
        }
        items.append(Item(name: name, accumulator: index, finish: meaning.finish, text: call.description))
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
