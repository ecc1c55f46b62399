public import DataflowOperator

/// `window:` of a window-agg: `global`, or one of `{ tumbling: 10s }`, `{ sliding: 60s, every: 10s }`,
/// `{ session: 30s }`, `{ count: 1000 }`.
public struct WindowShape: ConfigValue, Hashable {
    /// Which windows there are.
    public enum Kind: Sendable, Hashable {
        /// One window for ever.
        case global
        /// Windows of one size, one behind the other.
        case tumbling(size: Duration, offset: Duration)
        /// Windows of one size that overlap: one starts every `every`, which is at most `size`.
        case sliding(size: Duration, every: Duration, offset: Duration)
        /// Rows of a group that are at most `gap` apart, each from its neighbour.
        case session(gap: Duration)
        /// So many rows of a group, in the order of arrival.
        case count(rows: Int)

        /// The key of the format that chooses it.
        var word: String {
            switch self {
            case .global: "global"
            case .tumbling: "tumbling"
            case .sliding: "sliding"
            case .session: "session"
            case .count: "count"
            }
        }

        /// Whether its windows are spans of time.
        var isOverTime: Bool {
            switch self {
            case .global, .count: false
            case .tumbling, .sliding, .session: true
            }
        }

        /// The grid of windows that have fixed places.
        var grid: WindowGrid? {
            switch self {
            case .tumbling(let size, let offset):
                WindowGrid(size: max(1, size.nanoseconds / 1000), offset: offset.nanoseconds / 1000)
            case .sliding(let size, let every, let offset):
                WindowGrid(
                    size: max(1, size.nanoseconds / 1000), every: max(1, every.nanoseconds / 1000),
                    offset: offset.nanoseconds / 1000)
            case .global, .session, .count: nil
            }
        }
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

    /// Windows of one size, one starting every `every` from the epoch on.
    public static func sliding(_ size: Duration, every: Duration, offset: Duration = .zero) -> WindowShape {
        WindowShape(.sliding(size: size, every: every, offset: offset))
    }

    /// Windows that end where nothing comes for `gap`.
    public static func session(_ gap: Duration) -> WindowShape { WindowShape(.session(gap: gap)) }

    /// Windows of so many rows.
    public static func count(_ rows: Int) -> WindowShape { WindowShape(.count(rows: rows)) }

    public static func == (left: WindowShape, right: WindowShape) -> Bool { left.kind == right.kind }
    public func hash(into hasher: inout Hasher) { hasher.combine(kind) }

    public static var typeName: String {
        "`global` or one of `{ tumbling: duration, offset: duration }`, "
            + "`{ sliding: duration, every: duration, offset: duration }`, `{ session: duration }`, `{ count: rows }`"
    }

    public static var jsonSchema: JSONSchema {
        let duration = Duration.jsonSchema.json
        func object(_ required: [String], _ properties: [(String, JSONValue)]) -> JSONValue {
            .object([
                ("type", "object"), ("required", .array(required.map { .string($0) })), ("additionalProperties", false),
                ("properties", .object(properties)),
            ])
        }
        return JSONSchema([
            "anyOf": [
                ["enum": ["global"]],
                object(["tumbling"], [("tumbling", duration), ("offset", duration)]),
                object(["sliding", "every"], [("sliding", duration), ("every", duration), ("offset", duration)]),
                object(["session"], [("session", duration)]),
                object(["count"], [("count", .object([("type", ["integer", "string"]), ("minimum", 1)]))]),
                ["type": "string", "pattern": "\\$\\{"],
            ]
        ])
    }

    public var encoded: ConfigNode {
        func mapping(_ entries: [(String, ConfigNode)], _ offset: Duration = .zero) -> ConfigNode {
            .mapping(entries + (offset == .zero ? [] : [("offset", offset.encoded)]))
        }
        return switch kind {
        case .global: .text("global")
        case .tumbling(let size, let offset): mapping([("tumbling", size.encoded)], offset)
        case .sliding(let size, let every, let offset):
            mapping([("sliding", size.encoded), ("every", every.encoded)], offset)
        case .session(let gap): mapping([("session", gap.encoded)])
        case .count(let rows): mapping([("count", rows.encoded)])
        }
    }
}
