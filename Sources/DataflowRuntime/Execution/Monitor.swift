import Glibc

/// A mutex and a condition around a value, for the few threads of our own (``BlockingExecutor``, ``TimerThread``).
///
/// `@unchecked Sendable`: the value is touched only while the pthread mutex is held; the two pointers never change and
/// are freed when nobody can hold them any more.
final class Monitor<State>: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var state: State

    init(_ state: sending State) {
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

    func withLock<R>(_ body: (inout State) -> R) -> R {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body(&state)
    }

    /// Changes the value and wakes a waiting thread.
    func signal(_ body: (inout State) -> Void) {
        pthread_mutex_lock(mutex)
        body(&state)
        pthread_cond_signal(condition)
        pthread_mutex_unlock(mutex)
    }

    /// What a waiting thread is told to do next.
    enum Step<R> {
        case take(R)
        /// Sleep until a signal or this instant, then ask again.
        case wait(until: ContinuousClock.Instant?)
    }

    /// Blocks the thread until `body` takes something.
    func wait<R>(_ body: (inout State) -> Step<R>) -> R {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while true {
            switch body(&state) {
            case .take(let result): return result
            case .wait(nil): pthread_cond_wait(condition, mutex)
            case .wait(let deadline?):
                var time = timespec()
                clock_gettime(CLOCK_MONOTONIC, &time)
                let (seconds, attoseconds) = max(.zero, ContinuousClock.now.duration(to: deadline)).components
                let nanoseconds = time.tv_nsec + Int(attoseconds / 1_000_000_000) + 1
                time.tv_sec += Int(seconds) + nanoseconds / 1_000_000_000
                time.tv_nsec = nanoseconds % 1_000_000_000
                pthread_cond_timedwait(condition, mutex, &time)
            }
        }
    }
}

/// Starts a detached thread of our own.
///
/// - Parameter name: what it is for, should the system refuse it.
func startThread(_ name: String, _ body: @escaping @Sendable () -> Void) {
    final class Start {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    let start = Unmanaged.passRetained(Start(body))
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    pthread_attr_setstacksize(&attributes, 2 << 20)
    defer { pthread_attr_destroy(&attributes) }
    var thread = pthread_t()
    let failure = pthread_create(
        &thread, &attributes,
        { argument in
            guard let argument else { return nil }
            let start = Unmanaged<Start>.fromOpaque(argument).takeRetainedValue()
            start.body()
            return nil
        }, start.toOpaque())
    precondition(failure == 0, "the system gives no thread for \(name): \(String(cString: strerror(failure)))")
}
