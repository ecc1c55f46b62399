import Glibc

/// A value behind a pthread mutex, used like `Synchronization.Mutex`.
///
/// Why not that one: on Linux its futex calls lie in a library that the thread sanitizer does not see into, so every value
/// behind one is reported as a race; and it spins long under contention (swiftlang/swift#88440).
///
/// `@unchecked Sendable`: the value is touched only while the mutex is held; the pointer never changes.
@usableFromInline
package final class Lock<State>: @unchecked Sendable {
    @usableFromInline let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    @usableFromInline var state: State

    package init(_ state: sending State) {
        self.state = state
        pthread_mutex_init(mutex, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    /// Calls `body` while nobody else does. Not to be nested; short, and without suspension.
    @inlinable
    package func withLock<R, E: Error>(_ body: (inout State) throws(E) -> R) throws(E) -> R {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&state)
    }
}
