import DataflowCheckpoint
import DataflowOperator
import DataflowPipeline
import Logging
import Synchronization

/// The operators of one task, a tree: what a stage emits is handed to the stages behind it depth first, before the stage is
/// asked for more, and leaves through exchanges, where the task waits if there is no room.
///
/// Made on its task and never leaves it. The only caller of operators.
final class StageChain {
    let id: TaskID
    let stages: [Stage]
    let writers: [ExchangeWriter]
    let coordinator: Mailbox<CoordinatorEvent>
    let metrics: RuntimeMetrics
    private let clock: any TimedClock
    /// A snapshot that is not through yet; see `StageChain+Snapshot.swift`.
    var unfinished: UnfinishedSnapshot?

    init(
        _ id: TaskID, _ stages: [Stage], writers: [ExchangeWriter], coordinator: Mailbox<CoordinatorEvent>,
        metrics: RuntimeMetrics, clock: any TimedClock
    ) {
        precondition(!stages.isEmpty, "a task without stages")
        self.id = id
        self.stages = stages
        self.writers = writers
        self.coordinator = coordinator
        self.metrics = metrics
        self.clock = clock
    }

    var head: Stage { stages[0] }

    // MARK: life

    /// Opens every stage with its state, the last first: targets are ready before anything can flow.
    func open(_ state: (StageIdentity) throws -> StateSnapshot) async throws {
        for stage in stages.reversed() {
            let tables = stage.plan.role == .local ? [] : try state(stage.identity)
            do throws(OperatorError) {
                switch stage.instance {
                case .source(let source): try await source.open(restoring: tables)
                case .transform(let transform):
                    try transform.open(restoring: tables)
                    try stage.account(transform)
                case .sink(let sink): try await sink.open(restoring: tables)
                }
            } catch {
                throw stage.failure(error)
            }
        }
    }

    func close() async {
        for stage in stages {
            switch stage.instance {
            case .source(let source): await source.close()
            case .transform: break
            case .sink(let sink): await sink.close()
            }
        }
    }

    // MARK: what comes in

    /// A batch for the head.
    func process(_ batch: RecordBatch, from port: InputPort) async throws {
        try await process(batch, from: port, at: 0)
    }

    /// What the head, a source, has emitted.
    func emit(_ elements: [OutputBuffer.Element]) async throws {
        try await deliver(elements, from: 0)
    }

    func advance(to watermark: Watermark) async throws {
        try await advance(to: watermark, at: 0)
    }

    func split(_ event: SplitEvent) async throws {
        try await split(event, at: 0)
    }

    private func process(_ batch: RecordBatch, from port: InputPort, at index: Int) async throws {
        let stage = stages[index]
        stage.metrics.rowsIn.add(batch.rowCount, ordering: .relaxed)
        stage.metrics.batchesIn.add(1, ordering: .relaxed)
        switch stage.instance {
        case .transform(let transform):
            try await run(transform, index) { (transform, buffer) throws(OperatorError) in
                try transform.process(batch, from: port, into: &buffer)
            }
            do throws(OperatorError) {
                try stage.account(transform)
            } catch {
                throw stage.failure(error)
            }
        case .sink(let sink):
            var errors = OutputBuffer()
            do throws(OperatorError) {
                try await sink.write(batch, errors: &errors)
            } catch {
                throw stage.failure(error)
            }
            if !errors.elements.isEmpty { try await deliver(errors.drain(), from: index) }
        case .source:
            preconditionFailure("\(stage.plan.name) is a source and was given rows")
        }
    }

    private func advance(to watermark: Watermark, at index: Int) async throws {
        switch stages[index].instance {
        case .transform(let transform):
            try await run(transform, index) { (transform, buffer) throws(OperatorError) in
                try transform.advance(to: watermark, into: &buffer)
            }
        case .sink, .source: break
        }
    }

    private func split(_ event: SplitEvent, at index: Int) async throws {
        switch stages[index].instance {
        case .transform(let transform):
            try await run(transform, index) { (transform, buffer) throws(OperatorError) in
                try transform.split(event, into: &buffer)
            }
        case .sink, .source: break
        }
    }

    /// Calls a transform, sends on what it emits, and resumes it until it is done.
    func run(
        _ transform: any Transform, _ index: Int,
        _ call: (any Transform, inout OutputBuffer) throws(OperatorError) -> Progress
    ) async throws {
        var buffer = OutputBuffer()
        var progress: Progress
        do throws(OperatorError) {
            progress = try call(transform, &buffer)
        } catch {
            throw stages[index].failure(error)
        }
        if !buffer.elements.isEmpty { try await deliver(buffer.drain(), from: index) }
        while progress == .more {
            do throws(OperatorError) {
                progress = try transform.resume(into: &buffer)
            } catch {
                throw stages[index].failure(error)
            }
            if !buffer.elements.isEmpty { try await deliver(buffer.drain(), from: index) }
        }
    }

    // MARK: what goes out

    func deliver(_ elements: [OutputBuffer.Element], from index: Int) async throws {
        let stage = stages[index]
        for element in elements {
            switch element {
            case .batch(let batch, .main):
                stage.metrics.rowsOut.add(batch.rowCount, ordering: .relaxed)
                stage.metrics.batchesOut.add(1, ordering: .relaxed)
                if stage.main.isEmpty { stage.metrics.droppedRows.add(batch.rowCount, ordering: .relaxed) }
                for destination in stage.main { try await send(batch, to: destination, stage, .main) }
            case .batch(let batch, let port):
                try await deliver(batch, onSidePort: port, stage)
            case .watermark(let watermark):
                try await deliver(watermark, stage)
            case .split(let event):
                for destination in stage.streams {
                    switch destination {
                    case .stage(let next, _): try await split(event, at: next)
                    case .exchange(let writer): try writer.broadcast(.split(event))
                    case .deadLetter: break
                    }
                }
            }
        }
    }

