import DataflowOperator

/// Which row of a group is kept.
enum TupleRule: Sendable, Hashable {
    case first
    case last
    /// The first in an order.
    case best([RowOrdering.Term])
}

/// Keeps one tuple of values a group: `first`, `last`, `any`, `min_by`, `max_by`, and `min` and `max` of text and others.
///
/// The first member is never null in a kept tuple, so a null there says that a group has none.
final class TupleAccumulator: Accumulator {
    private let store: RowStore
    private let block: RowBlock
    private let rule: TupleRule
    private var lastRows = Cells<Int32>(-1)
    private var bound = 0

    init(_ types: [DataType], _ rule: TupleRule) {
        store = RowStore(types)
        block = store.makeBlock()
        self.rule = rule
    }

    var byteCount: Int { store.byteCount }
    var bytesPerGroup: Int { MemoryLayout<Int32>.stride }

    func grow(to bound: Int) {
        self.bound = max(self.bound, bound)
        store.extend(to: bound)
        lastRows.grow(to: bound)
    }

    func update(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) {
        take(input.columns, input.selection, groups)
    }

    func retract(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) {
        preconditionFailure("a single kept row cannot be taken back")
    }

    func merge(_ state: [Column], _ groups: UnsafeBufferPointer<Int32>) {
        take(state, state[0].validity, groups)
    }

    private func take(_ columns: [Column], _ selection: Bitmap?, _ groups: UnsafeBufferPointer<Int32>) {
        let count = groups.count
        if case .last = rule {
            eachRow(selection, count) { lastRows[groups[$0]] = Int32(truncatingIfNeeded: $0) }
        }
        var start = 0
        while start < count {
            let end = min(count, start + RowBlock.capacity)
            store.fill(block, columns, start..<end)
            eachRow(selection?.slice(start..<end), end - start) { i in
                let group = groups[start + i]
                let wins: Bool
                switch rule {
                case .first: wins = !store.contains(group)
                case .last: wins = lastRows[group] == Int32(truncatingIfNeeded: start + i)
                case .best(let terms): wins = !store.contains(group) || store.compare(block, i, group, terms) < 0
                }
                if wins { store.replace(group, block, i) }
            }
            start = end
        }
    }

    func state(_ groups: UnsafeBufferPointer<Int32>) -> [Column] { store.columns(groups) }

    func rowState(_ input: AggregateInput) -> [Column] {
        [input.columns[0].withValidity(input.selection)] + input.columns.dropFirst()
    }

    func result(
        _ finish: AggregateFinish, _ type: DataType, _ groups: UnsafeBufferPointer<Int32>,
        _ problems: inout [ResultProblem]
    ) -> Column {
        if case .member(let index) = finish { store.column(index, groups) } else { store.column(0, groups) }
    }

    func clear(_ groups: UnsafeBufferPointer<Int32>) {
        for group in groups { store.clear(group) }
    }
}
