import DataflowKafka
import DataflowOperator

/// What a member of a group does about rebalances: decides, and calls nobody.
///
/// A revoked partition is given up only when a checkpoint that covers all that was emitted of it is complete and its
/// position is with the group: so whoever reads it next begins exactly behind. The group waits for that, at most the
/// `max.poll.interval.ms` of librdkafka (five minutes), which therefore must be longer than the checkpoint interval.
struct GroupMembership {
    enum Action: Equatable {
        /// Read these from the group's positions.
        case take([KafkaPartition])
        /// Emit nothing more of these.
        case close([KafkaPartition])
        /// Tell the coordinator that these are free.
        case giveUp([KafkaPartition])
    }

    private enum Phase {
        case awaitingSnapshot
        case awaitingCheckpoint(CheckpointID)
        case awaitingCommit
    }

    private var revoked: (partitions: [KafkaPartition], phase: Phase)?

    /// - Parameter isCommitted: whether the group has the position of all that was emitted of a partition.
    mutating func handle(_ rebalance: KafkaRebalance, isCommitted: (KafkaPartition) -> Bool) -> [Action] {
        switch rebalance {
        case .assigned(let partitions): return [.take(partitions)]
        case .revoked(let partitions, let isLost):
            if isLost || partitions.allSatisfy(isCommitted) {
                revoked = nil
                return [.close(partitions), .giveUp(partitions)]
            }
            revoked = (partitions, .awaitingSnapshot)
            return [.close(partitions)]
        }
    }

    /// A checkpoint's snapshot was taken.
    mutating func snapshot(_ checkpoint: CheckpointID) {
        if case .awaitingSnapshot = revoked?.phase { revoked?.phase = .awaitingCheckpoint(checkpoint) }
    }

    /// A checkpoint is complete, and the commit of its positions is under way.
    mutating func completed(_ checkpoint: CheckpointID) {
        if case .awaitingCheckpoint(let covering) = revoked?.phase, covering <= checkpoint {
            revoked?.phase = .awaitingCommit
        }
    }

    /// The group has not taken the positions: the next checkpoint brings them again.
    mutating func commitFailed() {
        if case .awaitingCommit = revoked?.phase { revoked?.phase = .awaitingSnapshot }
    }

    /// The end: what was revoked and is not given up yet, to be given up before the group is left.
    mutating func leave() -> [KafkaPartition]? {
        defer { revoked = nil }
        return revoked?.partitions
    }

    /// No commit is under way any more.
    mutating func commitsDone() -> [Action] {
        guard let (partitions, phase) = revoked, case .awaitingCommit = phase else { return [] }
        revoked = nil
        return [.giveUp(partitions)]
    }
}
