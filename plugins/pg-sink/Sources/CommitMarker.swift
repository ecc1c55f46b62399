/// The row of a sink in the table of commits: which epoch of which history the target holds.
struct CommitMarker: Equatable {
    var lineage: String
    var generation: UInt64
    /// The checkpoint whose rows were committed last; 0 before the first.
    var epoch: UInt64
}

/// What a sink remembers of its own epochs in each checkpoint.
struct EpochState: Equatable {
    /// The newest checkpoint, up to this one, whose epoch had rows; 0 for none.
    var last: UInt64 = 0
    /// The one before `last`.
    var previous: UInt64 = 0
}

/// What to do at open, decided from what the target says and what the restored checkpoint says: pure.
enum MarkerDecision: Equatable {
    /// Write the marker and go on. `epoch` is what the marker shall say.
    case proceed(epoch: UInt64, note: Note?)
    case refuse(Refusal)

    /// Worth a line in the log.
    enum Note: Equatable {
        /// The target was last written by another history, or by an unknown one.
        case takenOver(from: CommitMarker)
        /// Rows since `epoch` will be written again over the same keys, or twice with the user's consent.
        case writtenAgain(since: UInt64, until: UInt64)
    }

    enum Refusal: Equatable {
        /// A later run of the pipeline has the target.
        case fenced(by: UInt64)
        /// The target has epochs that the checkpoint does not know.
        case ahead(marker: UInt64, expected: UInt64)
        /// Another history wrote to the target since.
        case otherLineage(CommitMarker)
        /// The target lacks epochs that were committed: it was replaced or restored.
        case behind(marker: UInt64?, expected: UInt64)
    }

    struct Situation: Equatable {
        var lineage: String
        var generation: UInt64
        /// The restored checkpoint; nil at a start without one.
        var restored: UInt64?
        var commitPending = false
        var acceptDuplicates = false
        /// This sink's state in the checkpoint; nil if the node was not in it.
        var state: EpochState?
        /// Writing a row again does not change the table: an upsert stream that never deletes.
        var isIdempotent: Bool
        var marker: CommitMarker?
    }

    static func decide(_ situation: Situation) -> MarkerDecision {
        guard let restored = situation.restored, let state = situation.state else {
            // A new history, or a node that is new in an old one.
            guard let marker = situation.marker else { return .proceed(epoch: 0, note: nil) }
            if marker.lineage != situation.lineage { return .proceed(epoch: 0, note: .takenOver(from: marker)) }
            if marker.generation > situation.generation { return .refuse(.fenced(by: marker.generation)) }
            return ahead(situation, marker, of: 0)
        }
        guard let marker = situation.marker else {
            return situation.acceptDuplicates
                ? .proceed(epoch: state.last, note: nil) : .refuse(.behind(marker: nil, expected: state.last))
        }
        if marker.lineage != situation.lineage {
            return situation.acceptDuplicates
                ? .proceed(epoch: state.last, note: .takenOver(from: marker)) : .refuse(.otherLineage(marker))
        }
        if marker.generation > situation.generation { return .refuse(.fenced(by: marker.generation)) }
        let pending = situation.commitPending && state.last == restored
        if marker.epoch >= state.last { return ahead(situation, marker, of: state.last) }
        if pending && marker.epoch == state.previous { return .proceed(epoch: marker.epoch, note: nil) }
        return .refuse(.behind(marker: marker.epoch, expected: pending ? state.previous : state.last))
    }

    private static func ahead(_ situation: Situation, _ marker: CommitMarker, of epoch: UInt64) -> MarkerDecision {
        if marker.epoch == epoch { return .proceed(epoch: epoch, note: nil) }
        return situation.isIdempotent || situation.acceptDuplicates
            ? .proceed(epoch: epoch, note: .writtenAgain(since: epoch, until: marker.epoch))
            : .refuse(.ahead(marker: marker.epoch, expected: epoch))
    }
}
