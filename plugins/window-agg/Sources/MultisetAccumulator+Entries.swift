import DataflowOperator

// What others compute from the distinct values of a group.
extension MultisetAccumulator {
    /// The numbers of a group's distinct values, in no order. O(distinct values).
    func entries(of id: Int32) -> [Int32] {
        var listed: [Int32] = []
        listed.reserveCapacity(Int(groups[id].distinct))
        var entry = groups[id].head
        while entry >= 0 {
            listed.append(entry)
            entry = entries[entry].next
        }
        return listed
    }

    /// The same in an order over the tuple's columns.
    func entries(of id: Int32, by order: [RowOrdering.Term]) -> [Int32] {
        let terms = inTable(order)
        return entries(of: id).sorted { table.keys.compare($0, $1, terms) < 0 }
    }

    /// An order over the tuple's columns as one over the table's, which have the group in front.
    private func inTable(_ order: [RowOrdering.Term]) -> [RowOrdering.Term] {
        order.map { RowOrdering.Term(column: $0.column + 1, descending: $0.descending, nullsFirst: $0.nullsFirst) }
    }

    /// The selected rows that do not sort behind a value of their group's (-1: no such value). O(rows).
    func notBehind(
        _ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>, by order: [RowOrdering.Term],
        _ barrier: (Int32) -> Int32
    ) -> Bitmap {
        let terms = inTable(order)
        let block = table.keys.makeBlock()
        let columns = [Column(.int32, .int32(Values(Array(groups))))] + input.columns
        return Bitmap(count: input.count) { row in
            if row % RowBlock.capacity == 0 {
                table.keys.fill(block, columns, row..<min(input.count, row + RowBlock.capacity))
            }
            guard input.selection?[row] ?? true else { return false }
            let barrier = barrier(groups[row])
            return barrier < 0 || table.keys.compare(block, row % RowBlock.capacity, barrier, terms) <= 0
        }
    }

    /// A column of the tuples of some distinct values.
    func column(_ index: Int, _ entries: [Int32]) -> Column {
        entries.withUnsafeBufferPointer { table.keys.column(index + 1, $0) }
    }

    /// How often a value is there.
    func count(_ entry: Int32) -> Int64 { entries[entry].count }

    /// Takes some occurrences of a value away; without any left it is gone.
    func subtract(_ count: Int64, _ entry: Int32, of id: Int32) {
        entries.base[Int(entry)].count -= count
        if entries[entry].count <= 0 { unlink(entry, groups.base + Int(id)) }
    }

    /// Forgets a value.
    func drop(_ entry: Int32, of id: Int32) { unlink(entry, groups.base + Int(id)) }

    /// `sum(distinct x)` and others: the plain aggregate over each distinct value once.
    func resultOfDistinct(
        _ family: AggregateFamily, _ finish: AggregateFinish, _ type: DataType,
        _ ids: UnsafeBufferPointer<Int32>, _ problems: inout [ResultProblem]
    ) -> Column {
        guard let kind = AccumulatorKind(family, types, retracts: false) else {
            return .nulls(type, count: ids.count)
        }
        let plain = kind.make()
        plain.grow(to: ids.count)
        var listed: [Int32] = []
        var owners: [Int32] = []
        for (position, id) in ids.enumerated() {
            let own = entries(of: id)
            listed += own
            owners += repeatElement(Int32(truncatingIfNeeded: position), count: own.count)
        }
        let input = AggregateInput(columns: [column(0, listed)], selection: nil, count: listed.count)
        owners.withUnsafeBufferPointer { plain.update(input, $0) }
        return (0..<Int32(truncatingIfNeeded: ids.count)).map { $0 }.withUnsafeBufferPointer {
            plain.result(finish, type, $0, &problems)
        }
    }
}
