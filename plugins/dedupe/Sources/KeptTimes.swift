import DataflowOperator

/// The times of the rows that were kept, by key: at least `within` apart for one key.
///
/// The latest time of a key stands in an array beside the table of keys; the earlier ones, which there are only where rows
/// come in disorder, in a list. Memory a key: that of ``GroupTable`` and 12 bytes; 16 bytes for each earlier time. Both are
/// snapshot row by row (``IncrementalTable``).
final class KeptTimes {
    private struct Earlier {
        var time: Int64
        var key: Int32
        var next: Int32
    }

    /// The keys, by number.
    let table: GroupTable
    private let within: Int64
    /// By key: the latest time; `Int64.min` where there is none.
    private var latest: [Int64] = []
    /// By key: the first of its earlier times; -1 where there is none.
    private var first: [Int32] = []
    private var earlier: [Earlier] = []
    private var free: Int32 = -1
    private let schema: Schema
    private let keyTable: IncrementalTable
    private let earlierTable: IncrementalTable

    /// Bytes of memory.
    var stateByteCount: Int { table.byteCount(beforeAdding: 1 << 14) + 12 * latest.count + 16 * earlier.count }

    /// - Parameter state: the columns of the state, `(key group, key…)`, and `time` where rows are forgotten.
    init(keys types: [DataType], within: Int64, state: Schema) {
        table = GroupTable(types)
        self.within = within
        schema = state
        keyTable = IncrementalTable("keys", distribution: .keyGroup(column: 0), state)
        earlierTable = IncrementalTable("earlier", distribution: .keyGroup(column: 0), state)
    }

    /// The keys' numbers. Amortised O(rows).
    func keys(_ columns: [Column], count: Int) -> [Int32] {
        let ids = table.findOrInsert(columns, count: count)
        if latest.count < table.upperBound {
            let more = max(table.upperBound, latest.count * 2) - latest.count
            latest += repeatElement(.min, count: more)
            first += repeatElement(-1, count: more)
        }
        return ids
    }

    /// For each row whether it is kept: no row of its key was kept less than `within` before or behind it in time.
    func offer(_ ids: [Int32], _ times: Values<Int64>) -> Bitmap {
        times.withUnsafeBufferPointer { times in
            ids.withUnsafeBufferPointer { ids in
                let candidates = [Int32](unsafeUninitializedCapacity: ids.count) { found, count in
                    for row in ids.indices where isFresh(ids[row], max(times[row], .min + 1)) {
                        found[count] = ids[row]
                        count += 1
                    }
                }
                keyTable.willChange(candidates, readKeys)
                return Bitmap(count: ids.count) { offer(ids[$0], max(times[$0], .min + 1)) }
            }
        }
    }

    /// Whether the latest time of the key alone would let the row be kept. Whatever else the batch brings, no other row is.
    private func isFresh(_ id: Int32, _ time: Int64) -> Bool {
        let last = latest[Int(id)]
        return last == .min || isApart(last, time)
    }

    private func offer(_ id: Int32, _ time: Int64) -> Bool {
        guard isFresh(id, time) else { return false }
        var node = first[Int(id)]
        while node >= 0 {
            guard isApart(earlier[Int(node)].time, time) else { return false }
            node = earlier[Int(node)].next
        }
        add(id, time)
        return true
    }

    private func isApart(_ a: Int64, _ b: Int64) -> Bool {
        let (distance, overflow) = a.subtractingReportingOverflow(b)
        return overflow || distance == .min || abs(distance) >= within
    }

    /// Takes note of the time of a row that was kept. O(1).
    private func add(_ id: Int32, _ time: Int64) {
        let last = latest[Int(id)]
        latest[Int(id)] = max(last, time)
        guard last != .min else { return }
        let entry = Earlier(time: min(last, time), key: id, next: first[Int(id)])
        let node: Int32
        if free >= 0 {
            node = free
            free = earlier[Int(node)].next
            earlier[Int(node)] = entry
        } else {
            node = Int32(truncatingIfNeeded: earlier.count)
            earlier.append(entry)
        }
        earlierTable.willChange(node, readEarlier)
        first[Int(id)] = node
    }

    /// Lets go of the times up to `bound`, and of keys without any. O(keys).
    func forget(upTo bound: Int64) {
        var gone: [Int32] = []
        for index in 0..<table.upperBound where latest[index] != .min {
            let id = Int32(truncatingIfNeeded: index)
            releaseEarlier(id, upTo: bound)
            if latest[index] <= bound { gone.append(id) }
        }
        keyTable.willRemove(gone, readKeys)
        for id in gone {
            latest[Int(id)] = .min
            table.remove(id)
        }
        if table.count == 0 { removeAll() }
    }

    private func removeAll() {
        latest = []
        first = []
        earlier = []
        free = -1
    }

    private func releaseEarlier(_ id: Int32, upTo bound: Int64) {
        var previous: Int32 = -1
        var node = first[Int(id)]
        while node >= 0 {
            let next = earlier[Int(node)].next
            if earlier[Int(node)].time <= bound {
                releaseEarlier(of: id, behind: previous)
            } else {
                previous = node
            }
            node = next
        }
    }

    /// Takes the node behind `previous`, or the first, out of a key's list.
    private func releaseEarlier(of id: Int32, behind previous: Int32) {
        let node = previous < 0 ? first[Int(id)] : earlier[Int(previous)].next
        let next = earlier[Int(node)].next
        earlierTable.willRemove(node, readEarlier)
        if previous < 0 { first[Int(id)] = next } else { earlier[Int(previous)].next = next }
        earlier[Int(node)].next = free
        free = node
    }

    // MARK: State

    /// One row for each time, the latest of a key and the earlier ones in tables of their own.
    func snapshot() -> StateSnapshot { [keyTable.snapshot(readKeys), earlierTable.snapshot(readEarlier)] }

    func continueSnapshot(until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot) -> Progress {
        guard keyTable.proceed(until: deadline, into: &snapshot, readKeys) == .done else { return .more }
        return earlierTable.proceed(until: deadline, into: &snapshot, readEarlier)
    }

    func restore(_ snapshot: StateSnapshot) throws(OperatorError) {
        for name in [keyTable.name, earlierTable.name] {
            for batch in try snapshot.batches(name, schema) {
                let ids = keys(Array(batch.columns[1...table.keys.types.count]), count: batch.rowCount)
                let times = hasTimes ? batch.columns.last?.int64Values : nil
                keyTable.willChange(ids, readKeys)
                for (row, id) in ids.enumerated() { add(id, times?[row] ?? 0) }
            }
        }
    }

    /// Whether there is a column for times.
    private var hasTimes: Bool { schema.fields.count > table.keys.types.count + 1 }

    private func readKeys(_ ids: UnsafeBufferPointer<Int32>) -> RecordBatch {
        rows(Array(ids), ids.map { latest[Int($0)] })
    }

    private func readEarlier(_ nodes: UnsafeBufferPointer<Int32>) -> RecordBatch {
        rows(nodes.map { earlier[Int($0)].key }, nodes.map { earlier[Int($0)].time })
    }

    private func rows(_ ids: [Int32], _ times: [Int64]) -> RecordBatch {
        let groups = ids.withUnsafeBufferPointer { table.hashes($0) }.array.map { KeyGroup.of(hash: $0) }
        let columns = [Column(.int32, .int32(Values(groups)))] + table.keys.columns(ids)
        return RecordBatch(
            schema, hasTimes ? columns + [Column(.timestamp, .int64(Values(times)))] : columns, rowCount: ids.count)
    }
}
