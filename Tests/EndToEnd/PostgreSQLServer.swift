import Foundation

/// A server that tests may use: that of `DATAFLOW_TEST_PG_URL`, or one of its own.
package struct TestServer {
    package var url: String

    package init(url: String) { self.url = url }

    /// The one that `make test` starts. Without it, tests that need a server fail and say so.
    package static func shared() throws -> TestServer {
        guard let url = ProcessInfo.processInfo.environment["DATAFLOW_TEST_PG_URL"] else {
            throw ChildProcess.Failure(
                description: "DATAFLOW_TEST_PG_URL is not set; `make test` starts a PostgreSQL and sets it")
        }
        return TestServer(url: url)
    }

    /// The same server, another database.
    package func url(database: String) -> String {
        var parts = url.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        parts[parts.count - 1] = database
        return parts.joined(separator: "/")
    }
}

/// A PostgreSQL cluster of a test's own, to be stopped and started.
package final class PrivateServer {
    package let folder: String
    package private(set) var url = ""

    package init(folder: String) throws {
        self.folder = folder
        try start()
    }

    deinit {
        _ = try? script("remove")
    }

    package func start() throws {
        url = try script("start", "0").trimmingCharacters(in: .whitespacesAndNewlines)
    }

    package func stop() throws {
        _ = try script("stop")
    }

    private func script(_ verb: String, _ more: String...) throws -> String {
        try ChildProcess("\(Repository.root)/scripts/postgres.sh", [verb, folder] + more).succeed(within: .seconds(180))
    }
}
