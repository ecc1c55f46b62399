import DataflowOperator

/// Merges partial states of groups for ever and tells what has changed.
final class GlobalAggregation: FinalStage {
    private let context: OperatorContext
    private let global: GlobalGroups
    private let groupCount: Int
    private let state: GroupState
    private let expiry: GroupExpiry?
    private let table: IncrementalTable

    init(_ shape: PartialShape, _ config: WindowAggConfig, _ context: OperatorContext) {
        self.context = context
        global = GlobalGroups(shape.groupFields, shape.layout, config, context)
        groupCount = shape.groupFields.count
        state = GroupState(shape.groupFields, shape.layout)
        expiry = config.stateTTL.map { GroupExpiry($0, context) }
        let schema = expiry == nil ? state.schema : Schema(state.schema.fields + [GroupExpiry.field])
        table = IncrementalTable("groups", distribution: .keyGroup(column: 0), schema)
    }

    func open(restoring snapshot: StateSnapshot) throws(OperatorError) {
        // `state_ttl` may come and go with a restart.
        let timed = Schema(state.schema.fields + [GroupExpiry.field])
        let isTimed = snapshot["groups"]?.batches.first?.schema.names == timed.names
        for batch in try snapshot.batches("groups", isTimed ? timed : state.schema) {
            let count = state.schema.fields.count
            let groups = RecordBatch(state.schema, Array(batch.columns.prefix(count)), rowCount: batch.rowCount)
            let ids = state.restore(groups, into: global.groups)
            table.willChange(ids, rows)
            ids.withUnsafeBufferPointer { ids in
                global.markEmitted(ids)
                expiry?.restore(
                    ids, isTimed ? batch.columns[count].int64Values : nil, upperBound: global.groups.table.upperBound)
            }
        }
        makeOnlyGroup()
    }

    func process(_ batch: RecordBatch, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        context.counters.add(aggregated: batch.rowCount)
        let ids = global.groups.groups(Array(batch.columns.prefix(groupCount)), count: batch.rowCount)
        ids.withUnsafeBufferPointer { ids in
            table.willChange(ids, rows)
            global.groups.merge(batch.columns[groupCount...], ids)
            global.touch(ids)
            expiry?.touch(ids, upperBound: global.groups.table.upperBound)
        }
        return .done
    }

    /// Forgets groups that have had no row for `state_ttl`; those with a change that was not told stay until it is.
    private func forgetExpired() {
        guard let expiry else { return }
        let expired = expiry.expired { global.isChanged($0) }
        guard !expired.isEmpty else { return }
        expired.withUnsafeBufferPointer { expired in
            table.willRemove(expired, rows)
            expiry.forget(expired)
            global.forget(expired)
        }
    }

    /// An updating stream has no event time.
    func advance(to watermark: Watermark, into output: inout OutputBuffer) -> Progress { .done }
    func resume(into output: inout OutputBuffer) -> Progress { global.resume(into: &output) }
    func tick(into output: inout OutputBuffer) -> Progress {
        forgetExpired()
        return global.tick(into: &output)
    }
    func prepareSnapshot(into output: inout OutputBuffer) -> Progress { global.emitChanges(into: &output) }
    func finish(into output: inout OutputBuffer) -> Progress { global.emitChanges(into: &output) }

    func snapshot() -> StateSnapshot { [table.snapshot(rows)] }

    func continueSnapshot(until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot) -> Progress {
        table.proceed(until: deadline, into: &snapshot, rows)
    }

    /// The group that is there without rows.
    private func makeOnlyGroup() {
        if let only = global.makeOnlyGroup() { table.willChange([only], rows) }
    }

    private func rows(_ ids: UnsafeBufferPointer<Int32>) -> RecordBatch {
        let batch = state.batch(global.groups, ids)
        guard let expiry else { return batch }
        return RecordBatch(table.schema, batch.columns + [expiry.column(Array(ids))], rowCount: batch.rowCount)
    }
}
