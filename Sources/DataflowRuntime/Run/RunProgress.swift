import DataflowCheckpoint
import DataflowOperator
import Synchronization

/// Where a run stands, for a display; taken at any time from any thread. Cheap.
public struct RunProgress: Sendable {
    public enum Phase: Sendable {
        /// Fence, restore, operators opening.
        case starting
        case running
        /// A stop or drain is under way.
        case stopping
        /// Failed; starts again after the pause.
        case restarting(RunError, after: Duration)
        case over
    }

    /// One node, local stages counted apart.
    public struct Node: Sendable {
        public var name: String
        public var type: String
        public var role: OperatorInfo.Role
        public var rowsIn: Int
        public var rowsOut: Int
        public var errorRows: Int
        public var filtered: Int
        public var aggregated: Int
        public var late: Int
        /// Bytes of state written to spill files.
        public var spilledBytes: Int
        public var backpressure: Duration
        /// µs since 1970; nil without event time.
        public var watermark: Int64?
    }

    public var phase: Phase
    /// Since `run()` was called.
    public var elapsed: Duration
    public var restarts: Int
    /// Rows that the sources have emitted in this attempt.
    public var sourceRows: Int
    public var nodes: [Node]
    public var checkpoints: RuntimeMetrics.CheckpointMetrics
    /// What the run started from.
    public var restoredFrom: CheckpointID?
    public var generation: UInt64?
}

extension RunProgress.Node {
    init(_ metrics: NodeMetrics) {
        name = metrics.name
        type = metrics.type
        role = metrics.role
        rowsIn = metrics.rowsIn.load(ordering: .relaxed)
        rowsOut = metrics.rowsOut.load(ordering: .relaxed)
        errorRows = metrics.errorRows.load(ordering: .relaxed)
        filtered = metrics.counters.filtered.load(ordering: .relaxed)
        aggregated = metrics.counters.aggregated.load(ordering: .relaxed)
        spilledBytes = metrics.counters.spilledBytes.load(ordering: .relaxed)
        late = metrics.counters.late.load(ordering: .relaxed)
        backpressure = .nanoseconds(metrics.backpressureNanoseconds.load(ordering: .relaxed))
        let time = metrics.watermark.load(ordering: .relaxed)
        watermark = time == .min ? nil : time
    }
}
