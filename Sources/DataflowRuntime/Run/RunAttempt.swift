import DataflowCheckpoint
import DataflowOperator
import DataflowPipeline
import Logging

/// One try to run a pipeline, from a checkpoint to an outcome or a failure: all tasks under one group.
struct RunAttempt: Sendable {
    private enum Result: Sendable {
        case outcome(CheckpointStateMachine.Outcome)
        case task
    }

    let layout: RunLayout
    let config: PipelineConfig
    let options: RunOptions
    let session: CheckpointSession
    let restorer: StateRestorer?
    let lineage: String
    let metrics: RuntimeMetrics
    let events: Mailbox<CoordinatorEvent>
    let clock: any TimedClock
    let logger: Logger
    private let memory: MemoryBudget?
    /// How far the subtasks of each task have come, by the task's number.
    private let progress: [SubtaskProgress]

    private var plan: PhysicalPlan { layout.plan }

    init(
        layout: RunLayout, config: PipelineConfig, options: RunOptions, session: CheckpointSession,
        restorer: StateRestorer?, events: Mailbox<CoordinatorEvent>, clock: any TimedClock, logger: Logger
    ) {
        self.layout = layout
        self.config = config
        self.options = options
        self.session = session
        self.restorer = restorer
        self.events = events
        self.clock = clock
        self.logger = logger
        lineage =
            restorer?.checkpoint.manifest.lineage
            ?? String(UInt64.random(in: .min ... .max), radix: 16) + String(UInt64.random(in: .min ... .max), radix: 16)
        metrics = Self.metrics(layout)
        memory = config.memory.map { MemoryBudget(limit: $0.bytes, spillingTo: session.store.spillDirectory) }
        progress = layout.plan.tasks.map { SubtaskProgress(parallelism: $0.parallelism) }
        if memory != nil { Allocator.returnFreedMemory() }
    }

    private static func metrics(_ layout: RunLayout) -> RuntimeMetrics {
        var nodes: [NodeMetrics] = []
        for task in layout.plan.tasks {
            for stage in task.stages where !nodes.contains(where: { $0.name == stage.name }) {
                let info = stage.node.descriptor.info
                nodes.append(
                    NodeMetrics(name: stage.name, type: info.name, role: info.role, parallelism: task.parallelism))
            }
        }
        let edges = layout.plan.exchanges.map { exchange in
            EdgeMetrics(from: layout.writer(of: exchange).name, to: layout.plan.tasks[exchange.toTask].stages[0].name)
        }
        return RuntimeMetrics(nodes: nodes, edges: edges)
    }

    /// - Throws: the first failure: `NodeFailure`, `CheckpointError`, `RunError`; `CancellationError` if cancelled from outside.
    func run() async throws -> CheckpointStateMachine.Outcome {
        let capacity = ChannelCapacity(bytes: Int(config.channelSize.bytes), batches: 64)
        let channels = plan.tasks.map { task in
            let lanes = layout.laneCount[task.id]
            let lane = ChannelCapacity(bytes: max(65_536, capacity.bytes / max(1, lanes)), batches: capacity.batches)
            return (0..<(lanes == 0 ? 0 : task.parallelism)).map { _ in
                Channel(lanes: lanes, capacity: lane, clock: clock)
            }
        }
        var controls: [TaskID: Mailbox<TaskControl>] = [:]
        var sources: [TaskID: Mailbox<TaskControl>] = [:]
        for task in plan.tasks {
            for subtask in 0..<task.parallelism {
                let mailbox = Mailbox<TaskControl>(clock: SystemClock())
                controls[id(task, subtask)] = mailbox
                if task.stages[0].role == .source { sources[id(task, subtask)] = mailbox }
            }
        }
        let coordinator = makeCoordinator(controls: controls, sources: sources)
        var executors: [BlockingExecutor] = []
        defer { for executor in executors { executor.shutDown() } }
        let coordinatorThread = try BlockingExecutor(name: "checkpoints")
        executors.append(coordinatorThread)
        // All before the first task starts: a system that gives no more threads refuses the run as a whole.
        var threads: [TaskID: BlockingExecutor] = [:]
        for task in plan.tasks where task.blocks {
            for subtask in 0..<task.parallelism {
                let thread = try BlockingExecutor(name: "node '\(task.stages[0].name)'")
                executors.append(thread)
                threads[id(task, subtask)] = thread
            }
        }
        let statuses = sources.mapValues { _ in SourceStatus() }
        let watch = Mailbox<TaskControl>(clock: SystemClock())

        return try await withThrowingTaskGroup(of: Result.self) { group in
            group.addTask(executorPreference: coordinatorThread) { .outcome(try await coordinator.run()) }
            for task in plan.tasks {
                for subtask in 0..<task.parallelism {
                    let id = id(task, subtask)
                    let executor: any TaskExecutor = threads[id] ?? globalConcurrentExecutor
                    guard let control = controls[id] else { preconditionFailure("\(id) has no mailbox") }
                    let status = statuses[id]
                    group.addTask(executorPreference: executor) {
                        try await run(task, subtask, channels: channels, control: control, status: status)
                        return .task
                    }
                }
            }
            if options.duration != nil || options.untilIdle != nil {
                let statuses = Array(statuses.values)
                group.addTask(executorPreference: globalConcurrentExecutor) {
                    try await watchForEnd(statuses, watch)
                    return .task
                }
            }
            var outcome: CheckpointStateMachine.Outcome?
            var failure: (any Error)?
            while let result = await group.nextResult() {
                switch result {
                case .success(.task): break
                case .success(.outcome(let reached)):
                    outcome = reached
                    watch.post(.quit)
                    for control in controls.values { control.post(.quit) }
                    for channel in channels.joined() { channel.close() }
                case .failure(let error):
                    if outcome != nil, error is ChannelClosed { break }
                    if failure == nil || failure is CancellationError || failure is ChannelClosed { failure = error }
                    group.cancelAll()
                }
            }
            if let failure { throw failure }
            guard let outcome else { throw CancellationError() }
            return outcome
        }
    }

