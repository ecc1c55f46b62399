public import DataflowColumnar

/// Takes rows out of the pipeline.
///
/// At a barrier: `flush` → `prepareCommit` → `snapshot` → acknowledge; when the checkpoint is durable, `commit`. A sink
/// with a `Committable` gets no further rows until its commit has returned.
public protocol Sink: Operator {
    /// What `commit` needs to finish an epoch, also after a crash, from the checkpoint. `Never`: no two-phase commit.
    associatedtype Committable: Codable & Sendable = Never

    /// Connects and takes up state. If the restored checkpoint's commit is pending, `commit` follows with its
    /// committables before any row.
    func open(restoring state: StateSnapshot) async throws(OperatorError)

    /// Takes the rows of one batch. Rows that can never be written go to `errors`.
    func write(_ batch: RecordBatch, errors: inout OutputBuffer) async throws(OperatorError)

    /// The source is quiet for now (called at most once after a batch, when `linger` is over): sinks without
    /// two-phase commit push out what they hold.
    func idle(errors: inout OutputBuffer) async throws(OperatorError)

    /// Every row so far is accepted by the target when this returns: `commit` cannot fail because of a row.
    func flush(_ checkpoint: CheckpointID, errors: inout OutputBuffer) async throws(OperatorError)

    /// Makes the epoch durable on this side and says what `commit` needs.
    func prepareCommit(_ checkpoint: CheckpointID) async throws(OperatorError) -> [Committable]

    /// Makes the epoch visible. Idempotent: may be called again after a crash with the same committables.
    func commit(_ committables: [Committable], _ checkpoint: CheckpointID) async throws(OperatorError)

    /// State besides the committables. Default none.
    func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot

    /// Lets everything go; what was not committed is given up. Called once, also after an error.
    func close() async
}

extension Sink {
    public func open(restoring state: StateSnapshot) async throws(OperatorError) {}
    public func idle(errors: inout OutputBuffer) async throws(OperatorError) {}
    public func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot { [] }
    public func close() async {}

    /// True when the sink takes part in two-phase commit.
    public static var commits: Bool { Committable.self != Never.self }
}

extension Sink where Committable == Never {
    public func prepareCommit(_ checkpoint: CheckpointID) async throws(OperatorError) -> [Never] { [] }
    public func commit(_ committables: [Never], _ checkpoint: CheckpointID) async throws(OperatorError) {}
}
