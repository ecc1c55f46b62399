import DataflowColumnar

/// Recursive descent over the tokens of one text; the entry points are `Expression.parse`, `DataType.parse`,
/// `AggregateCall.parse` and `OrderItem.parse`.
struct Parser {
    /// Brackets, calls and signs that may stand inside one another.
    private static let maxNesting = 100
    /// Levels of a tree: operators in a row count too.
    private static let maxHeight = 400

    let tokens: [Token]
    var position = 0
    private var nesting = 0
    /// Whether the SQL names of types (`text`, `bigint`) are read besides the ones of pipeline files.
    var readsTypeAliases = true

    init(_ text: String) throws(ExpressionErrors) {
        tokens = try Lexer.tokens(text)
    }

    // MARK: Tokens

    var token: Token { tokens[position] }

    func peek(_ distance: Int = 1) -> Token { tokens[min(position + distance, tokens.count - 1)] }

    mutating func advance() { if position < tokens.count - 1 { position += 1 } }

    func error(_ message: String, at token: Token? = nil, hint: String? = nil) -> ExpressionErrors {
        let token = token ?? self.token
        return ExpressionErrors(ExpressionError(offset: token.offset, length: token.length, message, hint: hint))
    }

    static func isWord(_ token: Token, _ word: String) -> Bool {
        if case .word(let text) = token.kind { text.lowercased() == word } else { false }
    }

    func isWord(_ word: String) -> Bool { Parser.isWord(token, word) }

    func isSymbol(_ symbol: String) -> Bool { token.kind == .symbol(symbol) }

    mutating func take(word: String) -> Bool {
        guard isWord(word) else { return false }
        advance()
        return true
    }

    mutating func take(symbol: String) -> Bool {
        guard isSymbol(symbol) else { return false }
        advance()
        return true
    }

    mutating func expect(symbol: String, _ place: String) throws(ExpressionErrors) {
        guard take(symbol: symbol) else { throw error("\"\(symbol)\" is expected \(place), found \(token.name)") }
    }

    mutating func expect(word: String, _ place: String) throws(ExpressionErrors) {
        guard take(word: word) else { throw error("\"\(word)\" is expected \(place), found \(token.name)") }
    }

    mutating func expectEnd() throws(ExpressionErrors) {
        guard token.kind != .end else { return }
        var hint: String?
        if case .word(let word) = token.kind {
            hint = Suggestion.hint(
                for: word, among: ["and", "or", "in", "is", "like", "ilike", "between", "not"],
                otherwise: "an operator like and, or, =, + is missing in front of it, or a comma")
        }
        if isSymbol("=") || isSymbol("<") || isSymbol(">") { hint = "comparisons do not chain: join two with and" }
        if isSymbol("->") {
            hint = "a lambda can only be an argument of a list function, as in filter(tags, x -> x <> '')"
        }
        throw error("the expression should end here, found \(token.name)", hint: hint)
    }

    /// The expression from the token at `start` to the last one taken.
    func make(_ kind: Expression.Kind, from start: Int) throws(ExpressionErrors) -> Expression {
        let first = tokens[start].offset
        let last = tokens[max(start, position - 1)]
        let expression = Expression(kind, first, last.offset + last.length - first)
        guard expression.height <= Parser.maxHeight else {
            throw error(
                "the expression is nested more than \(Parser.maxHeight) levels deep", at: tokens[start],
                hint: "replace long chains of or with in (…)")
        }
        return expression
    }

    mutating func nested<R>(
        _ body: (inout Parser) throws(ExpressionErrors) -> R
    ) throws(ExpressionErrors) -> R {
        guard nesting < Parser.maxNesting else {
            throw error("more than \(Parser.maxNesting) brackets stand inside one another")
        }
        nesting += 1
        defer { nesting -= 1 }
        return try body(&self)
    }

