import DataflowOperator

/// Tops that go on changing: what has changed is told at most once an interval, and before each checkpoint.
final class UpdatingTop: TopStage {
    private let top: any Top
    private let context: OperatorContext
    private let interval: Duration
    private var lastEmission: ContinuousClock.Instant?
    private var isTickPending = false

    init(_ plan: TopNPlan, _ context: OperatorContext, every interval: Duration) {
        self.context = context
        self.interval = interval
        if let key = plan.key {
            top = UpsertTop(plan, key: key, output: context.outputs[0].schema)
        } else {
            top = AppendTop(plan, output: context.outputs[0].schema)
        }
    }

    func open(restoring state: StateSnapshot) throws(OperatorError) {
        for batch in try state.batches("rows", top.plan.state) {
            top.restore(Array(batch.columns.dropFirst()), count: batch.rowCount)
        }
        top.restored()
    }

    func process(_ batch: RecordBatch, into output: inout OutputBuffer) {
        top.process(batch)
        context.counters.add(aggregated: batch.rowCount)
        if top.hasChanges, !isTickPending {
            isTickPending = true
            let now = context.clock.now
            context.tick.request(at: lastEmission.map { max(now, $0.advanced(by: interval)) } ?? now)
        }
    }

    /// A stream that is updated has no event time.
    func advance(to watermark: Watermark, into output: inout OutputBuffer) -> Progress { .done }

    func tick(into output: inout OutputBuffer) -> Progress {
        isTickPending = false
        return emitChanges(&output)
    }

    func prepareSnapshot(into output: inout OutputBuffer) -> Progress { emitChanges(&output) }
    func finish(into output: inout OutputBuffer) -> Progress { emitChanges(&output) }
    func resume(into output: inout OutputBuffer) -> Progress { top.emit(&output) }

    private func emitChanges(_ output: inout OutputBuffer) -> Progress {
        lastEmission = context.clock.now
        top.collectChanges()
        return top.emit(&output)
    }

    func snapshot() -> StateSnapshot { [top.snapshot()] }

    func continueSnapshot(until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot) -> Progress {
        top.continueSnapshot(until: deadline, into: &snapshot)
    }

    var stateByteCount: Int { top.stateByteCount }
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
    func snapshot() -> StateTable
    func continueSnapshot(until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot) -> Progress
    var stateByteCount: Int { get }
}
