import DataflowOperator

/// Unites the sessions that the local stages have put together, and tells them when they are over.
///
/// # When a session is over, and why no row comes too late for it
///
/// A row at `t` is late when its own split's watermark, before the row, was at or past `t + allowed_lateness`: a matter of
/// the row and of those in front of it in its split, whatever other splits do. (``LocalSessions`` decides it.) A session
/// `[start, end]` leaves when the merged watermark `W` is past `end + allowed_lateness`. *No row that is not late touches a
/// session that has left*: it would have `t ≤ end`, and as its split's watermark `w` is never below `W`,
/// `w ≥ W > end + allowed_lateness ≥ t + allowed_lateness`; so it is late. And every row that is not late and has `t ≤ end`
/// is here by then, since local stages send all rows with `t < W` on before they pass `W` on. Hence a session that
/// leaves is whole, and the result depends neither on timing nor on parallelism nor on the size of batches.
///
/// The one exception is a split that was left out as idle and comes back: nothing held `W` for it. A span of its rows that
/// would be over already goes to the errors port, another one may open a session beside one that has left.
///
/// # What is told
///
/// - On close, without lateness (append): a session once, when it leaves.
/// - On close, with lateness (upsert): a session when `W` is past `end`. A later row that belongs to it corrects the row that
///   was told, under the same key or, where the span has grown, under a new one: the old key is deleted. Where the new
///   end is ahead of `W` again, the old key is deleted and the session is told when it is over.
/// - Updating (upsert): what has changed, no closer than the interval, replaced keys deleted.
///
/// Corrections and deletes leave with the next watermark or after a second (updating: after the interval), and always
/// before a checkpoint.
///
/// # Cost
///
/// A span: one look-up of its key, and what ``SessionTable`` says. A session that leaves: O(log sessions). Nothing else is
/// done for sessions that stay, but that one which grows is looked at once a gap.
final class SessionAggregation: FinalStage {
    /// How long a session over the time of processing waits for partial states on their way.
    private static let grace: Int64 = 500_000
    /// The longest that a correction waits where no watermark comes.
    private static let maxDelay = Duration.seconds(1)

    let table: SessionTable
    let context: OperatorContext
    let isUpdating: Bool
    private let keyCount: Int
    private let state: IncrementalTable
    private let isEventTime: Bool
    private let lateness: Int64
    /// Between two updates; nil: on close.
    private let interval: Duration?

    /// When sessions are next to be looked at: never behind the time when something is to be done.
    private var ends = DeadlineHeap()
    private var starts = DeadlineHeap()
    private var watermark = Int64.min
    /// Sessions that ended before this have left.
    private var closedUpTo = Int64.min
    private var lastWatermark = Int64.min
    private var isIdle = false
    private var lastEmission: ContinuousClock.Instant?
    private var nextTick: ContinuousClock.Instant?

    /// What has been told of each session; of updating results only.
    var ledger = SessionLedger()

    // Work left undone by a call that answered `.more`.
    private var telling: [Int32] = []
    private var position = 0
    private var closing: Int64?
    private var watermarkBehind: Int64?

    init(_ shape: PartialShape, _ config: WindowAggConfig, _ context: OperatorContext) {
        self.context = context
        let keys = shape.groupFields.dropFirst(2)
        keyCount = keys.count
        table = SessionTable(keys: keys.map(\.type), shape.layout)
        isEventTime = shape.isEventTime
        lateness = config.allowedLateness.nanoseconds / 1000
        interval = if case .every(let interval) = config.emission { interval } else { nil }
        isUpdating = lateness > 0 || interval != nil
        state = IncrementalTable(
            "sessions", distribution: .keyGroup(column: 0),
            Schema(
                [GroupState.keyGroup] + shape.groupFields + shape.layout.stateFields
                    + (isUpdating ? SessionLedger.fields : [])))
        table.tracking = (state, { [unowned self] in self.rows($0) })
    }

    // MARK: Putting in

    func process(_ batch: RecordBatch, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        let batch = settleClosed(batch, &output)
        guard batch.rowCount > 0 else { return .done }
        context.counters.add(aggregated: batch.rowCount)
        let ids = place(batch.columns, count: batch.rowCount)
        if isUpdating { ledger.touch(ids, onlyTold: interval == nil) }
        requestTick()
        return .done
    }