    /// A name, quoted or not.
    mutating func name(_ what: String) throws(ExpressionErrors) -> String {
        switch token.kind {
        case .quoted(let name):
            advance()
            return name
        case .word(let name):
            advance()
            return name
        default: throw error("\(what) is expected here, found \(token.name)")
        }
    }

    // MARK: Operators, weakest first

    /// Any expression but a lambda.
    mutating func expression() throws(ExpressionErrors) -> Expression {
        try nested { (parser) throws(ExpressionErrors) in try parser.disjunction() }
    }

    private mutating func disjunction() throws(ExpressionErrors) -> Expression {
        let start = position
        var left = try conjunction()
        while take(word: "or") { left = try make(.binary(.or, left, try conjunction()), from: start) }
        return left
    }

    private mutating func conjunction() throws(ExpressionErrors) -> Expression {
        let start = position
        var left = try negation()
        while take(word: "and") { left = try make(.binary(.and, left, try negation()), from: start) }
        return left
    }

    private mutating func negation() throws(ExpressionErrors) -> Expression {
        let start = position
        guard take(word: "not") else { return try test() }
        let operand = try nested { (parser) throws(ExpressionErrors) in try parser.negation() }
        return try make(.unary(.not, operand), from: start)
    }

    private mutating func test() throws(ExpressionErrors) -> Expression {
        let start = position
        var left = try comparison()
        while take(word: "is") {
            let negated = take(word: "not")
            if take(word: "distinct") {
                try expect(word: "from", "behind \"distinct\"")
                left = try make(.distinct(left, from: try comparison(), negated: negated), from: start)
            } else if case .word(let word) = token.kind, let test = Expression.Test(rawValue: word.lowercased()) {
                advance()
                left = try make(.test(left, test, negated: negated), from: start)
            } else {
                throw error("null, true, false, unknown or distinct from is expected here, found \(token.name)")
            }
        }
        return left
    }

    private mutating func comparison() throws(ExpressionErrors) -> Expression {
        let start = position
        let left = try range()
        guard case .symbol(let symbol) = token.kind, let operation = Expression.BinaryOperator(rawValue: symbol),
            Printer.strength(operation) == Printer.Strength.comparison
        else { return left }
        advance()
        return try make(.binary(operation, left, try range()), from: start)
    }

    /// `between`, `in`, `like`.
    private mutating func range() throws(ExpressionErrors) -> Expression {
        let start = position
        var left = try concatenation()
        while true {
            let negated =
                isWord("not") && ["between", "in", "like", "ilike"].contains { Parser.isWord(peek(), $0) }
            if negated { advance() }
            if take(word: "between") {
                let low = try concatenation()
                try expect(word: "and", "between the two bounds")
                left = try make(
                    .between(left, low: low, high: try concatenation(), negated: negated), from: start)
            } else if take(word: "in") {
                try expect(symbol: "(", "behind \"in\"")
                if isSymbol(")") { throw error("at least one value is expected in the list") }
                left = try make(.oneOf(left, try list(until: ")"), negated: negated), from: start)
            } else if isWord("like") || isWord("ilike") {
                let ignoresCase = isWord("ilike")
                advance()
                let pattern = try concatenation()
                let escape = take(word: "escape") ? try concatenation() : nil
                left = try make(
                    .like(left, pattern: pattern, escape: escape, ignoresCase: ignoresCase, negated: negated),
                    from: start)
            } else {
                return left
            }
        }
    }

    mutating func concatenation() throws(ExpressionErrors) -> Expression {
        let start = position
        var left = try sum()
        while take(symbol: "||") { left = try make(.binary(.concatenate, left, try sum()), from: start) }
        return left
    }

    mutating func sum() throws(ExpressionErrors) -> Expression {
        let start = position
        var left = try product()
        while isSymbol("+") || isSymbol("-") {
            let operation: Expression.BinaryOperator = isSymbol("+") ? .add : .subtract
            advance()
            left = try make(.binary(operation, left, try product()), from: start)
        }
        return left
    }

