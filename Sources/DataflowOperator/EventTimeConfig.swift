public import DataflowConfig

/// Which column is the event time, and how far behind it rows may come.
public struct EventTimeConfig: OperatorConfig {
    public var column: Located<String> = ""
    public var outOfOrderness = Duration.zero
    public var idleTimeout = Duration.seconds(30)

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField(
            "column", \.column, .required, "The timestamp column. Rows without a value go to `errors`.")
        ConfigField(
            "out_of_orderness", \.outOfOrderness,
            "How far a row's time may lie behind the latest one of its split (partition, file).",
            check: { $0 < .zero ? "must not be negative" : nil })
        ConfigField(
            "idle_timeout", \.idleTimeout,
            "A live split that brings nothing for so long no longer holds back the watermark.",
            check: { $0 <= .zero ? "must be positive" : nil })
    }
}

extension EventTimeConfig {
    /// A finding where event time flows on the input already: a row would have two.
    public func alreadyDeclared(in input: Stream) -> Diagnostic? {
        guard let upstream = input.eventTime else { return nil }
        return Diagnostic(
            .error, "event-time", "the event time of these rows is declared already: it is `\(upstream)`",
            at: column.mark, length: column.value.count,
            hint: "leave one of the two `event_time` out; a select passes the column on, under another name if wanted")
    }
}
