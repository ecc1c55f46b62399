import DataflowColumnar
import Testing

@testable import DataflowExpression

/// The language once more, one row at a time over boxed values, written without a look at the kernels: what the
/// vectorised evaluation is compared with. Integers, floats, texts, conditions.
enum Oracle {
    struct Failure: Error {}

    static func evaluate(_ expression: Expression, _ row: [String: Value]) throws -> Value {
        switch expression.kind {
        case .literal(.null): return .null
        case .literal(.bool(let value)): return .bool(value)
        case .literal(.integer(let value)): return .int(value)
        case .literal(.string(let value)): return .string(value)
        case .name(let name): return row[name] ?? .null
        case .unary(.not, let operand): return not(try evaluate(operand, row))
        case .unary(.minus, let operand):
            guard case .int(let value) = try evaluate(operand, row) else { return .null }
            if value == .min { throw Failure() }
            return .int(-value)
        case .binary(.and, let left, let right):
            // The right side does not matter where the left one decides.
            let a = try evaluate(left, row)
            if a == .bool(false) { return a }
            let b = try evaluate(right, row)
            if b == .bool(false) { return b }
            return a == .null || b == .null ? .null : .bool(true)
        case .binary(.or, let left, let right):
            let a = try evaluate(left, row)
            if a == .bool(true) { return a }
            let b = try evaluate(right, row)
            if b == .bool(true) { return b }
            return a == .null || b == .null ? .null : .bool(false)
        case .binary(let operation, let left, let right):
            return try binary(operation, try evaluate(left, row), try evaluate(right, row))
        case .test(let operand, .null, let negated): return .bool((try evaluate(operand, row) == .null) != negated)
        case .distinct(let left, let right, let negated):
            return .bool((try evaluate(left, row) != evaluate(right, row)) != negated)
        case .between(let operand, let low, let high, let negated):
            let test = Expression(
                .binary(
                    .and, Expression(.binary(.greaterOrEqual, operand, low), 0, 0),
                    Expression(.binary(.lessOrEqual, operand, high), 0, 0)), 0, 0)
            let result = try evaluate(test, row)
            return negated ? not(result) : result
        case .oneOf(let operand, let options, let negated):
            let value = try evaluate(operand, row)
            var isUnknown = false
            var isFound = false
            for option in options {
                let candidate = try evaluate(option, row)
                if value == .null || candidate == .null {
                    isUnknown = true
                } else if value == candidate {
                    isFound = true; break
                }
            }
            let result: Value = isFound ? .bool(true) : isUnknown ? .null : .bool(false)
            return negated ? not(result) : result
        case .choice(_, let branches, let otherwise):
            for branch in branches where try evaluate(branch.condition, row) == .bool(true) {
                return try evaluate(branch.result, row)
            }
            return try otherwise.map { try evaluate($0, row) } ?? .null
        case .call("coalesce", let arguments):
            for argument in arguments {
                let value = try evaluate(argument, row)
                if value != .null { return value }
            }
            return .null
        case .call("nullif", let arguments):
            let a = try evaluate(arguments[0], row)
            return try a == evaluate(arguments[1], row) ? .null : a
        case .call("try", let arguments): return (try? evaluate(arguments[0], row)) ?? .null
        default: preconditionFailure("the oracle does not know \(expression)")
        }
    }

    private static func not(_ value: Value) -> Value {
        if case .bool(let bit) = value { .bool(!bit) } else { .null }
    }

