/// Rows by time: treaps over row numbers, of which there may be many in one index, each known by its root.
///
/// Seidel and Aragon, "Randomized search trees" (1996), with priorities that follow from the row's number. Rows of one
/// time are ordered by number. Inserting, removing and seeking are O(log rows) on average, whatever the order of times;
/// a row takes 8 bytes. Number 0 is no row.
final class TimeIndex {
    /// The rows before and behind each row.
    private var links: UnsafeMutablePointer<Int32>
    private var capacity: Int

    init() {
        capacity = 16
        links = .allocate(capacity: capacity * 2)
        links.initialize(repeating: 0, count: capacity * 2)
    }

    deinit { links.deallocate() }

    /// Makes room for row numbers below `bound`. Not to be called while there is a cursor.
    func reserve(_ bound: Int) {
        guard bound > capacity else { return }
        let larger = UnsafeMutablePointer<Int32>.allocate(capacity: bound * 2)
        larger.update(from: links, count: capacity * 2)
        (larger + capacity * 2).initialize(repeating: 0, count: (bound - capacity) * 2)
        links.deallocate()
        links = larger
        capacity = bound
    }

    /// Lets memory go. There must be no rows.
    func removeAll() {
        links.deallocate()
        capacity = 16
        links = .allocate(capacity: capacity * 2)
        links.initialize(repeating: 0, count: capacity * 2)
    }

    private static func priority(_ id: Int32) -> UInt32 {
        // The finaliser of MurmurHash3: one to one, so no two rows are equal.
        var x = UInt32(bitPattern: id)
        x = (x ^ (x >> 16)) &* 0x85EB_CA6B
        x = (x ^ (x >> 13)) &* 0xC2B2_AE35
        return x ^ (x >> 16)
    }

    private static func isBefore(_ a: Int32, _ b: Int32, _ times: UnsafePointer<Int64>) -> Bool {
        let (x, y) = (times[Int(a)], times[Int(b)])
        return x < y || (x == y && a < b)
    }

    func insert(_ id: Int32, into root: inout Int32, _ times: UnsafePointer<Int64>) {
        let links = links
        let own = TimeIndex.priority(id)
        withUnsafeMutablePointer(to: &root) { root in
            var place = root
            while place.pointee != 0, TimeIndex.priority(place.pointee) > own {
                let node = place.pointee
                place = links + (Int(node) * 2 + (TimeIndex.isBefore(id, node, times) ? 0 : 1))
            }
            // What stood here is divided in what lies before the row and behind it.
            var node = place.pointee
            place.pointee = id
            var before = links + Int(id) * 2
            var behind = before + 1
            while node != 0 {
                if TimeIndex.isBefore(node, id, times) {
                    before.pointee = node
                    before = links + (Int(node) * 2 + 1)
                    node = before.pointee
                } else {
                    behind.pointee = node
                    behind = links + Int(node) * 2
                    node = behind.pointee
                }
            }
            before.pointee = 0
            behind.pointee = 0
        }
    }

    /// Takes out a row that is there.
    func remove(_ id: Int32, from root: inout Int32, _ times: UnsafePointer<Int64>) {
        let links = links
        withUnsafeMutablePointer(to: &root) { root in
            var place = root
            while place.pointee != id {
                let node = place.pointee
                precondition(node != 0, "row \(id) is not in the index")
                place = links + (Int(node) * 2 + (TimeIndex.isBefore(id, node, times) ? 0 : 1))
            }
            var before = links[Int(id) * 2]
            var behind = links[Int(id) * 2 + 1]
            while before != 0, behind != 0 {
                if TimeIndex.priority(before) > TimeIndex.priority(behind) {
                    place.pointee = before
                    place = links + (Int(before) * 2 + 1)
                    before = place.pointee
                } else {
                    place.pointee = behind
                    place = links + Int(behind) * 2
                    behind = place.pointee
                }
            }
            place.pointee = before != 0 ? before : behind
        }
    }

    /// The earliest row, or 0.
    func first(_ root: Int32) -> Int32 {
        var node = root
        while node != 0, links[Int(node) * 2] != 0 { node = links[Int(node) * 2] }
        return node
    }

    /// A place between rows; stays valid until the index changes.
    struct Cursor {
        fileprivate var path: [Int32] = []
    }

    /// Moves the cursor in front of the first row at `time` or later.
    func seek(_ cursor: inout Cursor, _ root: Int32, from time: Int64, _ times: UnsafePointer<Int64>) {
        cursor.path.removeAll(keepingCapacity: true)
        var node = root
        while node != 0 {
            if times[Int(node)] < time {
                node = links[Int(node) * 2 + 1]
            } else {
                cursor.path.append(node)
                node = links[Int(node) * 2]
            }
        }
    }

    /// The row behind the cursor, which moves past it; 0 behind the last one.
    func next(_ cursor: inout Cursor) -> Int32 {
        guard let found = cursor.path.popLast() else { return 0 }
        var node = links[Int(found) * 2 + 1]
        while node != 0 {
            cursor.path.append(node)
            node = links[Int(node) * 2]
        }
        return found
    }
}
