import DataflowExpression
public import DataflowOperator

/// `start: …`: where a partition begins for which there is no position yet.
public struct StartConfig: OperatorConfig {
    /// Where to begin, decided.
    enum Position: Equatable {
        case earliest, latest
        /// Milliseconds since 1970.
        case timestamp(Int64)
        /// By topic and partition.
        case offsets
    }

    /// What one of the words stands for.
    var isLatest = false
    public var timestamp: Located<String>?
    public var offsets = ConfigMap<ConfigMap<Int>>()

    public init() {}

    public static let schema = ConfigSchema<Self>(
        shorthands: [
            .word("earliest", "at the first message that is there") { StartConfig() },
            .word("latest", "behind the last message that is there") {
                var config = StartConfig()
                config.isLatest = true
                return config
            },
        ], rules: [.exactlyOne(of: "timestamp", "offsets")]
    ) {
        ConfigField(
            "timestamp", \.timestamp,
            "At the first message of this time or later, such as `2026-01-31T00:00:00Z`; behind the last where there is none."
        )
        ConfigField(
            "offsets", \.offsets,
            "At these offsets: `{ orders: { 0: 1200, 1: 980 } }`. A partition that is not named begins at its first message."
        )
    }

    var position: Position {
        if let timestamp { return .timestamp((StartConfig.microseconds(timestamp.value) ?? 0) / 1000) }
        if !offsets.isEmpty { return .offsets }
        return isLatest ? .latest : .earliest
    }

    private static func microseconds(_ text: String) -> Int64? {
        var text = text
        return text.withUTF8 { Calendar.parseTimestamp(UnsafeRawBufferPointer($0)) }
    }

    public func validate() -> [Diagnostic] {
        var found: [Diagnostic] = []
        if let timestamp, StartConfig.microseconds(timestamp.value).map({ $0 < 0 }) ?? true {
            found.append(
                .error(
                    field: "timestamp", "`timestamp` must be a time since 1970, found `\(timestamp.value)`",
                    hint: "write it as 2026-01-31T12:00:00Z"))
        }
        for topic in offsets {
            for partition in topic.value {
                let path = "offsets.\(topic.key).\(partition.key)"
                if Int32(partition.key).map({ $0 < 0 }) ?? true {
                    found.append(
                        Diagnostic(
                            .error, "invalid-value", "`\(partition.key)` is not the number of a partition",
                            at: partition.keyMark, path: path))
                }
                if partition.value < 0 {
                    found.append(.error(field: path, "an offset must not be negative, found \(partition.value)"))
                }
            }
        }
        return found
    }
}
