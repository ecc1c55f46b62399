import Glibc
import Synchronization

/// SIGINT, SIGTERM and SIGHUP: the first one asks for a graceful stop, the second ends the process with exit code 75.
///
/// The signals are blocked in every thread and taken by one thread that waits for them, so what they lead to is ordinary
/// code and no signal handler.
struct StopSignals {
    private final class Listener: Sendable {
        let console: Console
        let first: @Sendable () -> Void

        init(_ console: Console, _ first: @escaping @Sendable () -> Void) {
            self.console = console
            self.first = first
        }
    }

    private let console: Console

    /// Blocks the signals in this thread and those it makes: to be called before there are others.
    init(_ console: Console) {
        self.console = console
        var set = Self.set
        pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    private static var set: sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&set, signal) }
        return set
    }

    /// Starts the thread that waits; it lives as long as the process.
    func listen(_ first: @escaping @Sendable () -> Void) {
        var thread = pthread_t()
        let listener = Unmanaged.passRetained(Listener(console, first))
        let started = pthread_create(
            &thread, nil,
            { pointer in
                guard let pointer else { return nil }
                let listener = Unmanaged<Listener>.fromOpaque(pointer).takeRetainedValue()
                var set = StopSignals.set
                var received: Int32 = 0
                var count = 0
                while sigwait(&set, &received) == 0 {
                    count += 1
                    guard count == 1 else {
                        listener.console.setLive("")
                        listener.console.line(
                            "stopped without draining; the next start goes on from the last checkpoint")
                        _exit(ExitStatus.stopped)
                    }
                    listener.first()
                }
                return nil
            }, listener.toOpaque())
        guard started == 0 else {
            listener.release()
            // Without the thread the signals end the process as they always do.
            var set = Self.set
            pthread_sigmask(SIG_UNBLOCK, &set, nil)
            return
        }
        pthread_detach(thread)
    }
}
