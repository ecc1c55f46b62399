import DataflowOperator

/// Windows of a fixed number of rows of a group, in the order in which rows arrive.
///
/// Rows come as partial states of their own (``LocalAggregation`` does not put them together, so that they can be counted
/// one by one). Aggregates stand by *window*: each row of a batch gets the number of its group's window, a window that is
/// full gets no more rows, and the next row of the group opens another one. Then the whole batch is merged at once,
/// however many windows it fills, and those that are full leave, in the order in which they were filled.
///
/// The number of a group's windows so far is kept for ever: memory a group is what ``GroupTable`` takes, 32 bytes, and the
/// aggregates of its open window. The part-full windows leave at the end of a bounded input.
final class CountWindows: FinalStage {
    private struct Window {
        var group: Int32 = -1
        /// Rows that it has.
        var rows: Int64 = 0
    }

    private struct Group {
        /// The window that takes its next row; 0 where that will be a new one.
        var window: Int32 = 0
        /// How many are full.
        var full: Int64 = 0
    }

    static let windowNumber = Field("window_number", .int64, nullable: false)

    private let context: OperatorContext
    private let keyCount: Int
    private let size: Int64
    private let state: IncrementalTable
    /// Keys by group number, aggregates by window.
    private let groups: GroupedAggregates
    private var windows = Cells(Window())
    private var counts = Cells(Group())
    private var free: [Int32] = []
    /// Window 0 stays empty: that of groups which have none.
    private var windowBound = 1
    private var capacity = 0

    // Full windows and their numbers, part of which a call that answered `.more` has left undone.
    private var leaving: [Int32] = []
    private var numbers: [Int64] = []
    private var position = 0

    init(_ shape: PartialShape, rows: Int, _ context: OperatorContext) {
        self.context = context
        keyCount = shape.groupFields.count
        size = Int64(rows)
        groups = GroupedAggregates(keys: shape.groupFields.map(\.type), shape.layout)
        state = IncrementalTable(
            "windows", distribution: .keyGroup(column: 0),
            Schema(
                [GroupState.keyGroup] + shape.groupFields + [CountWindows.windowNumber] + shape.layout.stateFields))
    }

    func process(_ batch: RecordBatch, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        let count = batch.rowCount
        context.counters.add(aggregated: count)
        var ids = enter(Array(batch.columns.prefix(keyCount)), count: count)
        ids.withUnsafeMutableBufferPointer { ids in
            state.willChange(UnsafeBufferPointer(ids), rows)
            for i in 0..<count { ids[i] = take(ids[i]) }
            groups.merge(batch.columns[keyCount...], UnsafeBufferPointer(ids))
        }
        return resume(into: &output)
    }

    /// The groups of keys; makes room for a window a row.
    private func enter(_ keys: [Column], count: Int) -> [Int32] {
        let ids = groups.table.findOrInsert(keys, count: count)
        counts.grow(to: groups.table.upperBound)
        let needed = windowBound + max(0, count - free.count)
        if needed > capacity {
            capacity = max(needed, capacity * 2, 64)
            windows.grow(to: capacity)
            groups.grow(to: capacity)
        }
        return ids
    }

    /// One more row of a group.
    /// - Returns: its window.
    @inline(__always)
    private func take(_ id: Int32) -> Int32 {
        let group = counts.base + Int(id)
        if group.pointee.window == 0 { group.pointee.window = open(id) }
        let window = group.pointee.window
        windows.base[Int(window)].rows += 1
        if windows.base[Int(window)].rows == size { complete(group, window) }
        return window
    }

    private func open(_ group: Int32) -> Int32 {
        let window: Int32
        if let last = free.popLast() {
            window = last
        } else {
            window = Int32(truncatingIfNeeded: windowBound)
            windowBound += 1
        }
        windows[window] = Window(group: group)
        return window
    }

