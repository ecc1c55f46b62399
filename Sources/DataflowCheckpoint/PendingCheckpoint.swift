import DataflowOperator

/// What one task hands over for a checkpoint: where the state of its nodes lies, and what its sinks have to commit.
public struct TaskAcknowledgement: Equatable, Sendable {
    public var task: TaskID
    public var nodes: [CheckpointManifest.Node]

    public init(task: TaskID, nodes: [CheckpointManifest.Node]) {
        self.task = task
        self.nodes = nodes
    }

    /// Whether a sink of this task has something to commit once the manifest is durable.
    public var needsCommit: Bool { nodes.contains { !$0.committables.isEmpty } }
}

/// A checkpoint that not every task has acknowledged yet.
public struct PendingCheckpoint: Equatable, Sendable {
    /// What became of an acknowledgement. All but `recorded` are normal (a task may be slow) and need no more than a log line.
    public enum Reception: Equatable, Sendable {
        case recorded
        /// This task has acknowledged before.
        case duplicate
        /// No such task takes part.
        case unknown
        /// It is for another checkpoint, which is complete or never was.
        case discarded
    }

    public let barrier: CheckpointBarrier
    public private(set) var missing: Set<TaskID>
    public private(set) var acknowledgements: [TaskAcknowledgement] = []

    /// - Parameter tasks: every task of the run; at least one.
    public init(_ barrier: CheckpointBarrier, tasks: Set<TaskID>) {
        precondition(!tasks.isEmpty, "checkpoint \(barrier.id) of no tasks")
        self.barrier = barrier
        missing = tasks
    }

    public var id: CheckpointID { barrier.id }
    public var isComplete: Bool { missing.isEmpty }

    /// The tasks whose sinks have something to commit.
    public var committers: Set<TaskID> { Set(acknowledgements.lazy.filter(\.needsCommit).map(\.task)) }

    public mutating func acknowledge(_ acknowledgement: TaskAcknowledgement, for id: CheckpointID) -> Reception {
        guard id == barrier.id else { return .discarded }
        guard missing.remove(acknowledgement.task) == nil else {
            acknowledgements.append(acknowledgement)
            return .recorded
        }
        return acknowledgements.contains { $0.task == acknowledgement.task } ? .duplicate : .unknown
    }

    /// The nodes of all acknowledgements, the parts of a node's subtasks put together, ordered by name.
    public var nodes: [CheckpointManifest.Node] {
        var byName: [String: CheckpointManifest.Node] = [:]
        for acknowledgement in acknowledgements.sorted(by: { $0.task < $1.task }) {
            for node in acknowledgement.nodes {
                if byName[node.name]?.merge(node) == nil { byName[node.name] = node }
            }
        }
        return byName.values.sorted { $0.name < $1.name }
    }
}
