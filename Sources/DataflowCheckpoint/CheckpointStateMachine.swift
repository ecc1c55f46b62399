import DataflowOperator

/// The coordinator's brain: when a checkpoint begins, what follows upon what, and when the run is over.
///
/// A pure value without clock, files or tasks. The coordinator feeds it what has happened and executes the action that
/// comes back; at most one checkpoint is in flight. Its course:
///
///     tick → begin → (every task acknowledges) → publish → (manifest durable) → commit → (sinks committed)
///          → markCommitted → (marker written) → complete
///
/// A checkpoint completes or the run fails; there is no aborted one.
public struct CheckpointStateMachine: Sendable {
    /// How a run that did not fail came to its end.
    public enum Outcome: Hashable, Sendable {
        /// Every source has ended and all that was read is committed.
        case finished
        /// Stopped on request at a checkpoint; a later start goes on from there.
        case stopped
        /// A finished pipeline was started again and had nothing to read: no checkpoint was taken.
        case nothingNew
    }

    public enum Action: Hashable, Sendable {
        case none
        /// Every task is open: sources may read.
        case start
        /// Make the id durable, then inject this barrier at the sources.
        case begin(CheckpointBarrier.Purpose)
        /// Every task has acknowledged: write the manifest.
        case publish(CheckpointID)
        /// The manifest is durable: these tasks' sinks commit now.
        case commit(CheckpointID, Set<TaskID>)
        /// All have committed: write the marker.
        case markCommitted(CheckpointID)
        /// Tell the sources, let retention delete what may go, then call ``completed(_:now:)``.
        case complete(CheckpointID)
        /// Nothing is left to do.
        case finish(Outcome)
    }

    private enum Phase: Sendable {
        case opening(Set<TaskID>)
        case recovering(CheckpointID, waitingFor: Set<TaskID>)
        case idle
        case beginning(CheckpointBarrier.Purpose)
        case collecting(PendingCheckpoint)
        case publishing(PendingCheckpoint)
        case committing(PendingCheckpoint, waitingFor: Set<TaskID>)
        case marking(PendingCheckpoint)
        case completing(PendingCheckpoint)
        case over
    }

    private let tasks: Set<TaskID>
    private let interval: Duration?
    private var phase: Phase
    private var recovery: (checkpoint: CheckpointID, tasks: Set<TaskID>)?
    private var ended: Set<TaskID> = []
    private var nextDue: Duration?
    private var stopRequested = false
    /// A finished pipeline was restored and no source has emitted a row yet.
    private var isQuiet: Bool

    /// - Parameters:
    ///   - tasks: every task of the run.
    ///   - interval: from the end of one periodic checkpoint's interval to the next; nil for none but the last.
    ///   - recovery: a restored checkpoint whose commits have to be executed again, and the tasks that do so.
    ///   - restoredFinished: whether the restored manifest said `finished`: nothing is written until a row is read.
    public init(
        tasks: Set<TaskID>, interval: Duration?, recovery: (checkpoint: CheckpointID, tasks: Set<TaskID>)? = nil,
        restoredFinished: Bool = false
    ) {
        precondition(!tasks.isEmpty, "a run without tasks")
        self.tasks = tasks
        self.interval = interval
        self.recovery = recovery
        isQuiet = restoredFinished
        phase = .opening(tasks)
    }

    /// The checkpoint in flight, from its id being known to its completion.
    public var inFlight: CheckpointID? {
        switch phase {
        case .collecting(let pending), .publishing(let pending), .committing(let pending, _), .marking(let pending),
            .completing(let pending):
            pending.id
        case .opening, .recovering, .idle, .beginning, .over: nil
        }
    }

    /// Not every task has opened its operators yet.
    public var isOpening: Bool { if case .opening = phase { true } else { false } }

    /// The tasks that the checkpoint in flight waits for, to be shown to the user.
    public var waitingFor: Set<TaskID> {
        switch phase {
        case .opening(let tasks), .recovering(_, let tasks), .committing(_, let tasks): tasks
        case .collecting(let pending): pending.missing
        case .idle, .beginning, .publishing, .marking, .completing, .over: []
        }
    }

    /// When ``tick(now:)`` has something to do next; nil when no periodic checkpoint is due at any time.
    public var due: Duration? {
        if case .idle = phase, !isQuiet { nextDue } else { nil }
    }

    // MARK: start

    /// `task` has opened its operators.
    public mutating func opened(_ task: TaskID, now: Duration) -> Action {
        guard case .opening(var missing) = phase else {
            preconditionFailure("\(task) opened after every task was open")
        }
        precondition(missing.remove(task) != nil, "\(task) opened twice or is unknown")
        phase = .opening(missing)
        guard missing.isEmpty else { return .none }
        if let recovery, !recovery.tasks.isEmpty {
            phase = .recovering(recovery.checkpoint, waitingFor: recovery.tasks)
            return .commit(recovery.checkpoint, recovery.tasks)
        }
        return startReading(now)
    }

    private mutating func startReading(_ now: Duration) -> Action {
        phase = .idle
        nextDue = interval.map { now + $0 }
        return .start
    }

    /// Called after ``Action/start`` was executed: an early stop may be waiting.
    public mutating func started() -> Action { next() }

    // MARK: events

