import DataflowOperator

/// Merges partial states of groups in tumbling and sliding windows, and tells their results: once, when time has passed
/// a window's end; again, corrected, while it takes late rows; with `emit: 1s` also while it is open.
final class WindowAggregation: FinalStage {
    /// How long a window over the time of processing waits for partial states on their way.
    private static let grace: Int64 = 500_000

    private let table: SliceTable
    private let grid: WindowGrid
    private let isEventTime: Bool
    private let allowedLateness: Int64
    /// With `emit: 1s`: the shortest time between two updates.
    private let update: Duration?
    private let context: OperatorContext
    private let layout: AggregateLayout
    private let output: Schema

    /// Windows that end here or earlier have been told as closed.
    private var closedUpTo = Int64.min
    /// Windows that end here or earlier take no rows.
    private var freedUpTo = Int64.min
    private var lastWatermark: Watermark?
    private var lastTold: ContinuousClock.Instant?
    private var isCloseTickPending = false
    private var isTellTickPending = false

    // Work left undone by a call that answered `.more`.
    private var jobs = WindowJobs()
    private var window: Int64 = 0
    private var gathered: [Int32] = []
    private var position = 0
    private var watermarkBehind: Watermark?

    init(_ shape: PartialShape, _ grid: WindowGrid, _ config: WindowAggConfig, _ context: OperatorContext) {
        self.grid = grid
        self.context = context
        table = SliceTable(shape, grid)
        layout = shape.layout
        isEventTime = shape.isEventTime
        allowedLateness = config.allowedLateness.nanoseconds / 1000
        update = if case .every(let interval) = config.emission { interval } else { nil }
        output = context.outputs[0].schema
    }

    func open(restoring snapshot: StateSnapshot) throws(OperatorError) {
        let progress = WindowProgress.read(snapshot)
        closedUpTo = progress.closedUpTo
        freedUpTo = progress.freedUpTo
        for batch in try snapshot.batches("windows", table.schema) {
            // Results that are final are not told again, even where subtasks had come less far.
            let batch = update == nil && allowedLateness == 0 && grid.overlaps ? progress.entering(batch, grid) : batch
            _ = table.merge(batch.columns.dropFirst(), count: batch.rowCount)
        }
        requestTicks()
    }

    func process(_ batch: RecordBatch, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        let batch = settleClosed(batch, &output)
        guard batch.rowCount > 0 else { return .done }
        context.counters.add(aggregated: batch.rowCount)
        let ids = table.merge(batch.columns[...], count: batch.rowCount)
        if update != nil || allowedLateness > 0 { noteChanges(ids, batch) }
        requestTicks()
        return .done
    }

    private func noteChanges(_ ids: [Int32], _ batch: RecordBatch) {
        guard let firsts = batch.columns[0].int64Values,
            let lasts = batch.columns[table.windowColumnCount - 1].int64Values
        else { return }
        let bound = grid.firstEnding(after: closedUpTo)
        let updates = update != nil
        firsts.withUnsafeBufferPointer { firsts in
            lasts.withUnsafeBufferPointer { lasts in
                for (i, id) in ids.enumerated() where updates || firsts[i] < bound {
                    table.changes.note(id, open: updates && lasts[i] >= bound, closed: firsts[i] < bound)
                }
            }
        }
    }

