import Glibc

/// Gives each distinct key a small number: a hash table over the key columns of whole batches.
///
/// Open addressing with linear probing; an entry is the group's number and the high 32 bits of its hash, so a probe looks
/// at the key itself only when it is almost surely the right one. The place in the table comes from the same bits: an
/// entry knows its place, and a table grows and closes gaps without a look at the keys. Null is a key of its own; `-0.0` is `0.0` and all NaNs are one. Keys up to 12 bytes of text are compared as words.
///
/// Memory a group: 16 bytes, plus 8 (numbers, bool, date, timestamp) or 16 (text and others) a key column, plus text
/// longer than 12 bytes, plus 13 to 27 bytes of the table. Removed groups leave no trace, their numbers are given out
/// again. Memory is let go when the last group is removed.
///
/// Columns read back share the keys' long text by reference and stay valid whatever happens to the table.
public final class GroupTable {
    /// The keys, by group number.
    public let keys: RowStore
    private var table: UnsafeMutablePointer<UInt64>
    private var tableCapacity: Int
    private var shift: UInt64
    private let block: RowBlock

    /// An empty table for keys of these types; without types there is one key, the empty one.
    public init(_ types: [DataType]) {
        keys = RowStore(types, canonical: true)
        block = keys.makeBlock()
        tableCapacity = 64
        shift = 64 - 6
        table = .allocate(capacity: tableCapacity)
        table.initialize(repeating: 0, count: tableCapacity)
    }

    deinit { table.deallocate() }

    /// How many groups there are.
    public var count: Int { keys.count }
    /// All numbers given out are below this: the size of arrays that stand beside the table.
    public var upperBound: Int { keys.upperBound }
    /// Bytes in use.
    public var byteCount: Int { keys.byteCount + tableCapacity * 8 }
    /// ``byteCount``, and what growing takes besides where `more` groups would make the table grow.
    public func byteCount(beforeAdding more: Int) -> Int {
        let grows = (count + more) * 8 > tableCapacity * 5
        return byteCount + (grows ? tableCapacity * 16 : 0)
    }

    // MARK: Finding

    /// The group of each row's key; keys not seen before get a new number. Amortised O(rows).
    ///
    /// - Parameters:
    ///   - hashes: ``RowHash/hashes(_:count:)`` of the same columns, where they are known already.
    ///   - ids: room for `count` numbers.
    public func findOrInsert(
        _ columns: [Column], count: Int, hashes: Values<UInt64>? = nil, into ids: UnsafeMutableBufferPointer<Int32>
    ) {
        let hashes = hashes ?? RowHash.hashes(columns, count: count)
        hashes.withUnsafeBufferPointer { hashes in
            var start = 0
            while start < count {
                let end = min(count, start + RowBlock.capacity)
                block.fill(columns, start..<end, hashes: hashes.baseAddress)
                reserve(block.count)
                let part = UnsafeMutableBufferPointer(rebasing: ids[start..<end])
                if block.hasLongText {
                    probe(part, inserts: true) { [keys] row, id in GroupTable.equal(keys, row, keys.row(id)) }
                } else {
                    probeWords(part, inserts: true)
                }
                start = end
            }
        }
    }

    /// The group of each row's key, freshly allocated. See ``findOrInsert(_:count:hashes:into:)``.
    public func findOrInsert(_ columns: [Column], count: Int, hashes: Values<UInt64>? = nil) -> [Int32] {
        [Int32](unsafeUninitializedCapacity: count) { ids, used in
            findOrInsert(columns, count: count, hashes: hashes, into: ids)
            used = count
        }
    }

    /// The group of each row's key, -1 where there is none. O(rows).
    public func find(_ columns: [Column], count: Int, hashes: Values<UInt64>? = nil) -> [Int32] {
        let hashes = hashes ?? RowHash.hashes(columns, count: count)
        return [Int32](unsafeUninitializedCapacity: count) { ids, used in
            hashes.withUnsafeBufferPointer { hashes in
                var start = 0
                while start < count {
                    let end = min(count, start + RowBlock.capacity)
                    block.fill(columns, start..<end, hashes: hashes.baseAddress)
                    let part = UnsafeMutableBufferPointer(rebasing: ids[start..<end])
                    probe(part, inserts: false) { [keys] row, id in GroupTable.equal(keys, row, keys.row(id)) }
                    start = end
                }
            }
            used = count
        }
    }

    /// Rows without long text: equal exactly when their words are. One loop for each common width.
    private func probeWords(_ ids: UnsafeMutableBufferPointer<Int32>, inserts: Bool) {
        let width = keys.layout.width
        switch width {
        case 3:
            probe(ids, inserts: inserts) { [keys] row, id in
                let key = keys.words + Int(id) * 3
                return (key[1] ^ row[1]) | (key[2] ^ row[2]) == 0
            }
        case 4:
            probe(ids, inserts: inserts) { [keys] row, id in
                let key = keys.words + Int(id) * 4
                return (key[1] ^ row[1]) | (key[2] ^ row[2]) | (key[3] ^ row[3]) == 0
            }
        case 5:
            probe(ids, inserts: inserts) { [keys] row, id in
                let key = keys.words + Int(id) * 5
                return (key[1] ^ row[1]) | (key[2] ^ row[2]) | (key[3] ^ row[3]) | (key[4] ^ row[4]) == 0
            }
        default:
            probe(ids, inserts: inserts) { [keys] row, id in
                let key = keys.words + Int(id) * width
                for word in 1..<width where key[word] != row[word] { return false }
                return true
            }
        }
    }

