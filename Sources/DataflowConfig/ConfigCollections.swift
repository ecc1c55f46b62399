extension Array: ConfigValue where Element: ConfigValue {
    public static var typeName: String { "list of \(pluralised(Element.typeName))" }
    public static var jsonSchema: JSONSchema { JSONSchema(["type": "array", "items": Element.jsonSchema.json]) }

    public init(decoding node: ConfigNode) throws(ConfigError) {
        guard let elements = node.elements else {
            let example = node.scalar.map { "write it as a list: `[\($0.displayText)]`" }
            throw .expected("a list", found: node, hint: node.isNull ? nil : example)
        }
        var collector = DiagnosticCollector()
        var values: [Element] = []
        for (index, element) in elements.enumerated() {
            if let value = collector.attempt(
                under: "[\(index)]", { () throws(ConfigError) in try Element(decoding: element) })
            {
                values.append(value)
            }
        }
        try collector.throwErrors()
        self = values
    }

    public var encoded: ConfigNode { ConfigNode(.sequence(map(\.encoded))) }

    public static func lint(_ node: ConfigNode) -> [Diagnostic] { (node.elements ?? []).flatMap(Element.lint) }
    public static var fieldReferences: [FieldReference] { Element.fieldReferences.map { $0.below("[]") } }
    public static var holdsSecrets: Bool { Element.holdsSecrets }
}

extension Optional: ConfigValue where Wrapped: ConfigValue {
    public static var typeName: String { Wrapped.typeName }
    public static var jsonSchema: JSONSchema { Wrapped.jsonSchema }

    /// An explicit `null` is the same as a key that is not there.
    public init(decoding node: ConfigNode) throws(ConfigError) {
        self = node.isNull ? nil : try Wrapped(decoding: node)
    }

    public var encoded: ConfigNode { self?.encoded ?? .null }

    public static func lint(_ node: ConfigNode) -> [Diagnostic] { node.isNull ? [] : Wrapped.lint(node) }
    public static var fieldReferences: [FieldReference] { Wrapped.fieldReferences }
    public static var holdsSecrets: Bool { Wrapped.holdsSecrets }
}

/// A value with its place, for errors that are found later (a column name checked against the input's schema).
public struct Located<Value: ConfigValue>: ConfigValue {
    public var value: Value
    public var mark: Mark

    /// A value of no text: a default.
    public init(_ value: Value, at mark: Mark = .unknown) {
        self.value = value
        self.mark = mark
    }

    public static var typeName: String { Value.typeName }
    public static var jsonSchema: JSONSchema { Value.jsonSchema }

    public init(decoding node: ConfigNode) throws(ConfigError) {
        self.init(try Value(decoding: node), at: node.mark)
    }

    public var encoded: ConfigNode { value.encoded }

    public static func lint(_ node: ConfigNode) -> [Diagnostic] { Value.lint(node) }
    public static var fieldReferences: [FieldReference] { Value.fieldReferences }
    public static var holdsSecrets: Bool { Value.holdsSecrets }
}

extension Located: Equatable where Value: Equatable {
    /// Places do not count.
    public static func == (a: Located, b: Located) -> Bool { a.value == b.value }
}

extension Located: ExpressibleByUnicodeScalarLiteral, ExpressibleByExtendedGraphemeClusterLiteral,
    ExpressibleByStringLiteral
where Value == String {
    public init(stringLiteral value: String) { self.init(value) }
}

/// A list that may be written as its single element: `from: pages` or `from: [pages, more]`.
public struct OneOrMany<Element: ConfigValue>: ConfigValue {
    public var elements: [Element]

    public init(_ elements: [Element] = []) { self.elements = elements }

    public static var typeName: String { "\(Element.typeName) or list of \(pluralised(Element.typeName))" }
    public static var jsonSchema: JSONSchema {
        JSONSchema(["anyOf": [Element.jsonSchema.json, [Element].jsonSchema.json]])
    }
    public static var holdsSecrets: Bool { Element.holdsSecrets }

