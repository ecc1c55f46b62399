import DataflowOperator

/// Groups and their aggregates: a table of keys with accumulators beside it.
final class GroupedAggregates {
    let table: GroupTable
    let layout: AggregateLayout
    private let accumulators: [any Accumulator]
    private let rows: CountAccumulator
    private var bound = 0

    init(keys: [DataType], _ layout: AggregateLayout) {
        table = GroupTable(keys)
        self.layout = layout
        rows = CountAccumulator()
        accumulators = [rows] + layout.kinds.dropFirst().map { $0.make() }
    }

    var count: Int { table.count }
    /// Bytes that keys and rows take; fixed cells apart.
    var byteCount: Int { accumulators.reduce(table.byteCount) { $0 + $1.byteCount } }

    /// All bytes of memory, and those that the table takes besides when it grows.
    var memoryByteCount: Int {
        // The largest batches that are to be expected.
        let table = table.byteCount(beforeAdding: 1 << 16)
        return accumulators.reduce(table) { $0 + $1.byteCount + $1.bytesPerGroup * bound }
    }

    /// The groups of keys, new ones empty.
    ///
    /// - Parameter hashes: ``RowHash`` of the keys, where they are known.
    func groups(_ keys: [Column], count: Int, hashes: Values<UInt64>? = nil) -> [Int32] {
        let ids = table.findOrInsert(keys, count: count, hashes: hashes)
        grow(to: table.upperBound)
        return ids
    }

    /// Makes room for the aggregates of numbers below `newBound`: those of the table's groups, or numbers that are given
    /// out elsewhere (a session's, a window's). Amortised O(new numbers).
    func grow(to newBound: Int) {
        guard newBound > bound else { return }
        // Memory doubles inside the accumulators and is touched only as far as there are groups.
        bound = newBound
        for accumulator in accumulators { accumulator.grow(to: bound) }
    }

    /// Empties the aggregates of these numbers; the table stays as it is.
    func clear(_ ids: UnsafeBufferPointer<Int32>) {
        for accumulator in accumulators { accumulator.clear(ids) }
    }

    func update(_ inputs: [AggregateInput], _ ids: UnsafeBufferPointer<Int32>) {
        for (accumulator, input) in zip(accumulators, inputs) { accumulator.update(input, ids) }
    }

    func retract(_ inputs: [AggregateInput], _ ids: UnsafeBufferPointer<Int32>) {
        for (accumulator, input) in zip(accumulators, inputs) { accumulator.retract(input, ids) }
    }

    /// Merges the state columns, in the order of ``AggregateLayout/stateFields``.
    func merge(_ states: ArraySlice<Column>, _ ids: UnsafeBufferPointer<Int32>) {
        var states = states
        for (accumulator, kind) in zip(accumulators, layout.kinds) {
            let own = states.prefix(kind.stateFields.count)
            states = states.dropFirst(own.count)
            accumulator.merge(Array(own), ids)
        }
    }

    /// Merges the state of each group in `sources` of others, which have the same layout, into the one of `ids` at its place.
    func merge(_ other: GroupedAggregates, _ sources: UnsafeBufferPointer<Int32>, into ids: UnsafeBufferPointer<Int32>)
    {
        for (accumulator, source) in zip(accumulators, other.accumulators) {
            accumulator.merge(source, sources, into: ids)
        }
    }

    func states(_ ids: UnsafeBufferPointer<Int32>) -> [Column] { accumulators.flatMap { $0.state(ids) } }

    func rowStates(_ inputs: [AggregateInput]) -> [Column] {
        zip(accumulators, inputs).flatMap { $0.rowState($1) }
    }

    /// The results of groups, one column an item, and what could not be given.
    func results(_ ids: UnsafeBufferPointer<Int32>) -> (columns: [Column], problems: [(item: Int, ResultProblem)]) {
        var all: [(item: Int, ResultProblem)] = []
        let columns = layout.items.enumerated().map { index, item in
            var problems: [ResultProblem] = []
            let type = layout.kinds[item.accumulator].resultType(item.finish)
            let column = accumulators[item.accumulator].result(item.finish, type, ids, &problems)
            all += problems.map { (index, $0) }
            return column
        }
        return (columns, all)
    }

    /// How many rows a group has.
    func rowCount(_ id: Int32) -> Int64 { rows.count(id) }

    /// Takes groups out; their numbers will be given out again.
    func remove(_ ids: UnsafeBufferPointer<Int32>) {
        clear(ids)
        if ids.count == table.count {
            table.removeAll()
        } else {
            for id in ids { table.remove(id) }
        }
    }

    /// Takes all groups out.
    func removeAll() {
        let ids = table.allIDs
        ids.withUnsafeBufferPointer { clear($0) }
        table.removeAll()
    }
}
