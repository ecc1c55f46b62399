import DataflowOperator
import Synchronization

/// A clock that stands still until a test moves it.
public final class ManualClock: RuntimeClock {
    private struct State {
        var now: ContinuousClock.Instant
        var wall: Int64
    }

    private let state: Mutex<State>

    /// - Parameter wallMicroseconds: the wall time at the start; default 2024-01-01T00:00:00Z.
    public init(wallMicroseconds: Int64 = 1_704_067_200_000_000) {
        state = Mutex(State(now: .now, wall: wallMicroseconds))
    }

    public var now: ContinuousClock.Instant { state.withLock(\.now) }
    public var wallMicroseconds: Int64 { state.withLock(\.wall) }

    /// Moves both times on.
    public func advance(by duration: Duration) {
        state.withLock { state in
            state.now += duration
            let (seconds, attoseconds) = duration.components
            state.wall += seconds * 1_000_000 + attoseconds / 1_000_000_000_000
        }
    }
}
