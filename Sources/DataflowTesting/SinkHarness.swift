import DataflowOperator

/// Drives one sink by hand.
public final class SinkHarness<S: Sink> {
    /// What a checkpoint holds of a sink: its tables and what it has to commit.
    public struct Checkpoint: Sendable {
        public var id: CheckpointID
        public var state: StateSnapshot
        public var committables: [S.Committable]
    }

    public let context: OperatorContext
    /// The errors port.
    public private(set) var output = Emitted()
    public let sink: S
    private let restored: Checkpoint?
    private var nextCheckpoint: UInt64

    /// Checks the configuration and builds the sink; ``open()`` comes next.
    ///
    /// - Parameters:
    ///   - restoring: the checkpoint to start from.
    ///   - commitPending: whether it was durable but not known to be committed.
    public init(
        building type: S.Type = S.self, _ config: S.Config, input: Stream, restoring checkpoint: Checkpoint? = nil,
        commitPending: Bool = false, acceptDuplicates: Bool = false, lineage: String = "test-lineage",
        generation: UInt64 = 1, node: String = "node", stateDirectory: String = "/nonexistent",
        exactlyOnce: Bool = true, clock: any RuntimeClock = ManualClock()
    ) throws {
        _ = try S.outputs(config, inputs: [input])
        context = .testing(
            node: node, inputs: [input], lineage: lineage, generation: generation,
            restored: checkpoint.map {
                RestoredCheckpoint(id: $0.id, commitPending: commitPending, acceptDuplicates: acceptDuplicates)
            },
            stateDirectory: stateDirectory, exactlyOnce: exactlyOnce, clock: clock)
        restored = checkpoint
        nextCheckpoint = (checkpoint?.id.number ?? 0) + 1
        sink = try S(config, context)
    }

    /// Builds and opens the sink, and commits again what `restoring` has to commit.
    public convenience init(
        _ type: S.Type = S.self, _ config: S.Config, input: Stream, restoring checkpoint: Checkpoint? = nil,
        commitPending: Bool = false, acceptDuplicates: Bool = false, lineage: String = "test-lineage",
        generation: UInt64 = 1, node: String = "node", stateDirectory: String = "/nonexistent",
        exactlyOnce: Bool = true, clock: any RuntimeClock = ManualClock()
    ) async throws {
        try self.init(
            building: type, config, input: input, restoring: checkpoint, commitPending: commitPending,
            acceptDuplicates: acceptDuplicates, lineage: lineage, generation: generation, node: node,
            stateDirectory: stateDirectory, exactlyOnce: exactlyOnce, clock: clock)
        try await open()
    }

    /// Opens the sink and commits what is pending.
    @discardableResult
    public func open() async throws -> SinkHarness {
        try await sink.open(restoring: restored?.state ?? [])
        if let restored, context.restored?.commitPending == true {
            try await sink.commit(restored.committables, restored.id)
        }
        return self
    }

    /// The error with which ``open()`` ends; nil if it succeeds.
    public func openFailure() async -> OperatorError? { await failure { try await open() } }

    public func write(_ batch: RecordBatch) async throws {
        var errors = OutputBuffer()
        try await sink.write(batch, errors: &errors)
        output.append(errors.drain())
    }

    public func idle() async throws {
        var errors = OutputBuffer()
        try await sink.idle(errors: &errors)
        output.append(errors.drain())
    }

    /// `flush`, `prepareCommit`, `snapshot`: what a checkpoint does before its manifest is durable. A test that stops
    /// here has died before the commit.
    ///
    /// - Parameter number: the checkpoint's; nil for that behind the last.
    public func prepare(_ number: UInt64? = nil) async throws -> Checkpoint {
        let id = CheckpointID(number ?? nextCheckpoint)
        nextCheckpoint = id.number + 1
        var errors = OutputBuffer()
        try await sink.flush(id, errors: &errors)
        output.append(errors.drain())
        let committables = try await sink.prepareCommit(id)
        return Checkpoint(id: id, state: try sink.snapshot(id).throughCheckpoint(), committables: committables)
    }

    public func commit(_ checkpoint: Checkpoint) async throws {
        try await sink.commit(checkpoint.committables, checkpoint.id)
    }

    /// A whole checkpoint.
    @discardableResult
    public func checkpoint(_ number: UInt64? = nil) async throws -> Checkpoint {
        let checkpoint = try await prepare(number)
        try await commit(checkpoint)
        return checkpoint
    }

    public func close() async { await sink.close() }

    /// What went to the errors port since the last call.
    public func take() -> Emitted {
        defer { output = Emitted() }
        return output
    }
}

/// The error with which `body` ends; nil if it succeeds.
public func failure(_ body: () async throws -> Void) async -> OperatorError? {
    do {
        try await body()
        return nil
    } catch { return error as? OperatorError }
}
