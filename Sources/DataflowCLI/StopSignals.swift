import Glibc

/// SIGINT, SIGTERM and SIGHUP: the first one asks for a graceful stop, the second ends the process with exit code 75.
///
/// The same signal twice within half a second is one: `timeout` sends it to the process and to its group, and so does a
/// parent that passes on the Ctrl-C which the terminal has sent to all.
///
/// The handler does no more than write a byte to a pipe; a thread that reads it does the rest, so what a signal leads to
/// is ordinary code. (To block the signals and wait for them with `sigwait` does not work: Dispatch parks the main thread
/// in `sigsuspend` with an empty mask, where they would still end the process.)
enum StopSignals {
    private final class Listener: Sendable {
        let console: Console
        let first: @Sendable () -> Void

        init(_ console: Console, _ first: @escaping @Sendable () -> Void) {
            self.console = console
            self.first = first
        }
    }

    /// One byte for each signal that has come: its number. Made before a handler is in place, which then only reads the number.
    private static let pipe: (reader: Int32, writer: Int32)? = {
        var ends: [Int32] = [-1, -1]
        guard Glibc.pipe(&ends) == 0 else { return nil }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        // A handler never waits, however many signals come.
        _ = fcntl(ends[1], F_SETFL, O_NONBLOCK)
        return (ends[0], ends[1])
    }()

    /// Takes the signals from now on, until the process ends. Until then they end it as they always do, and so they do if
    /// the system has no pipe or thread left. SIGINT and SIGHUP that were ignored at the start (`nohup`, a script's
    /// background job) stay ignored.
    ///
    /// - Parameter first: called once, on the thread that waits.
    static func listen(_ console: Console, first: @escaping @Sendable () -> Void) {
        guard pipe != nil else { return }
        var thread = pthread_t()
        let listener = Unmanaged.passRetained(Listener(console, first))
        let started = pthread_create(
            &thread, nil,
            { pointer in
                guard let pointer else { return nil }
                let listener = Unmanaged<Listener>.fromOpaque(pointer).takeRetainedValue()
                let first = StopSignals.next()
                let repeats = ContinuousClock.now + .milliseconds(500)
                listener.first()
                while let next = StopSignals.next(), next == first, ContinuousClock.now < repeats {}
                listener.console.setLive("")
                listener.console.line("stopped without draining; the next start goes on from the last checkpoint")
                _exit(ExitStatus.stopped)
            }, listener.toOpaque())
        guard started == 0 else { return listener.release() }
        pthread_detach(thread)
        for signal in [SIGTERM, SIGINT, SIGHUP] { install(signal) }
    }

    private static func install(_ signal: Int32) {
        var action = sigaction()
        guard sigaction(signal, nil, &action) == 0 else { return }
        if signal != SIGTERM, isIgnored(action) { return }
        action = sigaction()
        action.__sigaction_handler.sa_handler = { signal in
            let code = errno
            var byte = UInt8(truncatingIfNeeded: signal)
            if let pipe = StopSignals.pipe { _ = write(pipe.writer, &byte, 1) }
            errno = code
        }
        action.sa_flags = SA_RESTART
        sigemptyset(&action.sa_mask)
        sigaction(signal, &action, nil)
    }

    private static func isIgnored(_ action: sigaction) -> Bool {
        unsafeBitCast(action.__sigaction_handler.sa_handler, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
    }

    /// Waits for a signal that was not waited for yet.
    /// - Returns: its number; nil where the pipe cannot be read.
    private static func next() -> UInt8? {
        guard let pipe else { return nil }
        var byte: UInt8 = 0
        while true {
            if read(pipe.reader, &byte, 1) == 1 { return byte }
            guard errno == EINTR else { return nil }
        }
    }
}
