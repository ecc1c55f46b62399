import Glibc

/// One word of an expression's text.
struct Token: Hashable {
    enum Kind: Hashable {
        /// An unquoted word, as written.
        case word(String)
        /// `"quoted"`: always a name.
        case quoted(String)
        case string(String)
        case integer(Int64)
        case number(String)
        /// An operator or a bracket.
        case symbol(String)
        case end
    }

    var kind: Kind
    var offset: Int
    var length: Int

    /// How messages name the token.
    var name: String {
        switch kind {
        case .word(let text): "\"\(text)\""
        case .quoted(let text): "\"\(text)\""
        case .string(let text): "'\(text)'"
        case .integer(let value): "\(value)"
        case .number(let text): text
        case .symbol(let text): "\"\(text)\""
        case .end: "the end of the expression"
        }
    }
}

/// Cuts a text into tokens. Comments are `-- to the end of the line` and `/* … */`.
struct Lexer {
    private let bytes: [UInt8]
    private var position = 0

    init(_ text: String) {
        bytes = Array(text.utf8)
    }

    static func tokens(_ text: String) throws(ExpressionErrors) -> [Token] {
        var lexer = Lexer(text)
        var tokens: [Token] = []
        while true {
            let token = try lexer.next()
            tokens.append(token)
            if token.kind == .end { return tokens }
        }
    }

    private func peek(_ distance: Int = 0) -> UInt8? {
        position + distance < bytes.count ? bytes[position + distance] : nil
    }

    private func text(from start: Int) -> String { String(decoding: bytes[start..<position], as: UTF8.self) }

    private func error(_ offset: Int, _ message: String, hint: String? = nil) -> ExpressionErrors {
        ExpressionErrors(ExpressionError(offset: offset, length: max(1, position - offset), message, hint: hint))
    }

    private static func isWordStart(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"), 0x80...:
            true
        default: false
        }
    }

    private static func isDigit(_ byte: UInt8?) -> Bool {
        byte.map { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ?? false
    }

    private mutating func skipSpace() throws(ExpressionErrors) {
        while let byte = peek() {
            if byte == 0x20 || (0x09...0x0D).contains(byte) {
                position += 1
            } else if byte == UInt8(ascii: "-"), peek(1) == UInt8(ascii: "-") {
                while let byte = peek(), byte != 0x0A { position += 1 }
            } else if byte == UInt8(ascii: "/"), peek(1) == UInt8(ascii: "*") {
                let start = position
                position += 2
                while !(peek() == UInt8(ascii: "*") && peek(1) == UInt8(ascii: "/")) {
                    guard peek() != nil else {
                        position = start + 2
                        throw error(start, "this comment has no end", hint: "close it with */")
                    }
                    position += 1
                }
                position += 2
            } else {
                return
            }
        }
    }

    private mutating func next() throws(ExpressionErrors) -> Token {
        try skipSpace()
        let start = position
        guard let byte = peek() else { return Token(kind: .end, offset: start, length: 0) }
        let kind: Token.Kind
        if Lexer.isWordStart(byte) {
            while let byte = peek(), Lexer.isWordStart(byte) || Lexer.isDigit(byte) { position += 1 }
            kind = .word(text(from: start))
        } else if Lexer.isDigit(byte) || (byte == UInt8(ascii: ".") && Lexer.isDigit(peek(1))) {
            kind = try number()
        } else if byte == UInt8(ascii: "'") {
            kind = .string(try delimited(by: byte, "this text has no closing quote"))
        } else if byte == UInt8(ascii: "\"") {
            let name = try delimited(by: byte, "this name has no closing quote")
            guard !name.isEmpty else { throw error(start, "a name cannot be empty") }
            kind = .quoted(name)
        } else {
            kind = try symbol(byte)
        }
        return Token(kind: kind, offset: start, length: position - start)
    }

    private mutating func delimited(by quote: UInt8, _ message: String) throws(ExpressionErrors) -> String {
        let start = position
        var content: [UInt8] = []
        position += 1
        while true {
            guard let byte = peek() else {
                position = start + 1
                throw error(start, message)
            }
            position += 1
            if byte == quote {
                guard peek() == quote else { return String(decoding: content, as: UTF8.self) }
                position += 1
            }
            content.append(byte)
        }
    }

    private mutating func number() throws(ExpressionErrors) -> Token.Kind {
        let start = position
        var isInteger = true
        while Lexer.isDigit(peek()) { position += 1 }
        if peek() == UInt8(ascii: "."), peek(1) != UInt8(ascii: ".") {
            isInteger = false
            position += 1
            while Lexer.isDigit(peek()) { position += 1 }
        }
        if let byte = peek(), byte | 0x20 == UInt8(ascii: "e") {
            let sign = peek(1) == UInt8(ascii: "+") || peek(1) == UInt8(ascii: "-") ? 1 : 0
            if Lexer.isDigit(peek(1 + sign)) {
                isInteger = false
                position += 1 + sign
                while Lexer.isDigit(peek()) { position += 1 }
            }
        }
        if let byte = peek(), Lexer.isWordStart(byte) {
            while let byte = peek(), Lexer.isWordStart(byte) || Lexer.isDigit(byte) { position += 1 }
            let word = text(from: start)
            throw error(
                start, "\"\(word)\" is neither a number nor a name",
                hint: "quote a name that starts with a digit: \"\(word)\"")
        }
        let digits = text(from: start)
        if isInteger, let value = Int64(digits) { return .integer(value) }
        return .number(digits)
    }

    private mutating func symbol(_ byte: UInt8) throws(ExpressionErrors) -> Token.Kind {
        let start = position
        if let second = peek(1) {
            let pair = String(decoding: [byte, second], as: UTF8.self)
            switch pair {
            case "<>", "<=", ">=", "||", "::", "->":
                position += 2
                return .symbol(pair)
            case "!=":
                position += 2
                return .symbol("<>")
            case "==":
                position += 2
                throw error(start, "\"==\" is not an operator", hint: "compare with =")
            case "&&", "!~":
                position += 2
                throw error(
                    start, "\"\(pair)\" is not an operator",
                    hint: pair == "&&" ? "write and" : "write not regexp_like(text, pattern)")
            default: break
            }
        }
        position += 1
        switch UnicodeScalar(byte) {
        case "(", ")", "[", "]", ",", ".", "+", "-", "*", "/", "%", "=", "<", ">":
            return .symbol(text(from: start))
        case "!": throw error(start, "\"!\" is not an operator", hint: "write not")
        case "|": throw error(start, "\"|\" is not an operator", hint: "write or between conditions, || between texts")
        case "~": throw error(start, "\"~\" is not an operator", hint: "write regexp_like(text, pattern)")
        case "^": throw error(start, "\"^\" is not an operator", hint: "write power(x, y)")
        case "$":
            throw error(start, "\"$\" cannot stand here", hint: "a variable of the environment is written ${NAME}")
        case "`": throw error(start, "a name is quoted with \", not with `")
        case ";": throw error(start, "\";\" cannot stand here: this is one expression, not a statement")
        default:
            throw error(start, "the character \"\(UnicodeScalar(byte))\" cannot stand here")
        }
    }
}
