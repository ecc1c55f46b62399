import DataflowOperator

/// Merges partial states of groups in tumbling and sliding windows, and tells their results: once, when time has passed
/// a window's end; again, corrected, while it takes late rows; with `emit: 1s` also while it is open.
final class WindowAggregation: FinalStage {
    /// How long a window over the time of processing waits for partial states on their way.
    private static let grace: Int64 = 500_000

    private var table: SliceTable
    /// What was too much for memory; nil where all states are in `table`.
    private var spilled: SpilledWindows?
    /// A table that has been put on disk, whose rows the snapshot under way still needs.
    private var retired: SliceTable?
    private let shape: PartialShape
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
        self.shape = shape
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
        // What lies on disk came first.
        if let files = snapshot[SpilledRuns.table]?.files, !files.isEmpty {
            let lying = SpilledWindows(shape, grid, context, context.memory, files: files, progress)
            if canSpill {
                spilled = lying
            } else {
                try lying.readAll { _ = table.merge($0.columns[...], count: $0.rowCount) }
            }
        }
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

    func advance(to watermark: Watermark, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
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
        return try resume(into: &output)
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
        if from < to, let spilled, !spilled.isEmpty {
            let slices = table.slices
            let all: [(first: Int64, last: Int64)] = slices.map { ($0.first, $0.last) } + spilled.slices(from: from)
            jobs.append(table.windows(all, from..<to), slices, changed: nil)
        } else if from < to, !table.isEmpty {
            let slices = table.slices
            let changed = update.map { _ in table.divided(table.changes.open) }
            jobs.append(table.windows(changed?.map(\.slice) ?? slices, from..<to), slices, changed: changed)
        }
        closedUpTo = time
        freedUpTo = freeing
    }

    /// At the end of input all windows leave; rows of a later run may still open others.
    private func closeAll() {
        let lasts = [table.lastWindow, spilled?.slices(from: .min).map(\.last).max()].compactMap { $0 }
        let end = max(closedUpTo, lasts.max().map { grid.end($0) } ?? .min)
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

    func resume(into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        while true {
            if let spilled, spilled.isTelling {
                let progress = try spilled.resume { groups, ids in
                    let (results, problems) = groups.results(ids)
                    emit(groups.table.keys.columns(ids), results, problems, count: ids.count, &output)
                    return !output.isFull
                }
                guard progress == .done else { return .more }
            }
            if position == gathered.count {
                table.release(gathered)
                (gathered, position) = ([], 0)
                guard let job = jobs.next() else { break }
                window = job.window
                if let spilled, spilled.has(window) {
                    // What memory has of the window belongs to what lies on disk of it.
                    try spillMemory()
                    spilled.beginTelling(window)
                    continue
                }
                gathered = table.gather(window, job.slices, changed: job.changed)
                continue
            }
            if output.isFull { return .more }
            let end = min(gathered.count, position + RecordBatch.defaultRowCount)
            gathered.withUnsafeBufferPointer { emit(UnsafeBufferPointer(rebasing: $0[position..<end]), &output) }
            position = end
        }
        table.free(before: grid.firstEnding(after: freedUpTo))
        spilled?.free(before: grid.firstEnding(after: freedUpTo))
        if spilled?.isEmpty == true { spilled = nil }
        if let watermark = watermarkBehind {
            watermarkBehind = nil
            lastWatermark = watermark
            output.emit(watermark)
        }
        return .done
    }

    private func emit(_ numbers: UnsafeBufferPointer<Int32>, _ output: inout OutputBuffer) {
        let (keys, results, problems) = table.rows(numbers)
        emit(keys, results, problems, count: numbers.count, &output)
    }

    private func emit(
        _ keys: [Column], _ results: [Column], _ problems: [(item: Int, ResultProblem)], count: Int,
        _ output: inout OutputBuffer
    ) {
        let bounds = [window, grid.end(window)].map {
            Column(.timestamp, .int64(Values(repeating: $0, count: count)))
        }
        let batch = RecordBatch(self.output, bounds + keys + results, rowCount: count)
        output.emit(batch)
        ResultReport.emit(problems, batch, layout, context, &output)
    }

    // MARK: Ticks

    /// Asks for the times at which windows over the time of processing close and changes are due.
    private func requestTicks() {
        let now = context.clock.now
        if !isEventTime, !isCloseTickPending, let next = firstWindow(from: grid.firstEnding(after: closedUpTo)) {
            isCloseTickPending = true
            let wait = saturating(grid.end(next), plus: WindowAggregation.grace) &- context.clock.wallMicroseconds
            context.tick.request(at: now.advanced(by: .microseconds(max(0, wait))))
        }
        if !isTellTickPending, !table.changes.isEmpty {
            isTellTickPending = true
            context.tick.request(at: lastTold.map { max(now, $0.advanced(by: interval)) } ?? now)
        }
    }

    private func firstWindow(from start: Int64) -> Int64? {
        [table.firstWindow(from: start), spilled?.slices(from: start).map(\.first).min()].compactMap { $0 }.min()
    }

    /// Corrections do not wait for ever for a watermark that stands still.
    private var interval: Duration { update ?? .seconds(1) }

    func tick(into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        isCloseTickPending = false
        isTellTickPending = false
        if !isEventTime {
            let time = context.clock.wallMicroseconds - WindowAggregation.grace
            close(upTo: time, freeing: time)
        }
        let now = context.clock.now
        if !table.changes.isEmpty, lastTold.map({ $0.advanced(by: interval) <= now }) ?? true { tellChanges() }
        let progress = try resume(into: &output)
        requestTicks()
        return progress
    }

    // MARK: End and state

    func prepareSnapshot(into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        if !table.changes.isEmpty { tellChanges() }
        return try resume(into: &output)
    }

    func finish(into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        closeAll()
        return try resume(into: &output)
    }

    var stateByteCount: Int { table.memoryByteCount }

    /// Not where results are told more than once: that needs all states of a group that has changed.
    var canSpill: Bool { context.memory != nil && update == nil && allowedLateness == 0 }

    func spill() throws(OperatorError) {
        // The rows of the snapshot are read soon; until then they would stay in memory.
        guard canSpill, !table.isUnfinished, retired == nil else { return }
        try spillMemory()
    }

    /// Puts all states on disk.
    private func spillMemory() throws(OperatorError) {
        guard !table.isEmpty else { return }
        let spilled = spilled ?? SpilledWindows(shape, grid, context, context.memory, WindowProgress.Restored())
        try spilled.add(table)
        self.spilled = spilled
        if table.isUnfinished { retired = table }
        table = SliceTable(shape, grid)
        try spilled.compact { SliceTable(shape, grid) }
    }

    func continueSnapshot(until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot) -> Progress {
        guard let retired else { return table.continueSnapshot(until: deadline, into: &snapshot) }
        let progress = retired.continueSnapshot(until: deadline, into: &snapshot)
        if progress == .done { self.retired = nil }
        return progress
    }

    func snapshot() -> StateSnapshot {
        [
            table.snapshot(),
            WindowProgress.table(closedUpTo: closedUpTo, freedUpTo: freedUpTo, context),
        ] + (spilled.map { [$0.snapshot] } ?? [])
    }
}