    public init(decoding node: ConfigNode) throws(ConfigError) {
        elements = node.elements == nil ? [try Element(decoding: node)] : try [Element](decoding: node)
    }

    public var encoded: ConfigNode {
        if elements.count == 1, let only = elements.first { only.encoded } else { elements.encoded }
    }
}

/// A mapping with free keys, in the order of the file: `columns: { a: …, b: … }`.
public struct ConfigMap<Value: ConfigValue>: ConfigValue, RandomAccessCollection, ExpressibleByDictionaryLiteral {
    public struct Entry: Sendable {
        public var key: String
        public var keyMark: Mark
        public var value: Value

        public init(_ key: String, _ value: Value, keyMark: Mark = .unknown) {
            self.key = key
            self.keyMark = keyMark
            self.value = value
        }
    }

    public var entries: [Entry]

    public init(_ entries: [Entry] = []) { self.entries = entries }

    public init(dictionaryLiteral elements: (String, Value)...) {
        entries = elements.map { Entry($0.0, $0.1) }
    }

    public var startIndex: Int { entries.startIndex }
    public var endIndex: Int { entries.endIndex }
    public subscript(position: Int) -> Entry { entries[position] }

    /// The value of a key. Cost: O(entries).
    public subscript(key: String) -> Value? { entries.first { $0.key == key }?.value }
    public var keys: [String] { entries.map(\.key) }
    public var values: [Value] { entries.map(\.value) }

    public static var typeName: String { "mapping of names to \(pluralised(Value.typeName))" }
    public static var jsonSchema: JSONSchema {
        JSONSchema(["type": "object", "additionalProperties": Value.jsonSchema.json])
    }

    public init(decoding node: ConfigNode) throws(ConfigError) {
        guard let entries = node.entries else {
            throw .expected("a mapping (`name: value` lines)", found: node)
        }
        var collector = DiagnosticCollector()
        var decoded: [Entry] = []
        for entry in entries {
            let value = collector.attempt(under: entry.key) { () throws(ConfigError) in try Value(decoding: entry.value)
            }
            if let value { decoded.append(Entry(entry.key, value, keyMark: entry.keyMark)) }
        }
        try collector.throwErrors()
        self.entries = decoded
    }

    public var encoded: ConfigNode { .mapping(entries.map { ($0.key, $0.value.encoded) }) }

    public static func lint(_ node: ConfigNode) -> [Diagnostic] {
        (node.entries ?? []).flatMap { Value.lint($0.value) }
    }
    public static var fieldReferences: [FieldReference] { Value.fieldReferences.map { $0.below("<name>") } }
    public static var holdsSecrets: Bool { Value.holdsSecrets }
}

extension FieldReference {
    func below(_ prefix: String) -> FieldReference {
        var copy = self
        copy.name = "\(prefix).\(name)"
        return copy
    }
}

extension DiagnosticCollector {
    /// As `attempt`, with the key put in front of the path of each diagnostic.
    public mutating func attempt<T>(under key: String, _ step: () throws(ConfigError) -> T) -> T? {
        do throws(ConfigError) {
            return try step()
        } catch {
            append(contentsOf: error.diagnostics.map { $0.under(key) })
            return nil
        }
    }
}

extension Diagnostic {
    /// The diagnostic with a key in front of its path.
    public func under(_ key: String) -> Diagnostic {
        var copy = self
        guard let path else {
            copy.path = key
            return copy
        }
        copy.path = path.hasPrefix("[") ? key + path : "\(key).\(path)"
        return copy
    }
}

/// "strings" of "string"; phrases of several words stay as they are, in brackets.
private func pluralised(_ name: String) -> String {
    if name.contains(where: { $0 == " " || $0 == "`" }) { return "(\(name))" }
    return name + (name.hasSuffix("s") ? "es" : "s")
}
