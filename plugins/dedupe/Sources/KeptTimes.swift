import DataflowOperator

/// The times of the rows that were kept, by key: at least `within` apart for one key.
///
/// The latest time of a key stands in an array beside the table of keys; the earlier ones, which there are only where rows
/// come in disorder, in a list. Memory a key: that of ``GroupTable`` and 12 bytes; 16 bytes for each earlier time.
final class KeptTimes {
    private struct Earlier {
        var time: Int64
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
    private var chunks = SnapshotChunks()

    init(keys types: [DataType], within: Int64) {
        table = GroupTable(types)
        self.within = within
    }

    /// The keys' numbers. Amortised O(rows).
    func keys(_ columns: [Column], count: Int) -> [Int32] {
        let ids = table.findOrInsert(columns, count: count)
        if latest.count < table.upperBound {
            let more = max(table.upperBound, latest.count * 2) - latest.count
            latest += repeatElement(.min, count: more)
            first += repeatElement(-1, count: more)
        }
        chunks.extend(to: table.upperBound)
        return ids
    }

    /// For each row whether it is kept: no row of its key was kept less than `within` before or behind it in time.
    func offer(_ ids: [Int32], _ times: Values<Int64>) -> Bitmap {
        times.withUnsafeBufferPointer { times in
            ids.withUnsafeBufferPointer { ids in
                Bitmap(count: ids.count) { offer(ids[$0], max(times[$0], .min + 1)) }
            }
        }
    }

    private func offer(_ id: Int32, _ time: Int64) -> Bool {
        let last = latest[Int(id)]
        if last != .min {
            guard isApart(last, time) else { return false }
            var node = first[Int(id)]
            while node >= 0 {
                guard isApart(earlier[Int(node)].time, time) else { return false }
                node = earlier[Int(node)].next
            }
        }
        chunks.mark(id)
        add(id, time)
        return true
    }

    private func isApart(_ a: Int64, _ b: Int64) -> Bool {
        let (distance, overflow) = a.subtractingReportingOverflow(b)
        return overflow || distance == .min || abs(distance) >= within
    }

    /// Takes note of the time of a row that was kept. O(1).
    func add(_ id: Int32, _ time: Int64) {
        let last = latest[Int(id)]
        latest[Int(id)] = max(last, time)
        guard last != .min else { return }
        let entry = Earlier(time: min(last, time), next: first[Int(id)])
        if free >= 0 {
            first[Int(id)] = free
            let next = earlier[Int(free)].next
            earlier[Int(free)] = entry
            free = next
        } else {
            first[Int(id)] = Int32(truncatingIfNeeded: earlier.count)
            earlier.append(entry)
        }
    }

    /// Lets go of the times up to `bound`, and of keys without any. O(keys).
    func forget(upTo bound: Int64) {
        for index in 0..<table.upperBound where latest[index] != .min {
            let id = Int32(truncatingIfNeeded: index)
            if latest[index] <= bound {
                chunks.mark(id)
                release(all: id)
                latest[index] = .min
                table.remove(id)
            } else if first[index] >= 0 {
                releaseEarlier(id, upTo: bound)
            }
        }
        if table.count == 0 { removeAll() }
    }

    private func removeAll() {
        latest = []
        first = []
        earlier = []
        free = -1
        chunks.removeAll()
    }

    private func release(all id: Int32) {
        while first[Int(id)] >= 0 { releaseEarlier(of: id, behind: -1) }
    }

    private func releaseEarlier(_ id: Int32, upTo bound: Int64) {
        var previous: Int32 = -1
        var node = first[Int(id)]
        while node >= 0 {
            let next = earlier[Int(node)].next
            if earlier[Int(node)].time <= bound {
                chunks.mark(id)
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
        if previous < 0 { first[Int(id)] = next } else { earlier[Int(previous)].next = next }
        earlier[Int(node)].next = free
        free = node
    }

    /// The state: one row for each time, `(key group, key…, time)`.
    func snapshot(_ schema: Schema) -> [RecordBatch] {
        chunks.take(upperBound: table.upperBound, generation: table.keys.textGeneration) { range in
            var ids: [Int32] = []
            var times: [Int64] = []
            for id in table.liveIDs(range) where latest[Int(id)] != .min {
                ids.append(id)
                times.append(latest[Int(id)])
                var node = first[Int(id)]
                while node >= 0 {
                    ids.append(id)
                    times.append(earlier[Int(node)].time)
                    node = earlier[Int(node)].next
                }
            }
            guard !ids.isEmpty else { return nil }
            let groups = ids.withUnsafeBufferPointer { table.hashes($0) }.array.map { KeyGroup.of(hash: $0) }
            let columns = [Column(.int32, .int32(Values(groups)))] + table.keys.columns(ids)
            // Without times there is no column for them.
            let hasTimes = schema.fields.count > columns.count
            return RecordBatch(
                schema, hasTimes ? columns + [Column(.timestamp, .int64(Values(times)))] : columns,
                rowCount: ids.count)
        }
    }
}
