public import DataflowOperator

/// `top-n`: the best rows of each partition, kept up to date.
public final class TopN: Transform {
    public typealias Config = TopNConfig

    public static let info = OperatorInfo(
        "top-n", .transform, "Keeps the best n rows of each partition, in an order.")
    public static var isStateful: Bool { true }

    public static func outputs(_ config: TopNConfig, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        [try TopNPlan(config, input: inputs[0]).output]
    }

    public static func partitioning(_ config: TopNConfig, inputs: [Stream]) throws(ConfigError) -> Partitioning {
        try TopNPlan(config, input: inputs[0]).partitioning
    }

    private let top: any Top
    private let context: OperatorContext
    private let emit: Duration
    private var lastEmission: ContinuousClock.Instant?
    private var isTickPending = false

    public init(_ config: TopNConfig, _ context: OperatorContext) throws(OperatorError) {
        self.context = context
        emit = config.emit
        do throws(ConfigError) {
            let plan = try TopNPlan(config, input: context.inputs[0])
            if let key = plan.key {
                top = UpsertTop(plan, key: key, output: context.outputs[0].schema)
            } else {
                top = AppendTop(plan, output: context.outputs[0].schema)
            }
        } catch {
            throw OperatorError(.user, .never, "invalid_config", error.description)
        }
    }

    public func open(restoring state: StateSnapshot) throws(OperatorError) {
        for batch in try state.batches("rows", top.plan.state) {
            top.restore(Array(batch.columns.dropFirst()), count: batch.rowCount)
        }
        top.restored()
    }

    public func process(
        _ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress {
        top.process(batch)
        context.counters.add(aggregated: batch.rowCount)
        if top.hasChanges, !isTickPending {
            isTickPending = true
            let now = context.clock.now
            context.tick.request(at: lastEmission.map { max(now, $0.advanced(by: emit)) } ?? now)
        }
        return .done
    }

    /// A stream that is updated has no event time.
    public func advance(to watermark: Watermark, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        .done
    }

    /// Splits end here: what leaves is no longer a sequence of one.
    public func split(_ event: SplitEvent, into output: inout OutputBuffer) throws(OperatorError) -> Progress { .done }

    public func tick(_ now: ContinuousClock.Instant, into output: inout OutputBuffer) throws(OperatorError) -> Progress
    {
        isTickPending = false
        return emitChanges(&output)
    }

    public func prepareSnapshot(
        _ checkpoint: CheckpointID, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress { emitChanges(&output) }

    public func finish(into output: inout OutputBuffer) throws(OperatorError) -> Progress { emitChanges(&output) }

    public func resume(into output: inout OutputBuffer) throws(OperatorError) -> Progress { top.emit(&output) }

    private func emitChanges(_ output: inout OutputBuffer) -> Progress {
        lastEmission = context.clock.now
        top.collectChanges()
        return top.emit(&output)
    }

    public func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot {
        [StateTable("rows", distribution: .keyGroup(column: 0), top.snapshot())]
    }
}

/// The rows of all partitions; one way for facts, one for upserts.
protocol Top: AnyObject {
    var plan: TopNPlan { get }
    var hasChanges: Bool { get }
    func restore(_ columns: [Column], count: Int)
    /// All rows of the checkpoint are in: what is best now is what was told.
    func restored()
    func process(_ batch: RecordBatch)
    /// Works out what is to be told.
    func collectChanges()
    /// Tells it, as much as fits.
    func emit(_ output: inout OutputBuffer) -> Progress
    func snapshot() -> [RecordBatch]
}

/// `top-n`.
public enum TopNPlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.transform(TopN.self)]
}
