import DataflowOperator

/// Partial states by slice and group, and what the windows that share slices make of them.
///
/// A group's state stands once for each slice that has rows of it, keyed by the slice's first and last window (for
/// windows that do not overlap: by the window) and the group columns. Each slice lists its states. Where windows
/// overlap, groups have numbers of their own across slices, so that a window's result is made by merging state columns
/// slice by slice at these numbers: a key that appears in k slices costs k merges and no look-up.
final class SliceTable {
    /// The windows that some rows enter, and their states.
    final class Slice {
        let first: Int64
        let last: Int64
        fileprivate(set) var ids: [Int32] = []

        fileprivate init(_ first: Int64, _ last: Int64) {
            self.first = first
            self.last = last
        }
    }

    private struct Bounds: Hashable {
        var first: Int64
        var last: Int64
    }

    /// States of some slices.
    typealias Selection = [(slice: Slice, ids: [Int32])]

    let grid: WindowGrid
    /// How many columns of a window stand in front of the group columns.
    let windowColumnCount: Int
    /// States that changed since they were told; kept here because numbers are given out again.
    var changes = WindowChanges()
    private let states: GroupedAggregates
    /// Where windows overlap: the groups' numbers across slices, and room to merge the states of one window.
    private let groups: GroupedAggregates?
    private let rowState: GroupState
    private let table: IncrementalTable
    // By state: its slice and its group's number.
    private var slotOf = Cells<Int32>(-1)
    private var groupOf = Cells<Int32>(-1)
    // By group: how many states it has, whether it is in the window being made.
    private var uses = Cells<Int32>(0)
    private var isGathered = Cells<Bool>(false)
    private var slots: [Slice?] = []
    private var freeSlots: [Int32] = []
    private var slotByBounds: [Bounds: Int32] = [:]
    /// The least last window of a slice.
    private var earliestLast = Int64.max

    init(_ shape: PartialShape, _ grid: WindowGrid) {
        self.grid = grid
        windowColumnCount = grid.overlaps ? 2 : 1
        states = GroupedAggregates(keys: shape.groupFields.map(\.type), shape.layout)
        let keys = shape.groupFields.dropFirst(windowColumnCount).map(\.type)
        groups = grid.overlaps ? GroupedAggregates(keys: Array(keys), shape.layout) : nil
        rowState = GroupState(shape.groupFields, shape.layout)
        table = IncrementalTable("windows", distribution: .keyGroup(column: 0), rowState.schema)
    }

    var schema: Schema { rowState.schema }
    var isEmpty: Bool { slotByBounds.isEmpty }

    /// The slices with rows, in the order of time.
    var slices: [Slice] {
        slots.compactMap { $0 }.sorted { ($0.last, $0.first) < ($1.last, $1.first) }
    }

    // MARK: Taking in

    /// Merges rows of partial states: columns of the window, group columns, states.
    /// - Returns: each row's state.
    func merge(_ columns: ArraySlice<Column>, count: Int) -> [Int32] {
        let keys = Array(columns.prefix(rowState.groupCount))
        let ids = states.groups(keys, count: count)
        table.willChange(ids, read)
        list(ids, keys)
        ids.withUnsafeBufferPointer { states.merge(columns.dropFirst(keys.count), $0) }
        return ids
    }

    /// Enters new states in the lists of their slices.
    private func list(_ ids: [Int32], _ keys: [Column]) {
        slotOf.grow(to: states.table.upperBound)
        guard let firsts = keys[0].int64Values, let lasts = keys[windowColumnCount - 1].int64Values else { return }
        var new: [Int32] = []
        var slot: Int32 = -1
        var slice: Slice?
        firsts.withUnsafeBufferPointer { firsts in
            lasts.withUnsafeBufferPointer { lasts in
                for (i, id) in ids.enumerated() where slotOf[id] < 0 {
                    if slice == nil || slice?.first != firsts[i] || slice?.last != lasts[i] {
                        (slot, slice) = self.slot(firsts[i], lasts[i])
                    }
                    slotOf[id] = slot
                    slice?.ids.append(id)
                    if groups != nil { new.append(id) }
                }
            }
        }
        guard let groups, !new.isEmpty else { return }
        let own = Array(states.table.keys.columns(new).dropFirst(windowColumnCount))
        let numbers = groups.groups(own, count: new.count)
        groupOf.grow(to: states.table.upperBound)
        uses.grow(to: groups.table.upperBound)
        isGathered.grow(to: groups.table.upperBound)
        for (id, number) in zip(new, numbers) {
            groupOf[id] = number
            uses[number] += 1
        }
    }

    private func slot(_ first: Int64, _ last: Int64) -> (Int32, Slice?) {
        let bounds = Bounds(first: first, last: last)
        if let slot = slotByBounds[bounds] { return (slot, slots[Int(slot)]) }
        let slice = Slice(first, last)
        let slot: Int32
        if let free = freeSlots.popLast() {
            slot = free
            slots[Int(free)] = slice
        } else {
            slot = Int32(truncatingIfNeeded: slots.count)
            slots.append(slice)
        }
        slotByBounds[bounds] = slot
        earliestLast = min(earliestLast, last)
        return (slot, slice)
    }

    // MARK: Windows

