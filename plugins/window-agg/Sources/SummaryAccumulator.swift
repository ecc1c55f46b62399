import DataflowOperator

/// What is kept of a group's values and how it is told.
enum SummaryRule: Sendable, Hashable {
    /// The first values in an order, each as often as it came or once.
    case collect(CollectRule)
    /// The most frequent values: `count` of them out of so many counters.
    case top(count: Int, counters: Int)
}

/// A multiset of each group's values that is cut back whenever it grows beyond its bound: `collect_set`, `collect_list` and
/// `string_agg` with an order, `approx_top_k`.
///
/// Collections keep the first values in the order, so the result depends on nothing but the values. `approx_top_k` takes
/// the count of the value behind the last counter from all counts and forgets those without any left: with c counters no
/// count is too high, and none of n rows too low by more than n / (c + 1). Sources: J. Misra, D. Gries, "Finding repeated
/// elements" (1982); P. K. Agarwal et al., "Mergeable Summaries" (2012), which shows that the bound holds through merges.
///
/// Over upsert streams nothing is cut: every distinct value is kept, and results are exact.
///
/// Memory a group: up to twice the bound in values, each as in ``MultisetAccumulator``.
final class SummaryAccumulator: Accumulator {
    private struct Cell {
        /// Collections: 1 when something was left out. Top: what was taken from the counts.
        var lost: Int64 = 0
        /// The number of distinct values at which the group is cut back.
        var bound: Int32 = 0
        /// Collections: the first value that does not fit; what sorts behind it is not even looked up.
        var barrier: Int32 = -1
    }
    private let rule: SummaryRule
    private let multiset: MultisetAccumulator
    private let isCut: Bool
    private var cells: Cells<Cell>
    private var hasBarriers = false

    /// - Parameters:
    ///   - types: the value and what it is ordered by.
    ///   - retracts: whether rows will be taken back; then nothing is ever left out.
    init(_ types: [DataType], _ rule: SummaryRule, retracts: Bool) {
        self.rule = rule
        multiset = MultisetAccumulator(types, .distinct)
        isCut = !retracts
        let bound =
            switch rule {
            case .top(_, let counters): counters * 2
            case .collect(let rule): if case .values(let count) = rule.limit { count * 2 } else { 16 }
            }
        cells = Cells(Cell(bound: Int32(clamping: bound)))
    }

    /// The states' columns: the multiset's, and what was lost.
    static func stateFields(_ types: [DataType]) -> [(suffix: String, type: DataType)] {
        [("values", MultisetAccumulator.stateType(types)), ("lost", .int64)]
    }

    var byteCount: Int { multiset.byteCount }
    var bytesPerGroup: Int { multiset.bytesPerGroup + MemoryLayout<Cell>.stride }

    func grow(to bound: Int) {
        multiset.grow(to: bound)
        cells.grow(to: bound)
    }

    func update(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) {
        var input = input
        if hasBarriers, case .collect(let rule) = rule {
            let barriers = cells.base
            input.selection = multiset.notBehind(input, groups, by: rule.order) { barriers[Int($0)].barrier }
        }
        multiset.update(input, groups)
        cutBack(groups)
    }

    func retract(_ input: AggregateInput, _ groups: UnsafeBufferPointer<Int32>) { multiset.retract(input, groups) }

    func merge(_ state: [Column], _ groups: UnsafeBufferPointer<Int32>) {
        multiset.merge([state[0]], groups)
        if let lost = state[1].int64Values {
            for i in 0..<groups.count { cells.base[Int(groups[i])].lost &+= lost[i] }
        }
        cutBack(groups)
    }

    func state(_ groups: UnsafeBufferPointer<Int32>) -> [Column] {
        multiset.state(groups) + [Column(.int64, .int64(cells.values(groups) { $0.lost }))]
    }

    func rowState(_ input: AggregateInput) -> [Column] {
        multiset.rowState(input) + [Column(.int64, .int64(Values(repeating: 0, count: input.count)))]
    }

    func clear(_ groups: UnsafeBufferPointer<Int32>) {
        multiset.clear(groups)
        // A barrier is the number of a value, which may be given out again.
        cells.clear(groups)
    }

    // MARK: Bounds

    private func cutBack(_ groups: UnsafeBufferPointer<Int32>) {
        guard isCut else { return }
        let sizes = multiset.groups.base
        for group in groups where sizes[Int(group)].distinct > cells.base[Int(group)].bound {
            switch rule {
            case .collect(let rule): cut(group, rule)
            case .top(_, let counters): cut(group, counters: counters)
            }
        }
    }