    @inline(__always)
    private func probe(
        _ ids: UnsafeMutableBufferPointer<Int32>, inserts: Bool,
        _ equal: (UnsafePointer<UInt64>, Int32) -> Bool
    ) {
        let table = table
        let mask = tableCapacity - 1
        let shift = shift
        let width = keys.layout.width
        let rows = block.words
        for i in 0..<ids.count {
            let row = UnsafePointer(rows + i * width)
            let hash = row[0]
            var position = Int(truncatingIfNeeded: hash >> shift)
            while true {
                let entry = table[position]
                if entry == 0 {
                    guard inserts else {
                        ids[i] = -1
                        break
                    }
                    let id = keys.insert(row)
                    table[position] = GroupTable.entry(hash, id)
                    ids[i] = id
                    break
                }
                if entry >> 32 == hash >> 32 {
                    let id = Int32(truncatingIfNeeded: entry) &- 1
                    if equal(row, id) {
                        ids[i] = id
                        break
                    }
                }
                position = (position &+ 1) & mask
            }
        }
    }

    /// The number plus one, below the high 32 bits of the hash: never zero. Its place is `entry >> shift`, since there are
    /// fewer than 2^32 places.
    @inline(__always)
    private static func entry(_ hash: UInt64, _ id: Int32) -> UInt64 {
        hash & 0xFFFF_FFFF_0000_0000 | UInt64(UInt32(bitPattern: id &+ 1))
    }

    private static func equal(_ keys: RowStore, _ row: UnsafePointer<UInt64>, _ key: UnsafePointer<UInt64>) -> Bool {
        let layout = keys.layout
        for word in 1...layout.nullWords where row[word] != key[word] { return false }
        for slot in layout.slots {
            guard row[slot.word] == key[slot.word] else { return false }
            switch slot.kind {
            case .bool, .int32, .int64, .float32, .float64: break
            case .decimal: if row[slot.word + 1] != key[slot.word + 1] { return false }
            case .view, .encoded:
                let length = Int(UInt32(truncatingIfNeeded: row[slot.word]))
                if length <= 12 {
                    if row[slot.word + 1] != key[slot.word + 1] { return false }
                } else {
                    let left = keys.text(row, slot, isKept: false)
                    let right = keys.text(key, slot, isKept: true)
                    guard let l = left.baseAddress, let r = right.baseAddress, memcmp(l, r, length) == 0 else {
                        return false
                    }
                }
            }
        }
        return true
    }

    private func reserve(_ more: Int) {
        var capacity = tableCapacity
        while (count + more) * 8 > capacity * 5 { capacity *= 2 }
        guard capacity > tableCapacity else { return }
        let old = UnsafeBufferPointer(start: table, count: tableCapacity)
        defer { old.deallocate() }
        tableCapacity = capacity
        shift = UInt64(64 - capacity.trailingZeroBitCount)
        table = .allocate(capacity: capacity)
        table.initialize(repeating: 0, count: capacity)
        let mask = capacity - 1
        for entry in old where entry != 0 {
            var position = Int(truncatingIfNeeded: entry >> shift)
            while table[position] != 0 { position = (position + 1) & mask }
            table[position] = entry
        }
    }

    // MARK: Removing

    /// Takes a group out; its number will be given out again. O(1) on average.
    public func remove(_ id: Int32) {
        precondition(keys.contains(id), "group \(id) is not in the table")
        let mask = tableCapacity - 1
        var hole = Int(truncatingIfNeeded: keys.hash(id) >> shift)
        while Int32(truncatingIfNeeded: table[hole]) &- 1 != id { hole = (hole + 1) & mask }
        // Entries behind the hole move up unless that would put them in front of their place.
        var next = (hole + 1) & mask
        while table[next] != 0 {
            let home = Int(truncatingIfNeeded: table[next] >> shift)
            if (next - home) & mask >= (next - hole) & mask {
                table[hole] = table[next]
                hole = next
            }
            next = (next + 1) & mask
        }
        table[hole] = 0
        keys.remove(id)
        if keys.count == 0 { removeAll() }
    }

    /// Takes all groups out; numbers start again from 0. Large memory is let go.
    public func removeAll() {
        keys.removeAll()
        if tableCapacity > 1 << 16 {
            table.deallocate()
            tableCapacity = 64
            shift = 64 - 6
            table = .allocate(capacity: tableCapacity)
        }
        table.initialize(repeating: 0, count: tableCapacity)
    }

    // MARK: Reading

    /// The hashes of these groups' keys. O(groups).
    public func hashes(_ ids: UnsafeBufferPointer<Int32>) -> Values<UInt64> {
        Values(count: ids.count) { target in
            for i in 0..<ids.count { target[i] = keys.hash(ids[i]) }
        }
    }

    /// The numbers of all groups, ascending. O(upperBound).
    public var allIDs: [Int32] { liveIDs(0..<upperBound) }

    /// The numbers in `range` that are groups, ascending. O(range).
    public func liveIDs(_ range: Range<Int>) -> [Int32] {
        range.compactMap { id in
            let id = Int32(truncatingIfNeeded: id)
            return keys.contains(id) ? id : nil
        }
    }
}
