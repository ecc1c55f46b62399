import DataflowOperator

/// The best rows of each partition of a stream of facts, the best first; the others are let go.
///
/// n rows a partition; with `ties: include` also those that are equal to the n-th in `order_by`.
final class PartitionTops {
    private let plan: TopNPlan
    private let partitions: GroupTable
    private let rows: RowStore
    private let block: RowBlock
    private var tops: [[Int32]] = []
    private let table: IncrementalTable

    /// Bytes of memory; an array of a partition takes 32 and 4 a row.
    var stateByteCount: Int {
        partitions.byteCount(beforeAdding: 1 << 14) + rows.byteCount + 40 * tops.count + 4 * rows.upperBound
    }

    /// - Parameter name: of the state table.
    init(_ plan: TopNPlan, state name: String) {
        self.plan = plan
        partitions = GroupTable(plan.partition.map { plan.input.fields[$0].type })
        rows = RowStore(plan.input.fields.map(\.type))
        block = rows.makeBlock()
        table = IncrementalTable(name, distribution: .keyGroup(column: 0), plan.state)
    }

    /// The numbers of a partition's rows.
    subscript(partition: Int32) -> [Int32] { tops[Int(partition)] }

    /// Rows kept, of all partitions.
    var rowCount: Int { rows.count }

    /// Offers the rows of a batch.
    ///
    /// - Parameter accepted: is told of each that got in: its partition, its place there, its row in the batch.
    func offer(_ columns: [Column], count: Int, _ accepted: (_ partition: Int32, _ place: Int, _ row: Int) -> Void) {
        let owners = partitions.findOrInsert(plan.partition.map { columns[$0] }, count: count)
        while tops.count < partitions.upperBound { tops.append([]) }
        var start = 0
        while start < count {
            let end = min(count, start + RowBlock.capacity)
            rows.fill(block, columns, start..<end)
            for i in 0..<end - start {
                let owner = owners[start + i]
                if let place = offer(i, to: Int(owner)) { accepted(owner, place, start + i) }
            }
            start = end
        }
    }

    /// Puts row `i` of the block into its partition's top if it belongs there, and answers its place.
    private func offer(_ i: Int, to partition: Int) -> Int? {
        let held = tops[partition].count
        // Most rows of a full top stop here.
        if held >= plan.n {
            let worst = tops[partition][held - 1]
            let order = rows.compare(block, i, worst, plan.includesTies ? plan.written : plan.terms)
            if plan.includesTies ? order > 0 : order >= 0 { return nil }
        }
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
        if !plan.includesTies, held == plan.n { release(tops[partition].removeLast()) }
        let id = rows.insert(block, i)
        table.willChange(id, read)
        tops[partition].insert(id, at: low)
        if plan.includesTies { cutTies(partition) }
        return low
    }

    /// Lets go of the rows behind the n-th that are no longer equal to it: all or none of those that were.
    private func cutTies(_ partition: Int) {
        guard let last = tops[partition].last, tops[partition].count > plan.n,
            rows.compare(tops[partition][plan.n - 1], last, plan.written) < 0
        else { return }
        for id in tops[partition][plan.n...] { release(id) }
        tops[partition].removeLast(tops[partition].count - plan.n)
    }

    private func release(_ id: Int32) {
        table.willRemove(id, read)
        rows.remove(id)
    }

    /// Appends the rank of each row of a partition from `place` on: its number from 1, or with `ties: include` one more
    /// than the number of better rows (SQL's RANK).
    func appendRanks(of partition: Int32, from place: Int = 0, to ranks: inout [Int64]) {
        let top = tops[Int(partition)]
        for i in place..<top.count {
            if plan.includesTies, i > 0, let last = ranks.last, rows.compare(top[i - 1], top[i], plan.written) == 0 {
                ranks.append(last)
            } else {
                ranks.append(Int64(i + 1))
            }
        }
    }

    /// Rows by their numbers, a column at a time, with their ranks where the plan adds them.
    func batch(_ schema: Schema, _ ids: ArraySlice<Int32>, ranks: ArraySlice<Int64>) -> RecordBatch {
        var columns = rows.columns(Array(ids))
        if plan.hasRank { columns.append(Column(.int64, .int64(Values(Array(ranks))))) }
        return RecordBatch(schema, columns, rowCount: ids.count)
    }

    /// Lets a partition and its rows go. O(its rows).
    func remove(_ partition: Int32) {
        for id in tops[Int(partition)] { release(id) }
        tops[Int(partition)] = []
        partitions.remove(partition)
    }

    /// The rows kept, as ``TopNPlan/state``.
    func snapshot() -> StateTable { table.snapshot(read) }

    func continueSnapshot(until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot) -> Progress {
        table.proceed(until: deadline, into: &snapshot, read)
    }

    private func read(_ ids: UnsafeBufferPointer<Int32>) -> RecordBatch {
        plan.stateBatch(rows.columns(ids), count: ids.count)
    }
}
