import DataflowOperator

/// Partial states by slice and group, and what the windows that share slices make of them.
///
/// A group has one number for all slices: its key is looked up once a row, in a table as small as there are groups. Each
/// slice (for windows that do not overlap: each window) knows by that number which state a group has in it, and lists
/// its states; their numbers are given out in rows, so those of a slice lie close together. A window's result is made by
/// merging its slices one after the other at the groups' numbers: k slices of a key cost k merges and no look-up. A slice
/// that goes is a list whose numbers are free; only a group that is in no other slice leaves the table of keys.
final class SliceTable {
    /// States of some slices.
    typealias Selection = [(slice: Slice, ids: [Int32])]

    let grid: WindowGrid
    /// How many columns of a window stand in front of the group columns.
    let windowColumnCount: Int
    /// States that changed since they were told; kept here because numbers are given out again.
    var changes = WindowChanges()
    /// The groups: their keys and numbers, whatever slices they are in.
    private let keys: GroupTable
    private let states: GroupedAggregates
    /// Where windows overlap: room to merge the states of one window, by group.
    private let room: GroupedAggregates?
    private let rowState: GroupState
    private let table: IncrementalTable
    // By state: its slice and its group.
    private var slotOf = Cells<Int32>(-1)
    private var groupOf = Cells<Int32>(-1)
    /// Numbers of states given out so far, and those among them that are free.
    private var stateBound: Int32 = 0
    private var freeStates: [Int32] = []
    // By group: how many states it has, whether it is in the window being made.
    private var uses = Cells<Int32>(0)
    private var isGathered = Cells<Bool>(false)
    private var slots = SliceSlots()

    /// All bytes of memory.
    var memoryByteCount: Int {
        let own = keys.byteCount(beforeAdding: 1 << 16) + states.memoryByteCount + (room?.memoryByteCount ?? 0)
        // Beside the states: slice, group and place in its slice's list; beside the groups: two marks.
        let beside = Int(stateBound) * 12 + keys.upperBound * 5
        return own + beside + slots.byteCount
    }

    init(_ shape: PartialShape, _ grid: WindowGrid) {
        self.grid = grid
        windowColumnCount = grid.overlaps ? 2 : 1
        keys = GroupTable(shape.groupFields.dropFirst(windowColumnCount).map(\.type))
        states = GroupedAggregates(keys: [], shape.layout)
        room = grid.overlaps ? GroupedAggregates(keys: [], shape.layout) : nil
        rowState = GroupState(shape.groupFields, shape.layout)
        table = IncrementalTable("windows", distribution: .keyGroup(column: 0), rowState.schema)
    }

    var schema: Schema { rowState.schema }
    var isEmpty: Bool { slots.isEmpty }
    /// The numbers of groups and of states are below these.
    var bounds: (groups: Int, states: Int) { (keys.upperBound, Int(stateBound)) }

    /// The slices with rows, in the order of time.
    var slices: [Slice] {
        slots.all.sorted { ($0.last, $0.first) < ($1.last, $1.first) }
    }

    // MARK: Taking in

    /// Merges rows of partial states: columns of the window, group columns, states.
    /// - Returns: each row's state.
    func merge(_ columns: ArraySlice<Column>, count: Int) -> [Int32] {
        let groupColumns = columns.prefix(rowState.groupCount)
        guard let firsts = groupColumns.first?.int64Values,
            let lasts = groupColumns.dropFirst(windowColumnCount - 1).first?.int64Values
        else { preconditionFailure("states of windows without the windows' columns") }
        let numbers = keys.findOrInsert(Array(groupColumns.dropFirst(windowColumnCount)), count: count)
        uses.grow(to: keys.upperBound)
        let ids = find(numbers, slots.find(firsts, lasts, groups: keys.upperBound))
        table.willChange(ids, read)
        ids.withUnsafeBufferPointer { states.merge(columns.dropFirst(groupColumns.count), $0) }
        return ids
    }

    /// The state of each row, by its group and its slice's slot; new ones are entered in their slices' lists.
    private func find(_ numbers: [Int32], _ rowSlots: [Int32]) -> [Int32] {
        var new: [Int32] = []
        let ids = [Int32](unsafeUninitializedCapacity: numbers.count) { ids, used in
            for i in 0..<numbers.count {
                let (number, slot) = (numbers[i], rowSlots[i])
                guard let places = slots.places[slot] else {
                    ids[i] = findSparse(number, slot, &new)
                    continue
                }
                if places[Int(number)] < 0 {
                    places[Int(number)] = makeState(number, slot)
                    new.append(places[Int(number)])
                }
                ids[i] = places[Int(number)]
            }
            used = numbers.count
        }
        guard !new.isEmpty else { return ids }
        states.grow(to: Int(stateBound))
        var start = 0
        while start < new.count {
            let slot = slotOf[new[start]]
            let end = new[start...].firstIndex { slotOf[$0] != slot } ?? new.count
            if let slice = slots[slot] {
                slice.ids += new[start..<end]
                slice.states.count = slice.ids.count
            }
            start = end
        }
        return ids
    }

