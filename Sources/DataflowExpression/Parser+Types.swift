import DataflowColumnar

extension Parser {
    /// The words of types in pipeline files.
    static let typeNames = [
        "bool", "int32", "int64", "float32", "float64", "decimal", "string", "bytes", "timestamp", "date", "list",
        "struct",
    ]

    /// What other systems call the types.
    static let typeAliases: [String: String] = [
        "boolean": "bool", "int": "int32", "integer": "int32", "int4": "int32", "bigint": "int64", "int8": "int64",
        "long": "int64", "real": "float32", "float4": "float32", "float": "float64", "float8": "float64",
        "double": "float64", "numeric": "decimal", "text": "string", "varchar": "string", "bytea": "bytes",
        "binary": "bytes", "timestamptz": "timestamp", "array": "list",
    ]

    /// A type: `string`, `decimal(12,2)`, `list<struct<name string, value float64>>`.
    mutating func dataType(depth: Int = 0) throws(ExpressionErrors) -> DataType {
        guard depth < 32 else { throw error("the type is nested more than 32 levels deep") }
        let start = token
        let written: String
        switch token.kind {
        case .word(let word): written = word
        case .quoted(let word): written = word
        default: throw error("a type is expected here, found \(token.name)", hint: "types are \(Parser.typeWords)")
        }
        advance()
        let lowered = written.lowercased()
        let alias = Parser.typeAliases[lowered]
        if let alias, !readsTypeAliases {
            throw error("unknown type \"\(written)\"", at: start, hint: "write \(alias)")
        }
        if lowered == "double" { _ = take(word: "precision") }
        switch alias ?? lowered {
        case "bool": return .bool
        case "int32": return .int32
        case "int64": return .int64
        case "float32": return .float32
        case "float64": return .float64
        case "string": return .string
        case "bytes": return .bytes
        case "timestamp": return .timestamp
        case "date": return .date
        case "decimal": return try decimal(start)
        case "list":
            guard take(symbol: "<") else {
                throw error(
                    "\"<\" and the type of the elements are expected behind list, found \(token.name)",
                    hint: "write list<string>")
            }
            let element = try dataType(depth: depth + 1)
            guard takeClosingAngle() else { throw error("\">\" is expected to close list<…, found \(token.name)") }
            return .list(element)
        case "struct": return try structure(depth)
        default:
            throw error(
                "unknown type \"\(written)\"", at: start,
                hint: Suggestion.hint(
                    for: written, among: Parser.typeNames, otherwise: "types are \(Parser.typeWords)"))
        }
    }

    private static var typeWords: String {
        "bool, int32, int64, float32, float64, decimal(precision,scale), string, bytes, timestamp, date, list<type>, struct<name type, …>"
    }

    private mutating func decimal(_ start: Token) throws(ExpressionErrors) -> DataType {
        guard take(symbol: "(") else {
            throw error(
                "decimal needs its digits", at: start,
                hint: "write decimal(12,2) for 12 digits, 2 of them behind the point")
        }
        let precision = try digits(in: 1...38, "the number of digits")
        var scale = 0
        if take(symbol: ",") { scale = try digits(in: 0...precision, "the number of digits behind the point") }
        try expect(symbol: ")", "to close decimal(…")
        return .decimal(precision: precision, scale: scale)
    }

    private mutating func digits(in range: ClosedRange<Int>, _ what: String) throws(ExpressionErrors) -> Int {
        guard case .integer(let value) = token.kind, let digits = Int(exactly: value), range.contains(digits) else {
            throw error("\(what), \(range.lowerBound) to \(range.upperBound), is expected here, found \(token.name)")
        }
        advance()
        return digits
    }

    private mutating func structure(_ depth: Int) throws(ExpressionErrors) -> DataType {
        guard take(symbol: "<") else {
            throw error(
                "\"<\" and the members are expected behind struct, found \(token.name)",
                hint: "write struct<name string, value float64>")
        }
        var fields: [Field] = []
        while true {
            let start = token
            let name = try name("the name of a member")
            guard !fields.contains(where: { $0.name == name }) else {
                throw error("the struct has two members named \"\(name)\"", at: start)
            }
            // `name: type` is what people who come from other systems write.
            guard token.kind != .symbol(","), token.kind != .symbol(">") else {
                throw error("the type of the member \"\(name)\" is expected here, found \(token.name)")
            }
            fields.append(Field(name, try dataType(depth: depth + 1)))
            if takeClosingAngle() { return .structure(fields) }
            guard take(symbol: ",") else { throw error("\",\" or \">\" is expected here, found \(token.name)") }
        }
    }
}

extension DataType {
    /// Reads a type as pipeline files write it, e.g. `list<struct<lang string, text string>>`.
    ///
    /// - Throws: the first error of the text, with its position and what was expected.
    public static func parse(_ text: String) throws(ExpressionErrors) -> DataType {
        var parser = try Parser(text)
        parser.readsTypeAliases = false
        let type = try parser.dataType()
        guard parser.token.kind == .end else {
            throw parser.error("the type should end here, found \(parser.token.name)")
        }
        return type
    }
}
