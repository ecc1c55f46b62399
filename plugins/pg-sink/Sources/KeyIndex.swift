import DataflowColumnar

/// Which row of a ``RowStore`` is the last with its key: an open-addressing table over the encoded key bytes.
struct KeyIndex {
    /// Row + 1; 0 is an empty slot.
    private var slots: [Int32] = []
    private var hashes: [UInt64] = []
    /// Whether the row is the last with its key, by row.
    private(set) var live: [Bool] = []
    private(set) var liveCount = 0
    /// Bytes of rows that were replaced.
    private(set) var deadBytes = 0
    private var mask = 0

    /// Takes up the rows of `rows` that were added since the last call. A row with the key of an earlier one replaces it.
    mutating func update(from rows: RowStore) {
        for row in live.count..<rows.count {
            if (liveCount + 1) * 2 > slots.count { grow() }
            let key = rows.bytes[rows.keyRange(of: row)]
            let hash = RowHash.hash(key)
            var slot = Int(truncatingIfNeeded: hash) & mask
            while slots[slot] != 0 {
                if hashes[slot] == hash {
                    let other = Int(slots[slot]) - 1
                    if KeyIndex.equal(rows.bytes[rows.keyRange(of: other)], key) {
                        live[other] = false
                        liveCount -= 1
                        deadBytes += rows.range(of: other).count
                        break
                    }
                }
                slot = (slot + 1) & mask
            }
            slots[slot] = Int32(truncatingIfNeeded: row + 1)
            hashes[slot] = hash
            live.append(true)
            liveCount += 1
        }
    }

    /// Removes replaced rows from `rows`.
    mutating func compact(_ rows: RowStore) {
        guard deadBytes > 0 else { return }
        rows.compact(keeping: live)
        removeAll()
        update(from: rows)
    }

    mutating func removeAll() {
        for slot in slots.indices { slots[slot] = 0 }
        live.removeAll(keepingCapacity: true)
        liveCount = 0
        deadBytes = 0
    }

    private mutating func grow() {
        let oldSlots = slots
        let oldHashes = hashes
        let capacity = max(64, slots.count * 2)
        slots = Array(repeating: 0, count: capacity)
        hashes = Array(repeating: 0, count: capacity)
        mask = capacity - 1
        for old in oldSlots.indices where oldSlots[old] != 0 {
            var slot = Int(truncatingIfNeeded: oldHashes[old]) & mask
            while slots[slot] != 0 { slot = (slot + 1) & mask }
            slots[slot] = oldSlots[old]
            hashes[slot] = oldHashes[old]
        }
    }

    private static func equal(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Bool {
        compareBytes(left, right) == 0
    }
}