    /// Unites spans with sessions: starts, ends, keys, partial states.
    private func place(_ columns: [Column], count: Int) -> [Int32] {
        guard let starts = columns[0].int64Values, let ends = columns[1].int64Values else { return [] }
        let ids = table.place(Array(columns[2..<2 + keyCount]), starts: starts, ends: ends, count: count)
        for id in table.created where table.contains(id) { schedule(id) }
        if isEventTime {
            for id in table.advanced where table.contains(id) { scheduleStart(id) }
        }
        if isUpdating { ledger.note(table) }
        table.settle()
        ids.withUnsafeBufferPointer { table.groups.merge(columns[(2 + keyCount)...], $0) }
        return ids
    }

    private func schedule(_ id: Int32) {
        let session = table[id]
        ends.push(DeadlineHeap.Entry(time: session.end, id: id, stamp: session.stamp))
        if isEventTime { scheduleStart(id) }
    }

    private func scheduleStart(_ id: Int32) {
        let session = table[id]
        starts.push(DeadlineHeap.Entry(time: session.start, id: id, stamp: session.stamp))
    }

    /// Spans that are over already. Over the time of processing they count as rows of now. Over event time they come only
    /// from a split that was left out as idle and came back, or when an earlier run has ended behind them: they go to
    /// the errors port with their number of rows.
    private func settleClosed(_ batch: RecordBatch, _ output: inout OutputBuffer) -> RecordBatch {
        guard closedUpTo != .min, let starts = batch.columns[0].int64Values, let ends = batch.columns[1].int64Values
        else { return batch }
        let isOpen = Bitmap(count: batch.rowCount) { ends[$0] >= closedUpTo }
        let closed = batch.rowCount - isOpen.setCount
        guard closed > 0 else { return batch }
        if !isEventTime {
            let now = max(context.clock.wallMicroseconds, closedUpTo)
            func moved(_ values: Values<Int64>) -> Column {
                let moved = Values<Int64>(count: batch.rowCount) { target in
                    for i in 0..<target.count {
                        target[i] = isOpen[i] ? values[i] : saturating(now, plus: values[i] - starts[i])
                    }
                }
                return Column(.timestamp, .int64(moved))
            }
            return batch.replacingColumns(batch.schema, [moved(starts), moved(ends)] + batch.columns.dropFirst(2))
        }
        let refused = batch.filter(~isOpen)
        var errors = ErrorRows(context)
        let counts = refused.columns[2 + keyCount].int64Values
        for row in 0..<refused.rowCount {
            let text = Array(RowEvaluator.describe(refused, row).utf8)
            text.withUnsafeBytes {
                errors.append(
                    code: "window_closed",
                    reason:
                        "\(counts?[row] ?? 0) rows belong to a session that has left: their split was idle (a longer idle_timeout waits for it), or an earlier run ended behind them",
                    raw: $0)
            }
        }
        output.emit(errors.finish(), to: .errors)
        context.counters.add(errors: closed)
        return batch.filter(isOpen)
    }

    // MARK: Closing

    func advance(to watermark: Watermark, into output: inout OutputBuffer) -> Progress {
        guard isEventTime else { return .done }
        switch watermark {
        case .idle:
            isIdle = true
            output.emit(watermark)
            return .done
        case .time(let time):
            watermarkBehind = time
            return close(upTo: time, into: &output)
        }
    }

    /// Tells corrections and lets sessions go that are over, the earliest first; `.max` is the end of input.
    private func close(upTo time: Int64, into output: inout OutputBuffer) -> Progress {
        watermark = max(watermark, time)
        if time != .max { closedUpTo = max(closedUpTo, saturating(time, plus: -lateness)) }
        if isUpdating, interval == nil || time == .max { startTelling() }
        closing = time
        return resume(into: &output)
    }

    private func startTelling() {
        lastEmission = context.clock.now
        telling = ledger.takeChanged()
        position = 0
        if hasOverdue { closing = watermark }
    }

