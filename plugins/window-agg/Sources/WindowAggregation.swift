import DataflowOperator

/// Merges partial states of groups in windows; a window leaves once, when time has passed its end.
///
/// The groups of all open windows stand in one table, keyed by the window's start and the group columns; each window
/// lists its groups, so that closing costs what leaves.
final class WindowAggregation: FinalStage {
    /// How long a window over the time of processing waits for partial states on their way.
    private static let grace: Int64 = 500_000

    private let groups: GroupedAggregates
    private let grid: SliceGrid
    private let isEventTime: Bool
    private let allowedLateness: Int64
    private let context: OperatorContext
    private let output: Schema
    private let groupFields: [Field]
    private let state: GroupState
    private var chunks = SnapshotChunks()
    /// The groups of each open window, by its start.
    private var windows: [Int64: [Int32]] = [:]
    private var isListed: [Bool] = []
    /// No open window starts before this.
    private var earliest = Int64.max
    /// Windows that end here or earlier are closed.
    private var closedUpTo = Int64.min
    private var lastWatermark: Watermark?
    private var isTickPending = false

    // Work left undone by a call that answered `.more`.
    private var closing: [Int64] = []
    private var closingIDs: [Int32] = []
    private var position = 0
    private var watermarkBehind: Watermark?

    private static let progress = Schema([Field("closed_up_to", .timestamp, nullable: false)])

    init(_ shape: PartialShape, _ grid: SliceGrid, _ config: WindowAggConfig, _ context: OperatorContext) {
        self.grid = grid
        self.context = context
        groupFields = shape.groupFields
        groups = GroupedAggregates(keys: shape.groupFields.map(\.type), shape.layout)
        isEventTime = shape.isEventTime
        allowedLateness = config.allowedLateness.nanoseconds / 1000
        output = context.outputs[0].schema
        state = GroupState(shape.groupFields, shape.layout)
    }

    func open(restoring snapshot: StateSnapshot) throws(OperatorError) {
        for batch in try snapshot.batches("windows", state.schema) {
            list(state.restore(batch, into: groups), batch.columns[1])
        }
        if let progress = snapshot["progress"] {
            for batch in progress.batches where batch.schema == WindowAggregation.progress {
                for row in 0..<batch.rowCount {
                    closedUpTo = max(closedUpTo, batch.columns[0].int64Values?[row] ?? .min)
                }
            }
        }
        if !isEventTime { requestTick() }
    }

    func process(_ batch: RecordBatch, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        let batch = settleClosed(batch, &output)
        guard batch.rowCount > 0 else { return .done }
        context.counters.add(aggregated: batch.rowCount)
        let ids = groups.groups(Array(batch.columns.prefix(groupFields.count)), count: batch.rowCount)
        list(ids, batch.columns[0])
        ids.withUnsafeBufferPointer { ids in
            groups.merge(batch.columns[groupFields.count...], ids)
            chunks.extend(to: groups.table.upperBound)
            chunks.mark(ids)
        }
        if !isEventTime { requestTick() }
        return .done
    }

    /// Enters new groups in the lists of their windows.
    private func list(_ ids: [Int32], _ starts: Column) {
        let bound = groups.table.upperBound
        if isListed.count < bound {
            isListed += repeatElement(false, count: max(bound, isListed.count * 2) - isListed.count)
        }
        guard let starts = starts.int64Values else { return }
        starts.withUnsafeBufferPointer { starts in
            for (i, id) in ids.enumerated() where !isListed[Int(id)] {
                isListed[Int(id)] = true
                windows[starts[i], default: []].append(id)
                earliest = min(earliest, starts[i])
            }
        }
    }

