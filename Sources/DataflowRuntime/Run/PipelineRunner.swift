import DataflowCheckpoint
import DataflowOperator
import DataflowPipeline
import Logging
import Synchronization

/// Runs a pipeline from its last checkpoint to its end: fence, restore, commit again what was being committed, run, and
/// after a failure that may pass start over from the last complete checkpoint.
///
///     let runner = PipelineRunner(plan: plan, config: config, logger: logger)
///     let summary = try await runner.run()      // `stop()` from a signal handler ends it at a checkpoint
public final class PipelineRunner: Sendable {
    private enum Request { case stop, drain }

    private struct State {
        var phase = RunProgress.Phase.starting
        var request: Request?
        var events: Mailbox<CoordinatorEvent>?
        var metrics: RuntimeMetrics?
        var restarts = 0
        var restoredFrom: CheckpointID?
        var generation: UInt64?
        var startedAt = ContinuousClock.now
    }

    public let plan: PhysicalPlan
    public let config: PipelineConfig
    public let options: RunOptions
    private let retry: RetryPolicy
    private let files: any CheckpointFiles
    private let clock: any TimedClock
    private let logger: Logger
    private let state = Lock(State())
    /// Wakes a run that waits between two attempts.
    private let wakeUp = Mailbox<Void>(clock: SystemClock())

    public convenience init(
        plan: PhysicalPlan, config: PipelineConfig, options: RunOptions = RunOptions(), logger: Logger
    ) {
        self.init(plan: plan, config: config, options: options, logger: logger, clock: SystemClock())
    }

    /// - Parameters:
    ///   - clock: what operators' ticks go by.
    ///   - files: the checkpoint store's file operations; replaced in tests.
    ///   - retry: instead of what the configuration says.
    package init(
        plan: PhysicalPlan, config: PipelineConfig, options: RunOptions = RunOptions(), logger: Logger,
        clock: any TimedClock, files: any CheckpointFiles = LocalFiles(), retry: RetryPolicy? = nil
    ) {
        self.plan = plan
        self.config = config
        self.options = options
        self.retry = retry ?? RetryPolicy(config.restart)
        self.files = files
        self.clock = clock
        self.logger = logger
    }

    // MARK: from outside

    /// Ends the run at a checkpoint: what was read is processed and committed, open windows stay in the state. With
    /// ``RunOptions/drains`` as ``drain()``. Nodes that are still opening are given a second; after that the run ends
    /// with exit code 75 and without a checkpoint. Returns at once; callable from any thread, again and again.
    public func stop() { request(options.drains ? .drain : .stop) }

    /// Ends the run as if every input had ended: windows are closed and written.
    public func drain() { request(.drain) }

    /// Takes a checkpoint now, unless one is under way.
    public func takeCheckpoint() { state.withLock { $0.events }?.post(.checkpointNow) }

    private func request(_ request: Request) {
        let events = state.withLock { state in
            state.request = request
            if case .running = state.phase { state.phase = .stopping }
            return state.events
        }
        if let events { Self.post(request, to: events) }
        wakeUp.post(())
    }

    private static func post(_ request: Request, to events: Mailbox<CoordinatorEvent>) {
        events.post(.hurryOpening)
        events.post(request == .stop ? .stop : .drain)
    }

    /// Where the run stands.
    public func progress() -> RunProgress {
        state.withLock { state in
            RunProgress(
                phase: state.phase, elapsed: state.startedAt.duration(to: .now), restarts: state.restarts,
                sourceRows: state.metrics?.sourceRows.load(ordering: .relaxed) ?? 0,
                nodes: state.metrics?.nodes.map(RunProgress.Node.init) ?? [],
                checkpoints: state.metrics?.checkpoints ?? .init(), restoredFrom: state.restoredFrom,
                generation: state.generation)
        }
    }

    /// The counters of the attempt under way or the last one.
    public var metrics: RuntimeMetrics? { state.withLock { $0.metrics } }

    // MARK: the run

    /// Runs until the input ends, a stop, or a failure that no restart helps against. May be called once.
    ///
    /// - Throws: what a program shows its user, with the exit code.
    public func run() async throws(RunError) -> RunSummary {
        defer {
            state.withLock { state in
                state.phase = .over
                state.events = nil
            }
        }
        do {
            try TimerThread.start()
            let thread = try BlockingExecutor(name: "the runner")
            defer { thread.shutDown() }
            let layout = try RunLayout(plan)
            let store = LocalCheckpointStore(
                root: config.checkpoint.directory, pipeline: plan.pipeline, retaining: config.checkpoint.retention,
                files: files)
            let session = try await withTaskExecutorPreference(thread) { try store.acquire() }
            defer { session.release() }
            for report in session.reports { logger.warning("\(report)") }
            state.withLock { $0.generation = session.generation }
            return try await run(layout, session, thread)
        } catch is CancellationError {
            throw RunError(
                "stopped without a last checkpoint; the next start goes on from the last complete one", exitCode: 75)
        } catch {
            throw RunError(error)
        }
    }

