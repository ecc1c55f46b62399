import DataflowOperator

/// The best rows of an upsert stream: all rows are kept in order, so that a top shrinks and grows as they change.
///
/// A change costs O(log rows of the partition) comparisons; telling costs O(n) a changed partition.
final class UpsertTop: Top {
    private struct Entry {
        /// The partition that the key's row is in; -1: it has been deleted.
        var partition: Int32 = -1
        /// The partition in whose top the key has been told; -1: in none.
        var toldIn: Int32 = -1
        /// The row has changed since it was told.
        var isChanged = false
        /// The last row of the batch at hand.
        var lastRow: Int32 = -1
        /// The round of telling in which the key was seen in a top.
        var round: Int32 = -1
    }

    private struct Partition {
        var order = OrderedIDs()
        var told: [Int32] = []
        var isChanged = false
    }

    let plan: TopNPlan
    private let key: [Int]
    private let output: Schema
    private let keys: GroupTable
    private let partitions: GroupTable
    private let rows: RowStore
    private let block: RowBlock
    private var entries: [Entry] = []
    private var tops: [Partition] = []
    private var changed: [Int32] = []
    private var round: Int32 = 0
    private let table: IncrementalTable

    /// Bytes of memory; each row stands in the order of its partition too.
    var stateByteCount: Int {
        keys.byteCount(beforeAdding: 1 << 14) + partitions.byteCount(beforeAdding: 1 << 14) + rows.byteCount
            + entries.count * (MemoryLayout<Entry>.stride + 8) + tops.count * (MemoryLayout<Partition>.stride + 64)
    }

    // What is being told.
    private var gone: [(key: Int32, partition: Int32)] = []
    private var emitting: [Int32] = []
    private var gonePosition = 0
    private var position = 0

    init(_ plan: TopNPlan, key: [Int], output: Schema) {
        self.plan = plan
        self.key = key
        self.output = output
        keys = GroupTable(key.map { plan.input.fields[$0].type })
        partitions = GroupTable(plan.partition.map { plan.input.fields[$0].type })
        rows = RowStore(plan.input.fields.map(\.type))
        block = rows.makeBlock()
        table = IncrementalTable("rows", distribution: .keyGroup(column: 0), plan.state)
    }

    var hasChanges: Bool { !changed.isEmpty }

    func restore(_ columns: [Column], count: Int) {
        let ids = findKeys(columns, count: count)
        table.willChange(ids, read)
        put(columns, count: count, ids)
    }

    func restored() {
        for partition in changed {
            tops[Int(partition)].isChanged = false
            tops[Int(partition)].told = best(partition)
            for id in tops[Int(partition)].told {
                entries[Int(id)].toldIn = partition
                entries[Int(id)].isChanged = false
            }
        }
        changed = []
    }

    private func findKeys(_ columns: [Column], count: Int) -> [Int32] {
        let ids = keys.findOrInsert(key.map { columns[$0] }, count: count)
        if entries.count < keys.upperBound {
            entries += repeatElement(Entry(), count: max(keys.upperBound, entries.count * 2) - entries.count)
        }
        return ids
    }

    func process(_ batch: RecordBatch) {
        let ids = findKeys(batch.columns, count: batch.rowCount)
        // Only the last row of a key in the batch matters: nothing is told in between.
        for (row, id) in ids.enumerated() { entries[Int(id)].lastRow = Int32(truncatingIfNeeded: row) }
        let isLast = Bitmap(count: batch.rowCount) { entries[Int(ids[$0])].lastRow == Int32(truncatingIfNeeded: $0) }
        let last = batch.filter(isLast)
        let touched = isLast.setIndices.array.map { ids[Int($0)] }
        table.willChange(touched, read)
        for id in touched { takeOut(id) }
        let live = last.deletes.map { last.filter(~$0) } ?? last
        let liveIDs = last.deletes.map { deletes in
            touched.indices.filter { !deletes[$0] }.map { touched[$0] }
        }
        put(live.columns, count: live.rowCount, liveIDs ?? touched)
        let gone = touched.filter { entries[Int($0)].partition < 0 }
        table.willRemove(gone, read)
        for id in gone {
            rows.clear(id)
            // A key that was told is kept until its delete has been.
            if entries[Int(id)].toldIn < 0 { forget(id) }
        }
    }

    private func forget(_ id: Int32) {
        entries[Int(id)] = Entry()
        keys.remove(id)
    }

