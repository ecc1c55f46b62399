import DataflowOperator

/// The open sessions of all groups, and their aggregates by session number.
///
/// A session is the span from its first row's time to its last row's time plus the gap, both ends included. Two spans of
/// a group that share a point are one session: as in Flink (`TimeWindow.intersects`), rows exactly a gap apart belong
/// together. So within a group sessions never touch, and a row, or a span of rows that were put together elsewhere,
/// is simply united with what it touches. Uniting is commutative and associative, so the sessions that come out do not
/// depend on the order of rows, nor on how they were put together before they came here.
///
/// The sessions of a group are a list linked both ways, ordered by time, entered at the latest: a row that belongs to its
/// group's latest session or opens one behind it costs O(1), another one as many steps as it has sessions before it.
///
/// Memory a session: 32 bytes and its aggregates; a group, once, what ``GroupTable`` takes and 4 bytes.
final class SessionTable {
    struct Session {
        /// The number of its group; -1 where the number is not in use.
        var group: Int32 = -1
        var previous: Int32 = -1
        /// The next one of the group. Of a session that was absorbed: the one that absorbed it.
        var next: Int32 = -1
        /// Another one each time the number is given out.
        var stamp: UInt32 = 0
        var start: Int64 = 0
        var end: Int64 = 0
    }

    /// Keys by group number, aggregates by session number.
    let groups: GroupedAggregates
    private var sessions = Cells(Session())
    /// By group number.
    private var latest = Cells<Int32>(-1)
    private var free: [Int32] = []
    private var capacity = 0
    /// All session numbers are below this.
    private(set) var upperBound = 0
    /// Sessions in use.
    private(set) var count = 0
    /// Told of each change just before it; nil where no checkpoint will be taken.
    var tracking: (table: IncrementalTable, rows: IncrementalTable.Rows)?

    // What the last call of `place` has done; some of these may have been absorbed since.
    private(set) var created: [Int32] = []
    /// Sessions that now start earlier.
    private(set) var advanced: [Int32] = []
    /// Sessions that are part of another one now, see ``root(_:)``. Their numbers are in use until ``settle()``.
    private(set) var absorbed: [Int32] = []

    init(keys: [DataType], _ layout: AggregateLayout) { groups = GroupedAggregates(keys: keys, layout) }

    /// Bytes that sessions, keys and rows take; fixed cells of aggregates apart.
    var byteCount: Int { groups.byteCount + upperBound * MemoryLayout<Session>.stride }

    /// All bytes of memory.
    var memoryByteCount: Int { groups.memoryByteCount + upperBound * (MemoryLayout<Session>.stride + 8) }

    @inline(__always)
    subscript(id: Int32) -> Session { sessions[id] }

    /// Whether the number is that of a session. O(1).
    func contains(_ id: Int32) -> Bool { sessions[id].group >= 0 }

    /// The session that a number given by `place` now stands for. O(1) as a rule.
    func root(_ id: Int32) -> Int32 {
        var id = id
        while sessions[id].group < 0 { id = sessions[id].next }
        return id
    }

    // MARK: Putting in

    /// Unites spans with the sessions that they touch; those that touch none are new sessions.
    ///
    /// Call ``settle()`` before anything is put into the aggregates.
    /// - Returns: each span's session.
    func place(_ keys: [Column], starts: Values<Int64>, ends: Values<Int64>, count: Int) -> [Int32] {
        created.removeAll(keepingCapacity: true)
        advanced.removeAll(keepingCapacity: true)
        var targets = groups.table.findOrInsert(keys, count: count)
        latest.grow(to: groups.table.upperBound)
        reserve(count)
        trackLatest(targets)
        targets.withUnsafeMutableBufferPointer { targets in
            starts.withUnsafeBufferPointer { starts in
                ends.withUnsafeBufferPointer { ends in
                    for i in 0..<count { targets[i] = place(targets[i], starts[i], ends[i]) }
                }
            }
            if !absorbed.isEmpty {
                for i in 0..<count { targets[i] = root(targets[i]) }
            }
        }
        if let tracking { tracking.table.willChange(created.filter { contains($0) }, tracking.rows) }
        return targets
    }

    /// Says that the latest sessions of groups are about to change: they are what rows belong to as a rule.
    private func trackLatest(_ groups: [Int32]) {
        guard let tracking else { return }
        var ids: [Int32] = []
        ids.reserveCapacity(groups.count)
        for group in groups where latest[group] >= 0 { ids.append(latest[group]) }
        tracking.table.willChange(ids, tracking.rows)
    }

    @inline(__always)
    private func place(_ group: Int32, _ start: Int64, _ end: Int64) -> Int32 {
        let last = latest[group]
        guard last >= 0 else { return insert(group, behind: -1, before: -1, start, end) }
        let session = sessions.base + Int(last)
        guard start >= session.pointee.start else { return placeEarlier(group, start, end) }
        // No earlier session reaches to where this one starts.
        guard start <= session.pointee.end else { return insert(group, behind: last, before: -1, start, end) }
        if end > session.pointee.end { session.pointee.end = end }
        return last
    }

