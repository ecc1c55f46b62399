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
        return [plan.output] + ports(config).map { _ in Stream(plan.input) }
    }

    public static func partitioning(_ config: DedupeConfig, inputs: [Stream]) throws(ConfigError) -> Partitioning {
        .hash(try DedupePlan(config, input: inputs[0]).keyNames)
    }

    public static func columnsUsed(_ config: DedupeConfig, inputs: [Stream], downstream: ColumnSet) -> [ColumnSet] {
        [downstream.union(config.key.elements.map(\.value) + [inputs[0].eventTime].compactMap { $0 })]
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
        do throws(ConfigError) { plan = try DedupePlan(config, input: context.inputs[0]) } catch {
            throw OperatorError(.user, .never, "invalid_config", error.description)
        }
        self.plan = plan
        self.context = context
        switch plan.memory {
        case .forEver: within = .max
        case .eventTime(_, let time), .processingTime(let time): within = time
        }
        kept = KeptTimes(keys: plan.key.map { plan.input.fields[$0].type }, within: within)
    }

    public func open(restoring state: StateSnapshot) throws(OperatorError) {
        for batch in try state.batches("keys", plan.state) {
            let ids = kept.keys(Array(batch.columns[1...plan.key.count]), count: batch.rowCount)
            let times = plan.memory == .forEver ? nil : batch.columns[plan.key.count + 1].int64Values
            for (row, id) in ids.enumerated() { kept.add(id, times?[row] ?? 0) }
        }
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
        if passed > 0 { output.emit(rows.filter(isKept)) }
        if passed < rows.rowCount { output.emit(rows.filter(~isKept), to: Dedupe.duplicates) }
        return .done
    }

    /// Rows without a time go to the errors.
    private func settleMissing(_ batch: RecordBatch, _ column: Int, _ output: inout OutputBuffer) -> RecordBatch {
        guard let present = batch.columns[column].validity, present.setCount < batch.rowCount else { return batch }
        var missing = RowErrors(rowCount: batch.rowCount)
        let name = plan.input.fields[column].name
        for row in 0..<batch.rowCount where !present[row] {
            missing.insert(RowError(.invalidArgument, "\(name) is null, expected the event's time"), at: row)
        }
        var report = ErrorRows(context)
        report.append(missing, of: batch)
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
        output.emit(batch.filter(~inTime), to: Dedupe.late)
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

    public func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot {
        [
            StateTable("keys", distribution: .keyGroup(column: 0), kept.snapshot(plan.state)),
            .progress(watermark),
        ]
    }
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
