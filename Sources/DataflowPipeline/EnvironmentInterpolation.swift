public import DataflowConfig
import Glibc

/// Where the values of `${NAME}` come from.
public struct EnvironmentVariables: Sendable {
    private let lookup: @Sendable (String) -> String?

    public init(_ lookup: @escaping @Sendable (String) -> String?) { self.lookup = lookup }

    public init(_ values: [String: String]) { lookup = { values[$0] } }

    /// The environment of this process.
    public static let process = EnvironmentVariables { name in getenv(name).map { String(cString: $0) } }

    /// These values, and for names that are not set the ones of `fallback`.
    public func falling(backTo fallback: [String: String]) -> EnvironmentVariables {
        EnvironmentVariables { self[$0] ?? fallback[$0] }
    }

    public subscript(name: String) -> String? { lookup(name) }

    /// Reads `NAME=value` lines: `#` comments, an optional `export`, values in single quotes (as they are), in double quotes
    /// (with `\n`, `\"`, `\\`) or bare (up to ` #`).
    public static func parse(envFile path: String) throws(ConfigError) -> [String: String] {
        let text: String
        do throws(FileReadError) {
            text = String(decoding: try readFile(path, maxBytes: 1 << 20), as: UTF8.self)
        } catch {
            let code = error.errno == ENOENT ? "no-such-file" : "unreadable-file"
            throw ConfigError(code, "cannot read the environment file `\(path)`: \(error.reason)")
        }
        // The lines hold secrets: diagnostics know the place, but not the text.
        let source = SourceFile(path: path)
        var values: [String: String] = [:]
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            var rest = line.drop { $0 == " " || $0 == "\t" }
            while let last = rest.last, last.isWhitespace { rest.removeLast() }
            if rest.isEmpty || rest.hasPrefix("#") { continue }
            if rest.hasPrefix("export ") { rest = rest.dropFirst(7).drop { $0 == " " } }
            guard let equals = rest.firstIndex(of: "="), isVariableName(rest[..<equals]) else {
                throw ConfigError(
                    "env-syntax", "expected NAME=value", at: Mark(source: source, line: index + 1, column: 1))
            }
            values[String(rest[..<equals])] = unquoted(rest[rest.index(after: equals)...])
        }
        return values
    }

    private static func unquoted(_ value: Substring) -> String {
        if value.count >= 2, value.first == "'", value.last == "'" { return String(value.dropFirst().dropLast()) }
        if value.count >= 2, value.first == "\"", value.last == "\"" {
            var result = ""
            var isEscaped = false
            for character in value.dropFirst().dropLast() {
                if isEscaped {
                    result.append(character == "n" ? "\n" : character == "t" ? "\t" : character)
                    isEscaped = false
                } else if character == "\\" {
                    isEscaped = true
                } else {
                    result.append(character)
                }
            }
            return result
        }
        var bare = ""
        for character in value {
            if character == "#", bare.last == " " { break }
            bare.append(character)
        }
        while bare.last == " " { bare.removeLast() }
        return bare
    }
}

private func isVariableName(_ text: some StringProtocol) -> Bool {
    guard let first = text.utf8.first, first < UInt8(ascii: "0") || first > UInt8(ascii: "9") else { return false }
    return text.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "_"):
            true
        default: false
        }
    }
}

/// Keeps values from the environment and from files out of diagnostics, also those that an operator quotes from its settings.
struct ValueMask {
    private var values: [(text: String, name: String)] = []

    /// Very short values are no secrets, and would be found in any word.
    private static let shortest = 4

