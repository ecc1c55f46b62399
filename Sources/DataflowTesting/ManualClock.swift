import DataflowOperator
import DataflowRuntime

/// A clock that stands still until a test moves it.
public final class ManualClock: TimedClock {
    private struct State {
        var now: ContinuousClock.Instant
        var wall: Int64
        var timers = TimerHeap()
    }

    private let state: Lock<State>

    /// - Parameter wallMicroseconds: the wall time at the start; default 2024-01-01T00:00:00Z.
    public init(wallMicroseconds: Int64 = 1_704_067_200_000_000) {
        state = Lock(State(now: .now, wall: wallMicroseconds))
    }

    public var now: ContinuousClock.Instant { state.withLock(\.now) }
    public var wallMicroseconds: Int64 { state.withLock(\.wall) }

    /// Moves both times on and calls back who waited for it.
    public func advance(by duration: Duration) {
        let due = state.withLock { state in
            state.now += duration
            let (seconds, attoseconds) = duration.components
            state.wall += seconds * 1_000_000 + attoseconds / 1_000_000_000_000
            var due: [@Sendable () -> Void] = []
            while let next = state.timers.first, next <= state.now { due.append(state.timers.removeFirst()) }
            return due
        }
        for body in due { body() }
    }

    public func schedule(at instant: ContinuousClock.Instant, _ body: @escaping @Sendable () -> Void) {
        let isDue = state.withLock { state in
            if instant > state.now { state.timers.insert(instant, body) }
            return instant <= state.now
        }
        if isDue { body() }
    }
}
