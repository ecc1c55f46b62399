import DataflowCheckpoint
import DataflowOperator

/// What the coordinator tells a task, outside the stream.
enum TaskControl: Sendable {
    /// Every task is open and pending commits are done: sources may read.
    case start
    /// For sources: snapshot and send this barrier before anything else.
    case barrier(CheckpointBarrier)
    /// For tasks whose sinks have something to commit.
    case commit(CheckpointID)
    /// For sources: the checkpoint is durable and committed.
    case completed(CheckpointID)
    /// For sources: behave as if the input had ended.
    case drain
    /// The run is over: close and return.
    case quit
}

/// What tasks and the outside tell the coordinator.
enum CoordinatorEvent: Sendable {
    case opened(TaskID)
    case snapshot(TaskSnapshot)
    case committed(TaskID, CheckpointID)
    case ended(TaskID)
    /// The first rows of a run that started from a finished checkpoint.
    case sawRows
    /// Take a checkpoint now, whatever the interval says.
    case checkpointNow
    case stop
    case drain
    /// The user wants the run to end: nodes that are still opening get no more than a moment.
    case hurryOpening
}

/// The state of one task at a barrier or a part of it, by reference: encoding it is the coordinator's work, off the stream's path.
struct TaskSnapshot: Sendable {
    var task: TaskID
    var checkpoint: CheckpointID
    var stages: [StageSnapshot]
    /// False where more of the task's state comes; with the last part the task has acknowledged the checkpoint.
    var isLast: Bool
    /// Bytes of all batches.
    var byteCount: Int
}

struct StageSnapshot: Sendable {
    var stage: StageIdentity
    var subtask: Int
    var tables: StateSnapshot
    var committables: [String]
}

/// What the manifest keeps of a node besides its state.
struct StageIdentity: Hashable, Sendable {
    var name: String
    var type: String
    var parallelism: Int
    /// The columns that the node's rows are spread by; empty if by none.
    var key: [String]
    /// Checksums of the settings that define what the node's state means, by name.
    var settings: [String: UInt32] = [:]
}