    mutating func add(_ text: String, name: String) {
        for spelling in [text, text.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "''")]
        where spelling.utf8.count >= Self.shortest && !values.contains(where: { $0.text == spelling }) {
            values.append((spelling, name))
        }
        // A value that contains another one is replaced first.
        values.sort { $0.text.utf8.count > $1.text.utf8.count }
    }

    func applied(to diagnostic: Diagnostic) -> Diagnostic {
        guard !values.isEmpty else { return diagnostic }
        var copy = diagnostic
        copy.message = applied(to: diagnostic.message)
        copy.hint = diagnostic.hint.map(applied)
        copy.related = diagnostic.related.map { .init(mark: $0.mark, message: applied(to: $0.message)) }
        return copy
    }

    private func applied(to text: String) -> String {
        var bytes = Array(text.utf8)
        for (value, name) in values {
            let wanted = Array(value.utf8)
            var index = 0
            while index + wanted.count <= bytes.count {
                if bytes[index..<index + wanted.count].elementsEqual(wanted) {
                    let replacement = Array("${\(name)}".utf8)
                    bytes.replaceSubrange(index..<index + wanted.count, with: replacement)
                    index += replacement.count
                } else {
                    index += 1
                }
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// Replaces `${NAME}`, `${NAME:-default}`, `${NAME:?message}` and `${file:/path}` inside scalars; `$$` is a `$`, and a `$`
/// before anything else is itself.
///
/// Works on the parsed tree, so no value can change its shape. Keys are left alone. Each replaced piece stays known as such:
/// messages show `${NAME}` in place of a value from outside, and expressions take it as a literal.
struct EnvironmentInterpolation {
    private let environment: EnvironmentVariables
    private(set) var collector = DiagnosticCollector()
    /// Where the scalars stand that have a reference without a value.
    private(set) var unresolved = Set<Mark>()
    /// The values from outside of the file that were put in.
    private(set) var mask = ValueMask()

    init(_ environment: EnvironmentVariables) { self.environment = environment }

    mutating func apply(to node: ConfigNode) -> ConfigNode {
        var copy = node
        switch node.kind {
        case .scalar(let scalar):
            guard scalar.text.utf8.contains(UInt8(ascii: "$")) else { return node }
            var parts: [Scalar.Part] = []
            for piece in pieces(of: scalar.text[...], offset: 0, node) {
                switch piece {
                case .text(let text, let offset): parts.append(.written(text, offset: offset))
                case .value(let value):
                    if !value.isPublic { mask.add(value.text, name: value.name) }
                    parts.append(.value(value.text, name: value.name, isPublic: value.isPublic, offset: value.offset))
                }
            }
            if unresolved.contains(node.mark) { return node }
            copy.kind = .scalar(Scalar(written: scalar.text, style: scalar.style, parts: parts))
        case .sequence(let elements):
            copy.kind = .sequence(elements.map { apply(to: $0) })
        case .mapping(let entries):
            copy.kind = .mapping(
                entries.map { entry in ConfigNode.Entry(entry.key, apply(to: entry.value), keyMark: entry.keyMark) })
        }
        return copy
    }

    private struct Value {
        var text: String
        var name: String
        var isPublic: Bool
        var offset: Int
    }

    private enum Piece {
        case text(String, offset: Int)
        case value(Value)
    }

    /// The text cut into pieces; `offset` is where it begins in the scalar, in UTF-8.
    private mutating func pieces(of text: Substring, offset: Int, _ node: ConfigNode) -> [Piece] {
        var pieces: [Piece] = []
        var rest = text
        func position(_ index: Substring.Index) -> Int { offset + text.utf8.distance(from: text.startIndex, to: index) }
        while let dollar = rest.utf8.firstIndex(of: UInt8(ascii: "$")) {
            let after = rest.utf8.index(after: dollar)
            let next = after < rest.utf8.endIndex ? rest.utf8[after] : 0
            switch next {
            case UInt8(ascii: "$"):
                pieces.append(.text(String(rest[..<after]), offset: position(rest.startIndex)))
                rest = rest[rest.utf8.index(after: after)...]
            case UInt8(ascii: "{"):
                if dollar > rest.startIndex {
                    pieces.append(.text(String(rest[..<dollar]), offset: position(rest.startIndex)))
                }
                guard let end = closingBrace(rest[after...]) else {
                    report(
                        "interpolation", "this `${` has no `}`", node, position(dollar), hint: "write `$$` for a `$`")
                    return pieces
                }
                let inner = rest[rest.utf8.index(after: after)..<end]
                if let value = value(of: inner, at: position(dollar), node) { pieces.append(.value(value)) }
                rest = rest[rest.utf8.index(after: end)...]
            default:
                pieces.append(.text(String(rest[..<after]), offset: position(rest.startIndex)))
                rest = rest[after...]
            }
        }
        if !rest.isEmpty { pieces.append(.text(String(rest), offset: position(rest.startIndex))) }
        return pieces
    }

    /// The brace that closes the one the text begins with; references in a default may nest.
    private func closingBrace(_ text: Substring) -> Substring.Index? {
        var depth = 0
        for index in text.utf8.indices {
            if text.utf8[index] == UInt8(ascii: "{") { depth += 1 }
            if text.utf8[index] == UInt8(ascii: "}") { depth -= 1 }
            if depth == 0 { return index }
        }
        return nil
    }

    private mutating func value(of inner: Substring, at offset: Int, _ node: ConfigNode) -> Value? {
        if inner.hasPrefix("file:") { return fileValue(String(inner.dropFirst(5)), at: offset, node) }
        let name = String(inner.prefix { $0 != ":" })
        let rest = inner.dropFirst(name.count)
        guard isVariableName(name), rest.isEmpty || rest.hasPrefix(":-") || rest.hasPrefix(":?") else {
            report(
                "interpolation", "`${\(inner)}` is no reference", node, offset,
                hint: "write ${NAME}, ${NAME:-default}, ${NAME:?message} or ${file:/path}; `$$` is a `$`")
            return nil
        }
        let found = environment[name]
        if let found, rest.isEmpty || !found.isEmpty {
            return Value(text: found, name: name, isPublic: false, offset: offset)
        }
        if rest.hasPrefix(":-") {
            let start = offset + 2 + name.utf8.count + 2
            var text = ""
            var isPublic = true
            for piece in pieces(of: rest.dropFirst(2), offset: start, node) {
                switch piece {
                case .text(let piece, _): text += piece
                case .value(let value):
                    text += value.text
                    isPublic = isPublic && value.isPublic
                }
            }
            return Value(text: text, name: name, isPublic: isPublic, offset: offset)
        }
        if rest.hasPrefix(":?") {
            report("unset-variable", "`\(name)` is not set: \(rest.dropFirst(2))", node, offset)
        } else {
            report(
                "unset-variable", "the environment variable `\(name)` is not set", node, offset,
                hint: "set it, or give a default: ${\(name):-value}")
        }
        return nil
    }

    private mutating func fileValue(_ path: String, at offset: Int, _ node: ConfigNode) -> Value? {
        do throws(FileReadError) {
            let bytes = try readFile(path, maxBytes: (1 << 20) + 1)
            guard bytes.count <= 1 << 20 else {
                report("interpolation", "the file `\(path)` has more than the 1MiB that a value may have", node, offset)
                return nil
            }
            guard var text = String(validating: bytes, as: UTF8.self), !text.utf8.contains(0) else {
                report("interpolation", "the file `\(path)` is no UTF-8 text", node, offset)
                return nil
            }
            if text.hasSuffix("\r\n") || text.hasSuffix("\n") { text.removeLast() }
            return Value(text: text, name: "file:\(path)", isPublic: false, offset: offset)
        } catch {
            report("unreadable-file", "cannot read `\(path)`: \(error.reason)", node, offset)
            return nil
        }
    }

    private mutating func report(
        _ code: String, _ message: String, _ node: ConfigNode, _ offset: Int, hint: String? = nil
    ) {
        unresolved.insert(node.mark)
        collector.append(Diagnostic(.error, code, message, at: node.mark(atUTF8Offset: offset), hint: hint))
    }
}
