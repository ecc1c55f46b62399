/// A JSON document that keeps the order of its keys: schemas, diagnostics and graphs are printed from it.
public indirect enum JSONValue: Sendable {
    case null
    case bool(Bool)
    case int(Int)
    case double(Double)
    case string(String)
    case array([JSONValue])
    case object([(String, JSONValue)])

    /// The value of a key of an object.
    public subscript(key: String) -> JSONValue? {
        guard case .object(let entries) = self else { return nil }
        return entries.first { $0.0 == key }?.1
    }

    /// The object with a key set; anything else is returned as it is.
    public func setting(_ key: String, _ value: JSONValue) -> JSONValue {
        guard case .object(var entries) = self else { return self }
        if let index = entries.firstIndex(where: { $0.0 == key }) {
            entries[index].1 = value
        } else {
            entries.append((key, value))
        }
        return .object(entries)
    }

    /// JSON text (RFC 8259). `indent` spaces a level, or all on one line for 0. Numbers that JSON cannot hold become null.
    public func serialized(indent: Int = 2) -> String {
        var text = ""
        write(to: &text, indent: indent, level: 0)
        return text
    }

    private func write(to text: inout String, indent: Int, level: Int) {
        func line(_ level: Int) {
            if indent > 0 { text += "\n" + String(repeating: " ", count: indent * level) }
        }
        switch self {
        case .null: text += "null"
        case .bool(let value): text += value ? "true" : "false"
        case .int(let value): text += "\(value)"
        case .double(let value): text += value.isFinite ? "\(value)" : "null"
        case .string(let value): Self.write(value, to: &text)
        case .array(let values) where values.isEmpty: text += "[]"
        case .array(let values):
            text += "["
            for (index, value) in values.enumerated() {
                if index > 0 { text += indent > 0 ? "," : ", " }
                line(level + 1)
                value.write(to: &text, indent: indent, level: level + 1)
            }
            line(level)
            text += "]"
        case .object(let entries) where entries.isEmpty: text += "{}"
        case .object(let entries):
            text += "{"
            for (index, (key, value)) in entries.enumerated() {
                if index > 0 { text += indent > 0 ? "," : ", " }
                line(level + 1)
                Self.write(key, to: &text)
                text += ": "
                value.write(to: &text, indent: indent, level: level + 1)
            }
            line(level)
            text += "}"
        }
    }

    private static func write(_ string: String, to text: inout String) {
        text += "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case "\0"..<" ":
                let hex = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(integerLiteral value: Int) { self = .int(value) }
    public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    public init(dictionaryLiteral elements: (String, JSONValue)...) { self = .object(elements) }
}

/// A JSON schema (draft 2020-12) of a setting, for editors.
public struct JSONSchema: Sendable {
    public var json: JSONValue

    public init(_ json: JSONValue) { self.json = json }

    /// A scalar that may also be a `${…}` reference, which every field accepts.
    public static func scalar(_ type: String, pattern: String? = nil, examples: [String] = []) -> JSONSchema {
        var entries: [(String, JSONValue)] = [("type", .string(type))]
        if let pattern { entries.append(("pattern", .string(pattern))) }
        if !examples.isEmpty { entries.append(("examples", .array(examples.map { .string($0) }))) }
        guard type != "string" || pattern != nil else { return JSONSchema(.object(entries)) }
        return JSONSchema(["anyOf": [.object(entries), ["type": "string", "pattern": "\\$\\{"]]])
    }
}
