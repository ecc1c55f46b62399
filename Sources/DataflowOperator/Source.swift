/// Brings rows into the pipeline.
///
/// The runtime owns the loop: it calls `poll` again and again, and takes snapshots and injects barriers between polls.
public protocol Source: Operator {
    /// Why rows of a node with these settings may come twice, or move between runs, so that state behind it would be wrong:
    /// a phrase for messages, `it reads as a member of a group`. Nil, the default: each row comes exactly once.
    ///
    /// Behind such a source the pipeline may keep no state, and its sinks must say `delivery: at_least_once`.
    static func weakness(_ config: Config) -> String?

    /// Connects, and takes up the position in `state`; empty for a new start. May be called at a higher or lower
    /// parallelism than the state was written with: take what you own of the splits in it.
    func open(restoring state: StateSnapshot) async throws(OperatorError)

    /// Emits what is ready and returns by `deadline`; called again at once after `.emitted`.
    ///
    /// `.idle` means that nothing was ready until the deadline, `.endOfInput` that nothing will ever come again (what
    /// stands in `output` still counts).
    func poll(
        until deadline: ContinuousClock.Instant, into output: inout OutputBuffer
    ) async throws(OperatorError) -> PollResult

    /// The position after the last emitted row. By reference: no I/O.
    func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot

    /// The checkpoint is durable and committed everywhere. Best effort; a higher id stands for all lower ones.
    func checkpointCompleted(_ checkpoint: CheckpointID) async throws(OperatorError)

    /// Lets everything go. Called once, also after an error.
    func close() async
}

extension Source {
    public static func weakness(_ config: Config) -> String? { nil }
    public func checkpointCompleted(_ checkpoint: CheckpointID) async throws(OperatorError) {}
    public func close() async {}
}

/// What came of a poll.
public enum PollResult: Sendable {
    case emitted
    case idle
    case endOfInput
}
