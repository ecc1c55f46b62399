import DataflowOperator

/// What has been told downstream of each open session, and what of that no longer holds: for updating results.
///
/// 24 bytes a session. A row's key is its start, its end and its group; a session that grows gets another one, and the
/// row under the old key must be deleted.
struct SessionLedger: ~Copyable {
    private struct Entry {
        var start: Int64 = 0
        /// `.min`: nothing has been told.
        var end = Int64.min
        var isChanged = false
    }

    /// The key of a row that was told.
    struct Row {
        var group: Int32
        var start: Int64
        var end: Int64
    }

    /// What a checkpoint keeps besides the session.
    static let fields = [Field("told_start", .timestamp), Field("told_end", .timestamp)]

    private var entries = Cells(Entry())
    private var changed: [Int32] = []
    private var replaced: [Row] = []

    var hasChanges: Bool { !changed.isEmpty || !replaced.isEmpty }
    /// Whether rows of sessions that are no more wait for their delete.
    var hasReplaced: Bool { !replaced.isEmpty }

    /// Whether the session has changed since it was told.
    func isChanged(_ id: Int32) -> Bool { entries[id].isChanged }
    /// Whether there is something to tell of the session.
    func isUntold(_ id: Int32) -> Bool { entries[id].end == .min || entries[id].isChanged }

    /// Takes note of what the last call of ``SessionTable/place(_:starts:ends:count:)`` has created and absorbed; before
    /// ``SessionTable/settle()``.
    mutating func note(_ table: SessionTable) {
        entries.grow(to: table.upperBound)
        for id in table.created { entries[id] = Entry() }
        for id in table.absorbed where entries[id].end != .min {
            replaced.append(
                Row(group: table[table.root(id)].group, start: entries[id].start, end: entries[id].end))
        }
    }

    /// Says that sessions have changed.
    /// - Parameter onlyTold: leaves out those of which nothing has been told yet.
    mutating func touch(_ ids: [Int32], onlyTold: Bool) {
        let base = entries.base
        for id in ids where !base[Int(id)].isChanged && !(onlyTold && base[Int(id)].end == .min) {
            base[Int(id)].isChanged = true
            changed.append(id)
        }
    }

    /// Sessions that have changed, some of which may be gone or have been told.
    mutating func takeChanged() -> [Int32] {
        defer { changed = [] }
        return changed
    }

    mutating func takeReplaced(_ limit: Int) -> [Row] {
        let rows = Array(replaced.suffix(limit))
        replaced.removeLast(rows.count)
        return rows
    }

    /// What was told of the session is to be deleted; it counts as never told.
    mutating func retract(_ id: Int32, group: Int32) {
        replaced.append(Row(group: group, start: entries[id].start, end: entries[id].end))
        entries[id] = Entry()
    }

    /// The keys under which these sessions were told, where those are others now.
    func replaced(_ ids: [Int32], _ table: SessionTable) -> [Row] {
        ids.compactMap { id in
            let entry = entries[id]
            let session = table[id]
            guard entry.end != .min, entry.start != session.start || entry.end != session.end else { return nil }
            return Row(group: session.group, start: entry.start, end: entry.end)
        }
    }

    /// These sessions have been told as they are.
    func told(_ ids: [Int32], _ table: SessionTable) {
        for id in ids { entries[id] = Entry(start: table[id].start, end: table[id].end) }
    }

    // MARK: State

    func columns(_ ids: UnsafeBufferPointer<Int32>) -> [Column] {
        let validity = entries.validity(ids) { $0.end != .min }
        return [
            Column(.timestamp, .int64(entries.values(ids) { $0.start }), validity: validity),
            Column(.timestamp, .int64(entries.values(ids) { $0.end == .min ? 0 : $0.end }), validity: validity),
        ]
    }

    func restore(_ ids: [Int32], _ columns: ArraySlice<Column>) {
        guard let starts = columns.first?.int64Values, let ends = columns.last?.int64Values else { return }
        let validity = columns.first?.validity
        for (row, id) in ids.enumerated() where validity?[row] ?? true {
            entries[id] = Entry(start: starts[row], end: ends[row])
        }
    }
}
