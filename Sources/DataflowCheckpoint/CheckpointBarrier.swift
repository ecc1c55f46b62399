import DataflowOperator

/// The mark that travels between the rows of every stream and cuts them into "before" and "after" a checkpoint.
public struct CheckpointBarrier: Hashable, Sendable {
    /// Why the checkpoint is taken.
    public enum Purpose: Hashable, Sendable {
        /// The interval has passed; the stream goes on behind the barrier.
        case periodic
        /// The run was asked to stop: sources read nothing more behind this barrier; open windows stay in the state.
        case stop
        /// Every task has handled the end of its input: the manifest will say `finished`.
        case endOfInput
    }

    public var id: CheckpointID
    public var purpose: Purpose

    public init(id: CheckpointID, purpose: Purpose) {
        self.id = id
        self.purpose = purpose
    }

    /// Whether no row can follow this barrier.
    public var isLast: Bool {
        switch purpose {
        case .periodic: false
        case .stop, .endOfInput: true
        }
    }
}
