/// The name of a table, with or without its schema; always written quoted.
///
/// In a pipeline file it is `table`, `schema.table`, or with quotes where a name holds a dot: `"my.schema"."Table"`.
/// Names are taken as they stand: case is kept, as PostgreSQL does with quoted identifiers.
struct PgName: Hashable {
    var schema: String?
    var name: String

    /// The reason why a text is no name.
    struct Malformed: Error {
        var reason: String
    }

    /// PostgreSQL cuts longer identifiers silently (`NAMEDATALEN` - 1).
    static let maxBytes = 63

    init(schema: String? = nil, name: String) {
        self.schema = schema
        self.name = name
    }

    init(parsing text: String) throws(Malformed) {
        var parts: [String] = []
        var part = ""
        var quoted = false
        var wasQuoted = false
        var rest = text[...]
        while let character = rest.popFirst() {
            switch character {
            case "\"" where quoted && rest.first == "\"":
                part.append(character)
                rest.removeFirst()
            case "\"":
                guard quoted || part.isEmpty else { throw Malformed(reason: "a quote inside of a name") }
                quoted.toggle()
                wasQuoted = true
            case "." where !quoted:
                parts.append(part)
                part = ""
                wasQuoted = false
            default:
                if wasQuoted && !quoted { throw Malformed(reason: "text behind a closing quote") }
                part.append(character)
            }
        }
        if quoted { throw Malformed(reason: "a quote is not closed") }
        parts.append(part)
        guard parts.count <= 2 else {
            throw Malformed(
                reason: "\(parts.count) parts; expected `table` or `schema.table` (quote a name with a dot)")
        }
        for part in parts {
            if let reason = PgName.problem(part) { throw Malformed(reason: reason) }
        }
        name = parts[parts.count - 1]
        schema = parts.count == 2 ? parts[0] : nil
    }

    /// Why a text cannot be an identifier, nil if it can.
    static func problem(_ identifier: String) -> String? {
        if identifier.isEmpty { return "a name is empty" }
        if identifier.utf8.contains(0) { return "a name holds the character U+0000" }
        if identifier.utf8.count > maxBytes {
            return "“\(identifier)” has \(identifier.utf8.count) bytes; PostgreSQL keeps \(maxBytes)"
        }
        return nil
    }

    /// The name for a statement.
    var sql: String {
        guard let schema else { return PgName.quote(name) }
        return PgName.quote(schema) + "." + PgName.quote(name)
    }

    /// A text as a literal, with `standard_conforming_strings` as the session sets it.
    static func literal(_ text: String) -> String {
        var result = "'"
        for scalar in text.unicodeScalars {
            if scalar == "'" { result += "''" } else { result.unicodeScalars.append(scalar) }
        }
        return result + "'"
    }

    static func quote(_ identifier: String) -> String {
        var result = "\""
        for scalar in identifier.unicodeScalars {
            if scalar == "\"" { result += "\"\"" } else { result.unicodeScalars.append(scalar) }
        }
        return result + "\""
    }
}

extension PgName: CustomStringConvertible {
    /// The name for messages.
    var description: String { schema.map { "\($0).\(name)" } ?? name }
}
