public import DataflowOperator

/// `window:` of a window-agg: `global`, or `{ tumbling: 10s, offset: 2s }`.
public struct WindowShape: ConfigValue, Hashable {
    /// Which windows there are.
    public enum Kind: Sendable, Hashable {
        /// One window for ever.
        case global
        /// Windows of one size, one behind the other.
        case tumbling(size: Duration, offset: Duration)
    }

    public var kind: Kind
    public var mark: Mark

    public init(_ kind: Kind, at mark: Mark = .unknown) {
        self.kind = kind
        self.mark = mark
    }

    /// One window for ever: an updating aggregate.
    public static let global = WindowShape(.global)

    /// Windows of one size from the epoch on.
    public static func tumbling(_ size: Duration, offset: Duration = .zero) -> WindowShape {
        WindowShape(.tumbling(size: size, offset: offset))
    }

    public static func == (left: WindowShape, right: WindowShape) -> Bool { left.kind == right.kind }
    public func hash(into hasher: inout Hasher) { hasher.combine(kind) }

    public static var typeName: String { "`global` or `{ tumbling: duration, offset: duration }`" }
    public static var jsonSchema: JSONSchema {
        JSONSchema([
            "anyOf": [
                ["enum": ["global"]],
                [
                    "type": "object", "required": ["tumbling"], "additionalProperties": false,
                    "properties": ["tumbling": Duration.jsonSchema.json, "offset": Duration.jsonSchema.json],
                ],
                ["type": "string", "pattern": "\\$\\{"],
            ]
        ])
    }

    private static let expected = "`global` or `{ tumbling: 10s }`"
    /// Shapes that the format names and this version does not have.
    private static let missing = ["sliding", "session", "count"]

    public init(decoding node: ConfigNode) throws(ConfigError) {
        mark = node.mark
        guard let entries = node.entries else {
            let text = try node.scalarText(expected: WindowShape.expected)
            if text == "global" {
                kind = .global
                return
            }
            if text == "tumbling" {
                throw .expected(WindowShape.expected, found: node, hint: "write the size: `{ tumbling: 10s }`")
            }
            if WindowShape.missing.contains(text) { throw WindowShape.notAvailable(text, at: node.mark) }
            throw .expected(
                WindowShape.expected, found: node,
                hint: Suggestion.nearest(to: text, among: ["global"]).map { "did you mean `\($0)`?" })
        }
        if let other = entries.first(where: { WindowShape.missing.contains($0.key) }) {
            throw WindowShape.notAvailable(other.key, at: other.keyMark)
        }
        var collector = DiagnosticCollector()
        var size: Duration?
        var offset = Duration.zero
        for entry in entries {
            switch entry.key {
            case "tumbling":
                size = collector.attempt(under: entry.key) { () throws(ConfigError) in
                    let size = try Duration(decoding: entry.value)
                    guard size >= .microseconds(1) else {
                        throw ConfigError(
                            "invalid-value", "a window of \(size.unitDescription) is too short, expected at least 1us",
                            at: entry.value.mark)
                    }
                    return size
                }
            case "offset":
                offset =
                    collector.attempt(under: entry.key) { () throws(ConfigError) in try Duration(decoding: entry.value)
                    } ?? .zero
            default:
                collector.append(
                    Diagnostic(
                        .error, "unknown-key",
                        "unknown key `\(entry.key)` in `window`"
                            + Suggestion.phrase(for: entry.key, among: ["tumbling", "offset"]),
                        at: entry.keyMark, length: entry.key.unicodeScalars.count))
            }
        }
        if size == nil, !collector.hasErrors {
            collector.append(
                Diagnostic(
                    .error, "missing-key", "`window` has no shape, expected \(WindowShape.expected)", at: node.mark))
        }
        try collector.throwErrors()
        kind = .tumbling(size: size ?? .seconds(1), offset: offset)
    }

    private static func notAvailable(_ word: String, at mark: Mark) -> ConfigError {
        ConfigError(
            "not-available", "\(word) windows are not available in this version, expected \(expected)", at: mark,
            length: word.unicodeScalars.count,
            hint: nil)
    }

    public var encoded: ConfigNode {
        switch kind {
        case .global: .text("global")
        case .tumbling(let size, let offset):
            .mapping(
                [("tumbling", size.encoded)] + (offset == .zero ? [] : [("offset", offset.encoded)]))
        }
    }

    /// The grid of the windows; nil for the one global window.
    var grid: SliceGrid? {
        switch kind {
        case .global: nil
        case .tumbling(let size, let offset):
            SliceGrid(size: max(1, size.nanoseconds / 1000), offset: offset.nanoseconds / 1000)
        }
    }
}
