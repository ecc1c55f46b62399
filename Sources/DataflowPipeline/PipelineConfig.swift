public import DataflowConfig

/// How often rows may reach a target.
public enum Delivery: String, ConfigEnum {
    case exactlyOnce = "exactly_once"
    case atLeastOnce = "at_least_once"
}

/// `checkpoint:` how often the state is made durable, and where.
public struct CheckpointConfig: OperatorConfig {
    /// Time from one checkpoint to the next.
    public var interval: Duration = .seconds(10)
    /// The folder under which each pipeline has its own.
    public var directory = ".dataflow/checkpoints"
    /// Complete checkpoints that are kept.
    public var retention = 3
    /// A checkpoint that takes longer fails the run, which then restarts from the last complete one.
    public var timeout: Duration = .seconds(600)

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField("interval", \.interval, "Time from one checkpoint to the next.") {
            $0 >= .milliseconds(1) ? nil : "must be at least 1ms"
        }
        ConfigField("directory", \.directory, "Folder for checkpoints; each pipeline has its own below it.") {
            $0.isEmpty ? "must not be empty" : nil
        }
        ConfigField("retention", \.retention, .advanced, "How many complete checkpoints are kept.") {
            $0 >= 1 ? nil : "must be at least 1"
        }
        ConfigField("timeout", \.timeout, .advanced, "A checkpoint that takes longer fails the run, which restarts.") {
            $0 > .zero ? nil : "must be positive"
        }
    }
}

/// `dead_letter:` where rows go that no one else takes.
public struct DeadLetterConfig: OperatorConfig {
    /// The folder; nil for `<checkpoint.directory>/<pipeline>/dead-letter`.
    public var path: String?

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField(
            "path", \.path,
            "Folder for rows of unconnected `errors` and `late` ports, as NDJSON. Default `<checkpoint.directory>/<pipeline>/dead-letter`."
        )
    }
}

/// `restart:` what happens after a failure that may pass, such as a lost connection.
public struct RestartConfig: OperatorConfig {
    /// Failures in a row, without a complete checkpoint between them, after which the run ends; nil for no end.
    public var attempts: Int? = 10
    /// The pause before the first restart; doubles each time.
    public var backoff: Duration = .milliseconds(500)
    public var maxBackoff: Duration = .seconds(30)

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField(
            "attempts", \.attempts,
            "Failures in a row, without a complete checkpoint between them, after which the run ends; `null` for no end."
        ) {
            ($0 ?? 0) >= 0 ? nil : "must not be negative"
        }
        ConfigField("backoff", \.backoff, .advanced, "Pause before the first restart; doubles each time.") {
            $0 > .zero ? nil : "must be positive"
        }
        ConfigField("max_backoff", \.maxBackoff, .advanced, "The longest pause.") {
            $0 > .zero ? nil : "must be positive"
        }
    }
}

/// The settings of a pipeline file beside its nodes.
public struct PipelineConfig: OperatorConfig {
    /// The pipeline's name: the identity of its checkpoints.
    public var pipeline = ""
    public var checkpoint = CheckpointConfig()
    public var deadLetter = DeadLetterConfig()
    public var restart = RestartConfig()
    /// Subtasks a node; nil for the number of cores.
    public var parallelism: Int?
    /// Longest time that a part-full batch waits for more rows.
    public var linger: Duration = .milliseconds(10)
    /// What a channel between two tasks may hold before its sender has to wait.
    public var channelSize = ByteSize.mebibytes(4)
    /// What the state of all nodes may take in memory; nil for no bound.
    public var memory: ByteSize?

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField(
            "pipeline", \.pipeline, .required,
            "The pipeline's name, of letters, digits, `-`, `_` and `.`: the identity of its checkpoints.",
            examples: ["openfood"]
        ) {
            isName($0) ? nil : "must be letters, digits, `-`, `_` and `.`, and begin with a letter or digit"
        }
        ConfigField("checkpoint", \.checkpoint, "How often the state is made durable, and where.")
        ConfigField("dead_letter", \.deadLetter, "Where rows go that no node takes.")
        ConfigField("restart", \.restart, "What happens after a failure that may pass.")
        ConfigField("parallelism", \.parallelism, "Subtasks a node. Default: the number of cores.") {
            (1...128).contains($0 ?? 1) ? nil : "must be from 1 to 128"
        }
        ConfigField("linger", \.linger, .advanced, "Longest time that a part-full batch waits for more rows.") {
            $0 >= .zero ? nil : "must not be negative"
        }
        ConfigField(
            "channel_size", \.channelSize, .advanced,
            "What a channel between two tasks may hold before its sender has to wait."
        ) {
            $0.bytes >= 65_536 ? nil : "must be at least 64KiB"
        }
        ConfigField(
            "memory", \.memory,
            "What the state of all nodes together may take in memory. Beyond it, groups and windows of `window-agg` are put on disk, in the checkpoint directory; other nodes end the run with an error. Default: no bound.",
            examples: [.mebibytes(512)]
        ) {
            ($0?.bytes ?? .max) >= 1 << 20 ? nil : "must be at least 1MiB"
        }
    }

    /// `<checkpoint.directory>/<pipeline>`: all that the pipeline keeps.
    public var stateDirectory: String {
        checkpoint.directory.hasSuffix("/") ? checkpoint.directory + pipeline : "\(checkpoint.directory)/\(pipeline)"
    }

    /// The folder of dead letters.
    public var deadLetterDirectory: String { deadLetter.path ?? "\(stateDirectory)/dead-letter" }
}

/// Whether a text can name a pipeline or a node: a path component that needs no quoting anywhere.
func isName(_ text: String) -> Bool {
    guard let first = text.utf8.first, first != UInt8(ascii: "-"), first != UInt8(ascii: "."), text.utf8.count <= 128
    else {
        return false
    }
    return text.utf8.allSatisfy { byte in
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."):
            true
        default: false
        }
    }
}