    /// The keys whose rows are a partition's top.
    private func best(_ partition: Int32) -> [Int32] {
        guard plan.includesTies else { return tops[Int(partition)].order.prefix(plan.n) }
        return tops[Int(partition)].order.prefix(plan.n, withTies: { rows.compare($0, $1, plan.written) == 0 })
    }

    private func isBefore(_ left: Int32, _ right: Int32) -> Bool { rows.compare(left, right, plan.terms) < 0 }

    private func takeOut(_ id: Int32) {
        let partition = entries[Int(id)].partition
        guard partition >= 0 else { return }
        tops[Int(partition)].order.remove(id, isBefore)
        entries[Int(id)].partition = -1
        markChanged(partition)
    }

    private func put(_ columns: [Column], count: Int, _ ids: [Int32]) {
        let owners = partitions.findOrInsert(plan.partition.map { columns[$0] }, count: count)
        while tops.count < partitions.upperBound { tops.append(Partition()) }
        var start = 0
        while start < count {
            let end = min(count, start + RowBlock.capacity)
            rows.fill(block, columns, start..<end)
            for i in start..<end {
                let id = ids[i]
                rows.replace(id, block, i - start)
                tops[Int(owners[i])].order.insert(id, isBefore)
                entries[Int(id)].partition = owners[i]
                entries[Int(id)].isChanged = true
                markChanged(owners[i])
            }
            start = end
        }
    }

    private func markChanged(_ partition: Int32) {
        guard !tops[Int(partition)].isChanged else { return }
        tops[Int(partition)].isChanged = true
        changed.append(partition)
    }

    func collectChanges() {
        gone = []
        emitting = []
        gonePosition = 0
        position = 0
        for partition in changed {
            round &+= 1
            let top = best(partition)
            for id in top {
                entries[Int(id)].round = round
                if entries[Int(id)].toldIn != partition || entries[Int(id)].isChanged { emitting.append(id) }
            }
            for id in tops[Int(partition)].told where entries[Int(id)].round != round {
                gone.append((id, partition))
                if entries[Int(id)].toldIn == partition { entries[Int(id)].toldIn = -1 }
            }
            for id in top {
                entries[Int(id)].toldIn = partition
                entries[Int(id)].isChanged = false
            }
            tops[Int(partition)].told = top
            tops[Int(partition)].isChanged = false
        }
    }

    func emit(_ output: inout OutputBuffer) -> Progress {
        while gonePosition < gone.count {
            if output.isFull { return .more }
            let end = min(gone.count, gonePosition + RecordBatch.defaultRowCount)
            output.emit(deletes(gone[gonePosition..<end]))
            gonePosition = end
        }
        while position < emitting.count {
            if output.isFull { return .more }
            let end = min(emitting.count, position + RecordBatch.defaultRowCount)
            let columns = rows.columns(Array(emitting[position..<end]))
            output.emit(RecordBatch(self.output, columns, rowCount: end - position))
            position = end
        }
        cleanUp()
        return .done
    }

    /// Lets go of what was kept only to be told.
    private func cleanUp() {
        for (id, _) in gone where keys.keys.contains(id) {
            if entries[Int(id)].partition < 0 && entries[Int(id)].toldIn < 0 { forget(id) }
        }
        for partition in changed where tops[Int(partition)].order.isEmpty && !tops[Int(partition)].isChanged {
            tops[Int(partition)] = Partition()
            partitions.remove(partition)
        }
        changed = []
        gone = []
        emitting = []
        gonePosition = 0
        position = 0
    }

    /// Rows that left a top: the output's key columns, and null in the others.
    private func deletes(_ left: ArraySlice<(key: Int32, partition: Int32)>) -> RecordBatch {
        let keyColumns = keys.keys.columns(left.map(\.key))
        let partitionColumns = partitions.keys.columns(left.map(\.partition))
        let columns = plan.input.fields.enumerated().map { index, field in
            if let position = plan.partition.firstIndex(of: index) { return partitionColumns[position] }
            if let position = key.firstIndex(of: index) { return keyColumns[position] }
            return Column.nulls(field.type, count: left.count)
        }
        return RecordBatch(
            output, columns, rowCount: left.count, deletes: Bitmap(repeating: true, count: left.count))
    }

    func snapshot() -> StateTable { table.snapshot(read) }

    func continueSnapshot(until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot) -> Progress {
        table.proceed(until: deadline, into: &snapshot, read)
    }

    private func read(_ ids: UnsafeBufferPointer<Int32>) -> RecordBatch {
        plan.stateBatch(rows.columns(ids), count: ids.count)
    }
}