    /// Partial states of windows that are closed already. Over the time of processing they count for the window of now.
    /// Over event time they come only from a split that was left out as idle and came back, or when an earlier run ended
    /// within the window: they cannot be added to what has left, so they go to the errors port with their number of rows.
    private func settleClosed(_ batch: RecordBatch, _ output: inout OutputBuffer) -> RecordBatch {
        guard let starts = batch.columns[0].int64Values, closedUpTo != .min else { return batch }
        let isOpen = Bitmap(count: batch.rowCount) { grid.end(starts[$0]) > closedUpTo }
        let closed = batch.rowCount - isOpen.setCount
        guard closed > 0 else { return batch }
        if !isEventTime {
            let current = grid.start(of: max(context.clock.wallMicroseconds, closedUpTo))
            let moved = Values<Int64>(count: batch.rowCount) { target in
                for i in 0..<target.count { target[i] = isOpen[i] ? starts[i] : current }
            }
            return batch.replacingColumns(batch.schema, [Column(.timestamp, .int64(moved))] + batch.columns.dropFirst())
        }
        let refused = batch.filter(~isOpen)
        var errors = ErrorRows(context)
        let counts = refused.columns[groupFields.count].int64Values
        for row in 0..<refused.rowCount {
            let count = Int(counts?[row] ?? 0)
            let text = Array(RowEvaluator.describe(refused, row).utf8)
            text.withUnsafeBytes {
                errors.append(
                    code: "window_closed",
                    reason:
                        "\(count) rows belong to a window that has left: their split was idle (a longer idle_timeout waits for it), or an earlier run ended within the window",
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
            output.emit(watermark)
            return .done
        case .time(let time):
            guard time != .max else {
                watermarkBehind = watermark
                return close(upTo: .max, into: &output)
            }
            let upTo = saturating(time, plus: -allowedLateness)
            // What leaves from now on starts in the first window that is still open, or later.
            let next = Watermark.time(grid.start(of: upTo))
            watermarkBehind = next == lastWatermark ? nil : next
            return close(upTo: upTo, into: &output)
        }
    }

    /// Closes the windows that end at `time` or earlier, the earliest first.
    private func close(upTo time: Int64, into output: inout OutputBuffer) -> Progress {
        // At the end of input all windows leave; rows of a later run may still open others.
        let last = time == .max ? windows.keys.max().map { grid.end($0) } ?? closedUpTo : time
        closedUpTo = max(closedUpTo, last)
        if earliest != .max, grid.end(earliest) <= time {
            closing = windows.keys.filter { grid.end($0) <= time }.sorted(by: >)
            earliest = windows.keys.filter { grid.end($0) > time }.min() ?? .max
        }
        return resume(into: &output)
    }

    func resume(into output: inout OutputBuffer) -> Progress {
        while true {
            if position == closingIDs.count {
                position = 0
                closingIDs = []
                guard let start = closing.popLast() else { break }
                closingIDs = windows.removeValue(forKey: start) ?? []
                continue
            }
            if output.isFull { return .more }
            let end = min(closingIDs.count, position + RecordBatch.defaultRowCount)
            emit(Array(closingIDs[position..<end]), &output)
            position = end
        }
        if let watermark = watermarkBehind {
            watermarkBehind = nil
            lastWatermark = watermark
            output.emit(watermark)
        }
        return .done
    }

    private func emit(_ ids: [Int32], _ output: inout OutputBuffer) {
        ids.withUnsafeBufferPointer { ids in
            let keys = groups.table.keys.columns(ids)
            let (results, problems) = groups.results(ids)
            let starts = keys[0].int64Values
            let ends = Values<Int64>(count: ids.count) { target in
                for i in 0..<target.count { target[i] = grid.end(starts?[i] ?? 0) }
            }
            let columns = [keys[0], Column(.timestamp, .int64(ends))] + keys.dropFirst() + results
            let batch = RecordBatch(self.output, columns, rowCount: ids.count)
            output.emit(batch)
            ResultReport.emit(problems, batch, groups.layout, context, &output)
            for id in ids { isListed[Int(id)] = false }
            chunks.mark(ids)
            groups.remove(ids)
        }
    }

    // MARK: Time of processing

    private func requestTick() {
        guard !isTickPending, earliest != .max else { return }
        isTickPending = true
        let wait = saturating(grid.end(earliest), plus: WindowAggregation.grace) &- context.clock.wallMicroseconds
        context.tick.request(at: context.clock.now.advanced(by: .microseconds(max(0, wait))))
    }

    func tick(into output: inout OutputBuffer) -> Progress {
        isTickPending = false
        guard !isEventTime else { return .done }
        let progress = close(
            upTo: context.clock.wallMicroseconds - WindowAggregation.grace, into: &output)
        requestTick()
        return progress
    }

    // MARK: End and state

    func prepareSnapshot(into output: inout OutputBuffer) -> Progress { .done }

    func finish(into output: inout OutputBuffer) -> Progress { close(upTo: .max, into: &output) }

    func snapshot() -> StateSnapshot {
        let keys = groups.table.keys
        let batches = chunks.take(upperBound: keys.upperBound, generation: keys.textGeneration) {
            state.batch(groups, $0)
        }
        let progress = RecordBatch(
            WindowAggregation.progress, [Column(.timestamp, .int64(Values(repeating: closedUpTo, count: 1)))])
        return [
            StateTable("windows", distribution: .keyGroup(column: 0), batches),
            StateTable("progress", distribution: .subtask, [progress]),
        ]
    }
}
