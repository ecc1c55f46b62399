import DataflowOperator

/// What is asked of a multiset besides how many distinct values it has.
enum MultisetRule: Sendable, Hashable {
    case distinct
    /// The most frequent value, the first in the order among equals.
    case mode([RowOrdering.Term])
    /// The first value in the order.
    case best([RowOrdering.Term])

    var terms: [RowOrdering.Term] {
        switch self {
        case .distinct: []
        case .mode(let terms), .best(let terms): terms
        }
    }
}

/// Keeps all distinct values of each group with their counts: `count(distinct x)`, `mode`, and everything that must be
/// able to take rows back.
///
/// The best value is kept up to date while rows come in; when the best one is taken back it is looked for again at the
/// next result, at the cost of the group's distinct values.
///
/// Memory: the table of values (``GroupTable``) plus 16 bytes a value.
final class MultisetAccumulator: Accumulator {
    struct Entry {
        var count: Int64 = 0
        var next: Int32 = -1
        var previous: Int32 = -1
    }
    struct Group {
        var head: Int32 = -1
        var best: Int32 = -1
        var distinct: Int32 = 0
        var isStale = false
    }
    let types: [DataType]
    private let rule: MultisetRule
    /// The order in terms of the table's columns, behind the group number.
    private let terms: [RowOrdering.Term]
    let table: GroupTable
    private(set) var entries = Cells(Entry())
    private(set) var groups = Cells(Group())

    init(_ types: [DataType], _ rule: MultisetRule) {
        self.types = types
        self.rule = rule
        terms = rule.terms.map {
            RowOrdering.Term(column: $0.column + 1, descending: $0.descending, nullsFirst: $0.nullsFirst)
        }
        table = GroupTable([.int32] + types)
    }

    var byteCount: Int { table.byteCount + table.upperBound * 16 }
    var bytesPerGroup: Int { MemoryLayout<Group>.stride }
    func grow(to bound: Int) { groups.grow(to: bound) }

    /// The state's type: distinct values with how often each occurs.
    static func stateType(_ types: [DataType]) -> DataType {
        .list(.structure(types.enumerated().map { Field("v\($0)", $1) } + [Field("n", .int64, nullable: false)]))
    }

    func update(_ input: AggregateInput, _ ids: UnsafeBufferPointer<Int32>) { add(1, input, ids) }
    func retract(_ input: AggregateInput, _ ids: UnsafeBufferPointer<Int32>) { add(-1, input, ids) }

    private func add(_ sign: Int64, _ input: AggregateInput, _ ids: UnsafeBufferPointer<Int32>) {
        guard let selection = input.selection else {
            add(input.columns, Values(Array(ids)), sign) { _ in 1 }
            return
        }
        let rows = selection.setIndices
        let chosen = Values<Int32>(count: rows.count) { target in
            for i in 0..<target.count { target[i] = ids[Int(rows[i])] }
        }
        add(input.columns.map { $0.take(rows) }, chosen, sign) { _ in 1 }
    }

    private func add(_ columns: [Column], _ ids: Values<Int32>, _ sign: Int64, _ count: (Int) -> Int64) {
        guard ids.count > 0 else { return }
        let found = table.findOrInsert([Column(.int32, .int32(ids))] + columns, count: ids.count)
        entries.grow(to: table.upperBound)
        for i in 0..<found.count {
            let entry = found[i]
            let group = groups.base + Int(ids[i])
            let cell = entries.base + Int(entry)
            precondition(sign > 0 || cell.pointee.count > 0, "a value is taken back that was never put in")
            let isNew = cell.pointee.count == 0 && sign > 0
            cell.pointee.count += sign * count(i)
            if sign > 0 {
                if isNew { link(entry, group) }
                if !group.pointee.isStale, entry != group.pointee.best { challenge(entry, group) }
            } else {
                if entry == group.pointee.best { group.pointee.isStale = rule != .distinct }
                if cell.pointee.count <= 0 { unlink(entry, group) }
            }
        }
    }

    private func link(_ entry: Int32, _ group: UnsafeMutablePointer<Group>) {
        entries.base[Int(entry)].next = group.pointee.head
        entries.base[Int(entry)].previous = -1
        if group.pointee.head >= 0 { entries.base[Int(group.pointee.head)].previous = entry }
        group.pointee.head = entry
        group.pointee.distinct += 1
    }

    func unlink(_ entry: Int32, _ group: UnsafeMutablePointer<Group>) {
        let cell = entries[entry]
        if cell.previous >= 0 {
            entries.base[Int(cell.previous)].next = cell.next
        } else if group.pointee.head == entry {
            group.pointee.head = cell.next
        }
        if cell.next >= 0 { entries.base[Int(cell.next)].previous = cell.previous }
        group.pointee.distinct -= 1
        if group.pointee.best == entry { group.pointee.best = -1 }
        entries.base[Int(entry)] = Entry()
        table.remove(entry)
    }

