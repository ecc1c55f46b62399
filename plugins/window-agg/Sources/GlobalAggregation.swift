import DataflowOperator

/// Merges partial states of groups for ever and tells what has changed.
final class GlobalAggregation: FinalStage {
    private let context: OperatorContext
    private let global: GlobalGroups
    private let groupCount: Int
    private let state: GroupState
    private var chunks = SnapshotChunks()

    init(_ shape: PartialShape, _ config: WindowAggConfig, _ context: OperatorContext) {
        self.context = context
        global = GlobalGroups(shape.groupFields, shape.layout, config, context)
        groupCount = shape.groupFields.count
        state = GroupState(shape.groupFields, shape.layout)
    }

    func open(restoring snapshot: StateSnapshot) throws(OperatorError) {
        for batch in try snapshot.batches("groups", state.schema) {
            let ids = state.restore(batch, into: global.groups)
            ids.withUnsafeBufferPointer { global.markEmitted($0) }
        }
        global.makeOnlyGroup()
    }

    func process(_ batch: RecordBatch, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        context.counters.add(aggregated: batch.rowCount)
        let ids = global.groups.groups(Array(batch.columns.prefix(groupCount)), count: batch.rowCount)
        ids.withUnsafeBufferPointer { ids in
            global.groups.merge(batch.columns[groupCount...], ids)
            global.touch(ids)
            chunks.extend(to: global.groups.table.upperBound)
            chunks.mark(ids)
        }
        return .done
    }

    /// An updating stream has no event time.
    func advance(to watermark: Watermark, into output: inout OutputBuffer) -> Progress { .done }
    func resume(into output: inout OutputBuffer) -> Progress { global.resume(into: &output) }
    func tick(into output: inout OutputBuffer) -> Progress { global.tick(into: &output) }
    func prepareSnapshot(into output: inout OutputBuffer) -> Progress { global.emitChanges(into: &output) }
    func finish(into output: inout OutputBuffer) -> Progress { global.emitChanges(into: &output) }

    func snapshot() -> StateSnapshot {
        let keys = global.groups.table.keys
        let batches = chunks.take(upperBound: keys.upperBound, generation: keys.textGeneration) {
            state.batch(global.groups, $0)
        }
        return [StateTable("groups", distribution: .keyGroup(column: 0), batches)]
    }
}