    private func deliver(_ batch: RecordBatch, onSidePort port: OutputPort, _ stage: Stage) async throws {
        if port == .errors {
            stage.metrics.errorRows.add(batch.rowCount, ordering: .relaxed)
            if stage.plan.node.onError == .fail { throw stage.failure(DeadLetterRows.refusal(batch)) }
        } else {
            stage.metrics.rowsOut.add(batch.rowCount, ordering: .relaxed)
            stage.metrics.batchesOut.add(1, ordering: .relaxed)
        }
        guard let destinations = stage.ports[port], !destinations.isEmpty else {
            stage.metrics.droppedRows.add(batch.rowCount, ordering: .relaxed)
            return
        }
        for destination in destinations { try await send(batch, to: destination, stage, port) }
    }

    private func send(
        _ batch: RecordBatch, to destination: Stage.Destination, _ stage: Stage, _ port: OutputPort
    ) async throws {
        switch destination {
        case .stage(let next, let inputPort):
            try await process(batch, from: inputPort, at: next)
        case .exchange(let writer):
            count(try await send(batch, through: writer), stage)
        case .deadLetter(let writer):
            let rows =
                batch.schema == ErrorRows.schema
                ? batch : DeadLetterRows.convert(batch, port: stage.plan.node.name(of: port) ?? "main", stage.context)
            count(try await send(rows, through: writer), stage)
        }
    }

    private func count(_ waited: Duration, _ stage: Stage) {
        guard waited > .zero else { return }
        let (seconds, attoseconds) = waited.components
        stage.metrics.backpressureNanoseconds.add(
            Int(seconds) * 1_000_000_000 + Int(attoseconds / 1_000_000_000), ordering: .relaxed)
    }

    private func deliver(_ watermark: Watermark, _ stage: Stage) async throws {
        guard stage.lastWatermark != watermark else { return }
        stage.lastWatermark = watermark
        if case .time(let time) = watermark { stage.metrics.watermark.store(time, ordering: .relaxed) }
        for destination in stage.streams {
            switch destination {
            case .stage(let next, _): try await advance(to: watermark, at: next)
            case .exchange(let writer): try writer.broadcast(.watermark(watermark))
            case .deadLetter: break
            }
        }
    }

    // MARK: time

    /// The run's time.
    var now: ContinuousClock.Instant { clock.now }

    /// The earliest tick that a stage has asked for.
    var nextTick: ContinuousClock.Instant? {
        var next: ContinuousClock.Instant?
        for stage in stages {
            if let wanted = stage.context.tick.next, next.map({ wanted < $0 }) ?? true { next = wanted }
        }
        return next
    }

    /// Gives the ticks that are due.
    func tick(_ now: ContinuousClock.Instant) async throws {
        for (index, stage) in stages.enumerated() where stage.context.tick.takeDue(now) {
            guard case .transform(let transform) = stage.instance else { continue }
            try await run(transform, index) { (transform, buffer) throws(OperatorError) in
                try transform.tick(now, into: &buffer)
            }
        }
    }

    /// Nothing has come for a while: sinks push out what they hold.
    func idle() async throws {
        for (index, stage) in stages.enumerated() {
            guard case .sink(let sink) = stage.instance else { continue }
            var errors = OutputBuffer()
            do throws(OperatorError) {
                try await sink.idle(errors: &errors)
            } catch {
                throw stage.failure(error)
            }
            if !errors.elements.isEmpty { try await deliver(errors.drain(), from: index) }
        }
    }

    var hasSinks: Bool {
        stages.contains { stage in if case .sink = stage.instance { true } else { false } }
    }

    // MARK: end and barrier

    /// Every input has ended: each stage finishes, the head first, and the end goes on downstream.
    func finish() async throws {
        for (index, stage) in stages.enumerated() {
            if case .transform(let transform) = stage.instance {
                try await run(transform, index) { (transform, buffer) throws(OperatorError) in
                    try transform.finish(into: &buffer)
                }
            }
            if stage.hasEventTime { try await deliver(.end, stage) }
        }
        for writer in writers { try writer.broadcast(.endOfInput) }
    }

    /// Whether a sink waits for the commit of the last barrier.
    var awaitsCommit: Bool { stages.contains { $0.pendingCommit != nil } }

    /// The manifest is durable: the sinks commit.
    func commit(_ id: CheckpointID) async throws {
        for stage in stages where stage.pendingCommit == id {
            guard case .sink(let sink) = stage.instance else { continue }
            stage.pendingCommit = nil
            do throws(OperatorError) {
                try await sink.commitPrepared(id)
            } catch {
                throw stage.failure(error)
            }
        }
    }

    /// Commits again what the restored checkpoint has to commit.
    func recommit(_ id: CheckpointID, _ json: (StageIdentity) -> [String]) async throws {
        for stage in stages {
            guard case .sink(let sink) = stage.instance else { continue }
            let committables = json(stage.identity)
            guard !committables.isEmpty else { continue }
            do throws(OperatorError) {
                try await sink.commit(committables, id)
            } catch {
                throw stage.failure(error)
            }
        }
    }

    /// The checkpoint is complete, as far as sources want to know.
    func completed(_ id: CheckpointID) async throws {
        guard case .source(let source) = head.instance else { return }
        do throws(OperatorError) {
            try await source.checkpointCompleted(id)
        } catch {
            head.context.logger.warning(
                "node '\(head.plan.node.name)': telling the source of checkpoint \(id) failed: \(error.message)")
        }
    }
}
