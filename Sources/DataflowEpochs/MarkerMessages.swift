package import DataflowOperator
import Logging

extension MarkerDecision {
    /// Decides whether a sink may go on from the marker that it found when it opened its target, tells the log what is worth
    /// knowing, and returns the epoch that the sink's own marker shall say.
    ///
    /// - Parameters:
    ///   - state: the sink's state in the restored checkpoint; nil if there is none.
    ///   - isIdempotent: writing a row again does not change the target.
    ///   - target: for messages: "table orders".
    ///   - commits: where the marker stands, for messages: "dataflow_commits".
    package static func claim(
        _ marker: CommitMarker?, state: EpochState?, isIdempotent: Bool, target: String, commits: String,
        _ context: OperatorContext
    ) throws(OperatorError) -> UInt64 {
        let decision = decide(
            Situation(
                lineage: context.lineage, generation: context.generation, restored: context.restored?.id.number,
                commitPending: context.restored?.commitPending ?? false,
                acceptDuplicates: context.restored?.acceptDuplicates ?? false, state: state,
                isIdempotent: isIdempotent, marker: marker))
        switch decision {
        case .refuse(let refusal): throw refusal.operatorError(target: target, commits: commits, context)
        case .proceed(let epoch, let note):
            switch note {
            case nil: break
            case .takenOver(let marker):
                context.logger.info(
                    "\(target) was last written by another history of this pipeline",
                    metadata: ["lineage": "\(marker.lineage)", "epoch": "\(marker.epoch)"])
            case .writtenAgain(let since, let until):
                context.logger.notice(
                    "\(target) is ahead of the checkpoint: rows of later epochs are written again",
                    metadata: ["checkpoint_epoch": "\(since)", "table_epoch": "\(until)"])
            }
            return epoch
        }
    }

    /// Whether the target holds the epoch already, as its marker says.
    package static func holds(_ marker: CommitMarker?, _ epoch: UInt64, _ context: OperatorContext) -> Bool {
        guard let marker, marker.lineage == context.lineage else { return false }
        return marker.generation <= context.generation && marker.epoch >= epoch
    }

    /// Why this run may not commit the epoch behind `expected`; nil if it may.
    package static func refusal(
        of marker: CommitMarker?, expected: UInt64, _ context: OperatorContext
    ) -> Refusal? {
        guard let marker else { return .behind(marker: nil, expected: expected) }
        if marker.lineage != context.lineage { return .otherLineage(marker) }
        if marker.generation != context.generation { return .fenced(by: marker.generation) }
        if marker.epoch == expected { return nil }
        return marker.epoch > expected
            ? .ahead(marker: marker.epoch, expected: expected) : .behind(marker: marker.epoch, expected: expected)
    }
}

extension MarkerDecision.Refusal {
    /// What the user is told when the target and the checkpoint do not belong together.
    ///
    /// - Parameters:
    ///   - target: "table orders".
    ///   - commits: where the marker stands: "dataflow_commits".
    package func operatorError(target: String, commits: String, _ context: OperatorContext) -> OperatorError {
        let checkpoint = context.restored.map { "checkpoint \($0.id)" } ?? "this run"
        switch self {
        case .fenced(let generation):
            return OperatorError(
                .user, .never, "fenced",
                "another run of pipeline \(context.pipeline) (generation \(generation)) has taken over \(target); "
                    + "this run (generation \(context.generation)) may not write any more")
        case .ahead(let marker, let expected):
            return OperatorError(
                .user, .never, "target_ahead",
                "\(target) is ahead of \(checkpoint): it holds epoch \(marker), the checkpoint knows epoch \(expected) "
                    + "(see \(commits)). Going on would write rows twice. Start from the newest checkpoint, or accept "
                    + "that with --restore ID --accept-duplicates")
        case .otherLineage(let marker):
            return OperatorError(
                .user, .never, "target_other_lineage",
                "\(target) was written by another history of the pipeline since (lineage \(marker.lineage), epoch "
                    + "\(marker.epoch) in \(commits); \(checkpoint) belongs to \(context.lineage)). Start from a "
                    + "checkpoint of that history, or accept that with --restore ID --accept-duplicates")
        case .behind(let marker, let expected):
            return OperatorError(
                .user, .never, "target_replaced",
                "the target was replaced: \(checkpoint) has committed epoch \(expected) to \(target), but "
                    + (marker.map { "\(commits) says epoch \($0)" } ?? "\(commits) has no row of this sink")
                    + ". Bring the database back as it was, or start new with --restore none")
        }
    }
}