    /// A span that starts before its group's latest session: it may touch any number of sessions, which become one.
    private func placeEarlier(_ group: Int32, _ start: Int64, _ end: Int64) -> Int32 {
        var next: Int32 = -1
        var candidate = latest[group]
        while candidate >= 0, sessions[candidate].start > end {
            next = candidate
            candidate = sessions[candidate].previous
        }
        guard candidate >= 0, sessions[candidate].end >= start else {
            return insert(group, behind: candidate, before: next, start, end)
        }
        // The earliest one that it touches stays: in aggregates that depend on order its rows come first.
        let lastTouched = candidate
        while sessions[candidate].previous >= 0, sessions[sessions[candidate].previous].end >= start {
            candidate = sessions[candidate].previous
        }
        if let tracking { tracking.table.willChange(candidate, tracking.rows) }
        let kept = sessions.base + Int(candidate)
        kept.pointee.end = max(end, sessions[lastTouched].end)
        var other = candidate == lastTouched ? -1 : kept.pointee.next
        kept.pointee.next = next
        while other >= 0 {
            if let tracking { tracking.table.willRemove(other, tracking.rows) }
            let session = sessions.base + Int(other)
            let following = other == lastTouched ? -1 : session.pointee.next
            session.pointee.group = -1
            session.pointee.next = candidate
            absorbed.append(other)
            other = following
        }
        if next >= 0 { sessions.base[Int(next)].previous = candidate } else { latest[group] = candidate }
        if start < kept.pointee.start {
            kept.pointee.start = start
            advanced.append(candidate)
        }
        return candidate
    }

    private func insert(
        _ group: Int32, behind previous: Int32, before next: Int32, _ start: Int64, _ end: Int64
    ) -> Int32 {
        let id: Int32
        if let last = free.popLast() {
            id = last
        } else {
            id = Int32(truncatingIfNeeded: upperBound)
            upperBound += 1
        }
        count += 1
        let session = sessions.base + Int(id)
        session.pointee = Session(
            group: group, previous: previous, next: next, stamp: session.pointee.stamp &+ 1, start: start, end: end)
        if previous >= 0 { sessions.base[Int(previous)].next = id }
        if next >= 0 { sessions.base[Int(next)].previous = id } else { latest[group] = id }
        created.append(id)
        return id
    }

    private func reserve(_ more: Int) {
        let needed = upperBound + max(0, more - free.count)
        guard needed > capacity else { return }
        capacity = max(needed, capacity * 2, 64)
        sessions.grow(to: capacity)
        groups.grow(to: capacity)
    }

    /// Adds the aggregates of absorbed sessions to those that absorbed them and gives their numbers free.
    func settle() {
        guard !absorbed.isEmpty else { return }
        let roots = absorbed.map { root($0) }
        absorbed.withUnsafeBufferPointer { absorbed in
            let states = groups.states(absorbed)
            roots.withUnsafeBufferPointer { groups.merge(states[...], $0) }
            groups.clear(absorbed)
        }
        free += absorbed
        count -= absorbed.count
        absorbed.removeAll(keepingCapacity: true)
    }

    /// Gives a session another stamp: entries of a ``DeadlineHeap`` mean it no longer.
    func restamp(_ id: Int32) { sessions.base[Int(id)].stamp &+= 1 }

    // MARK: Taking out

    /// Takes sessions out, and groups that have none left. O(sessions).
    func remove(_ ids: UnsafeBufferPointer<Int32>) {
        if let tracking { tracking.table.willRemove(ids, tracking.rows) }
        for id in ids {
            let session = sessions[id]
            if session.previous >= 0 { sessions.base[Int(session.previous)].next = session.next }
            if session.next >= 0 {
                sessions.base[Int(session.next)].previous = session.previous
            } else {
                latest[session.group] = session.previous
                if session.previous < 0 { groups.table.remove(session.group) }
            }
            sessions.base[Int(id)].group = -1
        }
        groups.clear(ids)
        count -= ids.count
        free += ids
        if count == 0 { reset() }
    }

    /// Takes everything out. O(sessions).
    func removeAll() {
        let ids = liveIDs(0..<upperBound)
        for id in ids {
            latest[sessions[id].group] = -1
            sessions.base[Int(id)].group = -1
        }
        ids.withUnsafeBufferPointer { groups.clear($0) }
        groups.table.removeAll()
        reset()
    }

    private func reset() {
        free = []
        upperBound = 0
        count = 0
    }

    // MARK: Reading

    /// The numbers of all sessions in `range`, ascending. O(range).
    func liveIDs(_ range: Range<Int>) -> [Int32] {
        range.compactMap { id in
            let id = Int32(truncatingIfNeeded: id)
            return contains(id) ? id : nil
        }
    }

    /// Starts, ends and group columns of sessions.
    func columns(_ ids: UnsafeBufferPointer<Int32>) -> (starts: Column, ends: Column, keys: [Column]) {
        let keys = ids.map { sessions[$0].group }
        return (
            Column(.timestamp, .int64(sessions.values(ids) { $0.start })),
            Column(.timestamp, .int64(sessions.values(ids) { $0.end })), groups.table.keys.columns(keys)
        )
    }
}
