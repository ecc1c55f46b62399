public import DataflowConfig
public import DataflowOperator
import Glibc

/// Whole numbers that count up with the row's number.
public struct SequenceConfig: OperatorConfig {
    public var start = 0
    public var step = 1
    public init() {}
    public static let schema = ConfigSchema<Self> {
        ConfigField("start", \.start, "The first row's number.")
        ConfigField("step", \.step, "What is added from row to row.")
    }
}

/// Whole numbers drawn evenly.
public struct IntegerConfig: OperatorConfig {
    public var min = 0
    public var max = 100
    public init() {}
    public static let schema = ConfigSchema<Self> {
        ConfigField("min", \.min, "The smallest number.")
        ConfigField("max", \.max, "The largest number.")
    }
    public func validate() -> [Diagnostic] {
        min <= max ? [] : [.error(field: "max", "`max` must not be less than `min`")]
    }
}

/// Numbers drawn evenly.
public struct NumberConfig: OperatorConfig {
    public var min = 0.0
    public var max = 1.0
    public var decimals: Int?
    public init() {}
    public static let schema = ConfigSchema<Self> {
        ConfigField("min", \.min, "No number is less.")
        ConfigField("max", \.max, "No number is greater.")
        ConfigField("decimals", \.decimals, "Digits behind the point that are kept.") {
            ($0 ?? 0) >= 0 && ($0 ?? 0) <= 15 ? nil : "must lie between 0 and 15"
        }
    }
    public func validate() -> [Diagnostic] {
        min <= max ? [] : [.error(field: "max", "`max` must not be less than `min`")]
    }
}

/// Keys of very different frequency: key k comes with a weight of 1 / k^exponent.
public struct ZipfConfig: OperatorConfig {
    public var keys = 1000
    public var exponent = 1.0
    public var prefix = "key-"
    public init() {}
    public static let schema = ConfigSchema<Self> {
        ConfigField("keys", \.keys, "How many keys there are.") {
            $0 >= 1 && $0 <= 10_000_000 ? nil : "must lie between 1 and 10000000"
        }
        ConfigField("exponent", \.exponent, "How steeply the frequency falls; 0 is even.") {
            $0 >= 0 && $0 <= 10 ? nil : "must lie between 0 and 10"
        }
        ConfigField("prefix", \.prefix, "What stands in front of the key's number.")
    }
}

/// Times that run on with the row's number, in disorder up to `jitter`.
public struct TimestampConfig: OperatorConfig {
    public var start = "2025-01-01T00:00:00Z"
    public var step = Duration.milliseconds(1)
    public var jitter = Duration.zero
    public init() {}
    public static let schema = ConfigSchema<Self> {
        ConfigField("start", \.start, "The first row's time, `YYYY-MM-DDThh:mm:ssZ`.") {
            epochMicroseconds($0) == nil ? "must be a time such as 2025-01-01T00:00:00Z" : nil
        }
        ConfigField("step", \.step, "What is added from row to row.") { $0 < .zero ? "must not be negative" : nil }
        ConfigField("jitter", \.jitter, "A row may be earlier than its turn by up to this.") {
            $0 < .zero ? "must not be negative" : nil
        }
    }
}

/// Random letters.
public struct TextConfig: OperatorConfig {
    public var length = 16
    public init() {}
    public static let schema = ConfigSchema<Self> {
        ConfigField("length", \.length, "Letters of each text.") {
            $0 >= 0 && $0 <= 1 << 20 ? nil : "must lie between 0 and 1048576"
        }
    }
}

/// When the row is due, by the clock.
public struct DueConfig: OperatorConfig {
    public init() {}
    public static let schema = ConfigSchema<Self> {}
}

/// How a column's values are made: exactly one kind.
public struct GeneratorConfig: OperatorConfig {
    public var sequence: SequenceConfig?
    public var integer: IntegerConfig?
    public var number: NumberConfig?
    public var choice: [String]?
    public var zipf: ZipfConfig?
    public var timestamp: TimestampConfig?
    public var text: TextConfig?
    public var due: DueConfig?
    public var nulls = 0.0

    public init() {}

