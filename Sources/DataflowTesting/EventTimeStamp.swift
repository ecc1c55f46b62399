import DataflowOperator

/// Declares a column as event time, as json-parse and select do: watermarks a split, marks on rows behind. For tests of
/// what stands behind it, in pipelines over a ``MemorySource``.
public final class EventTimeStamp: Transform {
    public typealias Config = EventTimeConfig

    public static let info = OperatorInfo("event-time-stamp", .transform, "Declares event time, for tests.")

    public static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        [Stream(inputs[0].schema, eventTime: config.column.value)]
    }

    private let column: Int
    private let context: OperatorContext
    private let watermarks: WatermarkGenerator

    public init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        guard let column = context.inputs.first?.schema.index(of: config.column.value) else {
            throw OperatorError(.user, .never, "no_column", "there is no column \(config.column.value)")
        }
        self.column = column
        self.context = context
        watermarks = WatermarkGenerator(config, context)
    }

    public func open(restoring state: StateSnapshot) throws(OperatorError) { try watermarks.open(restoring: state) }

    public func process(
        _ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress {
        let times = batch.columns[column].int64Values
        let marks = times.flatMap { watermarks.observe($0, split: batch.split) }
        context.counters.add(passed: batch.rowCount)
        output.emit(batch.withSplit(batch.split, splitWatermark: marks))
        watermarks.emitWatermark(into: &output)
        return .done
    }

    public func advance(to watermark: Watermark, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        watermarks.advance(to: watermark, into: &output)
        return .done
    }

    public func split(_ event: SplitEvent, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        watermarks.split(event, into: &output)
        return .done
    }

    public func tick(_ now: ContinuousClock.Instant, into output: inout OutputBuffer) throws(OperatorError) -> Progress
    {
        watermarks.tick(now, into: &output)
        return .done
    }

    public func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot { watermarks.snapshot() }
}

extension EventTimeConfig {
    /// Event time in a column, for tests.
    public init(_ column: String, outOfOrderness: Duration = .zero) {
        self.init()
        self.column = Located(column)
        self.outOfOrderness = outOfOrderness
    }
}
