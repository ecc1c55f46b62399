// Calls of functions, the forms that SQL gives some of them, structs and lambdas.
extension Parser {
    /// A call whose name has been taken and whose opening bracket is next.
    mutating func call(_ name: String, from start: Int) throws(ExpressionErrors) -> Expression {
        let name = Function.synonyms[name] ?? name
        advance()
        switch name {
        case "struct": return try structure(from: start)
        case "extract":
            // extract(year from x)
            let field: String
            if case .string(let text) = token.kind {
                advance()
                field = text
            } else {
                field = try self.name("the part of the time, e.g. year,").lowercased()
            }
            let part = try make(.literal(.string(field)), from: position - 1)
            try expect(word: "from", "behind the part of the time")
            let operand = try expression()
            try expect(symbol: ")", "to close the call")
            return try make(.call("date_part", [part, operand]), from: start)
        case "position":
            let needle = try nested { (parser) throws(ExpressionErrors) in try parser.concatenation() }
            guard take(word: "in") else {
                throw error(
                    "\"in\" is expected here, found \(token.name)",
                    hint: "write position('x' in text), or strpos(text, 'x')")
            }
            let text = try expression()
            try expect(symbol: ")", "to close the call")
            return try make(.call("strpos", [text, needle]), from: start)
        case "trim": if let trim = try trim(from: start) { return trim }
        default: break
        }
        if isSymbol("*"), peek().kind == .symbol(")") { throw aggregateError(name, at: tokens[start]) }
        if isWord("distinct"), AggregateCall.names.contains(name) { throw aggregateError(name, at: tokens[start]) }
        if take(symbol: ")") { return try make(.call(name, []), from: start) }
        var arguments = [try argument()]
        if name == "substr", isWord("from") || isWord("for") {
            // substring(x from 2 for 3)
            arguments.append(
                take(word: "from") ? try expression() : try make(.literal(.integer(1)), from: position))
            if take(word: "for") { arguments.append(try expression()) }
        }
        while !take(symbol: ")") {
            try expect(symbol: ",", "or \")\"")
            arguments.append(try argument())
        }
        return try make(.call(name, arguments), from: start)
    }

    func aggregateError(_ name: String, at token: Token) -> ExpressionErrors {
        error(
            "\(name) is an aggregate and cannot stand in a scalar expression", at: token,
            hint: "compute it in a window-agg node, under aggregates, and use its column")
    }

    /// `trim([both | leading | trailing] [characters] from text)`; nil (and nothing taken) for the plain form.
    private mutating func trim(from start: Int) throws(ExpressionErrors) -> Expression? {
        let before = position
        var function = "trim"
        var isLong = false
        for (word, name) in [("both", "trim"), ("leading", "ltrim"), ("trailing", "rtrim")] where isWord(word) {
            // `both` may also be a column.
            switch peek().kind {
            case .symbol: break
            default:
                advance()
                function = name
                isLong = true
            }
            break
        }
        var characters: Expression?
        if !isWord("from") {
            characters = try expression()
            if !isLong && !isWord("from") {
                position = before
                return nil
            }
        }
        try expect(word: "from", "behind the characters")
        let text = try expression()
        try expect(symbol: ")", "to close the call")
        return try make(.call(function, [text] + (characters.map { [$0] } ?? [])), from: start)
    }

    private mutating func structure(from start: Int) throws(ExpressionErrors) -> Expression {
        var members: [Expression.Member] = []
        while true {
            let value = try expression()
            let name: String
            if take(word: "as") {
                name = try self.name("the name of the member")
            } else if let suggested = value.suggestedName {
                name = suggested
            } else {
                throw error(
                    "\"as\" and a name are expected here, found \(token.name)",
                    hint: "write struct(price * 2 as doubled)")
            }
            guard !members.contains(where: { $0.name == name }) else {
                throw error("the struct has two members named \"\(name)\"", at: tokens[position - 1])
            }
            members.append(Expression.Member(name: name, value: value))
            if take(symbol: ")") { return try make(.structure(members), from: start) }
            try expect(symbol: ",", "or \")\"")
        }
    }

    /// An expression or a lambda.
    private mutating func argument() throws(ExpressionErrors) -> Expression {
        let start = position
        if let parameters = lambdaHead() {
            for (index, name) in parameters.enumerated() where parameters[..<index].contains(name) {
                throw error("the lambda has two parameters named \"\(name)\"", at: tokens[start])
            }
            let body = try expression()
            return try make(.lambda(parameters, body), from: start)
        }
        return try expression()
    }

    /// Takes `x ->` or `(x, i) ->`; nil (and nothing taken) where something else stands.
    private mutating func lambdaHead() -> [String]? {
        func plainName(_ token: Token) -> String? {
            switch token.kind {
            case .quoted(let name): name
            case .word(let name): Printer.reservedWords.contains(name.lowercased()) ? nil : name
            default: nil
            }
        }
        if let name = plainName(token), peek().kind == .symbol("->") {
            position += 2
            return [name]
        }
        guard isSymbol("(") else { return nil }
        var ahead = 1
        var names: [String] = []
        while let name = plainName(peek(ahead)) {
            names.append(name)
            ahead += 1
            if peek(ahead).kind == .symbol(","), plainName(peek(ahead + 1)) != nil { ahead += 1 } else { break }
        }
        guard !names.isEmpty, peek(ahead).kind == .symbol(")"), peek(ahead + 1).kind == .symbol("->") else {
            return nil
        }
        position += ahead + 2
        return names
    }
}
