import DataflowOperator

/// Groups for ever, and what of them the stream behind has not yet been told.
final class GlobalGroups {
    private(set) var groups: GroupedAggregates
    private let keys: [DataType]
    private let output: Schema
    private let hasKeys: Bool
    private let context: OperatorContext
    let emit: Duration
    /// Bit 0: changed since it was last emitted; bit 1: emitted.
    private(set) var flags: [UInt8] = []
    private var changed: [Int32] = []
    private var emitting: [Int32] = []
    private var position = 0
    private var lastEmission: ContinuousClock.Instant?
    private var isTickPending = false

    init(_ groupFields: [Field], _ layout: AggregateLayout, _ config: WindowAggConfig, _ context: OperatorContext) {
        keys = groupFields.map(\.type)
        groups = GroupedAggregates(keys: keys, layout)
        output = context.outputs[0].schema
        hasKeys = !groupFields.isEmpty
        emit = if case .every(let interval) = config.emission { interval } else { .zero }
        self.context = context
    }

    /// Without `group_by` there is one group from the start, as in SQL: its row says that there were no rows.
    /// - Returns: its number, if it has been made.
    @discardableResult
    func makeOnlyGroup() -> Int32? {
        guard !hasKeys, groups.count == 0 else { return nil }
        let ids = groups.groups([], count: 1)
        ids.withUnsafeBufferPointer { touch($0) }
        return ids[0]
    }

    /// Bytes of memory, with what it takes to put the groups in order.
    var memoryByteCount: Int { groups.memoryByteCount + flags.count + changed.count * 4 + groups.count * 4 }

    /// Lets all groups go, as if none had ever been; their memory with them.
    func removeAll() {
        groups = GroupedAggregates(keys: keys, groups.layout)
        flags = []
        changed = []
    }

    /// Says that groups have changed; asks for a tick.
    func touch(_ ids: UnsafeBufferPointer<Int32>) {
        reserve()
        flags.withUnsafeMutableBufferPointer { flags in
            for id in ids where flags[Int(id)] & 1 == 0 {
                flags[Int(id)] |= 1
                changed.append(id)
            }
        }
        requestTick()
    }

    private func requestTick() {
        guard !isTickPending, !changed.isEmpty else { return }
        isTickPending = true
        context.tick.request(at: nextEmission)
    }

    /// When results may next be told.
    var nextEmission: ContinuousClock.Instant {
        let now = context.clock.now
        return lastEmission.map { max(now, $0.advanced(by: emit)) } ?? now
    }

    /// Whether a change of the group has not been told.
    func isChanged(_ id: Int32) -> Bool { flags[Int(id)] & 1 != 0 }

    /// Lets groups go that have no untold change, without a delete; a later row begins them anew.
    func forget(_ ids: UnsafeBufferPointer<Int32>) {
        for id in ids { flags[Int(id)] = 0 }
        groups.remove(ids)
    }

    /// Says that groups are known downstream as they are: they come from a checkpoint.
    func markEmitted(_ ids: UnsafeBufferPointer<Int32>) {
        reserve()
        for id in ids { flags[Int(id)] = 2 }
    }

    private func reserve() {
        let bound = groups.table.upperBound
        if flags.count < bound { flags += repeatElement(0, count: bound - flags.count) }
    }

    func tick(into output: inout OutputBuffer) -> Progress {
        isTickPending = false
        guard nextEmission <= context.clock.now else {
            requestTick()
            return .done
        }
        return emitChanges(into: &output)
    }

    /// Sends all changes; continue with ``resume(into:)``.
    func emitChanges(into output: inout OutputBuffer) -> Progress {
        lastEmission = context.clock.now
        emitting = changed
        changed = []
        position = 0
        return resume(into: &output)
    }

    func resume(into output: inout OutputBuffer) -> Progress {
        while position < emitting.count {
            if output.isFull { return .more }
            let end = min(emitting.count, position + RecordBatch.defaultRowCount)
            emit(Array(emitting[position..<end]), &output)
            position = end
        }
        emitting = []
        position = 0
        return .done
    }

    private func emit(_ ids: [Int32], _ output: inout OutputBuffer) {
        var told: [Int32] = []
        var gone: [Int32] = []
        var isDelete: [Bool] = []
        for id in ids {
            let isDead = hasKeys && groups.rowCount(id) <= 0
            // A group that came and went between two emissions was never heard of.
            if !isDead || flags[Int(id)] & 2 != 0 {
                told.append(id)
                isDelete.append(isDead)
            }
            if isDead { gone.append(id) }
            flags[Int(id)] = isDead ? 0 : 2
        }
        told.withUnsafeBufferPointer {
            tell(groups, $0, deletes: gone.isEmpty ? nil : Bitmap(isDelete), &output)
        }
        if !gone.isEmpty { gone.withUnsafeBufferPointer { groups.remove($0) } }
    }

    /// Emits the results of groups, of these or of others like them.
    func tell(
        _ groups: GroupedAggregates, _ told: UnsafeBufferPointer<Int32>, deletes: Bitmap? = nil,
        _ output: inout OutputBuffer
    ) {
        let (results, problems) = groups.results(told)
        let columns = groups.table.keys.columns(told) + results
        let batch = RecordBatch(self.output, columns, rowCount: told.count, deletes: deletes)
        output.emit(batch)
        ResultReport.emit(problems, batch, groups.layout, context, &output)
    }
}

/// Tells on the errors port which results could not be given.
enum ResultReport {
    static func emit(
        _ problems: [(item: Int, ResultProblem)], _ batch: RecordBatch, _ layout: AggregateLayout,
        _ context: OperatorContext, _ output: inout OutputBuffer
    ) {
        guard !problems.isEmpty else { return }
        var rows = ErrorRows(context)
        for (index, problem) in problems {
            let item = layout.items[index]
            let row = Array(RowEvaluator.describe(batch, problem.position).utf8)
            row.withUnsafeBytes {
                rows.append(
                    code: problem.code,
                    reason: "\(item.name), \(item.text): \(problem.reason); \(problem.consequence)", raw: $0)
            }
        }
        output.emit(rows.finish(), to: .errors)
    }
}