    private func run(
        _ layout: RunLayout, _ session: CheckpointSession, _ thread: BlockingExecutor
    ) async throws -> RunSummary {
        var failures = 0
        while true {
            let began = ContinuousClock.now
            var metrics: RuntimeMetrics?
            do {
                let attempt = try await prepare(layout, session, thread)
                metrics = attempt.metrics
                let outcome = try await attempt.run()
                return RunSummary(
                    outcome: outcome, metrics: attempt.metrics, restarts: state.withLock { $0.restarts })
            } catch let error where !(error is CancellationError) {
                let failure = RunError(error)
                let completed = metrics?.checkpoints.completed ?? 0
                if retry.isHealthy(after: began.duration(to: .now), completedCheckpoints: completed) { failures = 0 }
                failures += 1
                let pause = retry.pause(afterFailures: failures, random: .random(in: 0..<1))
                guard failure.isRetryable, let pause else {
                    guard failure.isRetryable, failures > 1 else { throw failure }
                    throw RunError(
                        "\(failure.message) (gave up after \(failures) failures in a row, see `restart.attempts`)",
                        exitCode: failure.exitCode, node: failure.node)
                }
                try await rest(pause, after: failure)
            }
        }
    }

    /// Waits before a restart; a stop in the meantime ends the run.
    private func rest(_ pause: Duration, after failure: RunError) async throws {
        let isStopped = state.withLock { state in
            state.events = nil
            state.phase = .restarting(failure, after: pause)
            state.restarts += 1
            return state.request != nil
        }
        if !isStopped {
            logger.warning("\(failure.message); starting again from the last checkpoint in \(pause.roundedDescription)")
            while let _ = wakeUp.poll() {}
            if state.withLock({ $0.request }) == nil { _ = try await wakeUp.next(until: .now.advanced(by: pause)) }
        }
        guard state.withLock({ $0.request }) == nil else {
            throw RunError(
                "\(failure.message); stopped while it was to be started again. The next start goes on from the last complete checkpoint",
                exitCode: 75, node: failure.node)
        }
    }

    /// A name to give up the state of must be a node's: of the file, or of the checkpoint where the file has it no more.
    private func checkForgottenNodes(_ manifest: CheckpointManifest?) throws(RunError) {
        var known = Set(plan.tasks.flatMap { task in task.stages.map(\.node.name) })
        known.formUnion(manifest?.nodes.map(\.name) ?? [])
        let names = known.sorted()
        for name in options.forgottenNodes.sorted() where !known.contains(name) {
            let place = manifest.map { "the pipeline or checkpoint \($0.id)" } ?? "the pipeline"
            let suggestion = Suggestion.phrase(for: name, among: names)
            throw RunError(
                "--forget-state: there is no node '\(name)' in \(place)\(suggestion.isEmpty ? "." : suggestion) The nodes are \(names.joined(separator: ", "))",
                exitCode: 78)
        }
    }

    /// Chooses the checkpoint to start from.
    private func prepare(
        _ layout: RunLayout, _ session: CheckpointSession, _ thread: BlockingExecutor
    ) async throws -> RunAttempt {
        let (restorer, reports) = try await withTaskExecutorPreference(thread) {
            let (checkpoint, reports) = try session.restore(options.restore)
            try checkForgottenNodes(checkpoint?.manifest)
            let restorer = try checkpoint.map {
                try StateRestorer($0, for: layout.stateful, forgetting: options.forgottenNodes)
            }
            return (restorer, reports)
        }
        for report in reports { logger.warning("\(report)") }
        if let manifest = restorer?.checkpoint.manifest {
            logger.info(
                "restored checkpoint \(manifest.id)\(manifest.finished ? ", which is that of a finished run" : "")")
        } else {
            logger.info(
                "no checkpoint of pipeline '\(plan.pipeline)' in \(session.store.directory) is used: starting anew")
        }
        let events = Mailbox<CoordinatorEvent>(clock: SystemClock())
        let attempt = RunAttempt(
            layout: layout, config: config, options: options, session: session, restorer: restorer, events: events,
            clock: clock, logger: logger)
        let request = state.withLock { state in
            state.events = events
            state.metrics = attempt.metrics
            state.restoredFrom = restorer?.checkpoint.manifest.checkpoint
            state.phase = state.request == nil ? .running : .stopping
            return state.request
        }
        if let request { Self.post(request, to: events) }
        return attempt
    }
}
