import DataflowColumnar

extension Expression: CustomStringConvertible {
    /// SQL that parses to an equal tree. Brackets stand only where they are needed.
    public var description: String { Printer.text(self, inside: 0) }
}

/// Prints expressions with the fewest brackets.
enum Printer {
    /// Words that are no names unless quoted.
    static let reservedWords: Set<String> = [
        "and", "array", "as", "between", "case", "cast", "else", "end", "false", "ilike", "in", "is", "like", "not",
        "null", "or", "then", "true", "try_cast", "when",
    ]

    /// The binding strengths of the grammar; higher binds tighter.
    enum Strength {
        static let lambda = 0
        static let or = 1
        static let and = 2
        static let not = 3
        static let test = 4
        static let comparison = 5
        static let range = 6
        static let concatenate = 7
        static let sum = 8
        static let product = 9
        static let sign = 10
        static let postfix = 11
        static let primary = 12
    }

    static func name(_ name: String) -> String {
        let isPlain =
            name.utf8.enumerated().allSatisfy { index, byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"),
                    0x80...:
                    true
                case UInt8(ascii: "0")...UInt8(ascii: "9"): index > 0
                default: false
                }
            } && !name.isEmpty && !reservedWords.contains(name.lowercased())
        return isPlain ? name : "\"\(doubled(name, "\""))\""
    }

    static func string(_ text: String) -> String { "'\(doubled(text, "'"))'" }

    private static func doubled(_ text: String, _ quote: Character) -> String {
        // Scalar by scalar: a combining mark behind a quote must not hide it.
        var result = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            result.append(scalar)
            if Character(scalar) == quote { result.append(scalar) }
        }
        return String(result)
    }

    static func literal(_ literal: Expression.Literal) -> String {
        switch literal {
        case .null: "null"
        case .bool(let value): value ? "true" : "false"
        case .integer(let value): "\(value)"
        case .number(let text): text
        case .string(let text): string(text)
        case .timestamp(let value): "timestamp '\(Calendar.timestampText(value))'"
        case .date(let value): "date '\(Calendar.dateText(value))'"
        case .interval(let value): "interval '\(value.text)'"
        }
    }

    private static func strength(_ expression: Expression) -> Int {
        switch expression.kind {
        case .lambda: Strength.lambda
        case .unary(.not, _): Strength.not
        case .unary: Strength.sign
        case .literal(.integer(let value)): value < 0 ? Strength.sign : Strength.primary
        case .literal(.number(let text)): text.hasPrefix("-") ? Strength.sign : Strength.primary
        case .binary(let operation, _, _): strength(operation)
        case .test, .distinct: Strength.test
        case .between, .oneOf, .like: Strength.range
        case .field, .element: Strength.postfix
        case .literal, .name, .choice, .cast, .call, .array, .structure: Strength.primary
        }
    }

    static func strength(_ operation: Expression.BinaryOperator) -> Int {
        switch operation {
        case .or: Strength.or
        case .and: Strength.and
        case .equal, .notEqual, .less, .lessOrEqual, .greater, .greaterOrEqual: Strength.comparison
        case .concatenate: Strength.concatenate
        case .add, .subtract: Strength.sum
        case .multiply, .divide, .modulo: Strength.product
        }
    }

    /// The text of `expression` where the grammar wants at least the strength `minimum`.
    static func text(_ expression: Expression, inside minimum: Int) -> String {
        let body = body(expression)
        return strength(expression) < minimum ? "(\(body))" : body
    }

    private static func isNumber(_ expression: Expression) -> Bool {
        switch expression.kind {
        case .literal(.integer), .literal(.number): true
        default: false
        }
    }

    private static func list(_ expressions: [Expression]) -> String {
        expressions.map { text($0, inside: Strength.lambda) }.joined(separator: ", ")
    }

    private static func body(_ expression: Expression) -> String {
        switch expression.kind {
        case .literal(let value): return literal(value)
        case .name(let name): return Printer.name(name)
        case .field(let base, let member):
            // `(1).a`: a point behind digits belongs to the number.
            let inner = isNumber(base) ? "(\(body(base)))" : text(base, inside: Strength.postfix)
            return "\(inner).\(name(member))"
        case .element(let base, let index):
            return "\(text(base, inside: Strength.postfix))[\(text(index, inside: Strength.or))]"
        case .unary(.not, let operand): return "not \(text(operand, inside: Strength.not))"
        case .unary(let operation, let operand):
            // `-(1)` and not `-1`, which is a literal; `- -1` and not `--1`, which starts a comment.
            let inner = isNumber(operand) ? "(\(body(operand)))" : text(operand, inside: Strength.sign)
            return inner.hasPrefix("-") || inner.hasPrefix("+")
                ? "\(operation.rawValue) \(inner)" : "\(operation.rawValue)\(inner)"
        case .binary(let operation, let left, let right):
            let own = strength(operation)
            // Comparisons do not chain; all others group to the left.
            let isComparison = own == Strength.comparison
            return
                "\(text(left, inside: isComparison ? own + 1 : own)) \(operation.rawValue) \(text(right, inside: own + 1))"
        case .test(let operand, let test, let negated):
            return "\(text(operand, inside: Strength.test)) is \(negated ? "not " : "")\(test.rawValue)"
        case .distinct(let left, let right, let negated):
            return
                "\(text(left, inside: Strength.test)) is \(negated ? "not " : "")distinct from \(text(right, inside: Strength.comparison))"
        case .between(let operand, let low, let high, let negated):
            return
                "\(text(operand, inside: Strength.concatenate)) \(negated ? "not " : "")between \(text(low, inside: Strength.concatenate)) and \(text(high, inside: Strength.concatenate))"
        case .oneOf(let operand, let options, let negated):
            return "\(text(operand, inside: Strength.concatenate)) \(negated ? "not " : "")in (\(list(options)))"
        case .like(let operand, let pattern, let escape, let ignoresCase, let negated):
            let word = "\(negated ? "not " : "")\(ignoresCase ? "ilike" : "like")"
            let tail = escape.map { " escape \(text($0, inside: Strength.concatenate))" } ?? ""
            return
                "\(text(operand, inside: Strength.concatenate)) \(word) \(text(pattern, inside: Strength.concatenate))\(tail)"
        case .choice(let operand, let branches, let otherwise):
            var parts = ["case"]
            if let operand { parts.append(text(operand, inside: Strength.or)) }
            for branch in branches {
                parts.append(
                    "when \(text(branch.condition, inside: Strength.or)) then \(text(branch.result, inside: Strength.or))"
                )
            }
            if let otherwise { parts.append("else \(text(otherwise, inside: Strength.or))") }
            return (parts + ["end"]).joined(separator: " ")
        case .cast(let operand, let type, let orNull):
            return "\(orNull ? "try_cast" : "cast")(\(text(operand, inside: Strength.or)) as \(type.sql))"
        case .call(let function, let arguments): return "\(name(function))(\(list(arguments)))"
        case .lambda(let parameters, let body):
            let names = parameters.map(name)
            let head = names.count == 1 ? names[0] : "(\(names.joined(separator: ", ")))"
            return "\(head) -> \(text(body, inside: Strength.or))"
        case .array(let elements): return "[\(list(elements))]"
        case .structure(let members):
            return
                "struct(\(members.map { "\(text($0.value, inside: Strength.or)) as \(name($0.name))" }.joined(separator: ", ")))"
        }
    }
}

extension DataType {
    /// The type as this language reads it: like `description`, with names quoted where they need it.
    public var sql: String {
        switch self {
        case .list(let element): "list<\(element.sql)>"
        case .structure(let fields):
            "struct<\(fields.map { "\(Printer.name($0.name)) \($0.type.sql)" }.joined(separator: ", "))>"
        default: description
        }
    }
}