    /// The same where the slice has no place for each group.
    @inline(never)
    private func findSparse(_ number: Int32, _ slot: Int32, _ new: inout [Int32]) -> Int32 {
        guard let slice = slots[slot] else { preconditionFailure("a row's slice is not there") }
        let found = slice.states.state(of: number)
        if found >= 0 { return found }
        let id = makeState(number, slot)
        new.append(id)
        slice.states.insert(number, id, upperBound: keys.upperBound)
        slots.notePlaces(slot)
        return id
    }

    @inline(__always)
    private func makeState(_ number: Int32, _ slot: Int32) -> Int32 {
        let id: Int32
        if let free = freeStates.popLast() {
            id = free
        } else {
            precondition(stateBound < .max, "a table of windows holds at most \(Int32.max) states")
            id = stateBound
            stateBound += 1
            slotOf.grow(to: Int(stateBound))
            groupOf.grow(to: Int(stateBound))
        }
        slotOf[id] = slot
        groupOf[id] = number
        uses[number] += 1
        return id
    }

    // MARK: Windows

    /// The windows of these slices that start in a range, ascending. O(slices).
    func windows(_ slices: some Sequence<Slice>, _ range: Range<Int64>) -> WindowList {
        windows(slices.map { ($0.first, $0.last) }, range)
    }

    /// The windows of slices from one to another that start in a range, ascending.
    func windows(_ slices: [(first: Int64, last: Int64)], _ range: Range<Int64>) -> WindowList {
        var windows = WindowList(every: grid.every)
        var next = range.lowerBound
        for slice in slices.sorted(by: { $0.first < $1.first }) {
            next = max(next, slice.first)
            guard next <= slice.last, next < range.upperBound else { continue }
            next = saturating(
                windows.append(from: next, through: min(slice.last, range.upperBound - 1)), plus: grid.every)
            if next == .max { break }
        }
        return windows
    }

    /// The first window from `start` on that has rows.
    func firstWindow(from start: Int64) -> Int64? {
        slots.all.filter { $0.last >= start }.map { max($0.first, start) }.min()
    }

    /// The last window that has rows.
    var lastWindow: Int64? { slots.all.map(\.last).max() }

    /// These states by their slices.
    func divided(_ ids: [Int32]) -> Selection {
        var lists = [[Int32]](repeating: [], count: slots.bound)
        for id in ids where slotOf[id] >= 0 { lists[Int(slotOf[id])].append(id) }
        return lists.enumerated().compactMap { slot, ids in
            ids.isEmpty ? nil : slots[Int32(truncatingIfNeeded: slot)].map { ($0, ids) }
        }
    }

