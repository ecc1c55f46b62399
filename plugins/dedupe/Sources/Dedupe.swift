public import DataflowOperator

/// `dedupe`: the first row of each key goes on, the others do not.
///
/// With event time, two rows of one key are duplicates when their times are less than `within` apart; a row that is behind
/// its split's watermark by `within` or more is late. So a kept row matters until the watermark has passed its time by
/// twice that, and is then forgotten. For a key whose rows come from one split the result is a property of the data.
public final class Dedupe: Transform {
    public typealias Config = DedupeConfig

    public static let info = OperatorInfo(
        "dedupe", .transform, "Lets the first row of each key go on.",
        extraPorts: [ExtraPort("duplicates", unread: .drop), "late"])
    public static var isStateful: Bool { true }

    private static let duplicates = OutputPort(index: 1)
    private static let late = OutputPort(index: 2)

    /// Without `within` no row is late.
    public static func ports(_ config: DedupeConfig) -> [ExtraPort] {
        config.within == nil ? Array(info.extraPorts.prefix(1)) : info.extraPorts
    }

    public static func outputs(_ config: DedupeConfig, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        let plan = try DedupePlan(config, input: inputs[0])
        return [plan.output] + ports(config).map { _ in Stream(plan.rows) }
    }

    public static func partitioning(_ config: DedupeConfig, inputs: [Stream]) throws(ConfigError) -> Partitioning {
        try DedupePlan(config, input: inputs[0]).partitioning
    }

    public static func localStage(_ config: DedupeConfig, inputs: [Stream]) throws(ConfigError) -> LocalStage? {
        let plan = try DedupePlan(config, input: inputs[0])
        guard !plan.computed.isEmpty else { return nil }
        let output = Stream(plan.keyed, eventTime: plan.eventTime)
        return LocalStage(output: output, partitioning: plan.partitioning) { (context) throws(OperatorError) in
            KeyColumns(plan, context)
        }
    }

    public static func columnsUsed(_ config: DedupeConfig, inputs: [Stream], downstream: ColumnSet) -> [ColumnSet] {
        guard let plan = try? DedupePlan(config, input: inputs[0]) else { return [.all] }
        return [downstream.union(plan.columnsUsed)]
    }

    private let plan: DedupePlan
    private let context: OperatorContext
    private let kept: KeptTimes
    private let within: Int64
    /// The merged watermark, where there is event time.
    private var watermark = Int64.min
    /// The time at which keys were last forgotten.
    private var lastSweep = Int64.min
    private var isTickPending = false

    public init(_ config: DedupeConfig, _ context: OperatorContext) throws(OperatorError) {
        let plan: DedupePlan
        // The rows may have the key's columns behind their own.
        var input = context.inputs[0]
        input.schema = Schema(Array(input.schema.fields.prefix(context.outputs[0].schema.fields.count)))
        do throws(ConfigError) { plan = try DedupePlan(config, input: input) } catch {
            throw OperatorError(.user, .never, "invalid_config", error.description)
        }
        self.plan = plan
        self.context = context
        switch plan.memory {
        case .forEver: within = .max
        case .eventTime(_, let time), .processingTime(let time): within = time
        }
        kept = KeptTimes(keys: plan.key.map { plan.keyed.fields[$0].type }, within: within, state: plan.state)
    }

    public func open(restoring state: StateSnapshot) throws(OperatorError) {
        try kept.restore(state)
        watermark = state.progress
        if case .processingTime = plan.memory, kept.table.count > 0 { requestTick() }
    }

