/// An aggregate as window-agg reads it: `count(*)`, `sum(price) filter (where country = 'DE')`,
/// `string_agg(name, ', ' order by price desc)`. Which names exist and what they take is for the operator to check.
public struct AggregateCall: Sendable, Hashable {
    /// The name in lower case.
    public var name: String
    /// `count(distinct x)`
    public var distinct: Bool
    /// `count(*)`; then there are no arguments.
    public var star: Bool
    public var arguments: [Expression]
    /// `order by …` behind the arguments; empty without it.
    public var order: [OrderItem] = []
    /// Only rows for which this is true are counted.
    public var filter: Expression?
    /// Where the name stands in the text, in UTF-8 bytes.
    public var offset: Int
    /// How many UTF-8 bytes the name has.
    public var length: Int

    /// Names that the scalar language refuses with a hint instead of calling them unknown.
    static let names: Set<String> = [
        "count", "sum", "avg", "min", "max", "any", "bool_and", "bool_or", "stddev", "stddev_pop", "stddev_samp",
        "variance", "var_pop", "var_samp", "collect_list", "collect_set", "string_agg", "array_agg", "min_by",
        "max_by", "mode", "last", "approx_count_distinct", "approx_quantile", "approx_top_k", "first_value",
        "last_value", "listagg", "approx_percentile",
    ]

    /// Reads one aggregate call.
    ///
    /// - Throws: the first error of the text, with its position.
    public static func parse(_ text: String) throws(ExpressionErrors) -> AggregateCall {
        var parser = try Parser(text)
        let call = try parser.aggregate()
        guard parser.token.kind == .end else {
            throw parser.error(
                "the aggregate should end here, found \(parser.token.name)",
                hint: "compute with results of aggregates in a select node behind this one")
        }
        return call
    }
}

extension AggregateCall: CustomStringConvertible {
    /// SQL that parses to an equal call.
    public var description: String {
        var inside = star ? "*" : (distinct ? "distinct " : "") + arguments.map(\.description).joined(separator: ", ")
        if !order.isEmpty { inside += " order by " + order.map(\.description).joined(separator: ", ") }
        return "\(Printer.name(name))(\(inside))" + (filter.map { " filter (where \($0))" } ?? "")
    }

    public static func == (left: AggregateCall, right: AggregateCall) -> Bool {
        left.name == right.name && left.distinct == right.distinct && left.star == right.star
            && left.arguments == right.arguments && left.order == right.order && left.filter == right.filter
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(name)
        hasher.combine(arguments)
    }
}

extension Parser {
    mutating func aggregate() throws(ExpressionErrors) -> AggregateCall {
        let start = token
        guard case .word(let name) = token.kind, peek().kind == .symbol("(") else {
            throw error("an aggregate like count(*) or sum(x) is expected here, found \(token.name)")
        }
        advance()
        advance()
        var call = AggregateCall(
            name: name.lowercased(), distinct: false, star: false, arguments: [], filter: nil, offset: start.offset,
            length: start.length)
        if take(symbol: "*") {
            call.star = true
            try expect(symbol: ")", "behind \"*\"")
        } else if !take(symbol: ")") {
            call.distinct = take(word: "distinct")
            while true {
                call.arguments.append(try expression())
                if take(symbol: ")") { break }
                if take(word: "order") {
                    try expect(word: "by", "behind \"order\"")
                    repeat { call.order.append(try orderItem()) } while take(symbol: ",")
                    try expect(symbol: ")", "behind the order")
                    break
                }
                try expect(symbol: ",", "or \")\"")
            }
        }
        if take(word: "filter") {
            try expect(symbol: "(", "behind \"filter\"")
            try expect(word: "where", "behind \"filter (\"")
            call.filter = try expression()
            try expect(symbol: ")", "to close \"filter (\"")
        }
        return call
    }
}

extension Parser {
    /// `expression [asc | desc] [nulls first | nulls last]`
    mutating func orderItem() throws(ExpressionErrors) -> OrderItem {
        var item = OrderItem(try expression())
        if take(word: "desc") { item.descending = true } else { _ = take(word: "asc") }
        if take(word: "nulls") {
            if take(word: "first") {
                item.nullsFirst = true
            } else {
                try expect(word: "last", "behind \"nulls\", or \"first\",")
            }
        }
        return item
    }
}

/// One item of an order as top-n reads it: `sugar desc nulls first`.
public struct OrderItem: Sendable, Hashable, CustomStringConvertible {
    public var expression: Expression
    public var descending: Bool
    /// Where nulls stand; last unless the text says `nulls first`, whatever the direction.
    public var nullsFirst: Bool

    public init(_ expression: Expression, descending: Bool = false, nullsFirst: Bool = false) {
        self.expression = expression
        self.descending = descending
        self.nullsFirst = nullsFirst
    }

    /// Reads `expression [asc | desc] [nulls first | nulls last]`.
    ///
    /// - Throws: the first error of the text, with its position.
    public static func parse(_ text: String) throws(ExpressionErrors) -> OrderItem {
        var parser = try Parser(text)
        let item = try parser.orderItem()
        guard parser.token.kind == .end else {
            throw parser.error(
                "the item should end here, found \(parser.token.name)",
                hint: "write one item an entry: [sugar desc, name]")
        }
        return item
    }

    public var description: String {
        "\(expression)" + (descending ? " desc" : "") + (nullsFirst ? " nulls first" : "")
    }
}
