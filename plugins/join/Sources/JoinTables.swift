import DataflowOperator

/// The rows of both inputs that are held, the numbers of their keys, and the pairs that are on their way out.
final class JoinTables {
    private let plan: JoinPlan
    private let context: OperatorContext
    private let joinedRows: JoinedRows
    private let keys: GroupTable
    /// By key: rows of both sides.
    private var counts: [Int32] = []
    let sides: [JoinSide]
    private var left: [Int32] = []
    private var right: [Int32] = []

    init(_ plan: JoinPlan, byKey: Bool, _ context: OperatorContext) {
        self.plan = plan
        self.context = context
        let stored = plan.stored(context.mainColumns)
        joinedRows = JoinedRows(plan, stored: stored, context)
        keys = GroupTable(plan.keys[0].map { plan.inputs[0].fields[$0].type })
        sides = [0, 1].map { side in
            guard let time = stored[side].firstIndex(of: plan.times[side]) else {
                preconditionFailure("the event time is not among the columns that are held")
            }
            return JoinSide(
                JoinTables.names[side], stored[side].map { plan.inputs[side].fields[$0] }, stored: stored[side],
                time: time, byKey: byKey)
        }
        left.reserveCapacity(RecordBatch.defaultRowCount)
        right.reserveCapacity(RecordBatch.defaultRowCount)
    }

    var heldRows: [Int] { sides.map(\.rows.count) }
    /// Bytes of memory.
    var stateByteCount: Int {
        sides.reduce(keys.byteCount(beforeAdding: 1 << 14) + 4 * counts.count) { $0 + $1.stateByteCount }
    }
    /// Numbers of keys are below this.
    var keyBound: Int { keys.upperBound }

    // MARK: In

    /// Takes in the rows of a batch that can still match; the others are sent to their ports and counted.
    ///
    /// - Parameter firstWindows: for the rows' times and, where some are behind, their marks (`Int64.min`: not behind): the
    ///   start of the first window that counts each, or `Int64.max` where the row is late. Called once a batch.
    /// - Returns: their numbers.
    func take(
        _ batch: RecordBatch, side: Int, _ output: inout OutputBuffer,
        firstWindows: (_ times: Values<Int64>, _ marks: Values<Int64>?) -> [Int64]
    ) -> [Int32] {
        var rows = batch
        let time = plan.times[side]
        if let validity = rows.columns[time].validity, validity.setCount < rows.rowCount {
            var errors = ErrorRows(context)
            errors.append(
                rows.filter(~validity), code: "missing_time",
                reason: "\(rows.schema.fields[time].name) is null, expected the event's time")
            output.emit(errors.finish(), to: .errors)
            rows = rows.filter(validity)
        }
        let errors = batch.rowCount - rows.rowCount
        var windows = rows.columns[time].int64Values.map { firstWindows($0, rows.splitWatermark) } ?? []
        var late = 0
        if windows.contains(.max) {
            let inTime = Bitmap(count: rows.rowCount) { windows[$0] != .max }
            output.emit(rows.filter(~inTime), to: OutputPort(index: side + 1))
            late = rows.rowCount - inTime.setCount
            rows = rows.filter(inTime)
            windows.removeAll { $0 == .max }
        }
        let timely = rows.rowCount
        var known = JoinSide.hasKey(plan.keys[side].map { rows.columns[$0] })
        if !plan.isPreserved(side), let bits = known {
            // Null equals nothing, and nobody asks for rows without a match.
            rows = rows.filter(bits)
            windows = windows.enumerated().filter { bits[$0.offset] }.map(\.element)
            known = nil
        }
        context.counters.add(
            filtered: timely - rows.rowCount, aggregated: rows.rowCount, late: late, errors: errors)
        let columns = sides[side].stored.map { rows.columns[$0] }
        return insert(columns, plan.keys[side].map { rows.columns[$0] }, known, windows, side: side)
    }