    private mutating func product() throws(ExpressionErrors) -> Expression {
        let start = position
        var left = try sign()
        while true {
            let operation: Expression.BinaryOperator
            switch token.kind {
            case .symbol("*"): operation = .multiply
            case .symbol("/"): operation = .divide
            case .symbol("%"): operation = .modulo
            default: return left
            }
            advance()
            left = try make(.binary(operation, left, try sign()), from: start)
        }
    }

    private mutating func sign() throws(ExpressionErrors) -> Expression {
        let start = position
        if isSymbol("-"), let literal = negativeLiteral() {
            advance()
            advance()
            return try make(.literal(literal), from: start)
        }
        guard isSymbol("-") || isSymbol("+") else { return try postfix() }
        let operation: Expression.UnaryOperator = isSymbol("-") ? .minus : .plus
        advance()
        let operand = try nested { (parser) throws(ExpressionErrors) in try parser.sign() }
        return try make(.unary(operation, operand), from: start)
    }

    /// The number behind a minus, if nothing that binds tighter follows it.
    private func negativeLiteral() -> Expression.Literal? {
        switch peek(2).kind {
        case .symbol("::"), .symbol("["), .symbol("."): return nil
        default: break
        }
        switch peek().kind {
        case .integer(let value): return .integer(-value)
        case .number(let text): return Int64("-" + text).map { .integer($0) } ?? .number("-" + text)
        default: return nil
        }
    }

    private mutating func postfix() throws(ExpressionErrors) -> Expression {
        let start = position
        var base = try primary()
        while true {
            if take(symbol: ".") {
                base = try make(.field(base, try name("the name of a field")), from: start)
            } else if take(symbol: "[") {
                let index = try expression()
                try expect(symbol: "]", "behind the index")
                base = try make(.element(base, index: index), from: start)
            } else if take(symbol: "::") {
                base = try make(.cast(base, try dataType(), orNull: false), from: start)
            } else {
                return base
            }
        }
    }

    // MARK: Values

    /// Expressions with commas between them, up to the closing bracket, which is taken too.
    mutating func list(until closing: String) throws(ExpressionErrors) -> [Expression] {
        if take(symbol: closing) { return [] }
        var elements: [Expression] = []
        while true {
            elements.append(try expression())
            if take(symbol: closing) { return elements }
            try expect(symbol: ",", "or \"\(closing)\"")
        }
    }

    private mutating func primary() throws(ExpressionErrors) -> Expression {
        let start = position
        switch token.kind {
        case .integer(let value):
            advance()
            return try make(.literal(.integer(value)), from: start)
        case .number(let text):
            advance()
            return try make(.literal(.number(text)), from: start)
        case .string(let text):
            advance()
            return try make(.literal(.string(text)), from: start)
        case .quoted(let name):
            advance()
            if isSymbol("(") { return try call(name, from: start) }
            return try make(.name(name), from: start)
        case .symbol("("):
            advance()
            let inner = try expression()
            if isSymbol(",") {
                throw error(
                    "a list of values in brackets can only stand behind in",
                    hint: "a list is written [a, b], a struct struct(a as x, b as y)")
            }
            try expect(symbol: ")", "to close the bracket")
            // The brackets belong to the position, so that messages point at the whole.
            return try make(inner.kind, from: start)
        case .symbol("["):
            advance()
            return try make(.array(try list(until: "]")), from: start)
        case .word(let word): return try primary(word, from: start)
        case .symbol("*"):
            throw error(
                "a value is expected here, found \"*\"", hint: "count(*) is an aggregate of window-agg, not a function")
        case .symbol, .end: throw error("a value is expected here, found \(token.name)")
        }
    }

