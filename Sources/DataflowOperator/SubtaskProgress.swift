/// How far the subtasks of a source have come, each by its own account.
///
/// For sources that keep their splits in step (``OperatorContext/eventTimeDownstream``): one that is ahead gives way, so that
/// all end at about the same time and windows behind them hold no more rows than they must. Nothing depends on it.
public final class SubtaskProgress: Sendable {
    private let parts: Lock<[Double]>

    /// - Parameter parallelism: how many subtasks there are; none has begun.
    public init(parallelism: Int) {
        parts = Lock([Double](repeating: 0, count: parallelism))
    }

    /// Takes note of which part of its input a subtask has read: 0 at the start, 1 at the end. Once a batch, not once a row.
    public func update(_ subtask: Int, _ part: Double) {
        parts.withLock { $0[subtask] = part }
    }

    /// The part that the subtask has read which has come least far. O(parallelism).
    public var least: Double { parts.withLock { $0.min() ?? 1 } }
}
