import DataflowOperator

/// Up to where windows have closed, kept a key group: after a restore at another parallelism a subtask may hold groups of
/// several, which may have come differently far where a split was idle.
enum WindowProgress {
    private static let schema = Schema([
        GroupState.keyGroup, Field("closed_up_to", .timestamp, nullable: false),
        Field("freed_up_to", .timestamp, nullable: false),
    ])

    /// What a checkpoint says.
    struct Restored {
        var closedUpTo = Int64.min
        var freedUpTo = Int64.min
        fileprivate var closedByKeyGroup: [Int32: Int64] = [:]

        /// The first window of a key group that had not closed.
        func firstOpen(_ keyGroup: Int32, _ grid: WindowGrid) -> Int64 {
            closedByKeyGroup[keyGroup].map { grid.firstEnding(after: $0) } ?? .min
        }

        /// Rows of a state table, without the windows that had closed already for their key group.
        func entering(_ batch: RecordBatch, _ grid: WindowGrid) -> RecordBatch {
            guard closedByKeyGroup.values.contains(where: { $0 > closedUpTo }),
                let keyGroups = batch.columns[0].int32Values, let firsts = batch.columns[1].int64Values
            else { return batch }
            let bounds = closedByKeyGroup.mapValues { grid.firstEnding(after: $0) }
            let entering = Values<Int64>(count: batch.rowCount) { target in
                for i in 0..<target.count { target[i] = max(firsts[i], bounds[keyGroups[i]] ?? .min) }
            }
            return batch.replacingColumns(
                batch.schema,
                [batch.columns[0], Column(.timestamp, .int64(entering))] + batch.columns.dropFirst(2))
        }
    }

    static func read(_ snapshot: StateSnapshot) -> Restored {
        var restored = Restored()
        var freed: [Int64] = []
        for batch in snapshot["progress"]?.batches ?? [] where batch.schema == WindowProgress.schema {
            guard let keyGroups = batch.columns[0].int32Values, let closed = batch.columns[1].int64Values,
                let freedUpTo = batch.columns[2].int64Values
            else { continue }
            for row in 0..<batch.rowCount {
                restored.closedByKeyGroup[keyGroups[row]] = closed[row]
                freed.append(freedUpTo[row])
            }
        }
        restored.closedUpTo = restored.closedByKeyGroup.values.min() ?? .min
        restored.freedUpTo = freed.min() ?? .min
        return restored
    }

    /// A row a key group of this subtask.
    static func table(closedUpTo: Int64, freedUpTo: Int64, _ context: OperatorContext) -> StateTable {
        let own = (0..<KeyGroup.count).map { Int32(truncatingIfNeeded: $0) }.filter {
            KeyGroup.subtask(of: $0, parallelism: context.parallelism) == context.subtask
        }
        let columns: [Column] = [
            .int32(own), .timestamp(own.map { _ in closedUpTo }), .timestamp(own.map { _ in freedUpTo }),
        ]
        return StateTable(
            "progress", version: 2, distribution: .keyGroup(column: 0), [RecordBatch(WindowProgress.schema, columns)])
    }
}
