public import DataflowColumnar
public import DataflowConfig

/// A column's type as a pipeline file writes it: `int64`, `decimal(10,2)`, `list<struct<lang string, text string>>`.
public struct ColumnType: ConfigValue, Hashable {
    public var type: DataType

    public init(_ type: DataType) { self.type = type }

    public static var typeName: String { "column type" }
    public static var jsonSchema: JSONSchema { JSONSchema(["type": "string"]) }
    public var encoded: ConfigNode { .text(type.description, quoted: true) }

    static let words = [
        "bool", "int32", "int64", "float32", "float64", "decimal", "string", "bytes", "timestamp", "date", "list",
        "struct",
    ]

    public init(decoding node: ConfigNode) throws(ConfigError) {
        let text = try node.scalarText(expected: "a type, such as `int64` or `list<string>`")
        var parser = Parser(Array(text.utf8))
        let result = parser.whole()
        guard let type = result else {
            let problem = parser.problem ?? Parser.Problem(offset: 0, message: "a type was expected")
            throw ConfigError(
                "unknown-type", problem.message, at: node.mark(atUTF8Offset: problem.offset), hint: problem.hint)
        }
        self.type = type
    }

    /// A recursive descent over the text; the depth is limited by `maxDepth`.
    private struct Parser {
        struct Problem {
            var offset: Int
            var message: String
            var hint: String?
        }

        private static let maxDepth = 64

        let text: [UInt8]
        var at = 0
        var problem: Problem?

        init(_ text: [UInt8]) { self.text = text }

        mutating func whole() -> DataType? {
            guard let type = type(depth: 0) else { return nil }
            skipSpace()
            guard at == text.count else { return fail("nothing was expected behind the type `\(type)`") }
            return type
        }

        private mutating func fail(_ message: String, at offset: Int? = nil, hint: String? = nil) -> DataType? {
            if problem == nil { problem = Problem(offset: offset ?? at, message: message, hint: hint) }
            return nil
        }

        private mutating func skipSpace() {
            while at < text.count, text[at] == UInt8(ascii: " ") || text[at] == UInt8(ascii: "\n") { at += 1 }
        }

        private mutating func take(_ byte: UInt8) -> Bool {
            skipSpace()
            guard at < text.count, text[at] == byte else { return false }
            at += 1
            return true
        }

        private mutating func word() -> String {
            skipSpace()
            let start = at
            while at < text.count, !" ,<>()\"'\n".utf8.contains(text[at]) { at += 1 }
            return String(decoding: text[start..<at], as: UTF8.self)
        }

        private mutating func number() -> Int? {
            skipSpace()
            return Int(word())
        }

        private mutating func type(depth: Int) -> DataType? {
            guard depth < Parser.maxDepth else { return fail("types are nested too deep") }
            skipSpace()
            let start = at
            let name = word()
            switch name {
            case "bool": return .bool
            case "int32": return .int32
            case "int64": return .int64
            case "float32": return .float32
            case "float64": return .float64
            case "string": return .string
            case "bytes": return .bytes
            case "timestamp": return .timestamp
            case "date": return .date
            case "decimal": return decimal()
            case "list":
                guard take(UInt8(ascii: "<")) else { return fail("`<` and the elements' type were expected") }
                guard let element = type(depth: depth + 1) else { return nil }
                guard take(UInt8(ascii: ">")) else { return fail("`>` was expected") }
                return .list(element)
            case "struct": return structure(depth: depth)
            default:
                let nearest = Suggestion.nearest(to: name, among: ColumnType.words)
                return fail(
                    name.isEmpty ? "a type was expected" : "there is no type `\(name)`", at: start,
                    hint: nearest.map { "did you mean `\($0)`?" }
                        ?? "types are " + ColumnType.words.joined(separator: ", "))
            }
        }

        private mutating func decimal() -> DataType? {
            let start = at
            guard take(UInt8(ascii: "(")), let precision = number() else {
                return fail("digits were expected, such as decimal(10,2)")
            }
            var scale = 0
            if take(UInt8(ascii: ",")) {
                guard let number = number() else { return fail("the digits behind the point were expected") }
                scale = number
            }
            guard take(UInt8(ascii: ")")) else { return fail("`)` was expected") }
            guard 1...38 ~= precision, 0...precision ~= scale else {
                return fail("a decimal has 1 to 38 digits, and no more behind the point", at: start)
            }
            return .decimal(precision: precision, scale: scale)
        }

        private mutating func structure(depth: Int) -> DataType? {
            guard take(UInt8(ascii: "<")) else { return fail("`<`, a name and a type were expected") }
            var fields: [Field] = []
            repeat {
                skipSpace()
                let start = at
                guard let name = name() else { return nil }
                guard !fields.contains(where: { $0.name == name }) else {
                    return fail("the struct has two members `\(name)`", at: start)
                }
                guard let type = type(depth: depth + 1) else { return nil }
                fields.append(Field(name, type))
            } while take(UInt8(ascii: ","))
            guard take(UInt8(ascii: ">")) else { return fail("`,` or `>` was expected") }
            return .structure(fields)
        }

        /// A member's name, quoted where it has spaces.
        private mutating func name() -> String? {
            skipSpace()
            guard at < text.count, text[at] == UInt8(ascii: "\"") || text[at] == UInt8(ascii: "'") else {
                let name = word()
                if name.isEmpty { _ = fail("a member's name was expected") }
                return name.isEmpty ? nil : name
            }
            let quote = text[at]
            let start = at + 1
            guard let end = text[start...].firstIndex(of: quote) else {
                _ = fail("the closing quote is missing")
                return nil
            }
            at = end + 1
            return String(decoding: text[start..<end], as: UTF8.self)
        }
    }
}