    /// The windows of these slices that start in a range, ascending. O(slices + windows).
    func windows(_ slices: some Sequence<Slice>, _ range: Range<Int64>) -> [Int64] {
        var windows: [Int64] = []
        var next = range.lowerBound
        for slice in slices.sorted(by: { $0.first < $1.first }) {
            next = max(next, slice.first)
            while next <= slice.last, next < range.upperBound {
                windows.append(next)
                next = saturating(next, plus: grid.every)
                if next == .max { return windows }
            }
        }
        return windows
    }

    /// The first window from `start` on that has rows.
    func firstWindow(from start: Int64) -> Int64? {
        slots.lazy.compactMap { $0 }.filter { $0.last >= start }.map { max($0.first, start) }.min()
    }

    /// The last window that has rows.
    var lastWindow: Int64? { slots.lazy.compactMap { $0?.last }.max() }

    /// These states by their slices.
    func divided(_ ids: [Int32]) -> Selection {
        var lists = [[Int32]](repeating: [], count: slots.count)
        for id in ids where slotOf[id] >= 0 { lists[Int(slotOf[id])].append(id) }
        return zip(slots, lists).compactMap { slice, ids in slice.map { ($0, ids) } }.filter { !$0.1.isEmpty }
    }

    /// Makes the results of a window: of all of its groups, or of those that have some of the states in `changed`.
    ///
    /// - Returns: numbers to read with ``rows(_:)``; then they must be given back with ``release(_:)``.
    func gather(_ window: Int64, _ slices: [Slice], changed: Selection? = nil) -> [Int32] {
        guard let groups else {
            if let changed { return changed.first { $0.slice.first == window }?.ids ?? [] }
            return slices.first { $0.first == window }?.ids ?? []
        }
        let members = slices.filter { $0.first <= window && window <= $0.last }
        var numbers: [Int32] = []
        func add(_ ids: some Sequence<Int32>) {
            for id in ids where !isGathered[groupOf[id]] {
                isGathered[groupOf[id]] = true
                numbers.append(groupOf[id])
            }
        }
        if let changed {
            for (slice, ids) in changed where slice.first <= window && window <= slice.last { add(ids) }
            let keys = numbers.isEmpty ? [] : groups.table.keys.columns(numbers)
            for slice in members where !numbers.isEmpty {
                let bounds = [slice.first, slice.last].map {
                    Column(.timestamp, .int64(Values(repeating: $0, count: numbers.count)))
                }
                let found = states.table.find(bounds + keys, count: numbers.count)
                merge(found.filter { $0 >= 0 }, groups)
            }
        } else {
            for slice in members {
                add(slice.ids)
                merge(slice.ids, groups)
            }
        }
        for number in numbers { isGathered[number] = false }
        return numbers
    }

    /// Merges states into their groups.
    private func merge(_ ids: [Int32], _ groups: GroupedAggregates) {
        ids.withUnsafeBufferPointer { ids in
            var start = 0
            while start < ids.count {
                let end = min(ids.count, start + RecordBatch.defaultRowCount)
                let part = UnsafeBufferPointer(rebasing: ids[start..<end])
                let numbers = part.map { groupOf[$0] }
                numbers.withUnsafeBufferPointer { groups.merge(states.states(part)[...], $0) }
                start = end
            }
        }
    }

    /// Group columns and results of gathered numbers.
    func rows(
        _ numbers: UnsafeBufferPointer<Int32>
    ) -> (keys: [Column], results: [Column], problems: [(item: Int, ResultProblem)]) {
        let source = groups ?? states
        let keys = source.table.keys.columns(numbers)
        let (results, problems) = source.results(numbers)
        return (Array(groups == nil ? keys.dropFirst(windowColumnCount) : keys[...]), results, problems)
    }

    /// Gives gathered numbers back.
    func release(_ numbers: [Int32]) {
        numbers.withUnsafeBufferPointer { groups?.clear($0) }
    }

    /// Forgets the slices whose last window starts before `bound`. O(1) when there is none.
    func free(before bound: Int64) {
        guard earliestLast < bound else { return }
        earliestLast = .max
        for (slot, slice) in slots.enumerated() {
            guard let slice else { continue }
            guard slice.last < bound else {
                earliestLast = min(earliestLast, slice.last)
                continue
            }
            table.willRemove(slice.ids, read)
            changes.forget(slice.ids)
            if let groups { forget(slice.ids, groups) }
            for id in slice.ids { slotOf[id] = -1 }
            slice.ids.withUnsafeBufferPointer { states.remove($0) }
            slots[slot] = nil
            freeSlots.append(Int32(truncatingIfNeeded: slot))
            slotByBounds[Bounds(first: slice.first, last: slice.last)] = nil
        }
    }

    /// Lets groups go that have no other state.
    private func forget(_ ids: [Int32], _ groups: GroupedAggregates) {
        var unused: [Int32] = []
        for id in ids {
            let number = groupOf[id]
            groupOf[id] = -1
            uses[number] -= 1
            if uses[number] == 0 { unused.append(number) }
        }
        unused.withUnsafeBufferPointer { groups.remove($0) }
    }

    // MARK: State

    /// Begins to give all states as rows for a checkpoint.
    func snapshot() -> StateTable { table.snapshot(read) }

    func continueSnapshot(until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot) -> Progress {
        table.proceed(until: deadline, into: &snapshot, read)
    }

    private func read(_ ids: UnsafeBufferPointer<Int32>) -> RecordBatch {
        // Rows are spread by their groups alone where windows share slices.
        guard let groups else { return rowState.batch(states, ids) }
        return rowState.batch(states, ids) { groups.table.keys.hash(self.groupOf[$0]) }
    }
}
