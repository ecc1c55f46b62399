import DataflowOperator

/// The stage in front of the exchange for session windows: what ``LocalAggregation`` is for windows with fixed places.
///
/// It unites rows with ``SessionTable`` as far as they are held, and sends spans with partial states on: start, end (the
/// last row's time plus the gap), keys, states. A row is late when its split's watermark was at or past its time plus
/// `allowed_lateness`. Rows leave before a watermark does that is past their time: behind the exchange it may end a session that
/// they belong to (see ``SessionAggregation``).
final class LocalSessions: PartialAggregation {
    private let plan: AggregationPlan
    private let gap: Int64
    private let context: OperatorContext
    private let intake: RowIntake
    private let table: SessionTable
    private let schema: Schema
    private let isEventTime: Bool
    private let delay: Duration
    private var benefit = PreAggregationBenefit()
    /// The time of the earliest row held.
    private var earliest = Int64.max
    var isTickPending = false

    init(_ plan: AggregationPlan, gap: Duration, _ config: WindowAggConfig, _ context: OperatorContext) {
        self.plan = plan
        self.gap = max(1, gap.nanoseconds / 1000)
        self.context = context
        let lateness = plan.allowedLateness
        intake = RowIntake(plan, context) { saturating($0, plus: lateness) }
        table = SessionTable(keys: plan.keyFields.map(\.type), plan.layout)
        schema = plan.partial.schema
        isEventTime = if case .event = plan.time { true } else { false }
        delay = LocalAggregation.delay(config)
    }

    convenience init(_ config: WindowAggConfig, _ context: OperatorContext) throws(OperatorError) {
        do throws(ConfigError) {
            let plan = try AggregationPlan(config, input: context.inputs[0])
            guard case .session(let gap) = plan.window else {
                throw ConfigError("invalid-value", "\(plan.window.word) windows are no sessions")
            }
            self.init(plan, gap: gap, config, context)
        } catch {
            throw OperatorError(.user, .never, "invalid_config", error.description)
        }
    }

    func process(
        _ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress {
        let now = context.clock.wallMicroseconds
        let evaluated = intake.take(batch, now: now, &output)
        let count = evaluated.rows.rowCount
        guard count > 0 else { return .done }
        var starts = Values<Int64>(repeating: now, count: count)
        if case .event(let column) = plan.time, let times = evaluated.rows.columns[column].int64Values {
            starts = times
        }
        let gap = gap
        let ends = starts.withUnsafeBufferPointer { starts in
            Values<Int64>(count: count) { ends in
                for i in 0..<count { ends[i] = saturating(starts[i], plus: gap) }
            }
        }
        let inputs = intake.inputs(evaluated)
        if benefit.isBypassed(count) {
            let columns = [Column(.timestamp, .int64(starts)), Column(.timestamp, .int64(ends))] + evaluated.keys
            output.emit(RecordBatch(schema, columns + table.groups.rowStates(inputs), rowCount: count))
            return .done
        }
        let ids = table.place(evaluated.keys, starts: starts, ends: ends, count: count)
        table.settle()
        ids.withUnsafeBufferPointer { table.groups.update(inputs, $0) }
        starts.withUnsafeBufferPointer { for start in $0 where start < earliest { earliest = start } }
        if benefit.isPoor(count, groups: table.count) || table.count >= LocalAggregation.maxGroups
            || table.byteCount >= LocalAggregation.maxBytes
        {
            flush(&output)
        } else if !isEventTime || plan.updates, !isTickPending {
            isTickPending = true
            context.tick.request(at: context.clock.now.advanced(by: delay))
        }
        return .done
    }

    /// Sends everything on. At most ``LocalAggregation/maxGroups`` and a batch: within what one call may emit.
    func flush(_ output: inout OutputBuffer) {
        benefit.flushed(table.count)
        earliest = .max
        guard table.count > 0 else { return }
        table.liveIDs(0..<table.upperBound).withUnsafeBufferPointer { ids in
            var start = 0
            while start < ids.count {
                let end = min(ids.count, start + RecordBatch.defaultRowCount)
                let part = UnsafeBufferPointer(rebasing: ids[start..<end])
                let (starts, ends, keys) = table.columns(part)
                output.emit(
                    RecordBatch(schema, [starts, ends] + keys + table.groups.states(part), rowCount: part.count))
                start = end
            }
        }
        table.removeAll()
    }

    func advance(to watermark: Watermark, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        guard isEventTime else { return .done }
        switch watermark {
        case .time(let time): if earliest < time { flush(&output) }
        // The watermark of others may end sessions while this one is idle.
        case .idle: flush(&output)
        }
        output.emit(watermark)
        return .done
    }
}
