import DataflowOperator

/// What a call asks for: which accumulator, what it sees of the rows, and which result is taken from it.
struct AggregateMeaning {
    var family: AggregateFamily
    var finish: AggregateFinish
    /// The columns of the accumulator; the first decides whether a row counts.
    var arguments: [Expression]

    /// The names that can be called, for messages.
    static let names = [
        "count", "sum", "avg", "min", "max", "first", "last", "any", "bool_and", "bool_or", "min_by", "max_by", "mode",
        "stddev_pop", "stddev_samp", "var_pop", "var_samp", "collect_list", "collect_set", "string_agg",
        "approx_count_distinct", "approx_quantile", "approx_top_k",
    ]

    private static let aliases = [
        "any_value": "any", "first_value": "first", "last_value": "last", "arg_min": "min_by", "arg_max": "max_by",
        "every": "bool_and", "mean": "avg", "average": "avg", "stddev": "stddev_samp", "variance": "var_samp",
        "listagg": "string_agg", "approx_percentile": "approx_quantile",
    ]
    /// Names of other engines that mean something else than ours.
    private static let hints = [
        "array_agg": "collect_list(x) collects values, nulls left out",
        "percentile_disc": "approx_quantile(x, 0.99) is exact for up to 1536 different values",
        "percentile_cont": "approx_quantile(x, 0.5) answers one of the values, or one near to it",
        "median": "use approx_quantile(x, 0.5)", "group_concat": "use string_agg(x, ', ')",
    ]

    // Bounds: what is given must lie inside, what is not given is the default.
    static let defaultValues = 1000
    static let defaultBytes = 64 << 10
    private static let values = 1...1_000_000
    private static let bytes = 1...(16 << 20)
    private static let top = 1...1000
    private static let counters = 1...100_000

    /// - Throws: what is wrong with the call, whatever its arguments' types.
    init(_ call: AggregateCall) throws(AggregateCalls.Refusal) {
        let reader = CallReader(call)
        let name = AggregateMeaning.aliases[call.name] ?? call.name
        if !call.order.isEmpty, !["collect_list", "collect_set", "string_agg"].contains(name) {
            throw reader.refuse(
                "\(call.name) takes no order by",
                ["first", "last"].contains(name) ? "use min_by(x, y) or max_by(x, y)" : nil)
        }
        if call.star, AggregateMeaning.names.contains(name), name != "count" || call.distinct {
            throw reader.refuse("\(call.name)(*) has no meaning: name a column")
        }
        arguments = call.arguments
        switch name {
        case "count": (family, finish) = call.distinct ? (.distinct, .distinctCount) : (.count, .count)
        case "sum": (family, finish) = (.sum, .value)
        case "avg": (family, finish) = (.sum, .average)
        case "min": (family, finish) = (.min, .value)
        case "max": (family, finish) = (.max, .value)
        case "first": (family, finish) = (.first, .value)
        case "last": (family, finish) = (.last, .value)
        case "any": (family, finish) = (.any, .value)
        case "bool_and": (family, finish) = (.boolean, .and)
        case "bool_or": (family, finish) = (.boolean, .or)
        case "mode": (family, finish) = (.mode, .value)
        case "var_pop": (family, finish) = (.variance, .spread(Spread(isSample: false, isRoot: false)))
        case "var_samp": (family, finish) = (.variance, .spread(Spread(isSample: true, isRoot: false)))
        case "stddev_pop": (family, finish) = (.variance, .spread(Spread(isSample: false, isRoot: true)))
        case "stddev_samp": (family, finish) = (.variance, .spread(Spread(isSample: true, isRoot: true)))
        case "approx_count_distinct": (family, finish) = (.distinctSketch, .distinctCount)
        case "min_by", "max_by":
            try reader.expectArguments(2, "two arguments, the value and what orders it")
            (family, finish) = (name == "min_by" ? .minBy : .maxBy, .member(1))
            arguments.reverse()
        case "approx_quantile":
            try reader.expectArguments(2, "two arguments, the value and a fraction such as 0.99")
            (family, finish) = (.quantiles, .quantile(try reader.fraction(1)))
            arguments = [call.arguments[0]]
        case "approx_top_k":
            try reader.expectArguments(2...3, "the value, how many, and if wanted the number of counters")
            let count = try reader.integer(1, "how many values", in: AggregateMeaning.top)
            let counters = try reader.integer(2, "the number of counters", in: AggregateMeaning.counters)
            if let counters, counters < count ?? 1 {
                throw reader.refuse("\(counters) counters cannot tell the \(count ?? 1) most frequent", at: 2)
            }
            (family, finish) = (.top(count: count ?? 1, counters: counters ?? max(1000, 10 * (count ?? 1))), .value)
            arguments = [call.arguments[0]]
        case "collect_list", "collect_set", "string_agg":
            (family, finish, arguments) = try AggregateMeaning.collection(name, reader)
            return
        default:
            throw reader.refuse(
                "there is no aggregate \(call.name)",
                AggregateMeaning.hints[name]
                    ?? Suggestion.nearest(to: name, among: AggregateMeaning.names).map { "did you mean \($0)?" }
                    ?? "available are \(AggregateMeaning.names.joined(separator: ", "))")
        }
        if call.star { return }
        if arguments.count == call.arguments.count, family != .minBy, family != .maxBy {
            try reader.expectArguments(1, "one argument")
        }
        guard call.distinct else { return }
        switch family {
        case .sum, .variance: (family, finish) = (.distinct, .distinct(family, finish))
        // Repeated values change nothing for these; for the others they would.
        case .distinct, .min, .max, .boolean, .distinctSketch: break
        default: throw reader.refuse("\(call.name)(distinct …) is not available", "sum, avg and count(distinct x) are")
        }
    }

