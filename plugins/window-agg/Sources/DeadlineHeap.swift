/// Times with what they belong to, the earliest first: a binary heap.
///
/// Entries are not moved when a time changes. Whoever takes one looks at what it belongs to: is it gone (its stamp is
/// another), the entry is dropped; is its time later now, it is put in again. 16 bytes an entry.
struct DeadlineHeap {
    struct Entry {
        var time: Int64
        var id: Int32
        /// Tells apart what had the same number one after the other.
        var stamp: UInt32
    }

    private var entries: [Entry] = []

    var count: Int { entries.count }
    /// The earliest. O(1).
    var first: Entry? { entries.first }

    /// O(log n), O(1) where times rise.
    mutating func push(_ entry: Entry) {
        entries.append(entry)
        var hole = entries.count - 1
        entries.withUnsafeMutableBufferPointer { entries in
            while hole > 0 {
                let parent = (hole - 1) / 2
                guard entry.time < entries[parent].time else { break }
                entries[hole] = entries[parent]
                hole = parent
            }
            entries[hole] = entry
        }
    }

    /// Takes the earliest out. O(log n). Memory is let go with the last one.
    mutating func removeFirst() {
        let moving = entries.removeLast()
        guard !entries.isEmpty else {
            if entries.capacity > 4096 { entries = [] }
            return
        }
        entries.withUnsafeMutableBufferPointer { entries in
            var hole = 0
            while true {
                var child = 2 * hole + 1
                guard child < entries.count else { break }
                if child + 1 < entries.count, entries[child + 1].time < entries[child].time { child += 1 }
                guard entries[child].time < moving.time else { break }
                entries[hole] = entries[child]
                hole = child
            }
            entries[hole] = moving
        }
    }
}