    private mutating func primary(_ word: String, from start: Int) throws(ExpressionErrors) -> Expression {
        let lowered = word.lowercased()
        if case .string(let text) = peek().kind, let literal = try typedLiteral(lowered, text) {
            advance()
            advance()
            return try make(.literal(literal), from: start)
        }
        switch lowered {
        case "null", "true", "false":
            advance()
            return try make(.literal(lowered == "null" ? .null : .bool(lowered == "true")), from: start)
        case "case": return try choice()
        case "cast", "try_cast":
            advance()
            try expect(symbol: "(", "behind \"\(lowered)\"")
            let operand = try expression()
            try expect(word: "as", "between the value and its new type")
            let type = try dataType()
            try expect(symbol: ")", "behind the type")
            return try make(.cast(operand, type, orNull: lowered == "try_cast"), from: start)
        case "array" where peek().kind == .symbol("["):
            advance()
            advance()
            return try make(.array(try list(until: "]")), from: start)
        default: break
        }
        guard lowered == "array" || !Printer.reservedWords.contains(lowered) else {
            throw error(
                "a value is expected here, found \(token.name)",
                hint: "a column of that name is written \"\(word)\" with quotes")
        }
        advance()
        if isSymbol("(") { return try call(lowered, from: start) }
        return try make(.name(word), from: start)
    }

    /// `timestamp '…'`, `date '…'`, `interval '…'`; nil for other words.
    private func typedLiteral(_ word: String, _ text: String) throws(ExpressionErrors) -> Expression.Literal? {
        let bytes = Array(text.utf8)
        switch word {
        case "timestamp":
            guard let value = bytes.withUnsafeBytes(Calendar.parseTimestamp) else {
                throw error(
                    "'\(text)' is not a timestamp", at: peek(),
                    hint: "write it like timestamp '2024-05-01T12:30:00Z'; years are 0001 to 9999")
            }
            return .timestamp(value)
        case "date":
            guard let value = bytes.withUnsafeBytes(Calendar.parseDate) else {
                throw error("'\(text)' is not a date", at: peek(), hint: "write it like date '2024-05-01'")
            }
            return .date(value)
        case "interval":
            guard let value = Interval(text) else {
                throw error(
                    "'\(text)' is not an interval", at: peek(),
                    hint: "write a number and a unit, e.g. interval '10 seconds' or interval '1 day 2 hours'")
            }
            return .interval(value)
        default: return nil
        }
    }

    private mutating func choice() throws(ExpressionErrors) -> Expression {
        let start = position
        advance()
        let operand = isWord("when") ? nil : try expression()
        var branches: [Expression.Branch] = []
        while take(word: "when") {
            let condition = try expression()
            try expect(word: "then", "behind the condition")
            branches.append(Expression.Branch(condition: condition, result: try expression()))
        }
        guard !branches.isEmpty else { throw error("\"when\" is expected here, found \(token.name)") }
        let otherwise = take(word: "else") ? try expression() : nil
        try expect(word: "end", "to close \"case\"")
        return try make(.choice(operand: operand, branches: branches, otherwise: otherwise), from: start)
    }

    // MARK: Splitting tokens

    /// Takes one `>`; the lexer may have joined it with a following `=`.
    mutating func takeClosingAngle() -> Bool {
        if take(symbol: ">") { return true }
        guard isSymbol(">=") else { return false }
        var rest = token
        rest.kind = .symbol("=")
        rest.offset += 1
        rest.length = 1
        self = Parser(replacing: position, with: rest, in: self)
        return true
    }

    private init(replacing index: Int, with token: Token, in parser: Parser) {
        var tokens = parser.tokens
        tokens[index] = token
        self.tokens = tokens
        position = parser.position
        nesting = parser.nesting
        readsTypeAliases = parser.readsTypeAliases
    }
}

extension Expression {
    /// Reads the text of one expression.
    ///
    /// - Throws: the first error of the text, with its position.
    public static func parse(_ text: String) throws(ExpressionErrors) -> Expression {
        var parser = try Parser(text)
        let expression = try parser.expression()
        try parser.expectEnd()
        return expression
    }
}
