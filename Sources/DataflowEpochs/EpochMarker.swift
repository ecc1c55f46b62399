import DataflowColumnar
package import DataflowOperator

/// What a sink leaves at its target: which epoch of which history that holds.
package struct CommitMarker: Equatable, Sendable {
    package var lineage: String
    package var generation: UInt64
    /// The checkpoint whose rows were committed last; 0 before the first.
    package var epoch: UInt64

    package init(lineage: String, generation: UInt64, epoch: UInt64) {
        self.lineage = lineage
        self.generation = generation
        self.epoch = epoch
    }
}

/// What a sink remembers of its own epochs in each checkpoint.
package struct EpochState: Equatable, Sendable {
    /// The newest checkpoint, up to this one, whose epoch had rows; 0 for none.
    package var last: UInt64
    /// The one before `last`.
    package var previous: UInt64

    package init(last: UInt64 = 0, previous: UInt64 = 0) {
        self.last = last
        self.previous = previous
    }

    private static let table = "epochs"
    private static let schema = Schema([
        Field("last", .int64, nullable: false), Field("previous", .int64, nullable: false),
    ])

    /// The state of the last checkpoint; nil where there is none.
    package init?(restoring state: StateSnapshot) throws(OperatorError) {
        guard let row = try state.batches(EpochState.table, EpochState.schema).last(where: { $0.rowCount > 0 }),
            let last = row["last"]?.int64Values, let previous = row["previous"]?.int64Values
        else { return nil }
        self.init(last: UInt64(clamping: last[0]), previous: UInt64(clamping: previous[0]))
    }

    /// As a checkpoint holds it.
    package var snapshot: StateSnapshot {
        let row = RecordBatch(
            EpochState.schema, [.int64([Int64(clamping: last)]), .int64([Int64(clamping: previous)])])
        return [StateTable(EpochState.table, distribution: .subtask, [row])]
    }
}

/// What to do at open, decided from what the target says and what the restored checkpoint says: pure.
package enum MarkerDecision: Equatable, Sendable {
    /// Write the marker and go on. `epoch` is what the marker shall say.
    case proceed(epoch: UInt64, note: Note?)
    case refuse(Refusal)

    /// Worth a line in the log.
    package enum Note: Equatable, Sendable {
        /// The target was last written by another history, or by an unknown one.
        case takenOver(from: CommitMarker)
        /// Rows since `epoch` will be written again over the same keys, or twice with the user's consent.
        case writtenAgain(since: UInt64, until: UInt64)
    }

    package enum Refusal: Equatable, Sendable {
        /// A later run of the pipeline has the target.
        case fenced(by: UInt64)
        /// The target has epochs that the checkpoint does not know.
        case ahead(marker: UInt64, expected: UInt64)
        /// Another history wrote to the target since.
        case otherLineage(CommitMarker)
        /// The target lacks epochs that were committed: it was replaced or restored.
        case behind(marker: UInt64?, expected: UInt64)
    }

    package struct Situation: Equatable, Sendable {
        package var lineage: String
        package var generation: UInt64
        /// The restored checkpoint; nil at a start without one.
        package var restored: UInt64?
        package var commitPending = false
        package var acceptDuplicates = false
        /// This sink's state in the checkpoint; nil if the node was not in it.
        package var state: EpochState?
        /// Writing a row again does not change the table: an upsert stream that never deletes.
        package var isIdempotent: Bool
        package var marker: CommitMarker?

        package init(
            lineage: String, generation: UInt64, restored: UInt64?, commitPending: Bool = false,
            acceptDuplicates: Bool = false, state: EpochState?, isIdempotent: Bool, marker: CommitMarker?
        ) {
            self.lineage = lineage
            self.generation = generation
            self.restored = restored
            self.commitPending = commitPending
            self.acceptDuplicates = acceptDuplicates
            self.state = state
            self.isIdempotent = isIdempotent
            self.marker = marker
        }
    }

    package static func decide(_ situation: Situation) -> MarkerDecision {
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