    /// Makes the results of a window: of all of its groups, or of those that have some of the states in `changed`.
    ///
    /// - Returns: numbers to read with ``rows(_:)``; then they must be given back with ``release(_:)``.
    func gather(_ window: Int64, _ slices: [Slice], changed: Selection? = nil) -> [Int32] {
        guard let room else {
            if let changed { return changed.first { $0.slice.first == window }?.ids ?? [] }
            return slices.first { $0.first == window }?.ids ?? []
        }
        room.grow(to: keys.upperBound)
        isGathered.grow(to: keys.upperBound)
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
            for slice in members {
                merge(numbers.map { slice.states.state(of: $0) }.filter { $0 >= 0 }, room)
            }
        } else {
            numbers.reserveCapacity(members.map(\.ids.count).max() ?? 0)
            for slice in members {
                add(slice.ids)
                merge(slice.ids, room)
            }
        }
        for number in numbers { isGathered[number] = false }
        return numbers
    }

    /// Merges states into the room of their groups.
    private func merge(_ ids: [Int32], _ room: GroupedAggregates) {
        ids.withUnsafeBufferPointer { ids in
            var start = 0
            while start < ids.count {
                let end = min(ids.count, start + RecordBatch.defaultRowCount)
                let part = UnsafeBufferPointer(rebasing: ids[start..<end])
                groups(of: part).withUnsafeBufferPointer { room.merge(states, part, into: $0) }
                start = end
            }
        }
    }

    private func groups(of ids: UnsafeBufferPointer<Int32>) -> [Int32] {
        [Int32](unsafeUninitializedCapacity: ids.count) { numbers, used in
            for i in 0..<ids.count { numbers[i] = groupOf[ids[i]] }
            used = ids.count
        }
    }

    /// Group columns and results of gathered numbers.
    func rows(
        _ numbers: UnsafeBufferPointer<Int32>
    ) -> (keys: [Column], results: [Column], problems: [(item: Int, ResultProblem)]) {
        let (results, problems) = (room ?? states).results(numbers)
        return (room == nil ? keys.keys.columns(groups(of: numbers)) : keys.keys.columns(numbers), results, problems)
    }

    /// Gives gathered numbers back.
    func release(_ numbers: [Int32]) {
        numbers.withUnsafeBufferPointer { room?.clear($0) }
    }

    /// Forgets the slices whose last window starts before `bound`. O(1) when there is none.
    func free(before bound: Int64) {
        let leaving = slots.leaving(before: bound)
        guard !leaving.isEmpty else { return }
        for (slot, slice) in leaving {
            free(slice)
            slots.remove(slot)
        }
        // Numbers begin at 0 again where nothing is left.
        if isEmpty { (stateBound, freeStates) = (0, []) }
    }

    /// Lets the states of a slice go, and groups that have no other.
    private func free(_ slice: Slice) {
        table.willRemove(slice.ids, read)
        changes.forget(slice.ids)
        var unused: [Int32] = []
        // The numbers that are taken last are given out first: those of the slice in their order again.
        freeStates.reserveCapacity(freeStates.count + slice.ids.count)
        for id in slice.ids.reversed() {
            let number = groupOf[id]
            slotOf[id] = -1
            groupOf[id] = -1
            uses[number] -= 1
            if uses[number] == 0 { unused.append(number) }
            freeStates.append(id)
        }
        slice.ids.withUnsafeBufferPointer { states.clear($0) }
        if unused.count == keys.count { keys.removeAll() } else { for number in unused { keys.remove(number) } }
    }

    // MARK: State

    /// Whether a snapshot is still being read.
    var isUnfinished: Bool { table.isUnfinished }

    /// The numbers of all states, slice by slice in the order of time.
    var statesByTime: [Int32] { slices.flatMap(\.ids) }

    /// The last window that a state's slice is in.
    func lastWindow(of id: Int32) -> Int64 { slots[slotOf[id]]?.last ?? .min }

    /// The key group of each of these states.
    func keyGroups(_ ids: [Int32]) -> [UInt8] {
        var keyGroups: [UInt8] = []
        keyGroups.reserveCapacity(ids.count)
        var start = 0
        while start < ids.count {
            let end = min(ids.count, start + RecordBatch.defaultRowCount)
            let found = ids[start..<end].withUnsafeBufferPointer { part in hashes(part, groupColumns(part)) }
            for hash in found.array { keyGroups.append(UInt8(truncatingIfNeeded: KeyGroup.of(hash: hash))) }
            start = end
        }
        return keyGroups
    }

    /// These states as rows of the state table.
    func stateRows(_ ids: UnsafeBufferPointer<Int32>) -> RecordBatch { read(ids) }

    /// Begins to give all states as rows for a checkpoint.
    func snapshot() -> StateTable { table.snapshot(read) }

    func continueSnapshot(until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot) -> Progress {
        table.proceed(until: deadline, into: &snapshot, read)
    }

    private func read(_ ids: UnsafeBufferPointer<Int32>) -> RecordBatch {
        let columns = groupColumns(ids)
        return rowState.batch(columns, states.states(ids), hashes(ids, columns))
    }

    /// Columns of the window, and of the group.
    private func groupColumns(_ ids: UnsafeBufferPointer<Int32>) -> [Column] {
        let firsts = Values<Int64>(count: ids.count) { target in
            for i in 0..<ids.count { target[i] = slots[slotOf[ids[i]]]?.first ?? .min }
        }
        var columns = [Column(.timestamp, .int64(firsts))]
        if windowColumnCount == 2 {
            let lasts = Values<Int64>(count: ids.count) { target in
                for i in 0..<ids.count { target[i] = slots[slotOf[ids[i]]]?.last ?? .min }
            }
            columns.append(Column(.timestamp, .int64(lasts)))
        }
        return columns + keys.keys.columns(groups(of: ids))
    }

    /// Rows are spread by their groups alone where windows share slices, else by their window too.
    private func hashes(_ ids: UnsafeBufferPointer<Int32>, _ columns: [Column]) -> Values<UInt64> {
        room == nil
            ? RowHash.hashes(columns, count: ids.count)
            : groups(of: ids).withUnsafeBufferPointer { keys.hashes($0) }
    }
}