    func resume(into output: inout OutputBuffer) -> Progress {
        while true {
            if output.isFull { return .more }
            if ledger.hasReplaced {
                emitDeletes(ledger.takeReplaced(RecordBatch.defaultRowCount), &output)
            } else if position < telling.count {
                let end = min(telling.count, position + RecordBatch.defaultRowCount)
                tellChanges(telling[position..<end], &output)
                position = end
            } else if let time = closing {
                if !closeSome(upTo: time, &output) { closing = nil }
            } else {
                break
            }
        }
        telling = []
        position = 0
        passWatermarkOn(&output)
        requestTick()
        return .done
    }

    /// Sessions that have changed and were told before, or are told all the time.
    private func tellChanges(_ ids: ArraySlice<Int32>, _ output: inout OutputBuffer) {
        var told: [Int32] = []
        // They go on: what was told of them is no more.
        var reopened: [Int32] = []
        for id in ids where table.contains(id) && ledger.isChanged(id) {
            if interval != nil || table[id].end < watermark { told.append(id) } else { reopened.append(id) }
        }
        state.willChange(reopened, rows)
        for id in reopened {
            ledger.retract(id, group: table[id].group)
            table.restamp(id)
            schedule(id)
        }
        tell(told, &output)
    }

    /// - Returns: false when nothing was due.
    private func closeSome(upTo time: Int64, _ output: inout OutputBuffer) -> Bool {
        var told: [Int32] = []
        var gone: [Int32] = []
        let isEnd = time == .max
        while max(told.count, gone.count) < RecordBatch.defaultRowCount, let entry = ends.first,
            entry.time < time || isEnd
        {
            ends.removeFirst()
            let session = table[entry.id]
            guard session.group >= 0, session.stamp == entry.stamp else { continue }
            let leaves = saturating(session.end, plus: lateness)
            let isUntold = !isUpdating || ledger.isUntold(entry.id)
            let due = isUntold && interval == nil ? session.end : leaves
            guard due < time || isEnd else {
                ends.push(DeadlineHeap.Entry(time: due, id: entry.id, stamp: entry.stamp))
                continue
            }
            if isUntold { told.append(entry.id) }
            if leaves < time || isEnd {
                gone.append(entry.id)
                if isEnd { closedUpTo = max(closedUpTo, session.end) }
            } else {
                ends.push(DeadlineHeap.Entry(time: leaves, id: entry.id, stamp: entry.stamp))
            }
        }
        tell(told, &output)
        gone.withUnsafeBufferPointer { table.remove($0) }
        return !told.isEmpty || !gone.isEmpty
    }

    /// The earliest start of a session that is open; `.max` where none is.
    private func earliestStart() -> Int64 {
        while let entry = starts.first {
            let session = table[entry.id]
            if session.group >= 0, session.stamp == entry.stamp, session.start == entry.time { return entry.time }
            starts.removeFirst()
        }
        return .max
    }

    /// What leaves from now on starts with a session that is open, or with a row that is not late.
    private func passWatermarkOn(_ output: inout OutputBuffer) {
        guard let time = watermarkBehind else { return }
        watermarkBehind = nil
        let next = time == .max ? time : min(earliestStart(), saturating(time, plus: -lateness))
        guard next > lastWatermark || (isIdle && lastWatermark > .min) else { return }
        isIdle = false
        lastWatermark = max(lastWatermark, next)
        output.emit(.time(lastWatermark))
    }

    // MARK: Telling

    private func tell(_ ids: [Int32], _ output: inout OutputBuffer) {
        guard !ids.isEmpty else { return }
        if isUpdating {
            state.willChange(ids, rows)
            emitDeletes(ledger.replaced(ids, table), &output)
        }
        ids.withUnsafeBufferPointer { ids in
            let (starts, ends, keys) = table.columns(ids)
            let (results, problems) = table.groups.results(ids)
            var batch = RecordBatch(
                context.outputs[0].schema, [starts, ends] + keys + results, rowCount: ids.count)
            if !isUpdating, let marks = marks(starts) { batch = batch.withSplit(-1, splitWatermark: marks) }
            output.emit(batch)
            ResultReport.emit(problems, batch, table.groups.layout, context, &output)
        }
        if isUpdating { ledger.told(ids, table) }
    }

