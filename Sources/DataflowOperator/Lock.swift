import Glibc
import SwiftOverlayShims

/// A value behind a pthread mutex with a condition: used like `Synchronization.Mutex`, and by threads that wait.
///
/// Why not that one: on Linux its futex calls lie in a library that the thread sanitizer does not see into, so every value
/// behind one is reported as a race; and it spins long under contention (swiftlang/swift#88440).
///
/// `@unchecked Sendable`: the value is touched only while the mutex is held; the two pointers never change and are freed
/// when nobody can hold them any more.
@usableFromInline
package final class Lock<State>: @unchecked Sendable {
    @usableFromInline let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    @usableFromInline var state: State

    package init(_ state: sending State) {
        self.state = state
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    /// Calls `body` while nobody else does. Not to be nested; short, and without suspension.
    @inlinable
    package func withLock<R, E: Error>(_ body: (inout State) throws(E) -> R) throws(E) -> R {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&state)
    }

    /// Changes the value and wakes a waiting thread.
    package func signal(_ body: (inout State) -> Void) {
        pthread_mutex_lock(mutex)
        body(&state)
        pthread_cond_signal(condition)
        pthread_mutex_unlock(mutex)
    }

    /// What a waiting thread is told to do next.
    package enum Step<R> {
        case take(R)
        /// Sleep until a signal or this instant, then ask again.
        case wait(until: ContinuousClock.Instant?)
    }

    /// Blocks the thread until `body` takes something. For threads of our own, never on the cooperative pool.
    package func wait<R>(_ body: (inout State) -> Step<R>) -> R {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while true {
            switch body(&state) {
            case .take(let result): return result
            case .wait(nil): pthread_cond_wait(condition, mutex)
            case .wait(let deadline?):
                Lock.sleep(until: deadline) { _ = pthread_cond_timedwait(condition, mutex, $0) }
            }
        }
    }

    /// Lends an instant as the condition's clock counts it.
    ///
    /// By raw memory, two words on 64-bit Linux: which C module the members of `timespec` are said to come from, and so
    /// whether this file may name them, changes with the order in which modules are loaded.
    private static func sleep(
        until deadline: ContinuousClock.Instant, _ wait: (UnsafeMutablePointer<timespec>) -> Void
    ) {
        withUnsafeTemporaryAllocation(of: timespec.self, capacity: 1) { memory in
            guard let time = memory.baseAddress, clock_gettime(CLOCK_MONOTONIC, time) == 0 else { return }
            let words = UnsafeMutableRawPointer(time)
            let (seconds, attoseconds) = max(.zero, ContinuousClock.now.duration(to: deadline)).components
            let nanoseconds = words.load(fromByteOffset: 8, as: Int.self) + Int(attoseconds / 1_000_000_000) + 1
            let total = words.load(as: Int.self) + Int(seconds) + nanoseconds / 1_000_000_000
            words.storeBytes(of: total, as: Int.self)
            words.storeBytes(of: nanoseconds % 1_000_000_000, toByteOffset: 8, as: Int.self)
            wait(time)
        }
    }
}
