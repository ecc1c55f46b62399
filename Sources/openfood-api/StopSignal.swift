import Dispatch
import Glibc
import Synchronization

/// SIGTERM and SIGINT as something to wait for.
final class StopSignal: Sendable {
    private let raised = Atomic(false)
    private let stream: AsyncStream<Void>

    init() {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        self.stream = stream
        for number in [SIGTERM, SIGINT] {
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            // The handler keeps its source alive until the signal comes.
            source.setEventHandler { [weak self] in
                self?.raised.store(true, ordering: .releasing)
                continuation.finish()
                source.cancel()
            }
            source.activate()
        }
    }

    /// Whether a signal has come.
    var isRaised: Bool { raised.load(ordering: .acquiring) }

    /// Returns when a signal has come, or when the task is cancelled.
    func wait() async {
        for await _ in stream {}
    }
}
