import DataflowCodec
import DataflowConfig

/// An Avro schema, read from its JSON text. Source: Apache Avro 1.12, "Specification".
struct AvroSchema: Sendable {
    /// A schema that cannot be read.
    struct Malformed: Error {
        var message: String
    }

    /// The type of a value.
    indirect enum Kind: Sendable {
        case null, boolean
        case int(Logical?)
        case long(Logical?)
        case float, double
        case bytes(Decimal?)
        case string
        case fixed(size: Int, Decimal?)
        case enumeration([String])
        case array(Kind)
        case map(Kind)
        case union([Kind])
        case record([Field])
        /// A named type that was defined elsewhere.
        case named(String)
    }

    /// What an integer means.
    enum Logical: Sendable {
        case date
        case milliseconds, microseconds, nanoseconds
    }

    /// What bytes mean: a big-endian two's complement integer, scaled.
    struct Decimal: Sendable {
        var precision: Int
        var scale: Int
    }

    struct Field: Sendable {
        var name: String
        var aliases: [String]
        var kind: Kind
        var hasNullDefault: Bool
    }

    private(set) var root = Kind.null
    /// Records, enums and fixed by full name.
    private(set) var types: [String: Kind] = [:]

    /// - Parameter references: schemas whose named types `text` uses.
    init(_ text: String, references: [String] = []) throws(Malformed) {
        for text in references + [text] {
            let json: JSONValue
            do throws(JSONValue.Malformed) { json = try JSONValue(parsing: text.utf8) } catch {
                throw Malformed(message: "it is no JSON: \(error.message)")
            }
            root = try read(json, namespace: "")
        }
    }

    /// The type itself where `kind` is the name of one.
    func resolve(_ kind: Kind) -> Kind {
        guard case .named(let name) = kind else { return kind }
        return types[name] ?? .null
    }

    private static func full(_ name: String, _ namespace: String) -> String {
        name.contains(".") || namespace.isEmpty ? name : "\(namespace).\(name)"
    }

    private mutating func read(_ json: JSONValue, namespace: String) throws(Malformed) -> Kind {
        switch json {
        case .string(let name):
            if let kind = primitive(name) { return kind }
            return try named(name, namespace)
        case .array(let branches):
            var kinds: [Kind] = []
            for branch in branches { kinds.append(try read(branch, namespace: namespace)) }
            guard !kinds.isEmpty else { throw Malformed(message: "a union has no branch") }
            return .union(kinds)
        case .object: return try complex(json, namespace: namespace)
        default: throw Malformed(message: "a type was expected, found \(json.serialized(indent: 0).prefix(40))")
        }
    }

    private func primitive(_ name: String) -> Kind? {
        switch name {
        case "null": .null
        case "boolean": .boolean
        case "int": .int(nil)
        case "long": .long(nil)
        case "float": .float
        case "double": .double
        case "bytes": .bytes(nil)
        case "string": .string
        default: nil
        }
    }

    private func named(_ name: String, _ namespace: String) throws(Malformed) -> Kind {
        let full = AvroSchema.full(name, namespace)
        if types[full] != nil { return .named(full) }
        if types[name] != nil { return .named(name) }
        throw Malformed(message: "there is no type `\(name)`")
    }

    private mutating func complex(_ json: JSONValue, namespace: String) throws(Malformed) -> Kind {
        guard let type = json["type"] else { throw Malformed(message: "an object has no `type`") }
        guard let word = type.text else { return try read(type, namespace: namespace) }
        let logical = json["logicalType"]?.text
        switch word {
        case "int": return .int(logical == "date" ? .date : nil)
        case "long":
            switch logical {
            case "timestamp-millis", "local-timestamp-millis": return .long(.milliseconds)
            case "timestamp-micros", "local-timestamp-micros": return .long(.microseconds)
            case "timestamp-nanos", "local-timestamp-nanos": return .long(.nanoseconds)
            default: return .long(nil)
            }
        case "bytes": return .bytes(logical == "decimal" ? decimal(json) : nil)
        case "array": return .array(try read(json["items"] ?? .null, namespace: namespace))
        case "map": return .map(try read(json["values"] ?? .null, namespace: namespace))
        case "record", "error", "enum", "fixed": return try define(word, json, logical, namespace)
        default:
            if let kind = primitive(word) { return kind }
            return try named(word, namespace)
        }
    }

    private func decimal(_ json: JSONValue) -> Decimal? {
        guard let precision = json["precision"]?.integer, precision > 0 else { return nil }
        let scale = json["scale"]?.integer ?? 0
        // As the specification has it, a logical type that makes no sense is passed over.
        return 0...precision ~= scale ? Decimal(precision: precision, scale: scale) : nil
    }

    private mutating func define(
        _ word: String, _ json: JSONValue, _ logical: String?, _ namespace: String
    ) throws(Malformed) -> Kind {
        guard let name = json["name"]?.text, !name.isEmpty else {
            throw Malformed(message: "a \(word) has no name")
        }
        let full = AvroSchema.full(name, json["namespace"]?.text ?? namespace)
        let space = full.split(separator: ".").dropLast().joined(separator: ".")
        let kind: Kind
        switch word {
        case "enum":
            let symbols = (json["symbols"]?.elements ?? []).compactMap(\.text)
            guard !symbols.isEmpty else { throw Malformed(message: "the enum `\(full)` has no symbols") }
            kind = .enumeration(symbols)
        case "fixed":
            guard let size = json["size"]?.integer, 0...(1 << 30) ~= size else {
                throw Malformed(message: "the fixed `\(full)` has no size")
            }
            kind = .fixed(size: size, logical == "decimal" ? decimal(json) : nil)
        default:
            // Known before its fields are read: they may be of this type.
            types[full] = .record([])
            var fields: [Field] = []
            for field in json["fields"]?.elements ?? [] {
                guard let fieldName = field["name"]?.text, let type = field["type"] else {
                    throw Malformed(message: "a field of `\(full)` has no name or type")
                }
                let hasNullDefault = if case .null? = field["default"] { true } else { false }
                fields.append(
                    Field(
                        name: fieldName, aliases: (field["aliases"]?.elements ?? []).compactMap(\.text),
                        kind: try read(type, namespace: space), hasNullDefault: hasNullDefault))
            }
            kind = .record(fields)
        }
        types[full] = kind
        for alias in (json["aliases"]?.elements ?? []).compactMap(\.text) where types[alias] == nil {
            types[AvroSchema.full(alias, space)] = kind
        }
        return .named(full)
    }
}

extension AvroSchema.Kind: CustomStringConvertible {
    /// The type as the specification calls it, for messages.
    var description: String {
        switch self {
        case .null: "null"
        case .boolean: "boolean"
        case .int(nil): "int"
        case .int: "int (date)"
        case .long(nil): "long"
        case .long: "long (timestamp)"
        case .float: "float"
        case .double: "double"
        case .bytes(nil): "bytes"
        case .bytes(let decimal?): "decimal(\(decimal.precision),\(decimal.scale))"
        case .string: "string"
        case .fixed(let size, nil): "fixed(\(size))"
        case .fixed(_, let decimal?): "decimal(\(decimal.precision),\(decimal.scale))"
        case .enumeration: "enum"
        case .array(let element): "array of \(element)"
        case .map(let value): "map of \(value)"
        case .union(let branches): "union of \(branches.map(\.description).joined(separator: ", "))"
        case .record: "record"
        case .named(let name): name
        }
    }
}
