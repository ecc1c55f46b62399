import DataflowCheckpoint
import DataflowOperator

/// What travels from task to task.
package enum StreamElement: Sendable {
    case batch(RecordBatch)
    case watermark(Watermark)
    case split(SplitEvent)
    case barrier(CheckpointBarrier)
    /// No row follows; barriers may.
    case endOfInput
}
