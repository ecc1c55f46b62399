import DataflowOperator

/// Tops of partitions with an event time: each leaves once, when the watermark has passed its time, and is let go.
///
/// A watermark says that every row with an earlier time has been seen, so a partition of time t is final when the
/// watermark is behind t. Behind a window-agg the time is `window_start`.
final class ClosingTop: TopStage {
    private let plan: TopNPlan
    private let time: Int
    private let context: OperatorContext
    private let output: Schema
    private let tops: PartitionTops
    /// The partitions of each time that has not passed.
    private var open: [Int64: [Int32]] = [:]
    /// By partition: whether it stands in ``open``.
    private var isListed: [Bool] = []
    /// The least time in ``open``.
    private var earliest = Int64.max
    /// Partitions with a time before this have left.
    private var closedUpTo = Int64.min

    // What is leaving.
    private var closing: [Int32] = []
    private var emitting: [Int32] = []
    private var ranks: [Int64] = []
    private var position = 0
    private var watermarkBehind: Watermark?

    var stateByteCount: Int { tops.stateByteCount }

    init(_ plan: TopNPlan, _ context: OperatorContext) {
        guard let time = plan.closingTime else { preconditionFailure("top-n closes partitions without a time") }
        self.plan = plan
        self.time = time
        self.context = context
        output = context.outputs[0].schema
        tops = PartitionTops(plan, state: "partitions")
    }

    func open(restoring state: StateSnapshot) throws(OperatorError) {
        for batch in try state.batches("partitions", plan.state) {
            take(Array(batch.columns.dropFirst()), count: batch.rowCount)
        }
        closedUpTo = state.progress
    }

    func process(_ batch: RecordBatch, into output: inout OutputBuffer) {
        let timed = settleMissing(batch, &output)
        let rows = settleLate(timed, &output)
        context.counters.add(
            aggregated: rows.rowCount, late: timed.rowCount - rows.rowCount, errors: batch.rowCount - timed.rowCount)
        if rows.rowCount > 0 { take(rows.columns, count: rows.rowCount) }
    }

    private func take(_ columns: [Column], count: Int) {
        guard let times = columns[time].int64Values else { return }
        tops.offer(columns, count: count) { partition, _, row in
            let index = Int(partition)
            if index >= isListed.count {
                isListed += repeatElement(false, count: max(64, isListed.count, index + 1 - isListed.count))
            }
            guard !isListed[index] else { return }
            isListed[index] = true
            open[times[row], default: []].append(partition)
            earliest = min(earliest, times[row])
        }
    }

    /// Rows without a time go to the errors: no watermark would ever make their partition final.
    private func settleMissing(_ batch: RecordBatch, _ output: inout OutputBuffer) -> RecordBatch {
        guard let present = batch.columns[time].validity, present.setCount < batch.rowCount else { return batch }
        var missing = RowErrors(rowCount: batch.rowCount)
        let name = plan.input.fields[time].name
        for row in 0..<batch.rowCount where !present[row] {
            missing.insert(RowError(.invalidArgument, "\(name) is null, expected the event's time"), at: row)
        }
        var report = ErrorRows(context)
        report.append(missing, of: batch)
        output.emit(report.finish(), to: .errors)
        return batch.filter(present)
    }

    /// Rows that their split's watermark had passed, and rows whose partition has left, go to the port `late`.
    private func settleLate(_ batch: RecordBatch, _ output: inout OutputBuffer) -> RecordBatch {
        guard let times = batch.columns[time].int64Values, batch.splitWatermark != nil || closedUpTo > .min else {
            return batch
        }
        let inTime = times.withUnsafeBufferPointer { times in
            guard let marks = batch.splitWatermark else {
                return Bitmap(count: times.count) { times[$0] >= closedUpTo }
            }
            return marks.withUnsafeBufferPointer { marks in
                Bitmap(count: times.count) { times[$0] >= closedUpTo && times[$0] >= marks[$0] }
            }
        }
        guard inTime.setCount < batch.rowCount else { return batch }
        output.emit(batch.filter(~inTime), to: OutputPort(index: 1))
        return batch.filter(inTime)
    }

    // MARK: Closing

    func advance(to watermark: Watermark, into output: inout OutputBuffer) -> Progress {
        watermarkBehind = watermark
        if case .time(let time) = watermark { close(upTo: time) }
        return resume(into: &output)
    }

    func finish(into output: inout OutputBuffer) -> Progress {
        close(upTo: .max)
        return resume(into: &output)
    }

    /// Lets the partitions with a time before `time` leave, the earliest first.
    private func close(upTo time: Int64) {
        // At the end of input all leave; rows of a later run may still open others.
        let last = open.keys.max() ?? .min
        closedUpTo = max(closedUpTo, time < .max ? time : last < .max ? last + 1 : last)
        guard earliest < time || time == .max else { return }
        for time in open.keys.filter({ $0 < time || time == .max }).sorted() {
            for partition in open.removeValue(forKey: time) ?? [] {
                closing.append(partition)
                isListed[Int(partition)] = false
                emitting += tops[partition]
                tops.appendRanks(of: partition, to: &ranks)
            }
        }
        earliest = open.keys.min() ?? .max
    }

    func resume(into output: inout OutputBuffer) -> Progress {
        while position < emitting.count {
            if output.isFull { return .more }
            let end = min(emitting.count, position + RecordBatch.defaultRowCount)
            output.emit(tops.batch(self.output, emitting[position..<end], ranks: ranks[position..<end]))
            position = end
        }
        for partition in closing { tops.remove(partition) }
        closing = []
        emitting = []
        ranks = []
        position = 0
        if let watermark = watermarkBehind {
            watermarkBehind = nil
            output.emit(watermark)
        }
        return .done
    }

    func tick(into output: inout OutputBuffer) -> Progress { .done }
    func prepareSnapshot(into output: inout OutputBuffer) -> Progress { .done }

    func snapshot() -> StateSnapshot { [tops.snapshot(), .progress(closedUpTo)] }

    func continueSnapshot(until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot) -> Progress {
        tops.continueSnapshot(until: deadline, into: &snapshot)
    }
}
