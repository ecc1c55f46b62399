import DataflowOperator
import Logging

extension OperatorContext {
    /// A context as the runtime would make it, for an operator that a test drives by hand.
    ///
    /// - Parameters:
    ///   - stateDirectory: where the operator may keep files; a test that needs one makes and removes it.
    ///   - restored: the checkpoint that a sink is told to start from.
    public static func testing(
        node: String = "node", subtask: Int = 0, parallelism: Int = 1, inputs: [Stream] = [], outputs: [Stream] = [],
        usedColumns: ColumnSet = .all, lineage: String = "test-lineage", generation: UInt64 = 1,
        restored: RestoredCheckpoint? = nil, stateDirectory: String = "/nonexistent", exactlyOnce: Bool = true,
        logger: Logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() },
        clock: any RuntimeClock = ManualClock(), memory: MemoryBudget? = nil
    ) -> OperatorContext {
        OperatorContext(
            pipeline: "test", node: node, subtask: subtask, parallelism: parallelism, inputs: inputs, outputs: outputs,
            usedColumns: usedColumns, lineage: lineage, generation: generation, restored: restored,
            stateDirectory: stateDirectory, exactlyOnce: exactlyOnce, logger: logger, clock: clock,
            memory: memory)
    }
}

extension [StateTable] {
    /// The same tables after being written to a checkpoint and read back, as a restart sees them.
    public func throughCheckpoint() throws -> StateSnapshot {
        try map { table in
            var copy = table
            copy.batches = try table.batches.map { try RecordBatchCoder.decode(RecordBatchCoder.encode($0)) }
            return copy
        }
    }
}