    /// A session of rows of a split that was idle may start behind the watermark that has been passed on: it says so.
    private func marks(_ starts: Column) -> Values<Int64>? {
        guard let starts = starts.int64Values else { return nil }
        return starts.withUnsafeBufferPointer { starts in
            guard starts.contains(where: { $0 < lastWatermark }) else { return nil }
            return Values(count: starts.count) { target in
                for i in 0..<target.count { target[i] = starts[i] < lastWatermark ? lastWatermark : .min }
            }
        }
    }

    private func emitDeletes(_ rows: [SessionLedger.Row], _ output: inout OutputBuffer) {
        guard !rows.isEmpty else { return }
        let schema = context.outputs[0].schema
        let columns =
            [.timestamp(rows.map(\.start)), .timestamp(rows.map(\.end))]
            + table.groups.table.keys.columns(rows.map(\.group))
        let results = schema.fields.dropFirst(columns.count).map { Column.nulls($0.type, count: rows.count) }
        output.emit(
            RecordBatch(
                schema, columns + results, rowCount: rows.count,
                deletes: Bitmap(repeating: true, count: rows.count)))
    }

    // MARK: Ticks, end and state

    private func requestTick() {
        let now = context.clock.now
        var wanted: ContinuousClock.Instant?
        if ledger.hasChanges || hasOverdue { wanted = lastEmission.map { max(now, $0.advanced(by: pace)) } ?? now }
        if !isEventTime, let first = ends.first {
            let due = saturating(first.time, plus: SessionAggregation.grace + 1)
            let wait = max(0, due.subtractingReportingOverflow(context.clock.wallMicroseconds).partialValue)
            let instant = now.advanced(by: .microseconds(wait))
            wanted = min(wanted ?? instant, instant)
        }
        guard let wanted, nextTick.map({ wanted < $0 }) ?? true else { return }
        nextTick = wanted
        context.tick.request(at: wanted)
    }

    func tick(into output: inout OutputBuffer) -> Progress {
        nextTick = nil
        if isUpdating, lastEmission.map({ $0.advanced(by: pace) <= context.clock.now }) ?? true { startTelling() }
        guard !isEventTime else { return resume(into: &output) }
        return close(upTo: context.clock.wallMicroseconds - SessionAggregation.grace, into: &output)
    }

    func prepareSnapshot(into output: inout OutputBuffer) -> Progress {
        if isUpdating { startTelling() }
        return resume(into: &output)
    }

    private var pace: Duration { interval ?? SessionAggregation.maxDelay }

    /// Whether a session is over that was not told: one of rows that came late, but not too late.
    private var hasOverdue: Bool {
        guard isUpdating, isEventTime, let first = ends.first else { return false }
        return first.time < watermark
    }

    func finish(into output: inout OutputBuffer) -> Progress { close(upTo: .max, into: &output) }

    func open(restoring snapshot: StateSnapshot) throws(OperatorError) {
        for batch in try snapshot.batches("sessions", state.schema) {
            let own = Array(batch.columns.dropFirst().dropLast(isUpdating ? 2 : 0))
            let ids = place(own, count: batch.rowCount)
            if isUpdating { ledger.restore(ids, batch.columns.suffix(2)) }
        }
        closedUpTo = WindowProgress.read(snapshot).closedUpTo
        requestTick()
    }

    func snapshot() -> StateSnapshot {
        [state.snapshot(rows), WindowProgress.table(closedUpTo: closedUpTo, freedUpTo: closedUpTo, context)]
    }

    var stateByteCount: Int { table.memoryByteCount }

    func continueSnapshot(until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot) -> Progress {
        state.proceed(until: deadline, into: &snapshot, rows)
    }

    private func rows(_ ids: UnsafeBufferPointer<Int32>) -> RecordBatch {
        let (starts, ends, keys) = table.columns(ids)
        let groups = table.groups
        let keyGroups = Values<Int32>(count: ids.count) { target in
            for i in 0..<ids.count {
                target[i] = KeyGroup.of(hash: groups.table.keys.hash(table[ids[i]].group))
            }
        }
        return RecordBatch(
            state.schema,
            [Column(.int32, .int32(keyGroups)), starts, ends] + keys + groups.states(ids)
                + (isUpdating ? ledger.columns(ids) : []), rowCount: ids.count)
    }
}