    /// Makes `entry` the best one if it is.
    @inline(__always)
    private func challenge(_ entry: Int32, _ group: UnsafeMutablePointer<Group>) {
        let best = group.pointee.best
        switch rule {
        case .distinct: return
        case .best:
            if best < 0 || table.keys.compare(entry, best, terms) < 0 { group.pointee.best = entry }
        case .mode:
            guard best >= 0 else {
                group.pointee.best = entry
                return
            }
            let count = entries[entry].count
            let most = entries[best].count
            if count > most || (count == most && table.keys.compare(entry, best, terms) < 0) {
                group.pointee.best = entry
            }
        }
    }

    private func best(_ id: Int32) -> Int32 {
        let group = groups.base + Int(id)
        guard group.pointee.isStale else { return group.pointee.best }
        group.pointee.isStale = false
        group.pointee.best = -1
        var entry = group.pointee.head
        while entry >= 0 {
            challenge(entry, group)
            entry = entries[entry].next
        }
        return group.pointee.best
    }

    func merge(_ state: [Column], _ ids: UnsafeBufferPointer<Int32>) {
        guard let (offsets, elements) = state[0].listValues, let members = elements.structureValues,
            let counts = members[types.count].int64Values
        else { return }
        let first = Int(offsets[0])
        let end = Int(offsets[ids.count])
        guard end > first else { return }
        let owners = Values<Int32>(count: end - first) { target in
            for i in 0..<ids.count {
                for e in Int(offsets[i])..<Int(offsets[i + 1]) { target[e - first] = ids[i] }
            }
        }
        add(members.prefix(types.count).map { $0.slice(first..<end) }, owners, 1) { counts[first + $0] }
    }

    func state(_ ids: UnsafeBufferPointer<Int32>) -> [Column] {
        var offsets: [Int32] = [0]
        offsets.reserveCapacity(ids.count + 1)
        var listed: [Int32] = []
        for id in ids {
            var entry = groups[id].head
            while entry >= 0 {
                listed.append(entry)
                entry = entries[entry].next
            }
            offsets.append(Int32(truncatingIfNeeded: listed.count))
        }
        let members = listed.withUnsafeBufferPointer { listed in
            types.indices.map { table.keys.column($0 + 1, listed) }
                + [Column(.int64, .int64(entries.values(listed) { $0.count }))]
        }
        return [list(Values(offsets), members, count: listed.count)]
    }

    func list(_ offsets: Values<Int32>, _ members: [Column], count: Int) -> Column {
        guard case .list(let element) = MultisetAccumulator.stateType(types) else {
            preconditionFailure("the state of a multiset is a list")
        }
        let elements = Column(element, .structure(members), count: count)
        return Column(.list(element), .list(offsets: offsets, elements: elements))
    }

    func rowState(_ input: AggregateInput) -> [Column] {
        let rows = input.selection?.setIndices
        let count = rows?.count ?? input.count
        let offsets = Values<Int32>(count: input.count + 1) { target in
            target[0] = 0
            for i in 0..<input.count { target[i + 1] = target[i] + ((input.selection?[i] ?? true) ? 1 : 0) }
        }
        let members = input.columns.map { column in rows.map { column.take($0) } ?? column }
        return [list(offsets, members + [Column(.int64, .int64(Values(repeating: 1, count: count)))], count: count)]
    }

    func result(
        _ finish: AggregateFinish, _ type: DataType, _ ids: UnsafeBufferPointer<Int32>,
        _ problems: inout [ResultProblem]
    ) -> Column {
        switch finish {
        case .distinctCount: return Column(.int64, .int64(groups.values(ids) { Int64($0.distinct) }))
        case .distinct(let family, let inner): return resultOfDistinct(family, inner, type, ids, &problems)
        default: break
        }
        let member = if case .member(let index) = finish { index } else { 0 }
        let chosen = ids.map { best($0) }
        let present = chosen.filter { $0 >= 0 }
        let values = present.withUnsafeBufferPointer { table.keys.column(member + 1, $0) }
        if present.count == chosen.count { return values }
        // Groups without a value read any value under their null; without any value there is nothing to read.
        guard !present.isEmpty else { return .nulls(type, count: ids.count) }
        var next: Int32 = 0
        let indices = chosen.map { best in
            defer { if best >= 0 { next += 1 } }
            return best >= 0 ? next : 0
        }
        let spread = values.take(Values(indices))
        let there = Bitmap(count: chosen.count) { chosen[$0] >= 0 }
        return spread.withValidity(Bitmap.bothValid(there, spread.validity))
    }

    func clear(_ ids: UnsafeBufferPointer<Int32>) {
        for id in ids {
            let group = groups.base + Int(id)
            while group.pointee.head >= 0 { unlink(group.pointee.head, group) }
            group.pointee = Group()
        }
    }
}