    /// Partial states of windows that take no rows any more. Over the time of processing they count for the windows of
    /// now. Over event time they come only from a split that was left out as idle and came back, or when an earlier run
    /// ended within the window: they count in the windows that are left; where there is none they go to the errors port
    /// with their number of rows.
    private func settleClosed(_ batch: RecordBatch, _ output: inout OutputBuffer) -> RecordBatch {
        let bound = grid.firstEnding(after: freedUpTo)
        guard let firsts = batch.columns[0].int64Values,
            firsts.withUnsafeBufferPointer({ firsts in firsts.contains { $0 < bound } }),
            let lasts = batch.columns[table.windowColumnCount - 1].int64Values
        else { return batch }
        let isOpen = Bitmap(count: batch.rowCount) { lasts[$0] >= bound }
        let now =
            isEventTime ? (first: bound, last: bound) : grid.slice(of: max(context.clock.wallMicroseconds, freedUpTo))
        let count = batch.rowCount
        let newFirsts = Values<Int64>(count: count) { target in
            for i in 0..<count { target[i] = max(bound, isOpen[i] ? firsts[i] : now.first) }
        }
        var columns = [Column(.timestamp, .int64(newFirsts))]
        if grid.overlaps {
            let newLasts = Values<Int64>(count: count) { target in
                for i in 0..<count { target[i] = isOpen[i] ? lasts[i] : now.last }
            }
            columns.append(Column(.timestamp, .int64(newLasts)))
        }
        let moved = batch.replacingColumns(batch.schema, columns + batch.columns.dropFirst(columns.count))
        let closed = count - isOpen.setCount
        guard isEventTime, closed > 0 else { return moved }
        reportClosed(batch.filter(~isOpen), &output)
        context.counters.add(errors: closed)
        return moved.filter(isOpen)
    }

    private func reportClosed(_ refused: RecordBatch, _ output: inout OutputBuffer) {
        let counts = refused.columns[refused.schema.index(of: "#0.count") ?? 0].int64Values
        var errors = ErrorRows(context)
        for row in 0..<refused.rowCount {
            let text = Array(RowEvaluator.describe(refused, row).utf8)
            text.withUnsafeBytes {
                errors.append(
                    code: "window_closed",
                    reason:
                        "\(counts?[row] ?? 0) rows belong to a window that has left: their split was idle (a longer idle_timeout waits for it), or an earlier run ended within the window",
                    raw: $0)
            }
        }
        output.emit(errors.finish(), to: .errors)
    }

    // MARK: Closing

    func advance(to watermark: Watermark, into output: inout OutputBuffer) -> Progress {
        guard isEventTime else { return .done }
        switch watermark {
        case .idle:
            lastWatermark = .idle
            output.emit(watermark)
            return .done
        case .time(.max):
            watermarkBehind = watermark
            closeAll()
        case .time(let time):
            close(upTo: time, freeing: saturating(time, plus: -allowedLateness))
            // What leaves from now on starts in the first window that takes rows, or later.
            let next = Watermark.time(grid.firstEnding(after: freedUpTo))
            watermarkBehind = next == lastWatermark || next == .time(.min) ? nil : next
        }
        return resume(into: &output)
    }

    /// Queues what is to be told when windows that end at `time` or earlier close and those that end at `freeing` or
    /// earlier take no more rows.
    private func close(upTo time: Int64, freeing: Int64) {
        let (time, freeing) = (max(time, closedUpTo), max(freeing, freedUpTo))
        let from = grid.firstEnding(after: closedUpTo)
        let to = grid.firstEnding(after: time)
        // Updates of a closed window wait for their time, unless it is the last.
        let frees = grid.firstEnding(after: freeing) > grid.firstEnding(after: freedUpTo)
        if !table.changes.closed.isEmpty, update == nil || frees { tellCorrections() }
        if from < to, !table.isEmpty {
            let slices = table.slices
            let changed = update.map { _ in table.divided(table.changes.open) }
            jobs.append(table.windows(changed?.map(\.slice) ?? slices, from..<to), slices, changed: changed)
        }
        closedUpTo = time
        freedUpTo = freeing
    }

    /// At the end of input all windows leave; rows of a later run may still open others.
    private func closeAll() {
        let end = max(closedUpTo, table.lastWindow.map { grid.end($0) } ?? .min)
        close(upTo: end, freeing: end)
    }

    /// Queues the results of closed windows that still take rows and got some.
    private func tellCorrections() {
        let from = grid.firstEnding(after: freedUpTo)
        tell(table.changes.takeClosed(), from..<max(from, grid.firstEnding(after: closedUpTo)))
    }

