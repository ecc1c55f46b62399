import Glibc

/// Starts a detached thread of our own.
///
/// - Parameters:
///   - name: what it is for, should the system refuse it.
///   - stackSize: bytes.
/// - Throws: `no_thread`, external, where the limit of processes or of memory is reached: how many threads there are follows
///   from the pipeline file.
package func startThread(
    _ name: String, stackSize: Int = 2 << 20, _ body: @escaping @Sendable () -> Void
) throws(OperatorError) {
    final class Start {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    let start = Unmanaged.passRetained(Start(body))
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    pthread_attr_setstacksize(&attributes, stackSize)
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
    guard failure != 0 else { return }
    start.release()
    throw OperatorError(
        .external, .withBackoff, "no_thread",
        "the system gives no thread for \(name): \(String(cString: strerror(failure))); lower `parallelism`, or raise the limit of processes (ulimit -u) or of memory"
    )
}
