import DataflowOperator

/// Merges partial states of groups for ever and tells what has changed.
final class GlobalAggregation: FinalStage {
    private let context: OperatorContext
    private let global: GlobalGroups
    private let groupCount: Int
    private let state: GroupState
    private let expiry: GroupExpiry?
    private var chunks = SnapshotChunks()

    init(_ shape: PartialShape, _ config: WindowAggConfig, _ context: OperatorContext) {
        self.context = context
        global = GlobalGroups(shape.groupFields, shape.layout, config, context)
        groupCount = shape.groupFields.count
        state = GroupState(shape.groupFields, shape.layout)
        expiry = config.stateTTL.map { GroupExpiry($0, context) }
    }

    func open(restoring snapshot: StateSnapshot) throws(OperatorError) {
        // `state_ttl` may come and go with a restart.
        let timed = Schema(state.schema.fields + [GroupExpiry.field])
        let isTimed = snapshot["groups"]?.batches.first?.schema.names == timed.names
        for batch in try snapshot.batches("groups", isTimed ? timed : state.schema) {
            let count = state.schema.fields.count
            let groups = RecordBatch(state.schema, Array(batch.columns.prefix(count)), rowCount: batch.rowCount)
            let ids = state.restore(groups, into: global.groups)
            ids.withUnsafeBufferPointer { ids in
                global.markEmitted(ids)
                expiry?.restore(
                    ids, isTimed ? batch.columns[count].int64Values : nil, upperBound: global.groups.table.upperBound)
            }
        }
        global.makeOnlyGroup()
    }

    func process(_ batch: RecordBatch, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        context.counters.add(aggregated: batch.rowCount)
        let ids = global.groups.groups(Array(batch.columns.prefix(groupCount)), count: batch.rowCount)
        ids.withUnsafeBufferPointer { ids in
            mark(ids)
            global.groups.merge(batch.columns[groupCount...], ids)
            global.touch(ids)
            expiry?.touch(ids, upperBound: global.groups.table.upperBound)
        }
        return .done
    }

    /// Says that groups are about to change.
    private func mark(_ ids: UnsafeBufferPointer<Int32>) {
        chunks.extend(to: global.groups.table.upperBound)
        chunks.mark(ids)
    }

    /// Forgets groups that have had no row for `state_ttl`; those with a change that was not told stay until it is.
    private func forgetExpired() {
        guard let expiry else { return }
        let expired = expiry.takeExpired { global.isChanged($0) }
        guard !expired.isEmpty else { return }
        expired.withUnsafeBufferPointer { expired in
            mark(expired)
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

    func snapshot() -> StateSnapshot {
        let keys = global.groups.table.keys
        let batches = chunks.take(upperBound: keys.upperBound, generation: keys.textGeneration) { rows($0) }
        return [StateTable("groups", distribution: .keyGroup(column: 0), batches)]
    }

    private func rows(_ range: Range<Int>) -> RecordBatch? {
        let batch = state.batch(global.groups, range)
        guard let batch, let expiry else { return batch }
        let times = expiry.column(global.groups.table.liveIDs(range))
        return RecordBatch(
            Schema(state.schema.fields + [GroupExpiry.field]), batch.columns + [times], rowCount: batch.rowCount)
    }
}
