import DataflowOperator

/// The best rows of a stream of facts: n of each partition, the others are let go.
final class AppendTop: Top {
    let plan: TopNPlan
    private let output: Schema
    private let partitions: GroupTable
    private let rows: RowStore
    private let block: RowBlock
    /// The rows of each partition, the best first.
    private var tops: [[Int32]] = []
    /// The first rank (from 0) of each partition that has changed since it was told.
    private var firstChanged: [Int32] = []
    private var changed: [Int32] = []
    private var chunks = SnapshotChunks()

    // What is being told.
    private var emitting: [Int32] = []
    private var ranks: [Int64] = []
    private var position = 0

    init(_ plan: TopNPlan, output: Schema) {
        self.plan = plan
        self.output = output
        partitions = GroupTable(plan.partition.map { plan.input.fields[$0].type })
        rows = RowStore(plan.input.fields.map(\.type))
        block = rows.makeBlock()
    }

    var hasChanges: Bool { !changed.isEmpty }

    func process(_ batch: RecordBatch) { take(batch.columns, count: batch.rowCount) }
    func restore(_ columns: [Column], count: Int) { take(columns, count: count) }

    func restored() {
        for partition in changed { firstChanged[Int(partition)] = .max }
        changed = []
    }

    private func take(_ columns: [Column], count: Int) {
        let owners = partitions.findOrInsert(plan.partition.map { columns[$0] }, count: count)
        while tops.count < partitions.upperBound {
            tops.append([])
            firstChanged.append(.max)
        }
        var start = 0
        while start < count {
            let end = min(count, start + RowBlock.capacity)
            rows.fill(block, columns, start..<end)
            for i in 0..<end - start { offer(i, to: Int(owners[start + i])) }
            start = end
        }
    }

    /// Puts row `i` of the block into its partition's top if it belongs there.
    private func offer(_ i: Int, to partition: Int) {
        let held = tops[partition].count
        // Most rows of a full top stop here.
        if held == plan.n, rows.compare(block, i, tops[partition][held - 1], plan.terms) >= 0 { return }
        var low = 0
        var high = held
        while low < high {
            let middle = (low + high) / 2
            if rows.compare(block, i, tops[partition][middle], plan.terms) < 0 {
                high = middle
            } else {
                low = middle + 1
            }
        }
        if held == plan.n {
            let gone = tops[partition].removeLast()
            chunks.mark(gone)
            rows.remove(gone)
        }
        let id = rows.insert(block, i)
        chunks.extend(to: rows.upperBound)
        chunks.mark(id)
        tops[partition].insert(id, at: low)
        if firstChanged[partition] == .max { changed.append(Int32(truncatingIfNeeded: partition)) }
        firstChanged[partition] = min(firstChanged[partition], Int32(truncatingIfNeeded: low))
    }

    func collectChanges() {
        emitting = []
        ranks = []
        position = 0
        for partition in changed {
            let top = tops[Int(partition)]
            for rank in Int(firstChanged[Int(partition)])..<top.count {
                emitting.append(top[rank])
                ranks.append(Int64(rank + 1))
            }
            firstChanged[Int(partition)] = .max
        }
        changed = []
    }

    func emit(_ output: inout OutputBuffer) -> Progress {
        while position < emitting.count {
            if output.isFull { return .more }
            let end = min(emitting.count, position + RecordBatch.defaultRowCount)
            var columns = rows.columns(Array(emitting[position..<end]))
            if plan.hasRank { columns.append(Column(.int64, .int64(Values(Array(ranks[position..<end]))))) }
            output.emit(RecordBatch(self.output, columns, rowCount: end - position))
            position = end
        }
        emitting = []
        ranks = []
        position = 0
        return .done
    }

    func snapshot() -> [RecordBatch] {
        chunks.take(upperBound: rows.upperBound, generation: rows.textGeneration) { range in
            let ids = range.map { Int32(truncatingIfNeeded: $0) }.filter { rows.contains($0) }
            return ids.isEmpty ? nil : plan.stateBatch(rows.columns(ids), count: ids.count)
        }
    }
}
