public import DataflowKafka
public import DataflowOperator

/// How the partitions come to the subtasks.
public enum KafkaMode: String, ConfigEnum {
    /// The source deals all partitions out to its subtasks; the checkpoint holds the positions.
    case fixed = "static"
    /// The group's coordinator deals them out to all members, of this process and of others; it holds the positions.
    case group
}

/// Where a bounded run ends.
public enum KafkaStop: String, ConfigEnum {
    /// At the ends of the partitions as they are when the run begins.
    case latest
}

/// What to do about a position whose message is not there any more.
public enum LostOffsetPolicy: String, ConfigEnum {
    case fail, earliest, latest
}

/// The settings of `kafka-source`.
public struct KafkaSourceConfig: KafkaClientConfig {
    public var connection = KafkaConnectionConfig()
    public var topic: String?
    public var topics: [Located<String>] = []
    public var group: String?
    public var mode = KafkaMode.fixed
    public var start = StartConfig()
    public var stop: KafkaStop?
    public var onLostOffset = LostOffsetPolicy.fail
    public var discover: Duration? = .seconds(60)
    public var buffer = ByteSize.mebibytes(32)
    public var openTimeout: Duration = .seconds(30)

    public init() {}

    public static let schema = ConfigSchema<Self>(rules: [.exactlyOne(of: "topic", "topics")]) {
        connectionFields
        ConfigField("topic", \.topic, "The topic to read.", examples: ["orders"])
        ConfigField(
            "topics", \.topics,
            "Topics to read; one that begins with `^` is a regular expression (POSIX extended) for all topics that it matches.",
            examples: [["orders", "^returns-.*"]])
        ConfigField(
            "group", \.group,
            """
            The consumer group to which the positions are committed after each checkpoint, so that tools can show the lag. \
            With `mode: group` the positions are read from it, too. Default: `dataflow.<pipeline>.<node>`.
            """)
        ConfigField(
            "mode", \.mode,
            """
            `static`: this pipeline reads all partitions, and its checkpoint says from where: exactly once. `group`: several \
            processes share them as members of `group`; at least once, for pipelines without state.
            """)
        ConfigField(
            "start", \.start,
            "Where to begin a partition for which there is no position: `earliest`, `latest`, `{ timestamp: … }` or `{ offsets: … }`. "
                + "Partitions and topics that come while the pipeline runs begin at their first message.")
        ConfigField(
            "stop", \.stop,
            "`latest` ends the run at what the topics hold when it begins. Without it the run goes on for ever.")
        ConfigField(
            "on_lost_offset", \.onLostOffset,
            """
            What to do when the messages at a position were deleted: `fail`, or go on at the `earliest` or behind the \
            `latest` message that is there, with a warning that says how many were passed over.
            """)
        ConfigField(
            "discover", \.discover, .advanced,
            "How often to look for new partitions, and for topics that match a pattern. `null`: only at the start."
        ) { ($0 ?? .seconds(1)) < .milliseconds(100) ? "must be at least 100ms" : nil }
        ConfigField(
            "buffer", \.buffer, .advanced,
            "How many bytes of messages a subtask fetches ahead. Its memory is about twice that."
        ) { (1 << 20)...(1 << 30) ~= $0.bytes ? nil : "must be between 1MiB and 1GiB" }
        ConfigField(
            "open_timeout", \.openTimeout, .advanced,
            "How long the start waits for brokers that are not there."
        ) { $0 > .zero ? nil : "must be longer than 0s" }
    }

    public static let ownProperties = [
        "group.id": "use `group`", "enable.auto.commit": "positions are committed after a checkpoint",
        "auto.commit.enable": "positions are committed after a checkpoint",
        "auto.commit.interval.ms": "positions are committed after a checkpoint",
        "enable.auto.offset.store": "positions are committed after a checkpoint",
        "auto.offset.reset": "use `start` and `on_lost_offset`", "enable.partition.eof": "the source needs it",
        "queued.max.messages.kbytes": "use `buffer`", "group.instance.id": "members are the subtasks of a process",
        "transactional.id": "it is for producers",
    ]

    public func validate() -> [Diagnostic] {
        var found = connectionFindings
        if topic == "" { found.append(.error(field: "topic", "`topic` must not be empty")) }
        if let topic, topic.hasPrefix("^") {
            found.append(.error(field: "topic", "a pattern stands under `topics`", hint: "write `topics: [\(topic)]`"))
        }
        for (index, name) in topics.enumerated() {
            let path = "topics.\(index)"
            if topics[..<index].contains(name) {
                found.append(.error(field: path, "`topics` names `\(name.value)` twice"))
            }
            if name.value.isEmpty { found.append(.error(field: path, "the name of a topic must not be empty")) }
            guard name.value.hasPrefix("^") else { continue }
            do throws(TopicPattern.Malformed) {
                _ = try TopicPattern(name.value)
            } catch {
                found.append(.error(field: path, "`\(name.value)` is not a regular expression: \(error.reason)"))
            }
        }
        if group == "" { found.append(.error(field: "group", "`group` must not be empty")) }
        if mode == .group {
            if group == nil {
                found.append(.error(field: "mode", "`mode: group` needs `group`, the name of the group"))
            }
            if stop != nil {
                found.append(
                    .error(
                        field: "stop", "`stop` cannot be with `mode: group`",
                        hint: "who reads a partition changes, so no member can tell when all is read"))
            }
        }
        return found
    }

    /// Names and patterns of topics, in the order of the file.
    var topicNames: [String] { topic.map { [$0] } ?? topics.map(\.value) }
}
