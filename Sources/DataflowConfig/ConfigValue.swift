/// A type that a setting can have. One conformance gives reading, the JSON schema, the reference page and printing.
public protocol ConfigValue: Sendable {
    /// The type in the words of the reference page: `duration`, `list of strings`.
    static var typeName: String { get }
    static var jsonSchema: JSONSchema { get }
    /// Reads the value. Throws every error in it at once, each with its place.
    init(decoding node: ConfigNode) throws(ConfigError)
    /// The value as a user would write it, so that a default can be printed. Never a secret.
    var encoded: ConfigNode { get }
    /// Findings that are no errors, such as the use of a deprecated key. Called on nodes that decode.
    static func lint(_ node: ConfigNode) -> [Diagnostic]
    /// The keys below this value, if it has fixed ones: for the reference page.
    static var fieldReferences: [FieldReference] { get }
    /// Whether a ``Secret`` is in it: then messages about the value show neither it nor the line that it stands in.
    static var holdsSecrets: Bool { get }
}

extension ConfigValue {
    public static func lint(_ node: ConfigNode) -> [Diagnostic] { [] }
    public static var fieldReferences: [FieldReference] { [] }
    public static var holdsSecrets: Bool { false }
}

/// What the reference page says about one field.
public struct FieldReference: Sendable {
    /// The dotted path from the section: `offset.limit`.
    public var name: String
    public var typeName: String
    public var summary: String
    public var isRequired: Bool
    public var isAdvanced: Bool
    public var deprecation: String?
    /// The default as YAML; nil where there is none.
    public var defaultText: String?
    public var examples: [String]
}

extension ConfigNode {
    /// The text of a scalar, or an error that says what was expected: for a `ConfigValue` that is written as one.
    public func scalarText(expected: String) throws(ConfigError) -> String {
        guard let scalar, !isNull else { throw .expected(expected, found: self) }
        return scalar.text
    }

    /// As `scalarText`, but refuses quoted text: for numbers and booleans.
    fileprivate func unquotedText(expected: String) throws(ConfigError) -> String {
        let text = try scalarText(expected: expected)
        if scalar?.isQuoted == true {
            throw .expected(expected, found: self, hint: "it is quoted, which makes it a text; leave the quotes out")
        }
        return text
    }
}

extension String: ConfigValue {
    public static var typeName: String { "string" }
    public static var jsonSchema: JSONSchema { JSONSchema(["type": ["string", "number", "boolean"]]) }
    public init(decoding node: ConfigNode) throws(ConfigError) { self = try node.scalarText(expected: "a text") }
    public var encoded: ConfigNode { .text(self, quoted: true) }
}

extension Bool: ConfigValue {
    public static var typeName: String { "boolean" }
    public static var jsonSchema: JSONSchema { .scalar("boolean") }

    public init(decoding node: ConfigNode) throws(ConfigError) {
        switch try node.unquotedText(expected: "`true` or `false`") {
        case "true": self = true
        case "false": self = false
        case let text:
            let meant = ["yes": "true", "on": "true", "True": "true", "TRUE": "true", "no": "false", "off": "false"]
            let other = meant[text] ?? (["False", "FALSE"].contains(text) ? "false" : nil)
            throw .expected("`true` or `false`", found: node, hint: other.map { "write `\($0)`" })
        }
    }

    public var encoded: ConfigNode { .text(self ? "true" : "false") }
}

extension Int: ConfigValue {
    public static var typeName: String { "integer" }
    public static var jsonSchema: JSONSchema { .scalar("integer") }

    public init(decoding node: ConfigNode) throws(ConfigError) {
        let text = try node.unquotedText(expected: "an integer")
        let digits = text.first == "+" ? String(text.dropFirst()) : text
        let isGrouped =
            digits.contains("_") && !digits.hasPrefix("_") && !digits.hasSuffix("_") && !digits.contains("__")
        guard let value = Int(isGrouped ? digits.filter { $0 != "_" } : digits) else {
            let isLong = !digits.isEmpty && digits.drop { $0 == "-" }.allSatisfy { "0"..."9" ~= $0 }
            throw .expected(isLong ? "an integer of at most 64 bits" : "an integer", found: node)
        }
        self = value
    }

    public var encoded: ConfigNode { .text("\(self)") }
}

extension Double: ConfigValue {
    public static var typeName: String { "number" }
    public static var jsonSchema: JSONSchema { .scalar("number") }

    public init(decoding node: ConfigNode) throws(ConfigError) {
        let text = try node.unquotedText(expected: "a number")
        guard text.utf8.allSatisfy({ "0"..."9" ~= Character(Unicode.Scalar($0)) || "+-.eE".utf8.contains($0) }),
            let value = Double(text), value.isFinite
        else { throw .expected("a number", found: node) }
        self = value
    }

    public var encoded: ConfigNode {
        let whole = self == rounded() && abs(self) < 1e15
        return .text(whole ? "\(Int(self))" : "\(self)")
    }
}

/// A setting with a fixed set of words: `enum StartAt: String, ConfigEnum { case earliest, latest }`.
public protocol ConfigEnum: ConfigValue, CaseIterable, RawRepresentable where RawValue == String {}

extension ConfigEnum {
    public static var typeName: String { allCases.map { "`\($0.rawValue)`" }.joined(separator: ", ") }

    public static var jsonSchema: JSONSchema {
        JSONSchema([
            "anyOf": [
                ["enum": .array(allCases.map { .string($0.rawValue) })], ["type": "string", "pattern": "\\$\\{"],
            ]
        ])
    }

    public init(decoding node: ConfigNode) throws(ConfigError) {
        let words = Self.allCases.map(\.rawValue)
        let list = words.map { "`\($0)`" }
        let expected = list.count > 1 ? "one of " + list.joined(separator: ", ") : list.joined()
        let text = try node.scalarText(expected: expected)
        guard let value = Self(rawValue: text) else {
            throw .expected(
                expected, found: node, hint: Suggestion.nearest(to: text, among: words).map { "did you mean `\($0)`?" })
        }
        self = value
    }

    public var encoded: ConfigNode { .text(rawValue) }
}

/// A text that is never shown: `description`, `debugDescription` and mirrors give `***`, and so do messages.
public struct Secret: ConfigValue, Hashable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    private let text: String

    public init(_ text: String = "") { self.text = text }

    /// The text itself: for the call that needs it, never for a message.
    public var revealed: String { text }

    public var isEmpty: Bool { text.isEmpty }

    public var description: String { "***" }
    public var debugDescription: String { "***" }
    public var customMirror: Mirror { Mirror(self, children: [] as [Mirror.Child]) }

    public static var typeName: String { "secret string" }
    public static var holdsSecrets: Bool { true }
    public static var jsonSchema: JSONSchema { JSONSchema(["type": ["string", "number"]]) }

    public init(decoding node: ConfigNode) throws(ConfigError) {
        guard let scalar = node.scalar, !node.isNull else {
            throw ConfigError(
                "type-mismatch", "expected a text (a secret, such as `${NAME}` or `${file:/path}`)", at: node.mark)
        }
        text = scalar.text
    }

    public var encoded: ConfigNode { .text(text.isEmpty ? "" : "***", quoted: true) }
}