    private static func binary(_ operation: Expression.BinaryOperator, _ a: Value, _ b: Value) throws -> Value {
        if a == .null || b == .null { return .null }
        switch (operation, a, b) {
        case (.concatenate, .string(let x), .string(let y)): return .string(x + y)
        case (.equal, _, _): return .bool(a == b)
        case (.notEqual, _, _): return .bool(a != b)
        case (.less, _, _): return .bool(isLess(a, b))
        case (.lessOrEqual, _, _): return .bool(!isLess(b, a))
        case (.greater, _, _): return .bool(isLess(b, a))
        case (.greaterOrEqual, _, _): return .bool(!isLess(a, b))
        case (_, .int(let x), .int(let y)):
            let (value, overflow): (Int64, Bool)
            switch operation {
            case .add: (value, overflow) = x.addingReportingOverflow(y)
            case .subtract: (value, overflow) = x.subtractingReportingOverflow(y)
            case .multiply: (value, overflow) = x.multipliedReportingOverflow(by: y)
            case .divide:
                if y == 0 { throw Failure() }
                (value, overflow) = x.dividedReportingOverflow(by: y)
            default:
                if y == 0 { throw Failure() }
                (value, overflow) = y == -1 ? (0, false) : (x % y, false)
            }
            if overflow { throw Failure() }
            return .int(value)
        default: preconditionFailure("\(a) \(operation) \(b)")
        }
    }

    private static func isLess(_ a: Value, _ b: Value) -> Bool {
        switch (a, b) {
        case (.int(let x), .int(let y)): x < y
        case (.string(let x), .string(let y)): Array(x.utf8).lexicographicallyPrecedes(Array(y.utf8))
        case (.bool(let x), .bool(let y)): !x && y
        default: preconditionFailure("\(a) < \(b)")
        }
    }
}

/// Random expressions that have a type, over columns with few different values, so that conditions meet.
struct TypedGenerator {
    var random: SeededGenerator

    private mutating func pick<T>(_ options: [T]) -> T { options[Int.random(in: 0..<options.count, using: &random)] }

    mutating func text(_ type: DataType, _ depth: Int) -> String {
        if depth == 0 || Int.random(in: 0..<8, using: &random) == 0 {
            switch type {
            case .int64: return pick(["a", "b", "c", "0", "1", "-3", "9223372036854775807", "a", "b"])
            case .string: return pick(["s", "t", "''", "'x'", "'a text that is not inline'", "s", "t"])
            default: return pick(["p", "q", "true", "false", "p", "q"])
            }
        }
        let next = depth - 1
        switch Int.random(in: 0..<5, using: &random) {
        case 0: return "coalesce(\(text(type, next)), \(text(type, next)))"
        case 1: return "nullif(\(text(type, next)), \(text(type, next)))"
        case 2:
            return
                "case when \(text(.bool, next)) then \(text(type, next)) when \(text(.bool, next)) then \(text(type, next)) end"
        case 3: return "try(\(text(type, next)))"
        default: break
        }
        switch type {
        case .int64: return "(\(text(.int64, next)) \(pick(["+", "-", "*", "/", "%"])) \(text(.int64, next)))"
        case .string: return "(\(text(.string, next)) || \(text(.string, next)))"
        default:
            let inner = pick([DataType.int64, .string, .bool])
            switch Int.random(in: 0..<7, using: &random) {
            case 0: return "(not \(text(.bool, next)))"
            case 1, 2: return "(\(text(.bool, next)) \(pick(["and", "or"])) \(text(.bool, next)))"
            case 3: return "(\(text(inner, next)) \(pick(["is null", "is not null"])))"
            case 4:
                return
                    "(\(text(inner, next)) \(pick(["in", "not in"])) (\(text(inner, next)), \(text(inner, 0)), \(text(inner, 0))))"
            case 5:
                return
                    "(\(text(inner, next)) \(pick(["between", "not between"])) \(text(inner, next)) and \(text(inner, next)))"
            default:
                return
                    "(\(text(inner, next)) \(pick(["=", "<>", "<", "<=", ">", ">=", "is distinct from", "is not distinct from"])) \(text(inner, next)))"
            }
        }
    }
}

@Suite struct OracleTests {
    static let schema = Schema([
        Field("a", .int64), Field("b", .int64), Field("c", .int64), Field("s", .string), Field("t", .string),
        Field("p", .bool), Field("q", .bool),
    ])

