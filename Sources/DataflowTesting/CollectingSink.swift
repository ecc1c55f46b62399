import DataflowOperator

/// The world outside of a ``CollectingSink``: what was committed stays, whatever happens to the pipeline.
public final class CollectedRows: Sendable {
    /// Where a sink is to die: it throws once, before or after the step has had its effect.
    public enum Failpoint: Hashable, Sendable, CaseIterable {
        case open, write, beforeFlush, beforePrepare, afterPrepare, beforeCommit, afterCommit
    }

    private struct State {
        var prepared: [CheckpointID: [RecordBatch]] = [:]
        var committed: [RecordBatch] = []
        var commits: [CheckpointID] = []
        var failpoint: (point: Failpoint, passes: Int, error: OperatorError)?
        var lastCommitted: CheckpointID?
    }

    private let state = Lock(State())

    public init() {}

    /// The rows that a reader sees, in order of their commit.
    public var rows: [[Value]] { state.withLock { $0.committed.flatMap(\.rows) } }
    public var batches: [RecordBatch] { state.withLock { $0.committed } }
    /// Checkpoints that were committed with rows, in order; each once.
    public var commits: [CheckpointID] { state.withLock { $0.commits } }

    /// The last row of each key, without deleted ones.
    public func table(key: [String]) -> [[Value]: [Value]] {
        var emitted = Emitted()
        emitted.append(batches.map { .batch($0, .main) })
        return emitted.table(key: key)
    }

    /// The sink dies at `point`, after passing it `passes` times.
    public func fail(
        at point: Failpoint, afterPasses passes: Int = 0,
        with error: OperatorError = OperatorError(.external, .withBackoff, "test_failure", "the sink was told to fail")
    ) {
        state.withLock { $0.failpoint = (point, passes, error) }
    }

    fileprivate func check(_ point: Failpoint) throws(OperatorError) {
        let error = state.withLock { state -> OperatorError? in
            guard let failpoint = state.failpoint, failpoint.point == point else { return nil }
            guard failpoint.passes == 0 else {
                state.failpoint?.passes -= 1
                return nil
            }
            state.failpoint = nil
            return failpoint.error
        }
        if let error { throw error }
    }

    fileprivate func prepare(_ id: CheckpointID, _ batches: [RecordBatch]) {
        state.withLock { $0.prepared[id] = batches }
    }

    fileprivate func commit(_ id: CheckpointID) {
        state.withLock { state in
            guard let batches = state.prepared.removeValue(forKey: id) else { return }
            precondition(state.lastCommitted.map { $0 < id } ?? true, "checkpoint \(id) was committed out of order")
            state.lastCommitted = id
            state.committed += batches
            state.commits.append(id)
        }
    }

    /// What a dead run has prepared behind its last checkpoint is given up.
    fileprivate func discard(after id: CheckpointID?) {
        state.withLock { state in
            state.prepared = state.prepared.filter { prepared in id.map { prepared.key <= $0 } ?? false }
        }
    }

    fileprivate func append(_ batch: RecordBatch) { state.withLock { $0.committed.append(batch) } }
}

public struct CollectingSinkConfig: OperatorConfig {
    /// Where the rows go; set by the test.
    public var rows: CollectedRows?
    /// Closed: the sink takes nothing.
    public var gate: Gate?
    /// Closed: the sink goes on opening.
    public var opening: Gate?

    public init() {}
    public init(_ rows: CollectedRows, gate: Gate? = nil, opening: Gate? = nil) {
        self.rows = rows
        self.gate = gate
        self.opening = opening
    }

    public static let schema = ConfigSchema<Self> {}
}

/// A sink with two-phase commit into memory; rows are seen when their checkpoint is committed.
public final class CollectingSink: Sink {
    public typealias Config = CollectingSinkConfig

    public struct Committable: Codable, Sendable {
        public var checkpoint: CheckpointID
    }

    public static let info = OperatorInfo("collecting-sink", .sink, "Rows into memory, for tests.", maxParallelism: 1)

    public static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] { [] }

    private let rows: CollectedRows
    private let gate: Gate?
    private let opening: Gate?
    private let restored: CheckpointID?
    private var epoch: [RecordBatch] = []

    public init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        rows = config.rows ?? CollectedRows()
        gate = config.gate
        opening = config.opening
        restored = context.restored?.id
    }

    public func open(restoring state: StateSnapshot) async throws(OperatorError) {
        try rows.check(.open)
        if let opening {
            do { try await opening.wait() } catch {
                throw OperatorError(.engine, .never, "cancelled", "the run was cancelled while the sink was opening")
            }
        }
        rows.discard(after: restored)
    }

    public func write(_ batch: RecordBatch, errors: inout OutputBuffer) async throws(OperatorError) {
        try rows.check(.write)
        if let gate {
            do { try await gate.wait() } catch {
                throw OperatorError(.engine, .never, "cancelled", "the run was cancelled while the sink was stalled")
            }
        }
        epoch.append(batch)
    }

    public func flush(_ checkpoint: CheckpointID, errors: inout OutputBuffer) async throws(OperatorError) {
        try rows.check(.beforeFlush)
    }

    public func prepareCommit(_ checkpoint: CheckpointID) async throws(OperatorError) -> [Committable] {
        try rows.check(.beforePrepare)
        guard !epoch.isEmpty else { return [] }
        rows.prepare(checkpoint, epoch)
        epoch = []
        try rows.check(.afterPrepare)
        return [Committable(checkpoint: checkpoint)]
    }

    public func commit(_ committables: [Committable], _ checkpoint: CheckpointID) async throws(OperatorError) {
        try rows.check(.beforeCommit)
        for committable in committables { rows.commit(committable.checkpoint) }
        try rows.check(.afterCommit)
    }
}

/// A sink without two-phase commit whose rows are seen at once; it stalls while its gate is closed.
public final class StallingSink: Sink {
    public typealias Config = CollectingSinkConfig

    public static let info = OperatorInfo("stalling-sink", .sink, "Rows into memory when a gate is open, for tests.")

    public static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] { [] }

    private let rows: CollectedRows
    private let gate: Gate

    public init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        rows = config.rows ?? CollectedRows()
        gate = config.gate ?? Gate(isOpen: true)
    }

    public func write(_ batch: RecordBatch, errors: inout OutputBuffer) async throws(OperatorError) {
        do { try await gate.wait() } catch {
            throw OperatorError(.engine, .never, "cancelled", "the run was cancelled while the sink was stalled")
        }
        rows.append(batch)
    }

    public func flush(_ checkpoint: CheckpointID, errors: inout OutputBuffer) async throws(OperatorError) {}
}