    /// `collect_list(x [, n] [order by …])`, `collect_set(x [, n])`, `string_agg(x, ', ' [, bytes] [order by …])`
    private static func collection(
        _ name: String, _ reader: CallReader
    ) throws(AggregateCalls.Refusal) -> (AggregateFamily, AggregateFinish, [Expression]) {
        let call = reader.call
        var rule = CollectRule(limit: .values(defaultValues), isSet: call.distinct || name == "collect_set", order: [])
        let bound: Int?
        if name == "string_agg" {
            try reader.expectArguments(2...3, "the text, what to put between, and if wanted the most bytes")
            rule.separator = try reader.text(1)
            bound = try reader.integer(2, "the most bytes", in: bytes)
            rule.limit = .bytes(bound ?? defaultBytes)
        } else {
            try reader.expectArguments(1...2, "the value and if wanted the most values")
            bound = try reader.integer(1, "the most values", in: values)
            rule.limit = .values(bound ?? defaultValues)
        }
        var arguments = [call.arguments[0]]
        for item in call.order {
            if rule.isSet, item.expression != call.arguments[0] {
                throw AggregateCalls.Refusal(
                    message: "distinct values can only be ordered by themselves: \(call.arguments[0])",
                    offset: item.expression.offset, length: item.expression.length)
            }
            let column = arguments.firstIndex(of: item.expression) ?? arguments.count
            if column == arguments.count { arguments.append(item.expression) }
            rule.order.append(
                RowOrdering.Term(column: column, descending: item.descending, nullsFirst: item.nullsFirst))
        }
        // Equals are told apart by the value, so that the result depends on nothing but the values.
        if rule.isSet || !rule.order.isEmpty, !rule.order.contains(where: { $0.column == 0 }) {
            rule.order.append(RowOrdering.Term(column: 0))
        }
        return (.collect(rule), .collected(isBoundGiven: bound != nil), arguments)
    }

    /// Why a call is refused where rows are replaced and deleted.
    static func refusalOverUpserts(_ call: AggregateCall) -> (message: String, hint: String) {
        switch aliases[call.name] ?? call.name {
        case "approx_count_distinct":
            (
                "\(call.name) needs a stream of facts: a sketch cannot take a value back",
                "use count(distinct x), which keeps every value"
            )
        case "collect_list", "string_agg":
            (
                "\(call.name) without an order needs a stream of facts: in an upsert stream rows have no order",
                "write `order by` behind the arguments, as in \(call.name)(\(call.arguments.map(\.description).joined(separator: ", ")) order by \(call.arguments[0]))"
            )
        default:
            (
                "\(call.name) needs a stream of facts: in an upsert stream rows are replaced and have no order",
                "use max_by(x, time), min_by(x, time) or any(x)"
            )
        }
    }
}

/// Reads the constants among a call's arguments.
private struct CallReader {
    let call: AggregateCall

    init(_ call: AggregateCall) { self.call = call }

    func refuse(_ message: String, _ hint: String? = nil) -> AggregateCalls.Refusal {
        AggregateCalls.Refusal(message: message, hint: hint, offset: call.offset, length: call.length)
    }

    func refuse(_ message: String, at index: Int, _ hint: String? = nil) -> AggregateCalls.Refusal {
        let argument = call.arguments[index]
        return AggregateCalls.Refusal(message: message, hint: hint, offset: argument.offset, length: argument.length)
    }

    func expectArguments(_ count: Int, _ what: String) throws(AggregateCalls.Refusal) {
        guard call.arguments.count == count else {
            throw refuse("\(call.name) takes \(what), found \(call.arguments.count)")
        }
    }

    func expectArguments(_ count: ClosedRange<Int>, _ what: String) throws(AggregateCalls.Refusal) {
        guard count.contains(call.arguments.count) else {
            let found = call.arguments.count
            throw refuse("\(call.name) takes \(what), found \(found) argument\(found == 1 ? "" : "s")")
        }
    }

    /// A whole number; nil where the argument is not there.
    func integer(_ index: Int, _ what: String, in range: ClosedRange<Int>) throws(AggregateCalls.Refusal) -> Int? {
        guard call.arguments.indices.contains(index) else { return nil }
        guard case .literal(.integer(let value)) = call.arguments[index].kind, range.contains(Int(value)) else {
            throw refuse(
                "\(what) must be a constant from \(range.lowerBound) to \(range.upperBound), found \(call.arguments[index])",
                at: index)
        }
        return Int(value)
    }

    /// A number from 0 to 1.
    func fraction(_ index: Int) throws(AggregateCalls.Refusal) -> Double {
        let value: Double? =
            switch call.arguments[index].kind {
            case .literal(.number(let text)): Double(text)
            case .literal(.integer(let value)): Double(value)
            default: nil
            }
        guard let value, (0...1).contains(value) else {
            let percent = value.map { $0 > 1 && $0 <= 100 } ?? false
            throw refuse(
                "the fraction must be a constant from 0 to 1, found \(call.arguments[index])", at: index,
                percent ? "for the 99th percentile write 0.99" : nil)
        }
        return value
    }

    /// A text.
    func text(_ index: Int) throws(AggregateCalls.Refusal) -> String {
        guard case .literal(.string(let text)) = call.arguments[index].kind else {
            throw refuse("what to put between must be a constant text, found \(call.arguments[index])", at: index)
        }
        return text
    }
}
