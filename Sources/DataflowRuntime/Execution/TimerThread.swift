import DataflowOperator
import Glibc

/// A clock that can call back: what channels and mailboxes need to wait no longer than a deadline.
public protocol TimedClock: RuntimeClock {
    /// Calls `body` once at `instant` or soon after, on a thread of the clock's; it must be short. Cannot be taken back.
    func schedule(at instant: ContinuousClock.Instant, _ body: @escaping @Sendable () -> Void)
}

/// The system's time, with one thread for all timers of the process.
public struct SystemClock: TimedClock {
    public init() {}

    public var now: ContinuousClock.Instant { .now }

    public var wallMicroseconds: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000
    }

    public func schedule(at instant: ContinuousClock.Instant, _ body: @escaping @Sendable () -> Void) {
        TimerThread.shared.schedule(at: instant, body)
    }
}

/// The thread behind ``SystemClock``: a heap of deadlines.
final class TimerThread: Sendable {
    static let shared = TimerThread()

    private let timers = Lock(TimerHeap())
    private let refusal: OperatorError?

    private init() {
        let timers = timers
        do throws(OperatorError) {
            try startThread("timers") {
                while true {
                    let body = timers.wait { heap -> Lock<TimerHeap>.Step<@Sendable () -> Void> in
                        guard let next = heap.first else { return .wait(until: nil) }
                        return next <= .now ? .take(heap.removeFirst()) : .wait(until: next)
                    }
                    body()
                }
            }
            refusal = nil
        } catch { refusal = error }
    }

    /// Starts the thread if need be: before a run, which could not wait without it.
    static func start() throws(OperatorError) { if let refusal = shared.refusal { throw refusal } }

    func schedule(at instant: ContinuousClock.Instant, _ body: @escaping @Sendable () -> Void) {
        timers.signal { $0.insert(instant, body) }
    }
}

/// A binary heap of what to call when. Insertion and removal O(log n).
package struct TimerHeap {
    private var entries: [(instant: ContinuousClock.Instant, body: @Sendable () -> Void)] = []

    public init() {}

    /// The earliest deadline.
    package var first: ContinuousClock.Instant? { entries.first?.instant }

    package mutating func insert(_ instant: ContinuousClock.Instant, _ body: @escaping @Sendable () -> Void) {
        entries.append((instant, body))
        var child = entries.count - 1
        while child > 0, entries[child].instant < entries[(child - 1) / 2].instant {
            entries.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    package mutating func removeFirst() -> @Sendable () -> Void {
        entries.swapAt(0, entries.count - 1)
        let body = entries.removeLast().body
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < entries.count {
                if entries[child].instant < entries[least].instant { least = child }
            }
            guard least != parent else { return body }
            entries.swapAt(parent, least)
            parent = least
        }
    }
}