    private func complete(_ group: UnsafeMutablePointer<Group>, _ window: Int32) {
        leaving.append(window)
        numbers.append(group.pointee.full)
        group.pointee.full += 1
        group.pointee.window = 0
    }

    func resume(into output: inout OutputBuffer) -> Progress {
        while position < leaving.count {
            if output.isFull { return .more }
            let end = min(leaving.count, position + RecordBatch.defaultRowCount)
            emit(leaving[position..<end], numbers[position..<end], &output)
            position = end
        }
        leaving.removeAll(keepingCapacity: true)
        numbers.removeAll(keepingCapacity: true)
        position = 0
        return .done
    }

    private func emit(_ ids: ArraySlice<Int32>, _ numbers: ArraySlice<Int64>, _ output: inout OutputBuffer) {
        ids.withUnsafeBufferPointer { ids in
            let keys = groups.table.keys.columns(ids.map { windows[$0].group })
            let (results, problems) = groups.results(ids)
            let columns = [Column(.int64, .int64(Values(Array(numbers))))] + keys + results
            let batch = RecordBatch(context.outputs[0].schema, columns, rowCount: ids.count)
            output.emit(batch)
            ResultReport.emit(problems, batch, groups.layout, context, &output)
            groups.clear(ids)
            free += ids
        }
    }

    /// What is counted knows no time.
    func advance(to watermark: Watermark, into output: inout OutputBuffer) -> Progress { .done }
    func tick(into output: inout OutputBuffer) -> Progress { .done }
    func prepareSnapshot(into output: inout OutputBuffer) -> Progress { .done }

    func finish(into output: inout OutputBuffer) -> Progress {
        let open = groups.table.allIDs.filter { counts[$0].window != 0 }
        state.willChange(open, rows)
        for id in open { complete(counts.base + Int(id), counts[id].window) }
        return resume(into: &output)
    }

    // MARK: State

    func open(restoring snapshot: StateSnapshot) throws(OperatorError) {
        for batch in try snapshot.batches("windows", state.schema) {
            let ids = enter(Array(batch.columns[1..<1 + keyCount]), count: batch.rowCount)
            state.willChange(ids, rows)
            guard let full = batch.columns[1 + keyCount].int64Values,
                let rows = batch.columns[2 + keyCount].int64Values
            else { continue }
            for (row, id) in ids.enumerated() {
                counts[id] = Group(window: rows[row] > 0 ? open(id) : 0, full: full[row])
                windows.base[Int(counts[id].window)].rows = rows[row]
            }
            let isOpen = Bitmap(count: batch.rowCount) { rows[$0] > 0 }
            let states = batch.columns[(2 + keyCount)...].map { $0.filter(isOpen) }
            isOpen.setIndices.array.map { counts[ids[Int($0)]].window }.withUnsafeBufferPointer {
                groups.merge(states[...], $0)
            }
        }
    }

    func snapshot() -> StateSnapshot { [state.snapshot(rows)] }

    var stateByteCount: Int {
        groups.memoryByteCount + windowBound * MemoryLayout<Window>.stride
            + groups.table.upperBound * MemoryLayout<Group>.stride
    }

    func continueSnapshot(until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot) -> Progress {
        state.proceed(until: deadline, into: &snapshot, rows)
    }

    /// A row a group; one without an open window has the state of an empty one.
    private func rows(_ ids: UnsafeBufferPointer<Int32>) -> RecordBatch {
        let keyGroups = Values<Int32>(count: ids.count) { target in
            for i in 0..<ids.count { target[i] = KeyGroup.of(hash: groups.table.keys.hash(ids[i])) }
        }
        let states = ids.map { counts[$0].window }.withUnsafeBufferPointer { groups.states($0) }
        return RecordBatch(
            state.schema,
            [Column(.int32, .int32(keyGroups))] + groups.table.keys.columns(ids)
                + [Column(.int64, .int64(counts.values(ids) { $0.full }))] + states, rowCount: ids.count)
    }
}
