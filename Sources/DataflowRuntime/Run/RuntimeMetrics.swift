import DataflowCheckpoint
import DataflowOperator
import Synchronization

/// What one node (all its subtasks) has done since the run started or restarted. Added to once a batch.
public final class NodeMetrics: Sendable {
    /// The node's name; a local stage counts for itself as `node.local`.
    public let name: String
    /// The operator type.
    public let type: String
    public let role: OperatorInfo.Role
    public let parallelism: Int
    /// Rows and batches received.
    public let rowsIn = Atomic<Int>(0)
    public let batchesIn = Atomic<Int>(0)
    /// Rows, batches and bytes emitted on the main port and the extra ports, each row once whoever reads it.
    public let rowsOut = Atomic<Int>(0)
    public let batchesOut = Atomic<Int>(0)
    /// Rows emitted on the errors port.
    public let errorRows = Atomic<Int>(0)
    /// Rows emitted on a port that nobody reads: counted and dropped.
    public let droppedRows = Atomic<Int>(0)
    /// Nanoseconds that subtasks waited for room in a channel behind this node.
    public let backpressureNanoseconds = Atomic<Int>(0)
    /// The last watermark passed on, in µs since 1970; `Int64.min` before the first.
    public let watermark = Atomic<Int64>(.min)
    /// What the operator says has become of each row it received.
    public let counters = OperatorCounters()

    init(name: String, type: String, role: OperatorInfo.Role, parallelism: Int) {
        self.name = name
        self.type = type
        self.role = role
        self.parallelism = parallelism
    }
}

/// One connection of two tasks. Conservation: once the run is at rest, `rowsSent == rowsReceived`.
public final class EdgeMetrics: Sendable {
    public let from: String
    public let to: String
    public let rowsSent = Atomic<Int>(0)
    public let rowsReceived = Atomic<Int>(0)
    public let batchesSent = Atomic<Int>(0)

    package init(from: String, to: String) {
        self.from = from
        self.to = to
    }
}

/// The counters of one run (an attempt, when a failed pipeline starts again).
public final class RuntimeMetrics: Sendable {
    /// In the order of the pipeline.
    public let nodes: [NodeMetrics]
    public let edges: [EdgeMetrics]
    /// Rows that the sources have emitted together.
    public let sourceRows = Atomic<Int>(0)
    /// With a limit: what source tasks have emitted, or may emit in the poll under way.
    let claimedRows = Atomic<Int>(0)
    /// Whether the sources were told to end before their input did.
    let wasDrained = Atomic<Bool>(false)
    /// Bytes of state that tasks have handed over and the coordinator has not written yet.
    let snapshotBacklog = Atomic<Int>(0)
    private let checkpoint = Lock(CheckpointMetrics())

    /// What is known of checkpoints.
    public struct CheckpointMetrics: Hashable, Sendable {
        /// The last complete one.
        public var last: CheckpointID?
        public var lastCompletedAt: ContinuousClock.Instant?
        /// From its barrier to its completion.
        public var lastDuration: Duration?
        /// Bytes that it wrote; state that had not changed is in the files of earlier ones.
        public var lastStateBytes = 0
        /// The longest time that a task stood still at once to give its state, of all checkpoints.
        public var longestStop = Duration.zero
        public var completed = 0
        /// The one under way.
        public var inFlight: CheckpointID?

        public init() {}
    }

    init(nodes: [NodeMetrics], edges: [EdgeMetrics]) {
        self.nodes = nodes
        self.edges = edges
    }

    public var checkpoints: CheckpointMetrics { checkpoint.withLock { $0 } }

    func updateCheckpoints(_ body: (inout CheckpointMetrics) -> Void) { checkpoint.withLock { body(&$0) } }

    /// The node of that name, or nil.
    public subscript(node name: String) -> NodeMetrics? { nodes.first { $0.name == name } }

    /// Edges on which more rows were sent than received, or the other way round; empty when the run is at rest and sound.
    public var unbalancedEdges: [EdgeMetrics] {
        edges.filter { $0.rowsSent.load(ordering: .relaxed) != $0.rowsReceived.load(ordering: .relaxed) }
    }
}