    public func process(
        _ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress {
        var rows = batch
        let times: Values<Int64>
        switch plan.memory {
        case .forEver: times = Values(repeating: 0, count: batch.rowCount)
        case .processingTime:
            times = Values(repeating: context.clock.wallMicroseconds, count: batch.rowCount)
            requestTick()
        case .eventTime(let column, _):
            rows = settleLate(settleMissing(batch, column, &output), column, &output)
            guard let values = rows.columns[column].int64Values, rows.rowCount > 0 else { return .done }
            times = values
        }
        let ids = kept.keys(plan.key.map { rows.columns[$0] }, count: rows.rowCount)
        let isKept = kept.offer(ids, times)
        let passed = isKept.setCount
        context.counters.add(passed: passed, filtered: rows.rowCount - passed)
        let own = withoutKeys(rows)
        if passed > 0 { output.emit(own.filter(isKept)) }
        if passed < rows.rowCount, !context.unreadPorts.contains(Dedupe.duplicates) {
            output.emit(own.filter(~isKept), to: Dedupe.duplicates)
        }
        return .done
    }

    /// The rows as they came into the node: without the columns that were computed for the key.
    private func withoutKeys(_ batch: RecordBatch) -> RecordBatch {
        plan.computed.isEmpty
            ? batch : batch.replacingColumns(plan.rows, Array(batch.columns.dropLast(plan.computed.count)))
    }

    /// Rows without a time go to the errors.
    private func settleMissing(_ batch: RecordBatch, _ column: Int, _ output: inout OutputBuffer) -> RecordBatch {
        guard let present = batch.columns[column].validity, present.setCount < batch.rowCount else { return batch }
        var missing = RowErrors(rowCount: batch.rowCount)
        let name = plan.rows.fields[column].name
        for row in 0..<batch.rowCount where !present[row] {
            missing.insert(RowError(.invalidArgument, "\(name) is null, expected the event's time"), at: row)
        }
        var report = ErrorRows(context)
        report.append(missing, of: withoutKeys(batch))
        output.emit(report.finish(), to: .errors)
        context.counters.add(errors: missing.count)
        return batch.filter(present)
    }

    /// Rows that lie behind by `within` or more go to the port `late`: behind their split's watermark, or, when their
    /// split was idle, behind the merged one.
    private func settleLate(_ batch: RecordBatch, _ column: Int, _ output: inout OutputBuffer) -> RecordBatch {
        guard let times = batch.columns[column].int64Values else { return batch }
        let bound = saturating(watermark, minus: within)
        let marks = batch.splitWatermark ?? Values([])
        guard marks.count > 0 || bound > .min else { return batch }
        let inTime = times.withUnsafeBufferPointer { times in
            marks.withUnsafeBufferPointer { marks in
                Bitmap(count: times.count) { row in
                    let own = marks.isEmpty ? .min : saturating(marks[row], minus: within)
                    let behind = max(own, bound)
                    return behind == .min || times[row] > behind
                }
            }
        }
        let late = batch.rowCount - inTime.setCount
        guard late > 0 else { return batch }
        context.counters.add(late: late)
        output.emit(withoutKeys(batch).filter(~inTime), to: Dedupe.late)
        return batch.filter(inTime)
    }

    // MARK: Time

    public func advance(to watermark: Watermark, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        output.emit(watermark)
        // At the end of input nothing is forgotten: a later run may read on.
        if case .eventTime = plan.memory, case .time(let time) = watermark, time != .max, time > self.watermark {
            self.watermark = time
            sweep(now: time, keeping: within.addingReportingOverflow(within))
        }
        return .done
    }

    public func tick(_ now: ContinuousClock.Instant, into output: inout OutputBuffer) throws(OperatorError) -> Progress
    {
        isTickPending = false
        sweep(now: context.clock.wallMicroseconds, keeping: (within, false))
        if kept.table.count > 0 { requestTick() }
        return .done
    }

    /// Forgets what lies further back, but not at every small step: a sweep looks at every key.
    private func sweep(now: Int64, keeping age: (Int64, overflow: Bool)) {
        guard !age.overflow, lastSweep == .min || now < lastSweep || now - lastSweep >= within / 8 else { return }
        lastSweep = now
        kept.forget(upTo: saturating(now, minus: age.0))
    }

    private func requestTick() {
        guard !isTickPending else { return }
        isTickPending = true
        let pause = max(within / 8, 10_000)
        context.tick.request(at: context.clock.now.advanced(by: .microseconds(pause)))
    }

    public var stateByteCount: Int { kept.stateByteCount }

    public func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot {
        kept.snapshot() + [.progress(watermark)]
    }

    public func continueSnapshot(
        until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot
    ) throws(OperatorError) -> Progress { kept.continueSnapshot(until: deadline, into: &snapshot) }
}

/// `time - duration` without overflow.
private func saturating(_ time: Int64, minus duration: Int64) -> Int64 {
    let (difference, overflow) = time.subtractingReportingOverflow(duration)
    return overflow ? .min : difference
}

/// `dedupe`.
public enum DedupePlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.transform(Dedupe.self)]
}
