public import DataflowOperator

/// How a pipeline runs: which operators share a task, how many subtasks a task has, how rows travel between tasks.
///
/// A **task** is a tree of stages that runs as `parallelism` subtasks, each in one Swift task. Its first stage (the head)
/// is a source, or reads from exchanges; the others are fed by a stage of the same task, without a channel. A sink has a
/// task of its own. An **exchange** connects the subtasks of two tasks.
public struct PhysicalPlan: Sendable {
    /// One operator instance a subtask.
    public struct Stage: Sendable {
        public enum Role: Hashable, Sendable {
            case source
            case transform
            /// The local stage of the node: it runs in front of the node's exchange; its errors and extra ports are the
            /// node's own.
            case local
            case sink
        }

        /// Where the rows of a port go.
        public enum Target: Hashable, Sendable {
            /// To a stage of the same task.
            case stage(Int, InputPort)
            /// Into an exchange.
            case exchange(Int)
            /// Into an exchange towards the dead letters; rows of another shape than ``ErrorRows/schema`` (late rows)
            /// are turned into it.
            case deadLetter(exchange: Int)
        }

        /// A port and one of its targets; a port without any is counted and dropped.
        public struct Route: Hashable, Sendable {
            public var port: OutputPort
            public var target: Target
        }

        /// Position in ``PipelineGraph/nodes``; nil for the dead letters.
        public var nodeIndex: Int?
        public var node: PipelineGraph.Node
        public var role: Role
        /// The streams that enter the stage, by port.
        public var inputs: [Stream]
        /// The streams that leave it, main first.
        public var outputs: [Stream]
        public var routes: [Route]
        /// The node's local stage, where `role` is `.local`.
        public var local: LocalStage?
        public var eventTimeDownstream: Bool

        /// `node`, or `node.local`.
        public var name: String { role == .local ? "\(node.name).local" : node.name }
    }

    /// How rows choose a subtask of the reading task.
    public enum Distribution: Hashable, Sendable {
        /// Subtask i to subtask i: both tasks have the same parallelism.
        case forward
        /// Batch by batch, in turn.
        case rebalance
        /// By the key group of ``RowHash`` over these columns.
        case hash([String])
    }

    /// A connection of two tasks.
    public struct Exchange: Sendable {
        public var id: Int
        public var fromTask: Int
        public var toTask: Int
        /// The port of the reading task's head.
        public var inputPort: InputPort
        public var distribution: Distribution
        public var stream: Stream
    }

    /// A tree of stages that runs as `parallelism` subtasks.
    public struct Task: Sendable {
        public var id: Int
        public var parallelism: Int
        /// The head first; every other stage stands behind the one that feeds it.
        public var stages: [Stage]
        /// Exchanges that the head reads from.
        public var inputs: [Int]

        /// The head's name, with those of the others: `pages+products+nutriscore.local`.
        public var name: String { stages.map(\.name).joined(separator: "+") }
        /// True when a stage waits in C: the subtasks get threads of their own.
        public var blocks: Bool { stages.contains { $0.node.descriptor.info.blocks } }
    }

    public var pipeline: String
    /// Every task stands behind those that feed it.
    public var tasks: [Task]
    public var exchanges: [Exchange]
}
