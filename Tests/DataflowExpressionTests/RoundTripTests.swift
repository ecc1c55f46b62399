import DataflowColumnar
import Testing

@testable import DataflowExpression

/// A generator of random numbers with a seed, so that a failure can be run again.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    /// SplitMix64.
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// Random syntax trees, well formed but of no sense.
struct TreeGenerator {
    var random: SeededGenerator

    init(seed: UInt64) { random = SeededGenerator(seed: seed) }

    private mutating func pick<T>(_ options: [T]) -> T { options[Int.random(in: 0..<options.count, using: &random)] }

    private func make(_ kind: Expression.Kind) -> Expression { Expression(kind, 0, 0) }

    mutating func name() -> String {
        pick([
            "a", "b_1", "Mixed", "two words", "case", "ö", "q\"uote", "timestamp", "x", "array", "select", "1st",
            "left", "from",
        ])
    }

    mutating func type(_ depth: Int = 2) -> DataType {
        switch Int.random(in: 0..<(depth > 0 ? 8 : 6), using: &random) {
        case 0: .int64
        case 1: .string
        case 2: .decimal(precision: 12, scale: 3)
        case 3: .timestamp
        case 4: .bool
        case 5: .float32
        case 6: .list(type(depth - 1))
        default: .structure([Field("a", type(depth - 1)), Field("two words", type(depth - 1))])
        }
    }

    mutating func literal() -> Expression.Literal {
        switch Int.random(in: 0..<9, using: &random) {
        case 0: .null
        case 1: .bool(Bool.random(using: &random))
        case 2: .integer(pick([0, 1, -1, 42, .max, .min]))
        case 3: .number(pick(["1.5", "-0.25", "1e10", "0.1E-5", "99999999999999999999"]))
        case 4: .string(pick(["", "it's", "a\"b", "ö\u{301}'", "--", "/*", "'\u{301}"]))
        case 5: .timestamp(pick([0, -1, 1_714_566_896_789_000]))
        case 6: .date(pick([0, -719_162, 2_932_896]))
        case 7:
            .interval(Interval(months: pick([0, 1, -14]), microseconds: pick([1, -90_061_000_001, 86_400_000_000])))
        default: .integer(Int64.random(in: -100...100, using: &random))
        }
    }

    mutating func tree(_ depth: Int) -> Expression {
        if depth == 0 { return make(Bool.random(using: &random) ? .literal(literal()) : .name(name())) }
        func sub(_ generator: inout TreeGenerator) -> Expression {
            generator.tree(Int.random(in: 0..<depth, using: &generator.random))
        }
        let negated = Bool.random(using: &random)
        switch Int.random(in: 0..<16, using: &random) {
        case 0: return make(.field(sub(&self), name()))
        case 1: return make(.element(sub(&self), index: sub(&self)))
        case 2: return make(.unary(pick([.minus, .plus, .not]), sub(&self)))
        case 3, 4, 5:
            let operation: Expression.BinaryOperator = pick([
                .or, .and, .equal, .notEqual, .less, .lessOrEqual, .greater, .greaterOrEqual, .concatenate, .add,
                .subtract,
                .multiply, .divide, .modulo,
            ])
            return make(.binary(operation, sub(&self), sub(&self)))
        case 6: return make(.test(sub(&self), pick([.null, .true, .false, .unknown]), negated: negated))
        case 7: return make(.distinct(sub(&self), from: sub(&self), negated: negated))
        case 8: return make(.between(sub(&self), low: sub(&self), high: sub(&self), negated: negated))
        case 9: return make(.oneOf(sub(&self), [sub(&self), sub(&self)], negated: negated))
        case 10:
            return make(
                .like(
                    sub(&self), pattern: sub(&self), escape: negated ? sub(&self) : nil,
                    ignoresCase: Bool.random(using: &random), negated: negated))
        case 11:
            return make(
                .choice(
                    operand: negated ? sub(&self) : nil,
                    branches: [
                        .init(condition: sub(&self), result: sub(&self)),
                        .init(condition: sub(&self), result: sub(&self)),
                    ],
                    otherwise: Bool.random(using: &random) ? sub(&self) : nil))
        case 12: return make(.cast(sub(&self), type(), orNull: negated))
        case 13:
            let lambda = make(.lambda(negated ? ["x"] : ["two words", "i"], sub(&self)))
            return make(.call("filter", [sub(&self), lambda]))
        case 14: return make(.array([sub(&self), sub(&self)]))
        default:
            return negated
                ? make(.structure([.init(name: "a", value: sub(&self)), .init(name: "two words", value: sub(&self))]))
                : make(.call(pick(["lower", "left", "now", "f"]), [sub(&self)]))
        }
    }
}

@Suite struct RoundTripTests {
    @Test(arguments: 0..<20)
    func `printing and reading a random tree gives the same tree`(seed: Int) throws {
        var generator = TreeGenerator(seed: UInt64(seed))
        for _ in 0..<200 {
            let tree = generator.tree(5)
            let text = tree.description
            guard let read = try? Expression.parse(text) else {
                Issue.record("seed \(seed): \(text) is not read")
                continue
            }
            #expect(read == tree, "seed \(seed): \(text) became \(read)")
            #expect(read.description == text, "seed \(seed)")
        }
    }

    @Test(arguments: ConstantTableTests.table.map(\.0) + ColumnTableTests.table.map(\.0))
    func `printing is a fixed point and keeps the values`(text: String) throws {
        let expression = try Expression.parse(text)
        let printed = expression.description
        let again = try Expression.parse(printed)
        #expect(again == expression, "\(text) was printed as \(printed)")
        #expect(again.description == printed)
        #expect(try Sample.values(printed) == Sample.values(text))
    }

    @Test(arguments: [
        ("a+b*c", "a + b * c"), ("(a+b)*c", "(a + b) * c"), ("a-(b-c)", "a - (b - c)"), ("((a))", "a"),
        ("NOT a AND b", "not a and b"), ("not (a and b)", "not (a and b)"),
        ("a = (b = c)", "a = (b = c)"), ("(a or b) and c", "(a or b) and c"), ("-a", "-a"), ("- -1", "-(-1)"),
        ("-(-a)", "- -a"), ("x::int::text", "cast(cast(x as int32) as string)"),
        ("-x::int", "-cast(x as int32)"), ("(-x)::int", "cast(-x as int32)"), ("-1::int", "-cast(1 as int32)"),
        ("\"lower case\".\"B\"", "\"lower case\".B"), ("Lower(X)", "lower(X)"), ("substring(a from 2)", "substr(a, 2)"),
        ("extract(YEAR from t)", "date_part('year', t)"), ("position('a' in b)", "strpos(b, 'a')"), ("array[1]", "[1]"),
        ("a is not null = b", ""), ("(a is null) = b", "(a is null) = b"),
        ("a between 1 and 2 and b", "a between 1 and 2 and b"), ("filter(t, (x) -> x)", "filter(t, x -> x)"),
        ("(a, b)", ""), ("case a when 1 then 2 end", "case a when 1 then 2 end"), ("a <> b != c", ""),
        ("t.a[0].b", "t.a[0].b"),
        ("trim(leading 'x' from a)", "ltrim(a, 'x')"), ("interval '90 min'", "interval '1 hour 30 minutes'"),
        ("interval '-1.5 hours'", "interval '-1 hour -30 minutes'"),
        ("timestamp '2024-01-01'", "timestamp '2024-01-01T00:00:00Z'"),
    ])
    func `printing uses the fewest brackets`(text: String, expected: String) {
        #expect((try? Expression.parse(text).description) ?? "" == expected)
    }
}
