/// A value of a configuration file together with its place: what a YAML document is made of after parsing.
///
/// Scalars stay text: the field that reads one decides its type (`10s`, `64MiB`), so no value can change type behind
/// its author's back. Mappings keep their order and the place of each key.
public struct ConfigNode: Sendable {
    public enum Kind: Sendable {
        case scalar(Scalar)
        case sequence([ConfigNode])
        case mapping([Entry])
    }

    /// One entry of a mapping.
    public struct Entry: Sendable {
        public var key: String
        public var keyMark: Mark
        public var value: ConfigNode

        public init(_ key: String, _ value: ConfigNode, keyMark: Mark = .unknown) {
            self.key = key
            self.keyMark = keyMark
            self.value = value
        }
    }

    public var kind: Kind
    /// Where the value starts.
    public var mark: Mark
    /// Where the key starts that this is the value of; nil for the document, and for an element of a list.
    public var keyMark: Mark?

    public init(_ kind: Kind, mark: Mark = .unknown, keyMark: Mark? = nil) {
        self.kind = kind
        self.mark = mark
        self.keyMark = keyMark
    }

    /// A scalar made by a program, such as a default that is to be printed.
    public static func text(_ text: String, quoted: Bool = false, mark: Mark = .unknown) -> ConfigNode {
        ConfigNode(.scalar(Scalar(text, style: quoted ? .doubleQuoted : .plain)), mark: mark)
    }

    /// YAML's null.
    public static var null: ConfigNode { .text("null") }

    /// A mapping made by a program.
    public static func mapping(_ entries: [(String, ConfigNode)]) -> ConfigNode {
        ConfigNode(.mapping(entries.map { Entry($0.0, $0.1) }))
    }

    /// The scalar, if it is one.
    public var scalar: Scalar? {
        if case .scalar(let scalar) = kind { scalar } else { nil }
    }

    /// The elements, if it is a list.
    public var elements: [ConfigNode]? {
        if case .sequence(let elements) = kind { elements } else { nil }
    }

    /// The entries in their order, if it is a mapping.
    public var entries: [Entry]? {
        if case .mapping(let entries) = kind { entries } else { nil }
    }

    /// Whether it is a plain `null`, `~` or nothing at all.
    public var isNull: Bool {
        guard let scalar, scalar.style == .plain, !scalar.isInterpolated else { return false }
        return ["", "~", "null", "Null", "NULL"].contains(scalar.text)
    }

    /// The value of a key, if this is a mapping that has it. Cost: O(entries).
    public subscript(key: String) -> ConfigNode? {
        entries?.first { $0.key == key }?.value
    }

    /// The value at a dotted path of keys: `paginate.offset.limit`.
    public func value(at path: String) -> ConfigNode? {
        var node: ConfigNode? = self
        for key in path.split(separator: ".") { node = node?[String(key)] }
        return node
    }

    /// Where the text of a scalar at the given UTF-8 offset stands in the file, for any style of scalar and behind
    /// interpolated values. An expression's error uses it. Falls back to the start of the scalar.
    public func mark(atUTF8Offset offset: Int) -> Mark {
        guard let scalar else { return mark }
        return PositionedText(plain: scalar, mark: mark).mark(atUTF8Offset: offset)
    }

    /// What the node is, for a message: "the list", "`abc`". Never shows an interpolated value.
    public var displayed: String {
        switch kind {
        case .sequence: "a list"
        case .mapping: "a mapping"
        case .scalar where isNull: "nothing"
        case .scalar(let scalar): "`\(scalar.displayText)`"
        }
    }

    /// The node with plain values in place of styles and marks: for comparing configurations in tests.
    public var plainDescription: String {
        switch kind {
        case .scalar(let scalar): scalar.text
        case .sequence(let elements): "[" + elements.map(\.plainDescription).joined(separator: ", ") + "]"
        case .mapping(let entries):
            "{" + entries.map { "\($0.key): \($0.value.plainDescription)" }.joined(separator: ", ") + "}"
        }
    }
}

/// A scalar's text, how it was written, and which pieces of it came from outside of the file.
public struct Scalar: Sendable {
    public enum Style: Sendable {
        case plain, singleQuoted, doubleQuoted, literal, folded
    }

    /// A piece of an interpolated scalar. `offset` is the UTF-8 offset of the piece in `written`.
    public enum Part: Sendable {
        /// Text of the file.
        case written(String, offset: Int)
        /// The value of `${name}`. `isPublic` is true for a default that the file itself shows.
        case value(String, name: String, isPublic: Bool, offset: Int)
    }

    /// The text after interpolation: what a field reads.
    public let text: String
    /// The text as the file has it, after YAML's own escapes and before interpolation.
    public let written: String
    public let style: Style
    /// The pieces of `text`; empty if nothing was interpolated.
    public let parts: [Part]

    public init(_ text: String, style: Style = .plain) {
        self.text = text
        self.written = text
        self.style = style
        self.parts = []
    }

    /// A scalar after interpolation: its text is the parts in a row.
    public init(written: String, style: Style, parts: [Part]) {
        var text = ""
        for part in parts {
            switch part {
            case .written(let piece, _): text += piece
            case .value(let piece, _, _, _): text += piece
            }
        }
        self.text = text
        self.written = written
        self.style = style
        self.parts = parts
    }

    /// Whether a `${…}` was replaced in it.
    public var isInterpolated: Bool {
        parts.contains { if case .value = $0 { true } else { false } }
    }

    /// Whether the text is a string for certain: it was quoted or a block, and holds no interpolated value, which takes
    /// the type of its field.
    public var isQuoted: Bool { style != .plain && !isInterpolated }

    /// The text for a message: values from the environment and from files stay `${NAME}`; long texts are cut.
    public var displayText: String {
        var shown = ""
        if parts.isEmpty {
            shown = text
        } else {
            for part in parts {
                switch part {
                case .written(let piece, _): shown += piece
                case .value(let piece, _, isPublic: true, _): shown += piece
                case .value(_, let name, isPublic: false, _): shown += "${\(name)}"
                }
            }
        }
        shown = SecretMask.maskedURLs(shown)
        return shown.count > 60 ? shown.prefix(57) + "…" : shown
    }
}
