import DataflowOperator

/// The rows of one input that are held, by number, with what belongs to each.
final class JoinSide {
    /// What belongs to a row besides its columns.
    struct Tag {
        /// The start of the first window that counts the row.
        var firstWindow: Int64
        /// Its key's number; -1 where a key column is null.
        var group: Int32
        /// The next row of its key, while a window is being closed; 0: none.
        var next: Int32 = 0
        /// Whether it is in a pair.
        var isMatched: Bool
    }

    let rows: RowStore
    /// Positions of the columns that are held.
    let stored: [Int]
    /// Where the event time stands among them.
    private let time: Int
    private let block: RowBlock
    private(set) var times: UnsafeMutablePointer<Int64>
    private(set) var tags: UnsafeMutablePointer<Tag>
    private var capacity = 16
    private var free: [Int32] = []
    /// Numbers given out are below this. Number 0 is never given out: it reads as nulls.
    private var bound: Int32 = 1

    let byTime = TimeIndex()
    /// The root of all rows in ``byTime``.
    private(set) var root: Int32 = 0
    /// Nil where rows are not looked for by key.
    let byKey: TimeIndex?
    /// By key: the root of its rows in ``byKey``.
    private(set) var roots: [Int32] = []
    private let table: IncrementalTable

    /// - Parameters:
    ///   - name: of the state table.
    ///   - fields: the columns that are held, at the positions `stored` of the input.
    ///   - time: where the event time stands among them.
    ///   - byKey: whether rows are looked for by key, and matches are remembered.
    init(_ name: String, _ fields: [Field], stored: [Int], time: Int, byKey: Bool) {
        rows = RowStore(fields.map(\.type))
        rows.extend(to: 1)
        self.stored = stored
        self.time = time
        block = rows.makeBlock()
        times = .allocate(capacity: capacity)
        tags = .allocate(capacity: capacity)
        self.byKey = byKey ? TimeIndex() : nil
        table = IncrementalTable(name, distribution: .keyGroup(column: 0), JoinSide.state(fields))
    }

    deinit {
        times.deallocate()
        tags.deallocate()
    }

    static func state(_ fields: [Field]) -> Schema {
        Schema(
            [
                Field("key_group", .int32, nullable: false), Field("first_window", .timestamp, nullable: false),
                Field("matched", .bool, nullable: false),
            ] + fields.map { Field("row.\($0.name)", $0.type) })
    }

    /// Bytes of memory: rows, what belongs to each, and two links an index.
    var stateByteCount: Int {
        rows.byteCount + 4 * roots.count + Int(bound) * (MemoryLayout<Tag>.stride + (byKey == nil ? 16 : 24))
    }

    /// The time of the earliest row, if there is one.
    var earliest: Int64? { root == 0 ? nil : times[Int(byTime.first(root))] }

    private func reserve(_ more: Int) {
        let needed = Int(bound) + max(0, more - free.count)
        guard needed > capacity else { return }
        let larger = max(needed, capacity * 2)
        let newTimes = UnsafeMutablePointer<Int64>.allocate(capacity: larger)
        newTimes.update(from: times, count: Int(bound))
        times.deallocate()
        times = newTimes
        let newTags = UnsafeMutablePointer<Tag>.allocate(capacity: larger)
        newTags.update(from: tags, count: Int(bound))
        tags.deallocate()
        tags = newTags
        capacity = larger
        byTime.reserve(larger)
        byKey?.reserve(larger)
    }