    /// Queues every change that has not been told.
    private func tellChanges() {
        lastTold = context.clock.now
        tellCorrections()
        if update != nil { tell(table.changes.takeOpen(), grid.firstEnding(after: closedUpTo)..<Int64.max) }
    }

    private func tell(_ ids: [Int32], _ windows: Range<Int64>) {
        guard !ids.isEmpty else { return }
        let changed = table.divided(ids)
        jobs.append(table.windows(changed.map(\.slice), windows), table.slices, changed: changed)
    }

    func resume(into output: inout OutputBuffer) -> Progress {
        while true {
            if position == gathered.count {
                table.release(gathered)
                (gathered, position) = ([], 0)
                guard let job = jobs.next() else { break }
                window = job.window
                gathered = table.gather(window, job.slices, changed: job.changed)
                continue
            }
            if output.isFull { return .more }
            let end = min(gathered.count, position + RecordBatch.defaultRowCount)
            gathered.withUnsafeBufferPointer { emit(UnsafeBufferPointer(rebasing: $0[position..<end]), &output) }
            position = end
        }
        table.free(before: grid.firstEnding(after: freedUpTo))
        if let watermark = watermarkBehind {
            watermarkBehind = nil
            lastWatermark = watermark
            output.emit(watermark)
        }
        return .done
    }

    private func emit(_ numbers: UnsafeBufferPointer<Int32>, _ output: inout OutputBuffer) {
        let (keys, results, problems) = table.rows(numbers)
        let bounds = [window, grid.end(window)].map {
            Column(.timestamp, .int64(Values(repeating: $0, count: numbers.count)))
        }
        let batch = RecordBatch(self.output, bounds + keys + results, rowCount: numbers.count)
        output.emit(batch)
        ResultReport.emit(problems, batch, layout, context, &output)
    }

    // MARK: Ticks

    /// Asks for the times at which windows over the time of processing close and changes are due.
    private func requestTicks() {
        let now = context.clock.now
        if !isEventTime, !isCloseTickPending, let next = table.firstWindow(from: grid.firstEnding(after: closedUpTo)) {
            isCloseTickPending = true
            let wait = saturating(grid.end(next), plus: WindowAggregation.grace) &- context.clock.wallMicroseconds
            context.tick.request(at: now.advanced(by: .microseconds(max(0, wait))))
        }
        if !isTellTickPending, !table.changes.isEmpty {
            isTellTickPending = true
            context.tick.request(at: lastTold.map { max(now, $0.advanced(by: interval)) } ?? now)
        }
    }

    /// Corrections do not wait for ever for a watermark that stands still.
    private var interval: Duration { update ?? .seconds(1) }

    func tick(into output: inout OutputBuffer) -> Progress {
        isCloseTickPending = false
        isTellTickPending = false
        if !isEventTime {
            let time = context.clock.wallMicroseconds - WindowAggregation.grace
            close(upTo: time, freeing: time)
        }
        let now = context.clock.now
        if !table.changes.isEmpty, lastTold.map({ $0.advanced(by: interval) <= now }) ?? true { tellChanges() }
        let progress = resume(into: &output)
        requestTicks()
        return progress
    }

    // MARK: End and state

    func prepareSnapshot(into output: inout OutputBuffer) -> Progress {
        if !table.changes.isEmpty { tellChanges() }
        return resume(into: &output)
    }

    func finish(into output: inout OutputBuffer) -> Progress {
        closeAll()
        return resume(into: &output)
    }

    var stateByteCount: Int { table.memoryByteCount }

    func continueSnapshot(until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot) -> Progress {
        table.continueSnapshot(until: deadline, into: &snapshot)
    }

    func snapshot() -> StateSnapshot {
        [
            table.snapshot(),
            WindowProgress.table(closedUpTo: closedUpTo, freedUpTo: freedUpTo, context),
        ]
    }
}
