import DataflowPostgres
import DataflowRuntime
import DataflowTesting
import Testing

/// Needs no server.
@Suite struct `Connecting` {
    @Test func `a server that does not answer is not waited for when the task is cancelled`() async throws {
        let server = try SilentServer()
        let settings = try PgSettings(
            parsing: "postgresql://user@127.0.0.1:\(server.port)/db?connect_timeout=3600&sslmode=disable")
        let thread = try BlockingExecutor(name: "connecting")
        defer { thread.shutDown() }
        let task = Task(executorPreference: thread) { () -> PgFailure? in
            do throws(PgFailure) {
                _ = try PgConnection(settings, timeout: .seconds(3600)) { _, _ in }
                return nil
            } catch { return error }
        }
        server.waitForVisitor()
        task.cancel()
        #expect(await task.value?.kind == .cancelled)
        withExtendedLifetime(server) {}
    }
}