    /// Takes rows in. Amortised O(rows × (columns + log rows held)).
    ///
    /// - Parameters:
    ///   - columns: those of ``stored``; the time has no nulls.
    ///   - groups: numbers of their keys, all below `groupBound`.
    ///   - matched: whether they are in a pair already; nil: none is.
    /// - Returns: their numbers.
    func insert(
        _ columns: [Column], hashes: Values<UInt64>, groups: [Int32], groupBound: Int, firstWindows: [Int64],
        matched: Bitmap? = nil
    ) -> [Int32] {
        let count = groups.count
        reserve(count)
        while roots.count < groupBound { roots.append(0) }
        let ids = (0..<count).map { _ -> Int32 in
            if let id = free.popLast() { return id }
            defer { bound += 1 }
            return bound
        }
        table.willChange(ids, read)
        guard let values = columns[time].int64Values else { preconditionFailure("the event time is no timestamp") }
        var start = 0
        while start < count {
            let end = min(count, start + RowBlock.capacity)
            rows.fill(block, columns, start..<end, hashes: hashes)
            for i in start..<end {
                let id = ids[i]
                rows.replace(id, block, i - start)
                times[Int(id)] = values[i]
                tags[Int(id)] = Tag(firstWindow: firstWindows[i], group: groups[i], isMatched: matched?[i] ?? false)
                byTime.insert(id, into: &root, times)
                if let byKey, groups[i] >= 0 { byKey.insert(id, into: &roots[Int(groups[i])], times) }
            }
            start = end
        }
        return ids
    }

    /// Takes the earliest row out of the indexes, if it is before `time` (nil: whatever its time); it can still be read
    /// until it is freed. O(log rows).
    func popFirst(before time: Int64?) -> Int32? {
        let id = byTime.first(root)
        guard id != 0, time.map({ times[Int(id)] < $0 }) ?? true else { return nil }
        byTime.remove(id, from: &root, times)
        let group = tags[Int(id)].group
        if let byKey, group >= 0 { byKey.remove(id, from: &roots[Int(group)], times) }
        return id
    }

    /// Lets rows go that were taken out; their numbers will be given out again.
    func free(_ ids: [Int32]) {
        table.willRemove(ids, read)
        for id in ids { rows.clear(id) }
        guard rows.count == 0 else {
            free += ids
            return
        }
        // Nothing is held: large memory is let go.
        rows.removeAll()
        rows.extend(to: 1)
        free = []
        bound = 1
        guard capacity > 4096 else { return }
        capacity = 16
        times.deallocate()
        times = .allocate(capacity: capacity)
        tags.deallocate()
        tags = .allocate(capacity: capacity)
        byTime.removeAll()
        byKey?.removeAll()
    }

    /// Forgets the numbers of keys, none of which has rows.
    func forgetKeys() { roots = [] }

    /// Notes that these rows are in a pair.
    func match(_ ids: [Int32], _ selected: Bitmap?) {
        var new: [Int32] = []
        for (i, id) in ids.enumerated() where selected?[i] ?? true {
            if !tags[Int(id)].isMatched { new.append(id) }
        }
        // Within a window that is closing it is nothing to be kept.
        if byKey != nil { table.willChange(new, read) }
        for id in new { tags[Int(id)].isMatched = true }
    }

    // MARK: State

    func snapshot() -> StateTable { table.snapshot(read) }

    func continueSnapshot(until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot) -> Progress {
        table.proceed(until: deadline, into: &snapshot, read)
    }

    private func read(_ ids: UnsafeBufferPointer<Int32>) -> RecordBatch {
        let windows = Values(ids.map { tags[Int($0)].firstWindow })
        let remembers = byKey != nil
        let matched = Bitmap(count: ids.count) { remembers && tags[Int(ids[$0])].isMatched }
        let own = [
            JoinSide.keyGroups(ids, rows), Column(.timestamp, .int64(windows)), Column(.bool, .bool(matched)),
        ]
        return RecordBatch(table.schema, own + rows.columns(ids), rowCount: ids.count)
    }

    /// The key groups of rows that were put in with the hashes of their keys.
    static func keyGroups(_ ids: UnsafeBufferPointer<Int32>, _ rows: RowStore) -> Column {
        Column(.int32, .int32(Values(ids.map { KeyGroup.of(hash: rows.hash($0)) })))
    }

    /// 1 where no key column is null; nil where that is so for all rows.
    static func hasKey(_ columns: [Column]) -> Bitmap? {
        columns.reduce(nil) { Bitmap.bothValid($0, $1.validity) }
    }
}