    /// Keeps the values that fit and the first that does not: what sorts behind it can never be in the result.
    private func cut(_ group: Int32, _ rule: CollectRule) {
        let entries = multiset.entries(of: group, by: rule.order)
        let kept = fitting(entries, rule).whole
        for entry in entries.dropFirst(min(kept + 1, entries.count)) { multiset.drop(entry, of: group) }
        let cell = cells.base + Int(group)
        if kept < entries.count {
            cell.pointee.lost = 1
            cell.pointee.barrier = entries[kept]
            hasBarriers = true
        }
        cell.pointee.bound = max(cell.pointee.bound, Int32(clamping: 2 * (kept + 1)))
    }

    /// How often each of some sorted values is in the result, and how many are in it as often as they came.
    private func fitting(_ entries: [Int32], _ rule: CollectRule) -> (times: [Int], whole: Int) {
        let weight = rule.weights(multiset.column(0, entries))
        var left = rule.budget
        var times: [Int] = []
        for (i, entry) in entries.enumerated() {
            let wanted = rule.isSet ? 1 : Int(multiset.count(entry))
            let fit = min(wanted, left / weight(i))
            left -= fit * weight(i)
            times.append(fit)
            if fit < wanted { return (times, i) }
        }
        return (times, entries.count)
    }

    /// Misra and Gries: takes the count behind the last counter from all.
    private func cut(_ group: Int32, counters: Int) {
        let entries = multiset.entries(of: group)
        let counts = entries.map { multiset.count($0) }.sorted(by: >)
        guard counts.count > counters else { return }
        let taken = counts[counters]
        for entry in entries { multiset.subtract(taken, entry, of: group) }
        cells.base[Int(group)].lost &+= taken
    }

    // MARK: Results

    func result(
        _ finish: AggregateFinish, _ type: DataType, _ groups: UnsafeBufferPointer<Int32>,
        _ problems: inout [ResultProblem]
    ) -> Column {
        switch rule {
        case .collect(let rule): collected(rule, finish, groups, &problems)
        case .top(let count, _): top(count, type, groups)
        }
    }

    private func collected(
        _ rule: CollectRule, _ finish: AggregateFinish, _ groups: UnsafeBufferPointer<Int32>,
        _ problems: inout [ResultProblem]
    ) -> Column {
        var offsets: [Int32] = [0]
        var listed: [Int32] = []
        var isPresent: [Bool] = []
        for (position, group) in groups.enumerated() {
            let entries = multiset.entries(of: group, by: rule.order)
            let (times, whole) = fitting(entries, rule)
            for (entry, times) in zip(entries, times) { listed += repeatElement(entry, count: times) }
            offsets.append(Int32(truncatingIfNeeded: listed.count))
            isPresent.append(!entries.isEmpty)
            if finish == .collected(isBoundGiven: false), whole < entries.count || cells[group].lost > 0 {
                problems.append(rule.problem(position))
            }
        }
        return rule.result(offsets, multiset.column(0, listed), isPresent: isPresent)
    }

    /// The type of `approx_top_k`'s result.
    static func topType(_ value: DataType) -> DataType {
        .list(.structure([Field("value", value), Field("count", .int64, nullable: false)]))
    }

    private func top(_ wanted: Int, _ type: DataType, _ groups: UnsafeBufferPointer<Int32>) -> Column {
        var offsets: [Int32] = [0]
        var listed: [Int32] = []
        let terms = [RowOrdering.Term(column: 1)]
        for group in groups {
            let entries = multiset.entries(of: group).sorted { a, b in
                let counts = (multiset.count(a), multiset.count(b))
                if counts.0 != counts.1 { return counts.0 > counts.1 }
                return multiset.table.keys.compare(a, b, terms) < 0
            }
            listed += entries.prefix(wanted)
            offsets.append(Int32(truncatingIfNeeded: listed.count))
        }
        guard case .list(let element) = type else { return .nulls(type, count: groups.count) }
        let counts = Values<Int64>(count: listed.count) { target in
            for i in 0..<target.count { target[i] = multiset.count(listed[i]) }
        }
        let elements = Column(
            element, .structure([multiset.column(0, listed), Column(.int64, .int64(counts))]), count: listed.count)
        let isPresent = groups.map { multiset.groups[$0].distinct > 0 || cells[$0].lost > 0 }
        return Column(
            type, .list(offsets: Values(offsets), elements: elements),
            validity: isPresent.contains(false) ? Bitmap(isPresent) : nil)
    }
}
