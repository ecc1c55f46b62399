import DataflowOperator

/// Decides, inside one task, when the barriers of all inputs of a checkpoint have arrived (Chandy–Lamport, aligned).
///
/// A pure value: it blocks nothing itself but says which input has to wait and which may go on. The coordinator has at
/// most one checkpoint in flight, so a barrier of another checkpoint during an alignment is a bug and traps.
///
/// An input that has ended counts as aligned, for the checkpoint in flight and for all later ones. Barriers that still
/// come on an ended input (an ended source stays to inject them) start an alignment like any other.
///
/// Inputs that come from a sink's `errors` port are different: what a sink refuses when it flushes comes between the end
/// and the barrier. Their end does not stand for the barrier, which always comes.
public struct BarrierAligner: Sendable {
    /// What the task has to do.
    public enum Action: Equatable, Sendable {
        /// Nothing; go on reading every input that is not blocked.
        case none
        /// Read nothing more from this input until the alignment is complete.
        case block(input: Int)
        /// Every input is aligned: snapshot, pass the barrier on, then read the `unblock`ed inputs again.
        case snapshot(CheckpointBarrier, unblock: [Int])
    }

    private enum State: Sendable {
        case idle
        case aligning(CheckpointBarrier, received: Set<Int>)
    }

    private var state = State.idle
    private var ended: Set<Int> = []
    private var lastAligned: CheckpointID?
    private let inputCount: Int
    private let behindSinks: Set<Int>

    /// - Parameters:
    ///   - inputs: how many inputs the task has, numbered from 0; at least one.
    ///   - behindSinks: those that a sink feeds, directly or through other tasks.
    public init(inputs: Int, behindSinks: Set<Int> = []) {
        precondition(inputs > 0, "a task without inputs has nothing to align")
        inputCount = inputs
        self.behindSinks = behindSinks
    }

    /// Whether every input has ended.
    public var allEnded: Bool { ended.count == inputCount }

    /// The checkpoint whose barriers are being collected.
    public var aligning: CheckpointID? {
        switch state {
        case .idle: nil
        case .aligning(let barrier, _): barrier.id
        }
    }

    /// A barrier has arrived on `input`.
    public mutating func barrier(_ barrier: CheckpointBarrier, on input: Int) -> Action {
        precondition((0..<inputCount).contains(input), "barrier on input \(input) of \(inputCount)")
        if let lastAligned, barrier.id <= lastAligned {
            precondition(
                ended.contains(input),
                "barrier \(barrier.id) arrived on input \(input) after checkpoint \(lastAligned) was aligned")
            return .none
        }
        switch state {
        case .idle:
            return received(barrier, [input], input)
        case .aligning(let current, var received):
            precondition(
                current == barrier,
                "barrier \(barrier.id) arrived while checkpoint \(current.id) is being aligned")
            precondition(
                received.insert(input).inserted,
                "barrier \(barrier.id) arrived on input \(input) already blocked for it")
            return self.received(current, received, input)
        }
    }

    /// `input` will bring no more rows. The caller handles the end (final watermark, `finish`) before a snapshot that
    /// this returns: the end stands before the barrier on that input.
    public mutating func endOfInput(_ input: Int) -> Action {
        precondition((0..<inputCount).contains(input), "end of input \(input) of \(inputCount)")
        precondition(ended.insert(input).inserted, "input \(input) ended twice")
        switch state {
        case .idle:
            return .none
        case .aligning(let barrier, let received):
            precondition(!received.contains(input), "input \(input) ended while blocked for a barrier")
            return behindSinks.contains(input) ? .none : complete(barrier, received) ?? .none
        }
    }

    private mutating func received(_ barrier: CheckpointBarrier, _ received: Set<Int>, _ input: Int) -> Action {
        if let snapshot = complete(barrier, received) { return snapshot }
        state = .aligning(barrier, received: received)
        return ended.contains(input) ? .none : .block(input: input)
    }

    private mutating func complete(_ barrier: CheckpointBarrier, _ received: Set<Int>) -> Action? {
        guard received.union(ended.subtracting(behindSinks)).count == inputCount else { return nil }
        state = .idle
        lastAligned = barrier.id
        return .snapshot(barrier, unblock: received.subtracting(ended).sorted())
    }
}
