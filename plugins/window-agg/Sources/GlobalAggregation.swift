import DataflowOperator

/// Merges partial states of groups for ever and tells what has changed.
///
/// Where the memory budget is exceeded groups go to disk (``SpilledGroups``). From then on memory holds what came in since;
/// a result can only be told by putting together what lies on disk, so that is done as `emit` says, but for no more than a
/// fifth of the time, and not before each checkpoint: what has not been told is part of the state.
final class GlobalAggregation: FinalStage {
    private let context: OperatorContext
    private let global: GlobalGroups
    private let groupFields: [Field]
    private let groupCount: Int
    private let state: GroupState
    private let expiry: GroupExpiry?
    private var table: IncrementalTable
    private var spilled: SpilledGroups?
    /// With groups on disk: when results may be told again, and whether a tick has been asked for.
    private var nextTelling: ContinuousClock.Instant
    private var tellingSince: ContinuousClock.Instant
    private var isTickPending = false

    init(_ shape: PartialShape, _ config: WindowAggConfig, _ context: OperatorContext) {
        self.context = context
        global = GlobalGroups(shape.groupFields, shape.layout, config, context)
        groupFields = shape.groupFields
        groupCount = shape.groupFields.count
        state = GroupState(shape.groupFields, shape.layout)
        expiry = config.stateTTL.map { GroupExpiry($0, context) }
        nextTelling = context.clock.now
        tellingSince = context.clock.now
        table = GlobalAggregation.table(state, isTimed: expiry != nil)
    }

    private static func table(_ state: GroupState, isTimed: Bool) -> IncrementalTable {
        let schema = isTimed ? Schema(state.schema.fields + [GroupExpiry.field]) : state.schema
        return IncrementalTable("groups", distribution: .keyGroup(column: 0), schema)
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
        if let files = snapshot[SpilledRuns.table]?.files, !files.isEmpty { try restore(files) }
        if spilled == nil { makeOnlyGroup() }
    }

    /// Takes up groups that lie on disk: there, or in memory where there is no budget any more.
    private func restore(_ files: [StateTable.File]) throws(OperatorError) {
        if canSpill, let memory = context.memory {
            spilled = SpilledGroups(groupFields, global.groups.layout, context, memory, files: files)
            table = GlobalAggregation.table(state, isTimed: false)
            nextTelling = context.clock.now.advanced(by: global.emit)
            requestTick()
            return try spillMemory()
        }
        let lying = SpilledGroups(groupFields, global.groups.layout, context, nil, files: files)
        var changed: [Int32] = []
        try lying.readAll { keys, states, untold in
            let ids = global.groups.groups(keys, count: states.first?.count ?? 0)
            table.willChange(ids, rows)
            ids.withUnsafeBufferPointer { ids in
                global.groups.merge(states, ids)
                global.markEmitted(ids)
                expiry?.touch(ids, upperBound: global.groups.table.upperBound)
            }
            changed += untold.map { ids[Int($0)] }
        }
        changed.withUnsafeBufferPointer { global.touch($0) }
    }

    func process(_ batch: RecordBatch, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        context.counters.add(aggregated: batch.rowCount)
        let ids = global.groups.groups(Array(batch.columns.prefix(groupCount)), count: batch.rowCount)
        ids.withUnsafeBufferPointer { ids in
            guard spilled == nil else {
                global.groups.merge(batch.columns[groupCount...], ids)
                return requestTick()
            }
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

    func resume(into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        guard let spilled, spilled.isTelling else { return global.resume(into: &output) }
        let progress = try spilled.resume { groups, ids in
            global.tell(groups, ids, &output)
            return !output.isFull
        }
        if progress == .done {
            let now = context.clock.now
            nextTelling = now.advanced(by: max(global.emit, tellingSince.duration(to: now) * 4))
        }
        return progress
    }

    func tick(into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        guard spilled != nil else {
            forgetExpired()
            return global.tick(into: &output)
        }
        isTickPending = false
        guard nextTelling <= context.clock.now else {
            requestTick()
            return .done
        }
        return try tellSpilled(into: &output)
    }

    func prepareSnapshot(into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        guard spilled != nil else { return global.emitChanges(into: &output) }
        try spillMemory()
        return .done
    }

    func finish(into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        guard spilled != nil else { return global.emitChanges(into: &output) }
        return try tellSpilled(into: &output)
    }

    func snapshot() -> StateSnapshot {
        guard let spilled else { return [table.snapshot(rows)] }
        return [table.snapshot(rows), spilled.snapshot]
    }

    func continueSnapshot(until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot) -> Progress {
        table.proceed(until: deadline, into: &snapshot, rows)
    }

    // MARK: Groups on disk

    var stateByteCount: Int { global.memoryByteCount }

    /// Not with `state_ttl`: when groups on disk had their last row is not known before they are read.
    var canSpill: Bool { context.memory != nil && expiry == nil }

    func spill() throws(OperatorError) {
        // The rows of the snapshot are read soon; until then they are needed in memory.
        guard !table.isUnfinished, canSpill else { return }
        try spillMemory()
    }

    private func spillMemory() throws(OperatorError) {
        guard let memory = context.memory, global.groups.count > 0 else { return }
        if let spilled {
            try spilled.add(global.groups, flags: nil)
        } else {
            let spilled = SpilledGroups(groupFields, global.groups.layout, context, memory)
            try spilled.add(global.groups, flags: global.flags)
            self.spilled = spilled
            table = GlobalAggregation.table(state, isTimed: false)
            nextTelling = global.nextEmission
            requestTick()
        }
        global.removeAll()
        try spilled?.compact()
    }

    private func tellSpilled(into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        try spillMemory()
        tellingSince = context.clock.now
        spilled?.beginTelling()
        return try resume(into: &output)
    }

    private func requestTick() {
        guard !isTickPending else { return }
        isTickPending = true
        context.tick.request(at: max(nextTelling, context.clock.now))
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
