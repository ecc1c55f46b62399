import DataflowOperator

/// Which state each group has in one slice, by the group's number.
///
/// Where the slice has a good part of all groups: an array over their numbers, four bytes each. Where it has few, as with
/// many slices of keys that come and go: a small table of its own, 16 to 32 bytes a state. It changes between the two
/// as they fill; so memory is bounded by the states, whatever numbers the groups have.
final class SliceStates {
    /// How many groups have a state. Raised by who fills places of ``dense``.
    var count = 0
    /// By group, -1 where it has none; nil while there are few.
    private(set) var dense: UnsafeMutablePointer<Int32>?
    /// Groups below this have a place in ``dense``.
    private var bound = 0
    /// The group in the high half, the state plus one in the low one; 0: free. Linear probing.
    private var table: UnsafeMutablePointer<UInt64>?
    private var tableCapacity = 0
    private var shift: UInt64 = 64

    /// So many groups have places for 4 KiB at most: not worth a table.
    private static let smallBound = 1024

    /// Bytes of memory.
    var byteCount: Int { bound * MemoryLayout<Int32>.stride + tableCapacity * MemoryLayout<UInt64>.stride }

    deinit {
        dense?.deallocate()
        table?.deallocate()
    }

    /// Gives ``dense``, if there is one, a place for each group below `newBound`. Amortised O(1) a state and new group.
    func prepare(for newBound: Int) {
        if dense == nil, table == nil, newBound <= SliceStates.smallBound { makeDense(newBound) }
        guard let old = dense, newBound > bound else { return }
        guard newBound <= SliceStates.smallBound || newBound / 16 <= count else { return makeTable() }
        let larger = max(newBound, bound * 2)
        let memory = UnsafeMutablePointer<Int32>.allocate(capacity: larger)
        memory.update(from: old, count: bound)
        (memory + bound).initialize(repeating: -1, count: larger - bound)
        old.deallocate()
        dense = memory
        bound = larger
    }

    /// The state of a group, -1 where it has none.
    @inline(__always)
    func state(of group: Int32) -> Int32 {
        if let dense { return Int(group) < bound ? dense[Int(group)] : -1 }
        guard let table else { return -1 }
        var position = place(group)
        while table[position] != 0 {
            if table[position] >> 32 == UInt64(UInt32(bitPattern: group)) {
                return Int32(truncatingIfNeeded: table[position]) &- 1
            }
            position = (position &+ 1) & (tableCapacity &- 1)
        }
        return -1
    }

    /// Gives a group without a state one.
    ///
    /// - Parameter upperBound: above all numbers of groups that there are.
    func insert(_ group: Int32, _ state: Int32, upperBound: Int) {
        if dense != nil {
            prepare(for: upperBound)
        } else if count >= upperBound / 8 {
            makeDense(upperBound)
        }
        count += 1
        if let dense {
            dense[Int(group)] = state
        } else {
            if count * 2 > tableCapacity { growTable() }
            enter(SliceStates.entry(group, state))
        }
    }

    @inline(__always)
    private static func entry(_ group: Int32, _ state: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: group)) << 32 | UInt64(UInt32(bitPattern: state &+ 1))
    }

    /// Fibonacci hashing: the high bits of a product.
    @inline(__always)
    private func place(_ group: Int32) -> Int {
        Int(truncatingIfNeeded: (UInt64(UInt32(bitPattern: group)) &* 0x9E37_79B9_7F4A_7C15) >> shift)
    }

    private func enter(_ entry: UInt64) {
        guard let table else { return }
        var position = place(Int32(truncatingIfNeeded: entry >> 32))
        while table[position] != 0 { position = (position &+ 1) & (tableCapacity &- 1) }
        table[position] = entry
    }

    private func growTable() {
        let old = UnsafeBufferPointer(start: table, count: tableCapacity)
        tableCapacity = max(64, tableCapacity * 2)
        shift = UInt64(64 - tableCapacity.trailingZeroBitCount)
        let memory = UnsafeMutablePointer<UInt64>.allocate(capacity: tableCapacity)
        memory.initialize(repeating: 0, count: tableCapacity)
        table = memory
        for entry in old where entry != 0 { enter(entry) }
        old.deallocate()
    }

    private func makeDense(_ upperBound: Int) {
        let old = UnsafeBufferPointer(start: table, count: tableCapacity)
        let memory = UnsafeMutablePointer<Int32>.allocate(capacity: max(16, upperBound))
        memory.initialize(repeating: -1, count: max(16, upperBound))
        for entry in old where entry != 0 { memory[Int(entry >> 32)] = Int32(truncatingIfNeeded: entry) &- 1 }
        old.deallocate()
        (dense, bound) = (memory, max(16, upperBound))
        (table, tableCapacity) = (nil, 0)
    }

    private func makeTable() {
        let old = UnsafeBufferPointer(start: dense, count: bound)
        (dense, bound) = (nil, 0)
        while tableCapacity < count * 2 { growTable() }
        for (group, state) in old.enumerated() where state >= 0 {
            enter(SliceStates.entry(Int32(truncatingIfNeeded: group), state))
        }
        old.deallocate()
    }
}
