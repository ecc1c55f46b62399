import DataflowCheckpoint
import DataflowOperator
import Logging
import Synchronization

/// Executes what ``CheckpointStateMachine`` decides: injects barriers, encodes and writes state, publishes manifests, tells
/// sinks and sources. It has no decisions of its own.
///
/// Runs on a thread of its own (its task prefers a ``BlockingExecutor``), where it may wait for the disk; the stream never
/// waits for it. Everything reaches it as an event in its mailbox.
actor CheckpointCoordinator {
    private var machine: CheckpointStateMachine
    private let session: CheckpointSession
    private let lineage: String
    private let events: Mailbox<CoordinatorEvent>
    private let sources: [TaskID: Mailbox<TaskControl>]
    private let committers: [TaskID: Mailbox<TaskControl>]
    /// The nodes of each task, by the one that it is called after.
    private let nodes: [String: [String]]
    private let timeout: Duration
    private let openingGrace: Duration
    private let metrics: RuntimeMetrics
    private let logger: Logger
    private let start: ContinuousClock.Instant
    private var begunAt: ContinuousClock.Instant?
    /// When nodes that are still opening are given up, because the user wants the run to end.
    private var openingEnd: ContinuousClock.Instant?
    private var writer: CheckpointWriter
    private var outcome: CheckpointStateMachine.Outcome?

    init(
        machine: CheckpointStateMachine, session: CheckpointSession, lineage: String, events: Mailbox<CoordinatorEvent>,
        sources: [TaskID: Mailbox<TaskControl>], committers: [TaskID: Mailbox<TaskControl>], nodes: [String: [String]],
        timeout: Duration, openingGrace: Duration, metrics: RuntimeMetrics, logger: Logger
    ) {
        self.machine = machine
        self.session = session
        writer = CheckpointWriter(session)
        self.lineage = lineage
        self.events = events
        self.sources = sources
        self.committers = committers
        self.nodes = nodes
        self.timeout = timeout
        self.openingGrace = openingGrace
        self.metrics = metrics
        self.logger = logger
        start = .now
    }

    private var now: Duration { start.duration(to: .now) }

    /// Until the run is over.
    ///
    /// - Throws: `CheckpointError`, `RunError` for a checkpoint that takes longer than its timeout and for nodes that were
    ///   still opening when the run was to end, `CancellationError`.
    func run() async throws -> CheckpointStateMachine.Outcome {
        while true {
            if let outcome { return outcome }
            var deadline = machine.due.map { start.advanced(by: $0) }
            if let begunAt { deadline = begunAt.advanced(by: timeout) }
            if let openingEnd, machine.isOpening { deadline = openingEnd }
            if let event = try await events.next(until: deadline) {
                try handle(event)
            } else if let begunAt, begunAt.duration(to: .now) >= timeout {
                throw lateCheckpoint()
            } else if let openingEnd, machine.isOpening, openingEnd <= .now {
                throw stoppedWhileOpening()
            } else {
                try execute(machine.tick(now: now))
            }
        }
    }

    private func handle(_ event: CoordinatorEvent) throws {
        switch event {
        case .opened(let task): try execute(machine.opened(task, now: now))
        case .ended(let task): try execute(machine.taskEnded(task))
        case .sawRows: machine.sawRows(now: now)
        case .checkpointNow: try execute(machine.checkpointNow())
        case .stop: try execute(machine.stop())
        case .drain:
            metrics.wasDrained.store(true, ordering: .relaxed)
            for source in sources.values { source.post(.drain) }
        case .hurryOpening:
            if openingEnd == nil { openingEnd = .now + openingGrace }
        case .committed(let task, let id): try execute(machine.committed(task, id))
        case .snapshot(let snapshot): try write(snapshot)
        }
    }

    private func write(_ snapshot: TaskSnapshot) throws {
        guard machine.inFlight == snapshot.checkpoint else {
            logger.debug("\(snapshot.task) acknowledged checkpoint \(snapshot.checkpoint), which is not in flight")
            return
        }
        try writer.write(snapshot)
        metrics.snapshotBacklog.subtract(snapshot.byteCount, ordering: .relaxed)
        guard snapshot.isLast else { return }
        let nodes = try writer.finish(snapshot.task, snapshot.checkpoint)
        let (reception, action) = machine.acknowledged(
            TaskAcknowledgement(task: snapshot.task, nodes: nodes), for: snapshot.checkpoint)
        switch reception {
        case .recorded: break
        case .duplicate, .unknown, .discarded:
            logger.debug("acknowledgement of \(snapshot.checkpoint) by \(snapshot.task): \(reception)")
        }
        try execute(action)
    }

    /// Executes an action and those that follow from it at once.
    private func execute(_ first: CheckpointStateMachine.Action) throws {
        var action = first
        while true {
            switch action {
            case .none:
                return
            case .start:
                for source in sources.values { source.post(.start) }
                action = machine.started()
            case .begin:
                let id = try session.begin()
                begunAt = .now
                writer.begin()
                metrics.updateCheckpoints { $0.inFlight = id }
                let barrier = machine.begun(id)
                for source in sources.values { source.post(.barrier(barrier)) }
                return
            case .publish(let id):
                guard let pending = machine.publishing else { preconditionFailure("checkpoint \(id) has no content") }
                let finished = pending.barrier.purpose == .endOfInput
                _ = try session.publish(id, lineage: lineage, finished: finished, nodes: pending.nodes)
                action = machine.published(id)
            case .commit(let id, let tasks):
                for task in tasks {
                    guard let committer = committers[task] else { preconditionFailure("\(task) has nothing to commit") }
                    committer.post(.commit(id))
                }
                return
            case .markCommitted(let id):
                try session.markCommitted(id)
                action = machine.marked(id, now: now)
            case .complete(let id):
                for source in sources.values { source.post(.completed(id)) }
                try session.retain()
                complete(id)
                action = machine.completed(id)
            case .finish(let outcome):
                self.outcome = outcome
                return
            }
        }
    }

    private func complete(_ id: CheckpointID) {
        let bytes = writer.byteCount
        let begun = begunAt
        begunAt = nil
        metrics.updateCheckpoints { checkpoints in
            checkpoints.last = id
            checkpoints.lastCompletedAt = .now
            checkpoints.lastDuration = begun.map { $0.duration(to: .now) }
            checkpoints.lastStateBytes = bytes
            checkpoints.completed += 1
            checkpoints.inFlight = nil
        }
        let took = begun.map { "\($0.duration(to: .now))" } ?? ""
        logger.debug(
            "checkpoint \(id) is complete",
            metadata: [
                "bytes": "\(bytes)", "took": "\(took)", "longest_stop": "\(metrics.checkpoints.longestStop)",
            ])
    }

    private func stoppedWhileOpening() -> RunError {
        let names = Set(machine.waitingFor.flatMap { nodes[$0.node] ?? [$0.node] }).sorted()
        let list = names.map { "'\($0)'" }.joined(separator: ", ")
        let who = names.count == 1 ? "node \(list) was" : "one of the nodes \(list) was"
        return RunError(
            "stopped while \(who) still opening: nothing was read. The next start goes on from the last complete checkpoint",
            exitCode: 75, node: names.count == 1 ? names[0] : nil)
    }

    private func lateCheckpoint() -> RunError {
        let waiting = machine.waitingFor.map(\.description).sorted().joined(separator: ", ")
        let id = machine.inFlight.map { "\($0)" } ?? "?"
        return RunError(
            "checkpoint \(id) took longer than checkpoint.timeout (\(timeout.unitDescription)); it waits for \(waiting.isEmpty ? "the disk" : waiting). A slow sink or a full disk holds it up; the run goes back to the last complete checkpoint",
            exitCode: 75, isRetryable: true)
    }
}
