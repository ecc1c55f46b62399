import DataflowCheckpoint
import DataflowOperator
import DataflowPipeline
import Synchronization

/// A checkpoint of which stages still have rows to give.
struct UnfinishedSnapshot {
    var checkpoint: CheckpointID
    /// Stages with incomplete tables, by index.
    var stages: [Int]
}

/// The snapshot of a task: at the barrier, and what stages read of their state behind it, a little at a time.
///
/// The parts go to the coordinator as they come; the task acknowledges the checkpoint with the last one. Nobody waits for a
/// part, so a task that fails or is cancelled in the meantime leaves nothing hanging.
extension StageChain {
    /// How long the stream may be held up at a time by reading state.
    private static let slice = Duration.milliseconds(2)
    /// Parts that may wait for the coordinator to write them.
    private static let backlogLimit = 64 << 20

    /// Everything that has to happen at a barrier, as one step between two elements of the stream: what must lie before it
    /// is sent, the state is taken by reference, the barrier goes on.
    func checkpoint(_ barrier: CheckpointBarrier) async throws {
        let id = barrier.id
        if let unfinished {
            preconditionFailure("barrier \(id) arrived while \(self.id) reads the state for \(unfinished.checkpoint)")
        }
        let committables = try await prepare(id)
        let start = ContinuousClock.now
        var snapshots: [StageSnapshot] = []
        var incomplete: [Int] = []
        for (index, stage) in stages.enumerated() {
            let tables: StateSnapshot
            do throws(OperatorError) {
                switch stage.instance {
                case .source(let source): tables = try source.snapshot(id)
                case .transform(let transform): tables = try transform.snapshot(id)
                case .sink(let sink): tables = try sink.snapshot(id)
                }
            } catch {
                throw stage.failure(error)
            }
            guard stage.plan.role != .local else {
                precondition(
                    tables.isEmpty, "the local stage of \(stage.plan.node.name) holds state behind prepareSnapshot")
                continue
            }
            if tables.contains(where: { $0.increment?.isComplete == false }) { incomplete.append(index) }
            snapshots.append(snapshot(of: index, tables, committables[index] ?? []))
        }
        metrics.updateCheckpoints { $0.longestStop = max($0.longestStop, start.duration(to: .now)) }
        for writer in writers { try writer.broadcast(.barrier(barrier)) }
        unfinished = incomplete.isEmpty ? nil : UnfinishedSnapshot(checkpoint: id, stages: incomplete)
        post(snapshots, of: id)
    }

    /// What has to lie before the barrier is sent; sinks flush.
    ///
    /// - Returns: what the sinks have to commit, by stage.
    private func prepare(_ id: CheckpointID) async throws -> [Int: [String]] {
        var committables: [Int: [String]] = [:]
        for (index, stage) in stages.enumerated() {
            switch stage.instance {
            case .source: break
            case .transform(let transform):
                try await run(transform, index) { (transform, buffer) throws(OperatorError) in
                    try transform.prepareSnapshot(id, into: &buffer)
                }
            case .sink(let sink):
                var errors = OutputBuffer()
                let prepared: [String]
                do throws(OperatorError) {
                    try await sink.flush(id, errors: &errors)
                    prepared = try await sink.prepareCommit(id)
                } catch {
                    throw stage.failure(error)
                }
                if !errors.elements.isEmpty { try await deliver(errors.drain(), from: index) }
                committables[index] = prepared
                stage.pendingCommit = prepared.isEmpty ? nil : id
            }
        }
        return committables
    }

    private func snapshot(of index: Int, _ tables: StateSnapshot, _ committables: [String]) -> StageSnapshot {
        let stage = stages[index]
        return StageSnapshot(
            stage: stage.identity, subtask: stage.context.subtask, tables: tables, committables: committables)
    }

    private func post(_ snapshots: [StageSnapshot], of id: CheckpointID) {
        let bytes = snapshots.reduce(0) { sum, stage in
            stage.tables.reduce(sum) { $0 + $1.batches.reduce(0) { $0 + $1.byteCount } }
        }
        metrics.snapshotBacklog.add(bytes, ordering: .relaxed)
        coordinator.post(
            .snapshot(
                TaskSnapshot(
                    task: self.id, checkpoint: id, stages: snapshots, isLast: unfinished == nil, byteCount: bytes)))
    }

    // MARK: behind the barrier

    /// Whether stages still have rows to give: ``continueSnapshot()`` is to be called between elements.
    var hasUnfinishedSnapshot: Bool { unfinished != nil }

    /// Whether the coordinator has so much to write that it is better to wait.
    var isSnapshotAhead: Bool { metrics.snapshotBacklog.load(ordering: .relaxed) > StageChain.backlogLimit }

    /// Reads state for about two milliseconds, or only hands on what has been read while the coordinator is behind.
    func continueSnapshot() throws {
        guard var work = unfinished else { return }
        let start = ContinuousClock.now
        let deadline = isSnapshotAhead ? start : start.advanced(by: StageChain.slice)
        var parts: [StageSnapshot] = []
        while let index = work.stages.first {
            let stage = stages[index]
            guard case .transform(let transform) = stage.instance else {
                preconditionFailure("\(stage.plan.name) gives its state in parts and is no transform")
            }
            var tables: StateSnapshot = []
            let progress: Progress
            do throws(OperatorError) {
                progress = try transform.continueSnapshot(until: deadline, into: &tables)
            } catch {
                throw stage.failure(error)
            }
            if !tables.isEmpty { parts.append(snapshot(of: index, tables, [])) }
            if progress == .done { work.stages.removeFirst() }
            if progress == .more || ContinuousClock.now >= deadline { break }
        }
        metrics.updateCheckpoints { $0.longestStop = max($0.longestStop, start.duration(to: .now)) }
        unfinished = work.stages.isEmpty ? nil : work
        if !parts.isEmpty || unfinished == nil { post(parts, of: work.checkpoint) }
    }

    /// Reads all the state that is left: for a task that has nothing else to do until it is through.
    func finishSnapshot() async throws {
        while unfinished != nil {
            try Task.checkCancellation()
            if isSnapshotAhead { try await Task.sleep(for: .milliseconds(1)) }
            try continueSnapshot()
        }
    }

    /// Sends a batch. While there is no room for it, state is read: the consumer may be a sink that takes nothing until the
    /// checkpoint is complete, to which this task's state belongs.
    func send(_ batch: RecordBatch, through writer: ExchangeWriter) async throws -> Duration {
        guard unfinished != nil else { return try await writer.send(batch) }
        return try await writer.send(batch) {
            if self.isSnapshotAhead { try await Task.sleep(for: .milliseconds(1)) }
            try self.continueSnapshot()
            return self.unfinished != nil
        }
    }
}
