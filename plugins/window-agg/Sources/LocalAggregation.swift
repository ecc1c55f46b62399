import DataflowOperator

/// The stage in front of the exchange: expressions, lateness, and partial aggregates of what passes.
///
/// Partial states leave when there are many groups, when the watermark could close one of their windows, before a
/// checkpoint, and after a short while; so nothing waits here long and nothing stays behind a barrier. Where keys hardly
/// repeat, rows go on as partial states of their own and the table is left out.
final class LocalAggregation: PartialAggregation {
    /// Bounds on what is held: whatever comes first.
    static let maxGroups = 1 << 16
    static let maxBytes = 16 << 20
    /// The longest that a partial state waits where no watermark will call for it.
    private static let maxDelay = Duration.milliseconds(100)

    /// How long a partial state waits where no watermark will call for it.
    static func delay(_ config: WindowAggConfig) -> Duration {
        switch config.emission {
        case .every(let interval): min(maxDelay, interval / 4)
        case .onClose: maxDelay
        }
    }

    private let plan: AggregationPlan
    private let context: OperatorContext
    private let intake: RowIntake
    private let groups: GroupedAggregates
    private let schema: Schema
    private let grid: WindowGrid?
    /// Rows are counted one by one behind the exchange: none are put together here.
    private let isRowByRow: Bool
    private var benefit = PreAggregationBenefit()
    /// The start of the earliest window held.
    private var earliest = Int64.max
    private let delay: Duration
    var isTickPending = false

    init(_ plan: AggregationPlan, _ config: WindowAggConfig, _ context: OperatorContext) {
        self.plan = plan
        self.context = context
        let grid = plan.window.grid
        self.grid = grid
        intake = RowIntake(plan, context) { time in
            grid.map { saturating($0.end($0.start(of: time)), plus: plan.allowedLateness) } ?? .max
        }
        groups = GroupedAggregates(keys: plan.groupFields.map(\.type), plan.layout)
        schema = plan.partial.schema
        delay = LocalAggregation.delay(config)
        isRowByRow = if case .count = plan.window { true } else { false }
    }

    convenience init(_ config: WindowAggConfig, _ context: OperatorContext) throws(OperatorError) {
        do throws(ConfigError) {
            self.init(try AggregationPlan(config, input: context.inputs[0]), config, context)
        } catch {
            throw OperatorError(.user, .never, "invalid_config", error.description)
        }
    }

    func process(
        _ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress {
        let now = context.clock.wallMicroseconds
        let evaluated = intake.take(batch, now: now, &output)
        guard evaluated.rows.rowCount > 0 else { return .done }
        aggregate(evaluated, now, &output)
        return .done
    }

    private func aggregate(_ evaluated: RowEvaluator.Evaluated, _ now: Int64, _ output: inout OutputBuffer) {
        let count = evaluated.rows.rowCount
        let keys = (grid.map { windows(of: evaluated.rows, now, $0) } ?? []) + evaluated.keys
        let inputs = intake.inputs(evaluated)
        if isRowByRow || benefit.isBypassed(count) {
            earliest = .max
            output.emit(RecordBatch(schema, keys + groups.rowStates(inputs), rowCount: count))
            return
        }
        let ids = groups.groups(keys, count: count)
        ids.withUnsafeBufferPointer { groups.update(inputs, $0) }
        if benefit.isPoor(count, groups: groups.count) || groups.count >= LocalAggregation.maxGroups
            || groups.byteCount >= LocalAggregation.maxBytes
        {
            flush(&output)
        } else if !isEventTime || plan.updates, !isTickPending {
            isTickPending = true
            context.tick.request(at: context.clock.now.advanced(by: delay))
        }
    }

    /// The windows that rows enter, and takes note of the earliest: a column, or two where windows overlap.
    private func windows(of rows: RecordBatch, _ now: Int64, _ grid: WindowGrid) -> [Column] {
        let count = rows.rowCount
        guard case .event(let column) = plan.time, let times = rows.columns[column].int64Values else {
            let slice = grid.slice(of: now)
            earliest = min(earliest, slice.first)
            return (grid.overlaps ? [slice.first, slice.last] : [slice.last]).map {
                Column(.timestamp, .int64(Values(repeating: $0, count: count)))
            }
        }
        let lasts = Values<Int64>(count: count) { target in
            times.withUnsafeBufferPointer { grid.starts($0, into: target) }
        }
        guard grid.overlaps else {
            lasts.withUnsafeBufferPointer { for start in $0 where start < earliest { earliest = start } }
            return [Column(.timestamp, .int64(lasts))]
        }
        let firsts = Values<Int64>(count: count) { target in
            times.withUnsafeBufferPointer { times in
                lasts.withUnsafeBufferPointer { grid.firsts(times, lasts: $0, into: target) }
            }
            // Which of its windows a row is late for is a matter of its split's watermark, not of when it gets there.
            guard let marks = rows.splitWatermark else { return }
            for i in 0..<count where marks[i] != .min {
                target[i] = max(target[i], grid.firstEnding(after: saturating(marks[i], plus: -plan.allowedLateness)))
            }
        }
        firsts.withUnsafeBufferPointer { for start in $0 where start < earliest { earliest = start } }
        return [Column(.timestamp, .int64(firsts)), Column(.timestamp, .int64(lasts))]
    }

    private var isEventTime: Bool { if case .event = plan.time { true } else { false } }

    /// Sends all partial states on. At most ``maxGroups`` and a batch: within what one call may emit.
    func flush(_ output: inout OutputBuffer) {
        benefit.flushed(groups.count)
        earliest = .max
        guard groups.count > 0 else { return }
        groups.table.allIDs.withUnsafeBufferPointer { ids in
            var start = 0
            while start < ids.count {
                let end = min(ids.count, start + RecordBatch.defaultRowCount)
                let part = UnsafeBufferPointer(rebasing: ids[start..<end])
                let columns = groups.table.keys.columns(part) + groups.states(part)
                output.emit(RecordBatch(schema, columns, rowCount: part.count))
                start = end
            }
        }
        groups.removeAll()
    }

    func advance(to watermark: Watermark, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        guard isEventTime, let grid else { return .done }
        switch watermark {
        case .time(let time):
            // Only a watermark that closes a window makes its rows leave.
            if earliest != .max, time >= grid.end(earliest) { flush(&output) }
        // The watermark of others may close windows while this one is idle.
        case .idle: flush(&output)
        }
        output.emit(watermark)
        return .done
    }
}

/// Decides whether pre-aggregation is worth its table: rows are at least halved, or they go past it for a while.
struct PreAggregationBenefit {
    /// Rows after which it is judged.
    private static let sample = 1 << 14
    /// Rows that go past before it is tried again.
    private static let bypass = 1 << 19

    private var rows = 0
    /// Groups that these rows have been sent on as already.
    private var sent = 0
    private var bypassLeft = 0

    /// Whether these rows should go past the table.
    mutating func isBypassed(_ count: Int) -> Bool {
        guard bypassLeft > 0 else { return false }
        bypassLeft -= count
        return true
    }

    /// Whether keys hardly repeat, now that `count` more rows are in the table; then the next ones go past it.
    mutating func isPoor(_ count: Int, groups: Int) -> Bool {
        rows += count
        guard rows >= PreAggregationBenefit.sample, (sent + groups) * 2 > rows else { return false }
        bypassLeft = PreAggregationBenefit.bypass
        return true
    }

    /// The table is empty again: its groups were sent on.
    mutating func flushed(_ groups: Int) {
        sent += groups
        guard rows >= PreAggregationBenefit.sample else { return }
        rows = 0
        sent = 0
    }
}