    @Test(arguments: 0..<20)
    func `a column at a time gives what a row at a time gives`(seed: Int) throws {
        var generator = TypedGenerator(random: SeededGenerator(seed: UInt64(seed)))
        func pick(_ options: [Value]) -> Value { options[Int.random(in: 0..<options.count, using: &generator.random)] }
        let rows = (0..<150).map { _ in
            [
                pick([0, 1, -3, .null]), pick([1, 2, 7, .int(.min)]), pick([.null, 0, 5, .int(.max)]),
                pick(["", "x", .null, "a text that is not inline"]),
                pick(["x", "y", "another text that is long", .null]),
                pick([true, false, .null]), pick([true, false]),
            ]
        }
        let batch = RecordBatch(OracleTests.schema, rows: rows)
        for _ in 0..<50 {
            let text = generator.text([.int64, .string, .bool].randomElement(using: &generator.random) ?? .bool, 4)
            let expression = try Expression.parse(text)
            let compiled = try expression.check(OracleTests.schema).compiled()
            let (column, errors) = compiled.evaluate(batch)
            for (index, row) in rows.enumerated() {
                let named = Dictionary(uniqueKeysWithValues: zip(OracleTests.schema.names, row))
                let expected = try? Oracle.evaluate(expression, named)
                #expect(errors.contains(index) == (expected == nil), "seed \(seed): \(text) over \(named)")
                if let expected, !errors.contains(index) {
                    #expect(column.value(at: index) == expected, "seed \(seed): \(text) over \(named)")
                    #expect(compiled.nullable || expected != .null, "seed \(seed): \(text) is said never to be null")
                }
            }
            guard compiled.type == .bool else { continue }
            let selected = compiled.select(batch).rows
            for index in rows.indices {
                #expect(selected[index] == (!errors.contains(index) && column.value(at: index) == .bool(true)))
            }
        }
    }
}

@Suite struct EncodingOracleTests {
    @Test(arguments: 0..<4)
    func `maps and encodings give what dictionaries and round trips give`(seed: Int) throws {
        var random = SeededGenerator(seed: UInt64(seed))
        let schema = Schema([
            Field("keys", .list(.string)), Field("values", .list(.int64)), Field("wanted", .string),
            Field("raw", .bytes),
        ])
        let names = ["", "a", "b", "a key that is not inline", "another key that is not inline"]
        var rows: [[Value]] = []
        for _ in 0..<300 {
            let count = Int.random(in: 0..<5, using: &random)
            let keys = (0..<count).map { _ in names[Int.random(in: 0..<names.count, using: &random)] }
            let values = (0..<count).map { _ -> Value in
                Int.random(in: 0..<6, using: &random) == 0 ? .null : .int(Int64.random(in: 0..<9, using: &random))
            }
            let bytes = (0..<Int.random(in: 0..<40, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            rows.append([
                .list(keys.map { .string($0) }), .list(values),
                .string(names[Int.random(in: 0..<names.count, using: &random)]), .bytes(bytes),
            ])
        }
        let batch = RecordBatch(schema, rows: rows)
        func all(_ text: String) throws -> [Value] {
            let (column, errors) = try Expression.compile(text, schema: schema).evaluate(batch)
            #expect(errors.isEmpty, "seed \(seed): \(text)")
            return column.allValues
        }
        var found: [Value] = []
        var has: [Value] = []
        for row in rows {
            guard case .list(let keys) = row[0], case .list(let values) = row[1] else { continue }
            let map = Dictionary(zip(keys, values)) { $1 }
            found.append(map[row[2]] ?? .null)
            has.append(.bool(map[row[2]] != nil))
        }
        #expect(try all("map_get(map_from_lists(keys, values), wanted)") == found, "seed \(seed)")
        #expect(try all("map_contains(map_from_lists(keys, values), wanted)") == has, "seed \(seed)")
        #expect(try all("map_keys(map_from_lists(keys, values))") == rows.map { $0[0] }, "seed \(seed)")
        #expect(try all("map_values(map_from_lists(keys, values))") == rows.map { $0[1] }, "seed \(seed)")
        #expect(try all("from_hex(to_hex(raw))") == rows.map { $0[3] }, "seed \(seed)")
        #expect(try all("from_base64(to_base64(raw))") == rows.map { $0[3] }, "seed \(seed)")
    }
}