    private func id(_ task: PhysicalPlan.Task, _ subtask: Int) -> TaskID {
        TaskID(node: task.stages[0].node.name, subtask: subtask)
    }

    private func makeCoordinator(
        controls: [TaskID: Mailbox<TaskControl>], sources: [TaskID: Mailbox<TaskControl>]
    ) -> CheckpointCoordinator {
        var recovery: (CheckpointID, Set<TaskID>)?
        if let restorer, case .committing = restorer.checkpoint.status {
            recovery = (restorer.checkpoint.manifest.checkpoint, Set(controls.keys.filter { mustRecommit($0) }))
        }
        let chains = plan.tasks.map { task in (task.stages[0].node.name, task.stages.map(\.node.name)) }
        let nodes = Dictionary(chains) { $0 + $1 }
        let machine = CheckpointStateMachine(
            tasks: Set(controls.keys), interval: config.checkpoint.interval, recovery: recovery,
            restoredFinished: restorer?.checkpoint.manifest.finished ?? false)
        return CheckpointCoordinator(
            machine: machine, session: session, lineage: lineage, events: events, sources: sources,
            committers: controls, nodes: nodes, timeout: config.checkpoint.timeout,
            openingGrace: options.openingGrace, metrics: metrics, logger: logger)
    }

    /// Whether the restored checkpoint has something to commit for a sink of this task.
    private func mustRecommit(_ task: TaskID) -> Bool {
        guard let restorer, case .committing = restorer.checkpoint.status else { return false }
        return plan.tasks.contains { planned in
            planned.stages[0].node.name == task.node
                && layout.identities[planned.id].contains {
                    !restorer.committables(of: $0, subtask: task.subtask).isEmpty
                }
        }
    }

    // MARK: one task

    private func run(
        _ task: PhysicalPlan.Task, _ subtask: Int, channels: [[Channel]], control: Mailbox<TaskControl>,
        status: SourceStatus?
    ) async throws {
        let id = id(task, subtask)
        let chain = try makeChain(task, subtask, channels)
        do {
            try await chain.open { identity in try restorer?.state(of: identity, subtask: subtask) ?? [] }
            events.post(.opened(id))
            if let status {
                try await SourceTask(
                    id: id, chain: chain, control: control, coordinator: events, metrics: metrics, status: status,
                    linger: config.linger, limit: options.limit, drains: options.drains
                ).run()
            } else {
                let input = InputTask(
                    id: id, chain: chain, channel: channels[task.id][subtask], lanes: lanes(task), control: control,
                    coordinator: events, linger: config.linger)
                if let restorer, mustRecommit(id) {
                    try await input.recommit { restorer.committables(of: $0, subtask: subtask) }
                }
                try await input.run()
            }
        } catch {
            await chain.close()
            throw error
        }
        await chain.close()
    }

    private func lanes(_ task: PhysicalPlan.Task) -> [InputTask.Lane] {
        task.inputs.enumerated().flatMap { ordinal, id in
            let exchange = plan.exchanges[id]
            let lane = InputTask.Lane(
                port: exchange.inputPort, hasEventTime: exchange.stream.eventTime != nil,
                splitOffset: task.inputs.count > 1 ? Int32(ordinal) << 20 : 0,
                isBehindSink: hasSinkUpstream(plan.tasks[exchange.fromTask]), metrics: metrics.edges[id])
            return Array(repeating: lane, count: RunLayout.producers(of: exchange, plan))
        }
    }

