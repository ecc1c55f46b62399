import DataflowOperator

/// `collect_list(x)` and `string_agg(x, …)` in the order of arrival: the first values of each group, up to a bound.
///
/// Values are rows of one store, chained group by group. Memory a value: 28 bytes, 36 of a decimal or text, and text
/// longer than 12 bytes. What comes behind the first value that does not fit is counted and left out.
final class ListAccumulator: Accumulator {
    private struct Group {
        var head: Int32 = -1
        var tail: Int32 = -1
        /// What the values take of the bound.
        var weight: Int64 = 0
        /// Values that were left out.
        var beyond: Int64 = 0
    }
    private let type: DataType
    private let rule: CollectRule
    private let store: RowStore
    private let block: RowBlock
    private var groups = Cells(Group())
    /// The next value of the same group, by the value's number.
    private var next = Cells<Int32>(-1)

    init(_ type: DataType, _ rule: CollectRule) {
        self.type = type
        self.rule = rule
        store = RowStore([type])
        block = store.makeBlock()
    }

    var byteCount: Int { store.byteCount + store.upperBound * 4 }
    var bytesPerGroup: Int { MemoryLayout<Group>.stride }
    func grow(to bound: Int) { groups.grow(to: bound) }

    func update(_ input: AggregateInput, _ ids: UnsafeBufferPointer<Int32>) {
        append(input.columns[0], input.selection, ids)
    }

    func retract(_ input: AggregateInput, _ ids: UnsafeBufferPointer<Int32>) {
        preconditionFailure("a list in the order of arrival cannot take values back")
    }

    private func append(_ column: Column, _ selection: Bitmap?, _ ids: UnsafeBufferPointer<Int32>) {
        let weight = rule.weights(column)
        let budget = Int64(rule.budget)
        var start = 0
        while start < ids.count {
            let end = min(ids.count, start + RowBlock.capacity)
            store.fill(block, [column], start..<end)
            next.grow(to: store.upperBound + end - start)
            eachRow(selection?.slice(start..<end), end - start) { i in
                let group = groups.base + Int(ids[start + i])
                let weight = Int64(weight(start + i))
                guard group.pointee.beyond == 0, group.pointee.weight + weight <= budget else {
                    group.pointee.beyond += 1
                    return
                }
                group.pointee.weight += weight
                let value = store.insert(block, i)
                next[value] = -1
                if group.pointee.tail >= 0 { next[group.pointee.tail] = value } else { group.pointee.head = value }
                group.pointee.tail = value
            }
            start = end
        }
    }

    func merge(_ state: [Column], _ ids: UnsafeBufferPointer<Int32>) {
        guard let (offsets, elements) = state[0].listValues, let beyond = state[1].int64Values, ids.count > 0 else {
            return
        }
        let first = Int(offsets[0])
        let owners = Values<Int32>(count: Int(offsets[ids.count]) - first) { target in
            for i in 0..<ids.count {
                for e in Int(offsets[i])..<Int(offsets[i + 1]) { target[e - first] = ids[i] }
            }
        }
        owners.withUnsafeBufferPointer { append(elements.slice(first..<first + owners.count), nil, $0) }
        for i in 0..<ids.count { groups.base[Int(ids[i])].beyond += beyond[i] }
    }

    /// The values of groups, one behind the other.
    private func values(_ ids: UnsafeBufferPointer<Int32>) -> (offsets: [Int32], values: Column) {
        var offsets: [Int32] = [0]
        offsets.reserveCapacity(ids.count + 1)
        var listed: [Int32] = []
        for id in ids {
            var value = groups[id].head
            while value >= 0 {
                listed.append(value)
                value = next[value]
            }
            offsets.append(Int32(truncatingIfNeeded: listed.count))
        }
        return (offsets, listed.withUnsafeBufferPointer { store.column(0, $0) })
    }

    func state(_ ids: UnsafeBufferPointer<Int32>) -> [Column] {
        let (offsets, values) = values(ids)
        return [
            Column(.list(type), .list(offsets: Values(offsets), elements: values)),
            Column(.int64, .int64(groups.values(ids) { $0.beyond })),
        ]
    }

    func rowState(_ input: AggregateInput) -> [Column] {
        let ones = CountAccumulator.ones(input)
        let offsets = Values<Int32>(count: input.count + 1) { target in
            target[0] = 0
            for i in 0..<input.count { target[i + 1] = target[i] + Int32(truncatingIfNeeded: ones[i]) }
        }
        let values = input.selection.map { input.columns[0].filter($0) } ?? input.columns[0]
        return [
            Column(.list(type), .list(offsets: offsets, elements: values)),
            Column(.int64, .int64(Values(repeating: 0, count: input.count))),
        ]
    }

    func result(
        _ finish: AggregateFinish, _ type: DataType, _ ids: UnsafeBufferPointer<Int32>,
        _ problems: inout [ResultProblem]
    ) -> Column {
        let (offsets, values) = values(ids)
        if finish == .collected(isBoundGiven: false) {
            for (i, id) in ids.enumerated() where groups[id].beyond > 0 { problems.append(rule.problem(i)) }
        }
        return rule.result(offsets, values, isPresent: ids.map { groups[$0].head >= 0 || groups[$0].beyond > 0 })
    }

    func clear(_ ids: UnsafeBufferPointer<Int32>) {
        for id in ids {
            var value = groups[id].head
            while value >= 0 {
                store.remove(value)
                value = next[value]
            }
        }
        groups.clear(ids)
        // Numbers start again, so that the memory of a table that was emptied is not counted any more.
        if store.count == 0 { store.removeAll() }
    }
}
