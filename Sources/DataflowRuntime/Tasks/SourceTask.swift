import DataflowCheckpoint
import DataflowOperator
import Synchronization

/// Whether a source has something to do; read by `--until-idle` and the display.
final class SourceStatus: Sendable {
    enum Phase: Sendable { case starting, busy, idle, ended }

    private let state = Lock((phase: Phase.starting, since: ContinuousClock.now))

    var current: (phase: Phase, since: ContinuousClock.Instant) { state.withLock { $0 } }

    func update(_ phase: Phase) {
        state.withLock { state in
            if state.phase != phase { state = (phase, .now) }
        }
    }
}

/// The loop around a source and what is chained to it: poll, hand on, and between polls do what the coordinator wants.
struct SourceTask {
    /// The longest time that a poll may wait: how late a barrier may be.
    private static let pollInterval = Duration.milliseconds(25)

    private enum Phase { case reading, paused, ended }

    let id: TaskID
    let chain: StageChain
    let control: Mailbox<TaskControl>
    let coordinator: Mailbox<CoordinatorEvent>
    let metrics: RuntimeMetrics
    let status: SourceStatus
    let linger: Duration
    let limit: Int?
    /// Whether the end at the limit closes windows.
    let drains: Bool

    func run() async throws {
        guard case .source(let source) = chain.head.instance else { preconditionFailure("\(id) has no source") }
        var gatherer = BatchGatherer(linger: linger)
        guard try await waitForStart() else { return }
        var phase = Phase.reading
        var hasSeenRows = false
        while true {
            if phase == .reading { try chain.continueSnapshot() } else { try await chain.finishSnapshot() }
            while let message = try await nextControl(waiting: phase != .reading) {
                switch message {
                case .quit: return
                case .start, .commit: preconditionFailure("\(id) was told \(message) while reading")
                case .completed(let checkpoint): try await chain.completed(checkpoint)
                case .barrier(let barrier):
                    try await chain.emit(gatherer.flush())
                    try await chain.checkpoint(barrier)
                    if barrier.isLast, phase == .reading { phase = .paused }
                    if phase != .reading { try await chain.finishSnapshot() }
                case .drain:
                    if phase != .ended { phase = try await end(&gatherer) }
                }
            }
            try Task.checkCancellation()

            let now = ContinuousClock.now
            var deadline = now.advanced(by: Self.pollInterval)
            if let lingering = gatherer.deadline { deadline = min(deadline, lingering) }
            if chain.hasUnfinishedSnapshot { deadline = min(deadline, now.advanced(by: .milliseconds(1))) }
            let claim = limit.map { claimRows(of: $0) }
            if claim == 0 {
                try await chain.emit(gatherer.flush())
                if isLimitReached {
                    coordinator.post(drains ? .drain : .stop)
                    phase = .paused
                } else {
                    // The last rows are another task's to emit; what it does not need is free again after its poll.
                    try await rest(until: deadline)
                }
                continue
            }
            var output = OutputBuffer(rowLimit: claim)
            let result: PollResult
            do throws(OperatorError) {
                result = try await source.poll(until: deadline, into: &output)
            } catch {
                throw chain.head.failure(error)
            }
            let rows = output.elements.reduce(0) { $0 + $1.mainRowCount }
            if rows > 0 {
                metrics.sourceRows.add(rows, ordering: .relaxed)
                if !hasSeenRows { coordinator.post(.sawRows) }
                hasSeenRows = true
            }
            if let claim { metrics.claimedRows.add(rows - claim, ordering: .relaxed) }
            let polled = ContinuousClock.now
            let leaving = gatherer.add(output.drain(), polled)
            if !leaving.isEmpty { try await chain.emit(leaving) }
            switch result {
            case .emitted: status.update(.busy)
            case .idle:
                status.update(.idle)
                if polled < deadline { try await rest(until: deadline) }
            case .endOfInput: phase = try await end(&gatherer)
            }
            if phase == .reading { try await tick() }
        }
    }

    private var isLimitReached: Bool { limit.map { metrics.sourceRows.load(ordering: .relaxed) >= $0 } ?? false }

    /// How many rows the next poll may emit; 0 when all up to the limit have been emitted or are claimed by other tasks.
    private func claimRows(of limit: Int) -> Int {
        var claimed = metrics.claimedRows.load(ordering: .relaxed)
        while claimed < limit {
            let wanted = min(limit - claimed, RecordBatch.defaultRowCount)
            let (exchanged, found) = metrics.claimedRows.weakCompareExchange(
                expected: claimed, desired: claimed + wanted, ordering: .relaxed)
            if exchanged { return wanted }
            claimed = found
        }
        return 0
    }

    private func nextControl(waiting: Bool) async throws -> TaskControl? {
        if let message = control.poll() { return message }
        return waiting ? try await control.next() : nil
    }

    /// - Returns: false if the run is over before it began.
    private func waitForStart() async throws -> Bool {
        var drains = false
        while let message = try await control.next() {
            switch message {
            case .start:
                if drains { control.putBack(.drain) }
                return true
            case .quit: return false
            case .drain: drains = true
            case .completed: break
            case .commit, .barrier: preconditionFailure("\(id) was told \(message) before the start")
            }
        }
        return false
    }

    private func end(_ gatherer: inout BatchGatherer) async throws -> Phase {
        status.update(.ended)
        try await chain.emit(gatherer.flush())
        try await chain.finish()
        coordinator.post(.ended(id))
        return .ended
    }

    /// A source that came back before its deadline with nothing: sleeps the rest, or until the coordinator wants something.
    private func rest(until deadline: ContinuousClock.Instant) async throws {
        if let message = try await control.next(until: deadline) { control.putBack(message) }
    }

    /// Stages behind the source may have asked for a tick.
    private func tick() async throws {
        guard let next = chain.nextTick else { return }
        let now = chain.now
        if next <= now { try await chain.tick(now) }
    }
}

extension OutputBuffer.Element {
    fileprivate var mainRowCount: Int {
        if case .batch(let batch, .main) = self { batch.rowCount } else { 0 }
    }
}