    private func insert(
        _ columns: [Column], _ keyColumns: [Column], _ known: Bitmap?, _ windows: [Int64], side: Int,
        matched: Bitmap? = nil
    ) -> [Int32] {
        let count = windows.count
        guard count > 0 else { return [] }
        let hashes = RowHash.hashes(keyColumns, count: count)
        var groups: [Int32]
        if let known {
            groups = [Int32](repeating: -1, count: count)
            let indices = known.setIndices
            let found = keys.findOrInsert(keyColumns.map { $0.take(indices) }, count: indices.count)
            for i in 0..<found.count { groups[Int(indices[i])] = found[i] }
        } else {
            groups = keys.findOrInsert(keyColumns, count: count, hashes: hashes)
        }
        while counts.count < keys.upperBound { counts.append(0) }
        for group in groups where group >= 0 { counts[Int(group)] += 1 }
        return sides[side].insert(
            columns, hashes: hashes, groups: groups, groupBound: keys.upperBound, firstWindows: windows,
            matched: matched)
    }

    // MARK: Out

    /// Adds a pair that may match. True when there are so many that they should be sent.
    func add(_ l: Int32, _ r: Int32) -> Bool {
        left.append(l)
        right.append(r)
        return left.count == RecordBatch.defaultRowCount
    }

    /// Tests the pairs that were added, notes which rows have matched, and sends the pairs on.
    func flush(_ output: inout OutputBuffer, window: (start: Int64, end: Int64)? = nil) {
        guard !left.isEmpty else { return }
        var joined = joined(left, right, window)
        let selected = joinedRows.select(joined, &output)?.rows
        if let selected { joined = joined.filter(selected) }
        if plan.isPreserved(0) { sides[0].match(left, selected) }
        if plan.isPreserved(1) { sides[1].match(right, selected) }
        left.removeAll(keepingCapacity: true)
        right.removeAll(keepingCapacity: true)
        joinedRows.emit(joined, &output)
    }

    /// Sends rows of one side that have no match.
    func emit(
        unmatched ids: [Int32], side: Int, _ output: inout OutputBuffer, window: (start: Int64, end: Int64)? = nil
    ) {
        guard !ids.isEmpty else { return }
        let none = [Int32](repeating: 0, count: ids.count)
        joinedRows.emit(side == 0 ? joined(ids, none, window) : joined(none, ids, window), &output)
    }

    private func joined(_ left: [Int32], _ right: [Int32], _ window: (start: Int64, end: Int64)?) -> RecordBatch {
        joinedRows.joined(
            sides[0].rows.columns(left), sides[1].rows.columns(right), window: window, count: left.count)
    }

    /// Lets rows go that were taken out of the side's indexes, and keys without rows.
    func free(_ ids: [Int32], side: Int) {
        for id in ids {
            let group = sides[side].tags[Int(id)].group
            guard group >= 0 else { continue }
            counts[Int(group)] -= 1
            if counts[Int(group)] == 0 { keys.remove(group) }
        }
        sides[side].free(ids)
        if keys.count == 0, counts.count > 4096 {
            counts = []
            for side in sides { side.forgetKeys() }
        }
    }

    // MARK: State

    private static let names = ["left", "right"]

    /// - Parameter upTo: how far the join has come: rows before it are late, or windows that start before it are closed.
    func snapshot(progress upTo: Int64) -> StateSnapshot {
        sides.map { $0.snapshot() } + [.progress(upTo)]
    }

    func continueSnapshot(until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot) -> Progress {
        for side in sides where side.continueSnapshot(until: deadline, into: &snapshot) == .more { return .more }
        return .done
    }

    /// - Returns: how far the join had come.
    func restore(_ snapshot: StateSnapshot) throws(OperatorError) -> Int64 {
        for side in [0, 1] {
            let fields = sides[side].stored.map { plan.inputs[side].fields[$0] }
            for batch in try snapshot.batches(JoinTables.names[side], JoinSide.state(fields)) {
                let columns = Array(batch.columns.dropFirst(3))
                let keyColumns = plan.keys[side].compactMap { sides[side].stored.firstIndex(of: $0) }.map {
                    columns[$0]
                }
                _ = insert(
                    columns, keyColumns, JoinSide.hasKey(keyColumns), batch.columns[1].int64Values?.array ?? [],
                    side: side, matched: batch.columns[2].boolValues)
            }
        }
        return snapshot.progress
    }
}
