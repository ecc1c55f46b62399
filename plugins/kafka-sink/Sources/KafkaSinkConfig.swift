public import DataflowKafka
public import DataflowOperator

/// What a message holds: a JSON object of some columns, or one column as it is.
public enum MessageValue: ConfigValue, Equatable {
    case columns([Located<String>])
    case column(Located<String>)

    public static var typeName: String { "list of columns or column" }
    public static var jsonSchema: JSONSchema {
        JSONSchema(["anyOf": [String.jsonSchema.json, [String].jsonSchema.json]])
    }

    public init(decoding node: ConfigNode) throws(ConfigError) {
        if node.elements == nil {
            self = .column(try Located(decoding: node))
        } else {
            let names = try [Located<String>](decoding: node)
            guard !names.isEmpty else { throw .expected("at least one column", found: node) }
            self = .columns(names)
        }
    }

    public var encoded: ConfigNode {
        switch self {
        case .columns(let names): names.encoded
        case .column(let name): name.encoded
        }
    }
}

/// The settings of `kafka-sink`.
public struct KafkaSinkConfig: KafkaClientConfig {
    /// Which of a topic's partitions gets a message.
    public enum Partitioner: String, ConfigEnum {
        case murmur2Random = "murmur2_random"
        case murmur2
        case consistentRandom = "consistent_random"
        case consistent
        case fnv1aRandom = "fnv1a_random"
        case fnv1a
        case random
    }

    public enum Compression: String, ConfigEnum {
        case none, gzip, snappy, lz4, zstd
    }

    public var connection = KafkaConnectionConfig()
    public var topic = Located<String>("")
    public var key: ExpressionText?
    public var value: MessageValue?
    public var headers = ConfigMap<ExpressionText>()
    public var timestamp: ExpressionText?
    public var partitioner = Partitioner.murmur2Random
    public var compression = Compression.none
    public var maxMessage: ByteSize?
    public var linger: Duration = .milliseconds(5)
    public var maxBatch = ByteSize.mebibytes(16)
    public var transactionalID: String?
    public var transactionTimeout: Duration = .seconds(300)
    public var openTimeout: Duration = .seconds(30)
    public var reconnectTimeout: Duration = .seconds(300)

    public init() {}

    private static let positive: @Sendable (Duration) -> String? = { $0 > .zero ? nil : "must be longer than 0s" }

    public static let schema = ConfigSchema<Self> {
        connectionFields
        ConfigField(
            "topic", \.topic, .required,
            """
            The topic. It must be there, unless the brokers create topics when they are asked for \
            (`auto.create.topics.enable`).
            """, examples: ["orders"]
        ) { KafkaSinkConfig.problem(ofTopic: $0.value) }
        ConfigField(
            "key", \.key,
            """
            An expression for the messages' key: text or bytes are taken as they are, other values as text; null is no \
            key. Default: none; behind an upsert stream the stream's key as a JSON object (`{"country":"fr"}`). There it may use the \
            stream's key columns only, and a row whose key is null goes to `errors`.
            """)
        ConfigField(
            "value", \.value,
            """
            What a message holds. A list: a JSON object of these columns. One name: that column, a string or bytes, as it is; null is a \
            tombstone. Default: a JSON object of all columns. A row that deletes its key is a tombstone in any case.
            """, examples: [.columns(["id", "total"]), .column("payload")])
        ConfigField(
            "headers", \.headers,
            "Headers by name, each with an expression for its value, taken as a key is; of a null the header is left out."
        )
        ConfigField(
            "timestamp", \.timestamp,
            """
            An expression for the messages' time, a timestamp; Kafka keeps milliseconds. Default, and for null: when the message is \
            handed over.
            """)
        ConfigField(
            "compression", \.compression, "How batches of messages are compressed.")
        ConfigField(
            "max_message", \.maxMessage,
            """
            The largest message, counted as the brokers count it before compression. Larger ones go to `errors`. Default: what the topic says \
            (`max.message.bytes`). Set it higher where compression makes messages small enough.
            """, examples: [ByteSize.mebibytes(4)]
        ) { size in
            size.flatMap { (1 << 10)...900_000_000 ~= $0.bytes ? nil : "must be between 1KiB and 900MB" }
        }
        ConfigField(
            "partitioner", \.partitioner, .advanced,
            """
            How a message's key chooses its partition. `murmur2_random` is what Java's clients do, `consistent_random` what other \
            clients of librdkafka do. Those with `random` spread messages without key; the others put them together.
            """)
        ConfigField(
            "linger", \.linger, .advanced, "How long messages wait for others to be sent with."
        ) { .zero ... .seconds(900) ~= $0 ? nil : "must be between 0s and 15m" }
        ConfigField(
            "max_batch", \.maxBatch, .advanced,
            """
            How many bytes of messages are in memory until the brokers have them. With `exactly_once` an epoch of less than half of it is sent \
            at the checkpoint.
            """
        ) { (1 << 20)...(1 << 30) ~= $0.bytes ? nil : "must be between 1MiB and 1GiB" }
        ConfigField(
            "transactional_id", \.transactionalID, .advanced,
            """
            The name of the transactions and of the consumer group that holds the marker. It must be this sink's alone in the cluster. Default: \
            `dataflow.<pipeline>.<node>`.
            """, examples: ["dataflow.staging.orders"]
        ) { $0?.isEmpty == true ? "must not be empty" : nil }
        ConfigField(
            "transaction_timeout", \.transactionTimeout, .advanced,
            """
            After so long the brokers give up a transaction, and readers need no longer wait for a process that died. The brokers' \
            `transaction.max.timeout.ms` (15m) is the limit.
            """
        ) { .seconds(1) ... .seconds(86400) ~= $0 ? nil : "must be between 1s and 1d" }
        ConfigField(
            "open_timeout", \.openTimeout, .advanced, "How long the start waits for brokers that are not there.",
            check: positive)
        ConfigField(
            "reconnect_timeout", \.reconnectTimeout, .advanced,
            """
            How long the sink tries to reach brokers again before the run fails and starts again from its last checkpoint.
            """, check: positive)
    }

    public static let ownProperties = [
        "transactional.id": "use `transactional_id`", "transaction.timeout.ms": "use `transaction_timeout`",
        "enable.idempotence": "it is always on", "compression.codec": "use `compression`",
        "compression.type": "use `compression`", "linger.ms": "use `linger`",
        "queue.buffering.max.ms": "use `linger`", "message.max.bytes": "use `max_message`",
        "partitioner": "use `partitioner`", "group.id": "use `transactional_id`",
        "enable.gapless.guarantee": "the sink takes care of order itself",
    ]

    public func validate() -> [Diagnostic] { connectionFindings }

    private static func problem(ofTopic name: String) -> String? {
        if name.isEmpty { return "must not be empty" }
        if name == "." || name == ".." { return "must not be `.` or `..`" }
        if name.utf8.count > 249 { return "must have at most 249 characters" }
        let isLegal = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
                true
            default: false
            }
        }
        return isLegal ? nil : "may have letters, digits, `.`, `_` and `-` only"
    }
}