    /// Time has passed.
    public mutating func tick(now: Duration) -> Action {
        guard case .idle = phase, let interval, let due = nextDue, now >= due, !isQuiet else { return .none }
        // The grid of the interval is kept, but ticks that were missed are not made up for.
        nextDue = due + interval > now ? due + interval : now + interval
        return begin(.periodic)
    }

    /// Somebody wants a checkpoint whatever the interval says; nothing happens while one is in flight.
    public mutating func checkpointNow() -> Action {
        guard case .idle = phase, !isQuiet else { return .none }
        return begin(.periodic)
    }

    /// A source has emitted its first row.
    public mutating func sawRows(now: Duration) {
        guard isQuiet else { return }
        isQuiet = false
        nextDue = interval.map { now + $0 }
    }

    /// `task` has handled the end of all its inputs and passed it on.
    public mutating func taskEnded(_ task: TaskID) -> Action {
        precondition(tasks.contains(task) && ended.insert(task).inserted, "\(task) ended twice or is unknown")
        return next()
    }

    /// The user wants the run to stop at a checkpoint.
    public mutating func stop() -> Action {
        stopRequested = true
        return next()
    }

    // MARK: the course of a checkpoint

    /// The id that was made durable for ``Action/begin(_:)``.
    ///
    /// - Returns: the barrier to inject.
    public mutating func begun(_ id: CheckpointID) -> CheckpointBarrier {
        guard case .beginning(let purpose) = phase else {
            preconditionFailure("checkpoint \(id) begun without being asked for")
        }
        let barrier = CheckpointBarrier(id: id, purpose: purpose)
        phase = .collecting(PendingCheckpoint(barrier, tasks: tasks))
        return barrier
    }

    /// A task has written its state. Anything but `.recorded` is to be logged, not to be failed for.
    public mutating func acknowledged(
        _ acknowledgement: TaskAcknowledgement, for id: CheckpointID
    ) -> (PendingCheckpoint.Reception, Action) {
        guard case .collecting(var pending) = phase else { return (.discarded, .none) }
        let reception = pending.acknowledge(acknowledgement, for: id)
        guard pending.isComplete else {
            phase = .collecting(pending)
            return (reception, .none)
        }
        phase = .publishing(pending)
        return (reception, .publish(pending.id))
    }

    /// The complete checkpoint to make a manifest of, between ``Action/publish(_:)`` and ``published(_:)``.
    public var publishing: PendingCheckpoint? {
        if case .publishing(let pending) = phase { pending } else { nil }
    }

    /// The manifest is durable.
    public mutating func published(_ id: CheckpointID) -> Action {
        guard case .publishing(let pending) = phase, pending.id == id else {
            preconditionFailure("checkpoint \(id) published out of turn")
        }
        let committers = pending.committers
        guard !committers.isEmpty else {
            phase = .completing(pending)
            return .complete(id)
        }
        phase = .committing(pending, waitingFor: committers)
        return .commit(id, committers)
    }

    /// The sinks of `task` have committed `id`.
    public mutating func committed(_ task: TaskID, _ id: CheckpointID) -> Action {
        switch phase {
        case .committing(let pending, var waiting) where pending.id == id && waiting.contains(task):
            waiting.remove(task)
            phase = waiting.isEmpty ? .marking(pending) : .committing(pending, waitingFor: waiting)
            return waiting.isEmpty ? .markCommitted(id) : .none
        case .recovering(id, var waiting) where waiting.contains(task):
            waiting.remove(task)
            phase = .recovering(id, waitingFor: waiting)
            return waiting.isEmpty ? .markCommitted(id) : .none
        case .opening, .recovering, .idle, .beginning, .collecting, .publishing, .committing, .marking, .completing,
            .over:
            preconditionFailure("\(task) committed checkpoint \(id) out of turn")
        }
    }

    /// The marker is written.
    public mutating func marked(_ id: CheckpointID, now: Duration) -> Action {
        switch phase {
        case .marking(let pending) where pending.id == id:
            phase = .completing(pending)
            return .complete(id)
        case .recovering(id, let waiting) where waiting.isEmpty:
            recovery = nil
            return startReading(now)
        case .opening, .recovering, .idle, .beginning, .collecting, .publishing, .committing, .marking, .completing,
            .over:
            preconditionFailure("checkpoint \(id) marked out of turn")
        }
    }

    /// ``Action/complete(_:)`` has been executed.
    public mutating func completed(_ id: CheckpointID) -> Action {
        guard case .completing(let pending) = phase, pending.id == id else {
            preconditionFailure("checkpoint \(id) completed out of turn")
        }
        switch pending.barrier.purpose {
        case .periodic:
            phase = .idle
            return next()
        case .stop:
            phase = .over
            return .finish(.stopped)
        case .endOfInput:
            phase = .over
            return .finish(.finished)
        }
    }

    // MARK: decisions

    private mutating func begin(_ purpose: CheckpointBarrier.Purpose) -> Action {
        phase = .beginning(purpose)
        return .begin(purpose)
    }

    /// What an idle machine does next: the end of all inputs goes before a stop, for it is the stronger of the two.
    private mutating func next() -> Action {
        guard case .idle = phase else { return .none }
        let allEnded = ended == tasks
        if isQuiet, allEnded || stopRequested {
            phase = .over
            return .finish(allEnded ? .nothingNew : .stopped)
        }
        if allEnded { return begin(.endOfInput) }
        if stopRequested { return begin(.stop) }
        return .none
    }
}
