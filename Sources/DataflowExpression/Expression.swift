import DataflowColumnar

/// The syntax tree of one SQL scalar expression: what was written, not yet checked against columns.
///
/// Two expressions are equal when they say the same, wherever they stand. `description` prints SQL that parses to an
/// equal tree.
public struct Expression: Sendable {
    /// What the expression says.
    public indirect enum Kind: Hashable, Sendable {
        case literal(Literal)
        /// A column, or the parameter of a lambda around it.
        case name(String)
        /// `base.member`
        case field(Expression, String)
        /// `base[index]`, counted from zero.
        case element(Expression, index: Expression)
        case unary(UnaryOperator, Expression)
        case binary(BinaryOperator, Expression, Expression)
        /// `x is [not] null`, `x is [not] true` …
        case test(Expression, Test, negated: Bool)
        /// `a is [not] distinct from b`
        case distinct(Expression, from: Expression, negated: Bool)
        case between(Expression, low: Expression, high: Expression, negated: Bool)
        case oneOf(Expression, [Expression], negated: Bool)
        case like(Expression, pattern: Expression, escape: Expression?, ignoresCase: Bool, negated: Bool)
        /// `case [operand] when … then … [else …] end`
        case choice(operand: Expression?, branches: [Branch], otherwise: Expression?)
        /// `cast(x as type)`, `x::type`; `try_cast` gives null instead of an error.
        case cast(Expression, DataType, orNull: Bool)
        case call(String, [Expression])
        /// `x -> body`, only as an argument of list functions.
        case lambda([String], Expression)
        /// `[a, b]`, `array[a, b]`
        case array([Expression])
        /// `struct(x as a, y as b)`
        case structure([Member])
    }

    /// One `when … then …`.
    public struct Branch: Hashable, Sendable {
        public var condition: Expression
        public var result: Expression
    }

    /// One member of `struct(…)`.
    public struct Member: Hashable, Sendable {
        public var name: String
        public var value: Expression
    }

    /// A value as it was written.
    public enum Literal: Hashable, Sendable {
        case null
        case bool(Bool)
        /// A whole number; more digits than `int64` has are a decimal.
        case integer(Int64)
        /// A number with a point or exponent, as written.
        case number(String)
        case string(String)
        /// `timestamp '…'`: microseconds since the epoch.
        case timestamp(Int64)
        /// `date '…'`: days since the epoch.
        case date(Int32)
        case interval(Interval)
    }

    public enum UnaryOperator: String, Hashable, Sendable {
        case minus = "-"
        case plus = "+"
        case not = "not"
    }

    public enum BinaryOperator: String, Hashable, Sendable {
        case or, and
        case equal = "="
        case notEqual = "<>"
        case less = "<"
        case lessOrEqual = "<="
        case greater = ">"
        case greaterOrEqual = ">="
        case concatenate = "||"
        case add = "+"
        case subtract = "-"
        case multiply = "*"
        case divide = "/"
        case modulo = "%"
    }

    public enum Test: String, Hashable, Sendable {
        case null, `true`, `false`, unknown
    }

    public let kind: Kind
    /// Where the expression starts in its text, in UTF-8 bytes.
    public let offset: Int
    /// How many UTF-8 bytes of its text it covers.
    public let length: Int
    /// How many levels the tree has: bounds the recursion of whoever walks it.
    let height: Int

    init(_ kind: Kind, _ offset: Int, _ length: Int) {
        self.kind = kind
        self.offset = offset
        self.length = length
        height = 1 + (Expression.children(of: kind).map(\.height).max() ?? 0)
    }

    /// A column by name: what operators use where the user names a column and an expression is needed.
    public static func column(_ name: String) -> Expression { Expression(.name(name), 0, name.utf8.count) }
}

extension Expression: Hashable {
    public static func == (left: Expression, right: Expression) -> Bool { left.kind == right.kind }
    public func hash(into hasher: inout Hasher) { hasher.combine(kind) }
}

/// A span of calendar months plus microseconds (a day is 24 hours: time is UTC).
public struct Interval: Hashable, Sendable {
    public var months: Int64
    public var microseconds: Int64

    public init(months: Int64 = 0, microseconds: Int64 = 0) {
        self.months = months
        self.microseconds = microseconds
    }
}