    /// Whether the task has a sink, or one that feeds it has.
    private func hasSinkUpstream(_ task: PhysicalPlan.Task) -> Bool {
        task.stages.contains { $0.role == .sink }
            || task.inputs.contains { hasSinkUpstream(plan.tasks[plan.exchanges[$0].fromTask]) }
    }

    private func makeChain(_ task: PhysicalPlan.Task, _ subtask: Int, _ channels: [[Channel]]) throws -> StageChain {
        var writers: [Int: ExchangeWriter] = [:]
        for exchange in plan.exchanges where exchange.fromTask == task.id {
            let readers = channels[exchange.toTask]
            let targets: [ExchangeWriter.Target]
            switch exchange.distribution {
            case .forward:
                targets = [.init(channel: readers[subtask], lane: layout.firstLane[exchange.id])]
            case .rebalance, .hash:
                targets = readers.map { .init(channel: $0, lane: layout.firstLane[exchange.id] + subtask) }
            }
            writers[exchange.id] = ExchangeWriter(
                exchange.distribution, schema: exchange.stream.schema, targets: targets, subtask: subtask,
                metrics: metrics.edges[exchange.id])
        }
        let stages = try zip(task.stages, layout.identities[task.id]).map { stage, identity in
            guard let nodeMetrics = metrics[node: stage.name] else {
                preconditionFailure("\(stage.name) has no metrics")
            }
            let context = try context(stage, task, subtask, nodeMetrics)
            return try Stage(stage, identity, context, nodeMetrics, writers: writers)
        }
        return StageChain(
            id(task, subtask), stages, writers: writers.sorted { $0.key < $1.key }.map(\.value), coordinator: events,
            metrics: metrics, clock: clock)
    }

    private func context(
        _ stage: PhysicalPlan.Stage, _ task: PhysicalPlan.Task, _ subtask: Int, _ metrics: NodeMetrics
    ) throws(CheckpointError) -> OperatorContext {
        let directory = session.store.stateDirectory(of: stage.node.name)
        if stage.role != .local { try session.store.makeStateDirectory(of: stage.node.name) }
        var logger = logger
        logger[metadataKey: "node"] = "\(stage.node.name)"
        if task.parallelism > 1 { logger[metadataKey: "subtask"] = "\(subtask)" }
        let restored = restorer.map { restorer in
            RestoredCheckpoint(
                id: restorer.checkpoint.manifest.checkpoint, commitPending: restorer.checkpoint.status == .committing,
                acceptDuplicates: options.acceptDuplicates)
        }
        let ports = stage.outputs.indices.map { OutputPort(index: $0) }
        return OperatorContext(
            pipeline: plan.pipeline, node: stage.node.name, subtask: subtask, parallelism: task.parallelism,
            inputs: stage.inputs, outputs: stage.outputs, usedColumns: stage.node.usedColumns,
            mainColumns: stage.node.mainColumns,
            unreadPorts: Set(ports).subtracting(stage.routes.map(\.port)),
            eventTimeDownstream: stage.eventTimeDownstream, lineage: lineage, generation: session.generation,
            restored: restored, stateDirectory: directory, exactlyOnce: stage.node.exactlyOnce, logger: logger,
            clock: clock, counters: metrics.counters, memory: memory, progress: progress[task.id])
    }

    // MARK: ends that are not the input's

    /// Waits for `--for` or `--until-idle` to come true and asks for the end.
    private func watchForEnd(_ sources: [SourceStatus], _ watch: Mailbox<TaskControl>) async throws {
        let end = options.duration.map { ContinuousClock.now.advanced(by: $0) }
        while true {
            var wakeUp = end
            if let idle = options.untilIdle {
                let next = ContinuousClock.now.advanced(by: min(idle, .milliseconds(20)))
                wakeUp = wakeUp.map { min($0, next) } ?? next
            }
            if try await watch.next(until: wakeUp) != nil { return }
            let now = ContinuousClock.now
            var isOver = end.map { $0 <= now } ?? false
            if let idle = options.untilIdle {
                let current = sources.map(\.current)
                isOver =
                    isOver
                    || current.allSatisfy { source in
                        switch source.phase {
                        case .idle: source.since.duration(to: now) >= idle
                        case .ended: true
                        case .starting, .busy: false
                        }
                    }
            }
            if isOver {
                events.post(options.drains ? .drain : .stop)
                return
            }
        }
    }
}
