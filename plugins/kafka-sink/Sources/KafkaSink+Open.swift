import DataflowEpochs
public import DataflowOperator
import Glibc
import Logging

extension KafkaSink {
    public func open(restoring state: StateSnapshot) async throws(OperatorError) {
        guard context.exactlyOnce else {
            try await session.run("open the topic \(topic)", limit: config.openTimeout) { _ in }
            takeLimit()
            return
        }
        let restored = try EpochState(restoring: state)
        epochs = restored ?? EpochState()
        try await session.run("open the topic \(topic)", limit: config.openTimeout) { link in
            let epoch = try decide(link.marker.value, restored)
            let claim = CommitMarker(lineage: context.lineage, generation: context.generation, epoch: epoch)
            try link.beginTransaction(now: .now)
            try store(claim, link)
        }
        session.isClaimed = true
        takeLimit()
        let pending = context.restored?.commitPending == true
        EpochLog.removeAll(
            in: context.stateDirectory,
            except: pending ? EpochLog.name(lineage: context.lineage, epoch: epochs.last) : nil)
    }

    /// Compares the marker with the checkpoint.
    ///
    /// - Returns: what the marker shall say.
    private func decide(_ marker: CommitMarker?, _ state: EpochState?) throws(OperatorError) -> UInt64 {
        if marker == nil, let state, context.restored != nil { return try withoutMarker(state) }
        let decision = MarkerDecision.decide(
            MarkerDecision.Situation(
                lineage: context.lineage, generation: context.generation, restored: context.restored?.id.number,
                commitPending: context.restored?.commitPending ?? false,
                acceptDuplicates: context.restored?.acceptDuplicates ?? false, state: state, isIdempotent: false,
                marker: marker))
        switch decision {
        case .refuse(let refusal): throw error(for: refusal)
        case .proceed(let epoch, let note):
            switch note {
            case nil: break
            case .takenOver(let marker):
                context.logger.info(
                    "topic \(topic) was last written by another history of this pipeline",
                    metadata: ["lineage": "\(marker.lineage)", "epoch": "\(marker.epoch)"])
            case .writtenAgain(let since, let until):
                context.logger.notice(
                    "topic \(topic) is ahead of the checkpoint: rows of later epochs are written again",
                    metadata: ["checkpoint_epoch": "\(since)", "topic_epoch": "\(until)"])
            }
            return epoch
        }
    }

    /// Brokers forget the offsets of a group that stores none for `offsets.retention.minutes`, 7 days by default: after a long rest the
    /// marker is gone, which is no reason to refuse. Only where a commit is pending it would have told whether that was done.
    private func withoutMarker(_ state: EpochState) throws(OperatorError) -> UInt64 {
        guard let restored = context.restored, restored.commitPending, state.last == restored.id.number else {
            if state.last > 0 {
                context.logger.notice(
                    "the brokers have no marker of topic \(topic): it has expired, or the topic is a new one",
                    metadata: ["group": "\(session.marker.group)", "epoch": "\(state.last)"])
            }
            return state.last
        }
        let path = context.stateDirectory + "/" + EpochLog.name(lineage: context.lineage, epoch: state.last)
        var status = stat()
        // The log is removed when its epoch has been committed.
        guard stat(path, &status) == 0 else { return state.last }
        let age = context.clock.wallMicroseconds / 1_000_000 - Int64(status.st_mtim.tv_sec)
        // A marker that had been stored with this epoch would not have expired yet.
        if age < KafkaSink.youngSeconds || restored.acceptDuplicates { return state.previous }
        throw OperatorError(
            .user, .never, "marker_expired",
            "checkpoint \(restored.id) was about to commit epoch \(state.last) to the topic \(topic) \(age / 3600) hours ago, and the brokers "
                + "no longer have the marker (group \(session.marker.group)) that tells whether that was done. Look whether the topic has "
                + "the last rows; write them (again) with --restore \(restored.id) --accept-duplicates, or begin anew with --restore none"
        )
    }

    private static let youngSeconds: Int64 = 3600

    /// What the user is told when the marker and the checkpoint do not belong together.
    private func error(for refusal: MarkerDecision.Refusal) -> OperatorError {
        let group = session.marker.group
        let checkpoint = context.restored.map { "checkpoint \($0.id)" } ?? "this run"
        switch refusal {
        case .fenced(let generation): return session.fenced(by: generation)
        case .ahead(let marker, let expected):
            return OperatorError(
                .user, .never, "target_ahead",
                "topic \(topic) is ahead of \(checkpoint): it holds epoch \(marker), the checkpoint knows epoch \(expected) "
                    + "(the marker in group \(group)). Going on would write rows twice. Start from the newest checkpoint, or "
                    + "accept that with --restore ID --accept-duplicates")
        case .otherLineage(let marker):
            return OperatorError(
                .user, .never, "target_other_lineage",
                "topic \(topic) was written by another history of the pipeline since (lineage \(marker.lineage), epoch "
                    + "\(marker.epoch) in group \(group); \(checkpoint) belongs to \(context.lineage)). Start from a "
                    + "checkpoint of that history, or accept that with --restore ID --accept-duplicates; another pipeline with the same "
                    + "name needs another `transactional_id`")
        case .behind(let marker, let expected):
            return OperatorError(
                .user, .never, "target_replaced",
                "the target was replaced: \(checkpoint) has committed epoch \(expected) to the topic \(topic), but the marker in group \(group) "
                    + (marker.map { "says epoch \($0)" } ?? "is gone")
                    + ". Bring the brokers' data back as it was, or start new with --restore none")
        }
    }
}
