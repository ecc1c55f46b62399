import DataflowOperator

/// Answers each left row with the right row of its key that is current when it arrives.
final class LookupJoin: JoinStage {
    private let plan: JoinPlan
    private let context: OperatorContext
    private let stored: [[Int]]
    private let joinedRows: JoinedRows
    private let keys: GroupTable
    /// The right rows: that of key `k` is number `k + 1`; number 0 reads as nulls.
    private let rows: RowStore
    private let block: RowBlock
    private let table: IncrementalTable
    private let hasEventTime: Bool

    init(_ plan: JoinPlan, _ context: OperatorContext) {
        self.plan = plan
        self.context = context
        stored = plan.stored(context.mainColumns)
        joinedRows = JoinedRows(plan, stored: stored, context)
        let fields = stored[1].map { plan.inputs[1].fields[$0] }
        keys = GroupTable(plan.keys[1].map { plan.inputs[1].fields[$0].type })
        rows = RowStore(fields.map(\.type))
        rows.extend(to: 1)
        block = rows.makeBlock()
        table = IncrementalTable(
            "right", distribution: .keyGroup(column: 0),
            Schema([Field("key_group", .int32, nullable: false)] + fields.map { Field("row.\($0.name)", $0.type) }))
        hasEventTime = plan.output.eventTime != nil
    }

    var heldRows: [Int] { [0, rows.count] }
    var stateByteCount: Int { keys.byteCount(beforeAdding: 1 << 14) + rows.byteCount }

    func open(restoring snapshot: StateSnapshot) throws(OperatorError) {
        for batch in try snapshot.batches("right", table.schema) {
            let columns = Array(batch.columns.dropFirst())
            let keyColumns = plan.keys[1].compactMap { stored[1].firstIndex(of: $0) }.map { columns[$0] }
            update(columns, keyColumns, deletes: nil, count: batch.rowCount)
        }
    }

    func process(_ batch: RecordBatch, side: Int, into output: inout OutputBuffer) -> Progress {
        if side == 0 { answer(batch, &output) } else { keep(batch) }
        return .done
    }

    // MARK: The right side

    private func keep(_ batch: RecordBatch) {
        var batch = batch
        let count = batch.rowCount
        if let known = JoinSide.hasKey(plan.keys[1].map { batch.columns[$0] }), known.setCount < count {
            batch = batch.filter(known)
        }
        context.counters.add(filtered: count - batch.rowCount, aggregated: batch.rowCount)
        update(
            stored[1].map { batch.columns[$0] }, plan.keys[1].map { batch.columns[$0] }, deletes: batch.deletes,
            count: batch.rowCount)
    }

    private func update(_ columns: [Column], _ keyColumns: [Column], deletes: Bitmap?, count: Int) {
        guard count > 0 else { return }
        let hashes = RowHash.hashes(keyColumns, count: count)
        let ids = keys.findOrInsert(keyColumns, count: count, hashes: hashes).map { $0 + 1 }
        table.willChange(ids, read)
        var start = 0
        while start < count {
            let end = min(count, start + RowBlock.capacity)
            rows.fill(block, columns, start..<end, hashes: hashes)
            for i in start..<end {
                if let deletes, deletes[i] { rows.clear(ids[i]) } else { rows.replace(ids[i], block, i - start) }
            }
            start = end
        }
        if deletes != nil {
            let gone = ids.filter { !rows.contains($0) }
            table.willRemove(gone, read)
            for id in gone where keys.keys.contains(id - 1) { keys.remove(id - 1) }
            if keys.count == 0 {
                rows.removeAll()
                rows.extend(to: 1)
            }
        }
    }

    // MARK: The left side

    private func answer(_ batch: RecordBatch, _ output: inout OutputBuffer) {
        let keyColumns = plan.keys[0].map { batch.columns[$0] }
        let known = JoinSide.hasKey(keyColumns)
        var ids = keys.find(keyColumns, count: batch.rowCount).map { $0 + 1 }
        if let known { for i in 0..<ids.count where !known[i] { ids[i] = 0 } }
        var left = batch
        var filtered = 0
        if plan.kind == .inner, ids.contains(0) {
            let found = Bitmap(count: ids.count) { ids[$0] != 0 }
            left = batch.filter(found)
            filtered = batch.rowCount - left.rowCount
            ids.removeAll { $0 == 0 }
        }
        var joined = join(left, ids)
        var errors = 0
        if let (passed, failed) = joinedRows.select(joined, &output) {
            errors = failed.count
            if plan.kind == .inner {
                filtered += joined.rowCount - passed.setCount - errors
                joined = joined.filter(passed)
            } else {
                // As SQL's `on`: a left row whose pair is refused has no match; one that has no value is an error.
                for i in 0..<ids.count where !passed[i] { ids[i] = 0 }
                joined = join(left, ids)
                if let good = failed.succeeded { joined = joined.filter(good) }
            }
        }
        let rows = joined.rowCount
        let failed = joinedRows.emit(joined, &output)
        context.counters.add(passed: rows - failed, filtered: filtered, errors: errors + failed)
    }

    /// The rows with those of these numbers beside them; marks of lateness stay with the left rows.
    private func join(_ left: RecordBatch, _ ids: [Int32]) -> RecordBatch {
        let joined = joinedRows.joined(stored[0].map { left.columns[$0] }, rows.columns(ids), count: left.rowCount)
        return joined.withSplit(-1, splitWatermark: left.splitWatermark)
    }

    // MARK: Time and state

    func advance(to watermark: Watermark, into output: inout OutputBuffer) -> Progress {
        if hasEventTime { output.emit(watermark) }
        return .done
    }

    func resume(into output: inout OutputBuffer) -> Progress { .done }
    func finish(into output: inout OutputBuffer) -> Progress { .done }

    func snapshot() -> StateSnapshot { [table.snapshot(read)] }

    func continueSnapshot(until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot) -> Progress {
        table.proceed(until: deadline, into: &snapshot, read)
    }

    private func read(_ ids: UnsafeBufferPointer<Int32>) -> RecordBatch {
        RecordBatch(table.schema, [JoinSide.keyGroups(ids, rows)] + rows.columns(ids), rowCount: ids.count)
    }
}
