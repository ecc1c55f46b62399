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

    @Test(arguments: [
        "postgresql://u:secret@h:port/db", "postgresql://u:sec/ret@h/db", "host=a,b port=5432,x", "port=0",
    ])
    func `a port that is no number is found without connecting`(connection: String) {
        let failure = #expect(throws: PgFailure.self) { try PgSettings(parsing: connection) }
        #expect(failure?.kind == .configuration)
        #expect(failure?.description.contains("port must be a number from 1 to 65535") == true)
        #expect(failure?.description.contains("sec") == false)
    }

    @Test(arguments: [
        "postgresql://u@h:5433/db", "postgresql://u@h/db", "host=a,b port=5432,5433", "host=a,b port=,5433",
    ])
    func `other ports are taken`(connection: String) throws {
        _ = try PgSettings(parsing: connection)
    }
}
