import DataflowOperator

/// Aggregates of an upsert stream: the last row of each input key counts, and is taken back when it is replaced,
/// deleted, or refused by `where`.
///
/// State is what each key's last row put in: its group and the aggregates' arguments. Groups are made again from it.
final class RetractingAggregation: FinalStage {
    private let plan: AggregationPlan
    private let evaluator: RowEvaluator
    private let context: OperatorContext
    private let global: GlobalGroups
    private let keyColumns: [Int]
    /// Positions in the key of the columns that spread the rows.
    private let sharedColumns: [Int]
    private let keys: GroupTable
    private let arguments: RowStore
    private let block: RowBlock
    private var groupOf = Cells<Int32>(-1)
    private var lastRow = Cells<Int32>(-1)
    private let table: IncrementalTable

    init(_ plan: AggregationPlan, _ config: WindowAggConfig, _ context: OperatorContext) {
        self.plan = plan
        self.context = context
        evaluator = RowEvaluator(plan, context)
        global = GlobalGroups(plan.keyFields, plan.layout, config, context)
        let input = context.inputs[0].schema
        let key = plan.inputKey ?? []
        keyColumns = key.compactMap { input.index(of: $0) }
        sharedColumns = (plan.sharedKey ?? []).compactMap { key.firstIndex(of: $0) }
        let keyFields = keyColumns.map { input.fields[$0] }
        keys = GroupTable(keyFields.map(\.type))
        let argumentTypes = plan.arguments.map(\.type) + plan.filters.map { _ in .bool }
        arguments = RowStore(argumentTypes)
        block = arguments.makeBlock()
        let schema = Schema(
            [GroupState.keyGroup] + keyFields.map { Field("key.\($0.name)", $0.type) }
                + plan.keyFields.map { Field("group.\($0.name)", $0.type) }
                + argumentTypes.enumerated().map { Field("argument.\($0)", $1) })
        table = IncrementalTable("rows", distribution: .keyGroup(column: 0), schema)
    }

    func open(restoring state: StateSnapshot) throws(OperatorError) {
        for batch in try state.batches("rows", table.schema) {
            var columns = batch.columns.dropFirst()
            let own = Array(columns.prefix(keyColumns.count))
            columns = columns.dropFirst(own.count)
            let groups = Array(columns.prefix(plan.keys.count))
            columns = columns.dropFirst(groups.count)
            let ids = keys.findOrInsert(own, count: batch.rowCount)
            grow()
            let members = putIn(
                ids, groups, Array(columns.prefix(plan.arguments.count)), Array(columns.dropFirst(plan.arguments.count))
            )
            table.willChange(ids, rows)
            members.withUnsafeBufferPointer { global.markEmitted($0) }
        }
        global.makeOnlyGroup()
    }

    private func grow() {
        groupOf.grow(to: keys.upperBound)
        lastRow.grow(to: keys.upperBound)
    }

    func process(_ batch: RecordBatch, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        let now = context.clock.wallMicroseconds
        let ids = keys.findOrInsert(keyColumns.map { batch.columns[$0] }, count: batch.rowCount)
        grow()
        // Only the last row of a key in the batch matters: nothing is told before the batch is through.
        for (row, id) in ids.enumerated() { lastRow[id] = Int32(truncatingIfNeeded: row) }
        let isLast = Bitmap(count: batch.rowCount) { lastRow[ids[$0]] == Int32(truncatingIfNeeded: $0) }
        var rows = batch.filter(isLast)
        let touched = isLast.setIndices.array.map { ids[Int($0)] }
        table.willChange(touched, self.rows)
        touched.withUnsafeBufferPointer { takeOut($0) }
        if let deletes = rows.deletes { rows = rows.filter(~deletes) }

        let (selected, refused) = evaluator.select(rows, now: now)
        evaluator.report(refused, of: rows, &output)
        let kept = selected.map { rows.filter($0) } ?? rows
        let filtered = rows.rowCount - kept.rowCount - refused.count
        let (evaluated, failed) = evaluator.evaluate(kept, now: now)
        evaluator.report(failed, of: kept, &output)
        let errors = refused.count + failed.count
        context.counters.add(
            filtered: filtered, aggregated: batch.rowCount - filtered - errors, errors: errors)

        if evaluated.rows.rowCount > 0 {
            let ids = keys.findOrInsert(
                keyColumns.map { evaluated.rows.columns[$0] }, count: evaluated.rows.rowCount)
            let members = putIn(ids, evaluated.keys, evaluated.arguments, evaluated.filters)
            members.withUnsafeBufferPointer { global.touch($0) }
        }
        let gone = touched.filter { groupOf[$0] < 0 }
        table.willRemove(gone, self.rows)
        for id in gone { keys.remove(id) }
        return .done
    }

    /// Takes back what these keys put in.
    private func takeOut(_ ids: UnsafeBufferPointer<Int32>) {
        let present = ids.filter { groupOf[$0] >= 0 }
        guard !present.isEmpty else { return }
        let columns = arguments.columns(present)
        let inputs = evaluator.inputs(
            Array(columns.prefix(plan.arguments.count)), Array(columns.dropFirst(plan.arguments.count)),
            count: present.count)
        let members = present.map { groupOf[$0] }
        members.withUnsafeBufferPointer { members in
            global.groups.retract(inputs, members)
            global.touch(members)
        }
        for id in present {
            groupOf[id] = -1
            arguments.clear(id)
        }
    }

    /// Puts rows in, one a key, and answers their groups.
    private func putIn(_ ids: [Int32], _ groups: [Column], _ values: [Column], _ filters: [Column]) -> [Int32] {
        let count = ids.count
        let members = global.groups.groups(groups, count: count)
        members.withUnsafeBufferPointer {
            global.groups.update(evaluator.inputs(values, filters, count: count), $0)
        }
        var start = 0
        while start < count {
            let end = min(count, start + RowBlock.capacity)
            arguments.fill(block, values + filters, start..<end)
            for i in start..<end {
                arguments.replace(ids[i], block, i - start)
                groupOf[ids[i]] = members[i]
            }
            start = end
        }
        return members
    }

    func advance(to watermark: Watermark, into output: inout OutputBuffer) -> Progress { .done }
    func resume(into output: inout OutputBuffer) -> Progress { global.resume(into: &output) }
    func tick(into output: inout OutputBuffer) -> Progress { global.tick(into: &output) }
    func prepareSnapshot(into output: inout OutputBuffer) -> Progress { global.emitChanges(into: &output) }
    func finish(into output: inout OutputBuffer) -> Progress { global.emitChanges(into: &output) }

    func snapshot() -> StateSnapshot { [table.snapshot(rows)] }

    var stateByteCount: Int {
        keys.byteCount(beforeAdding: 1 << 14) + arguments.byteCount + 8 * keys.upperBound + global.memoryByteCount
    }

    func continueSnapshot(until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot) -> Progress {
        table.proceed(until: deadline, into: &snapshot, rows)
    }

    private func rows(_ ids: UnsafeBufferPointer<Int32>) -> RecordBatch {
        let own = keys.keys.columns(ids)
        let hashes = RowHash.hashes(sharedColumns.map { own[$0] }, count: ids.count)
        let keyGroups = Values<Int32>(count: ids.count) { target in
            for i in 0..<target.count { target[i] = KeyGroup.of(hash: hashes[i]) }
        }
        let groups = global.groups.table.keys.columns(ids.map { groupOf[$0] })
        return RecordBatch(
            table.schema, [Column(.int32, .int32(keyGroups))] + own + groups + arguments.columns(ids),
            rowCount: ids.count)
    }
}