    public static let schema = ConfigSchema<Self>(
        rules: [.exactlyOne(of: "sequence", "integer", "number", "choice", "zipf", "timestamp", "text", "due")]
    ) {
        ConfigField("sequence", \.sequence, "int64: counts up with the row's number.")
        ConfigField("integer", \.integer, "int64: drawn evenly.")
        ConfigField("number", \.number, "float64: drawn evenly.")
        ConfigField("choice", \.choice, "string: one of these, drawn evenly.") {
            $0?.isEmpty == true ? "must name at least one text" : nil
        }
        ConfigField("zipf", \.zipf, "string: keys of very different frequency.")
        ConfigField("timestamp", \.timestamp, "timestamp: runs on with the row's number.")
        ConfigField("text", \.text, "string: random letters.")
        ConfigField(
            "due", \.due,
            "timestamp: when the row is due by `rate`, by the system's clock; without a rate, when it is made. Another time in every run."
        )
        ConfigField("nulls", \.nulls, "The share of values that are null.") {
            $0 >= 0 && $0 <= 1 ? nil : "must lie between 0 and 1"
        }
    }
}

/// Settings of `generate-source`.
public struct GenerateSourceConfig: OperatorConfig {
    public var kind = GenerateKind.columns
    public var columns: ConfigMap<GeneratorConfig> = [:]
    public var count: Int?
    public var rate: Rate?
    public var seed = 42
    public var eventTime: EventTimeConfig?
    public var events = NexmarkEvents.all
    public var start = "2025-01-01T00:00:00Z"
    public var eventInterval = Duration.microseconds(100)
    public var disorder = Duration.zero
    public var splits = 8

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField(
            "kind", \.kind,
            "`columns`: rows of the columns that are named. `nexmark`: the people, auctions and bids of the NEXMark benchmark."
        )
        ConfigField(
            "columns", \.columns, "Of `kind: columns`, required: the columns, each with how its values are made.")
        ConfigField(
            "count", \.count,
            "How many rows there are, of `nexmark` how many events of all kinds together; without it they never end."
        ) {
            ($0 ?? 0) < 0 ? "must not be negative" : nil
        }
        ConfigField(
            "rate", \.rate,
            "How many rows at most in a time, e.g. `1000/s`, of `nexmark` how many events of all kinds together; without it as fast as they are taken."
        )
        ConfigField("seed", \.seed, "The same seed gives the same rows.")
        ConfigField("event_time", \.eventTime, "Declares the column that event time and watermarks come from.")
        ConfigField(
            "events", \.events,
            "Of `nexmark`: one kind of event, in flat columns, or `all` with `event_type` and a struct for each kind.")
        ConfigField("start", \.start, "Of `nexmark`: the first event's time, `YYYY-MM-DDThh:mm:ssZ`.") {
            epochMicroseconds($0) == nil ? "must be a time such as 2025-01-01T00:00:00Z" : nil
        }
        ConfigField("event_interval", \.eventInterval, "Of `nexmark`: event time from one event to the next.") {
            $0 < .zero ? "must not be negative" : nil
        }
        ConfigField("disorder", \.disorder, "Of `nexmark`: an event may be earlier than its turn by up to this.") {
            $0 < .zero ? "must not be negative" : nil
        }
        ConfigField(
            "splits", \.splits, .advanced,
            "Of `nexmark`: into how many ordered sequences the events are dealt out, as into partitions; at most so many subtasks make rows."
        ) { $0 >= 1 && $0 <= 128 ? nil : "must lie between 1 and 128" }
    }
}

/// Microseconds since the epoch of `YYYY-MM-DDThh:mm:ssZ`, or nil.
func epochMicroseconds(_ text: String) -> Int64? {
    let pattern = Array("0000-00-00T00:00:00Z".utf8)
    let bytes = Array(text.utf8)
    guard bytes.count == pattern.count else { return nil }
    var numbers: [Int32] = [0]
    for (byte, expected) in zip(bytes, pattern) {
        if expected == 0x30, byte >= 0x30, byte <= 0x39 {
            numbers[numbers.count - 1] = numbers[numbers.count - 1] * 10 + Int32(byte - 0x30)
        } else if expected == byte, expected != 0x30 {
            numbers.append(0)
        } else {
            return nil
        }
    }
    var parts = tm()
    parts.tm_year = numbers[0] - 1900
    parts.tm_mon = numbers[1] - 1
    parts.tm_mday = numbers[2]
    parts.tm_hour = numbers[3]
    parts.tm_min = numbers[4]
    parts.tm_sec = numbers[5]
    guard (1...12).contains(numbers[1]), (1...31).contains(numbers[2]), numbers[3] < 24, numbers[4] < 60,
        numbers[5] < 61
    else { return nil }
    return Int64(timegm(&parts)) * 1_000_000
}
