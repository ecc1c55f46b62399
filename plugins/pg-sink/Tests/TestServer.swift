import DataflowOperator
import DataflowPostgres
import Foundation
import Logging
import Testing

@testable import PgSink

/// The PostgreSQL that the tests use: the one of `DATAFLOW_TEST_PG_URL` (`make test` sets it), else a private cluster
/// that is started here and removed at the end of the process.
enum TestServer {
    static let url: String? = {
        if let url = ProcessInfo.processInfo.environment["DATAFLOW_TEST_PG_URL"], !url.isEmpty { return url }
        let folder = "/var/tmp/dataflow-pg-tests-\(getpid())"
        guard let url = script("start", folder, "0") else {
            print("pg-sink: no PostgreSQL: set DATAFLOW_TEST_PG_URL, or run scripts/bootstrap.sh; tests are skipped")
            return nil
        }
        atexit { TestServer.remove("/var/tmp/dataflow-pg-tests-\(getpid())") }
        return url
    }()

    static var isThere: Bool { url != nil }

    /// Runs `scripts/postgres.sh`; what it prints, nil if it fails.
    @discardableResult
    static func script(_ arguments: String...) -> String? {
        let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../..").standardized.path
        // Neither a pipe nor `Process`: the server would inherit them and never let go.
        let path = "/var/tmp/dataflow-pg-output-\(UInt64.random(in: 0 ... .max))"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let words = (["\(root)/scripts/postgres.sh"] + arguments).map { "'\($0)'" }.joined(separator: " ")
        guard system("bash \(words) > \(path) < /dev/null") == 0, let data = FileManager.default.contents(atPath: path)
        else { return nil }
        return String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// Stops a private cluster and deletes its folder.
    static func remove(_ folder: String) {
        script("remove", folder)
        try? FileManager.default.removeItem(atPath: folder)
    }

    static func connect(_ url: String? = TestServer.url) throws -> PgConnection {
        try PgConnection(PgSettings(parsing: #require(url)), timeout: .seconds(60)) { _, _ in }
    }
}

/// A schema of its own for a test, and a folder for the epoch logs; both are gone when it is let go.
final class Workplace {
    let schema: String
    let folder: String
    let connection: PgConnection

    init() throws {
        let name = "t\(UInt64.random(in: 0...UInt64.max))"
        schema = name
        folder = "/var/tmp/dataflow-pg-\(name)"
        connection = try TestServer.connect()
        try connection.execute("set client_min_messages = warning; create schema \(name); set search_path = \(name)")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    deinit {
        _ = try? connection.execute("drop schema \(schema) cascade")
        try? FileManager.default.removeItem(atPath: folder)
    }

    func config(_ table: String, key: [String] = [], _ change: (inout PgSinkConfig) -> Void = { _ in }) -> PgSinkConfig
    {
        var config = PgSinkConfig()
        config.connection = Secret(TestServer.url ?? "")
        config.table = "\(schema).\(table)"
        config.commitsTable = "\(schema).dataflow_commits"
        config.key = key
        config.openTimeout = .seconds(10)
        config.reconnectTimeout = .seconds(30)
        change(&config)
        return config
    }

    /// The rows of a query, as text.
    func rows(_ sql: String) throws -> [[String?]] {
        let result = try connection.query(sql, [])
        return (0..<result.rowCount).map { row in (0..<result.columnCount).map { result[row, $0] } }
    }

    func text(_ sql: String) throws -> String? { try rows(sql).first?.first ?? nil }

    /// Ends every connection of the sinks of this test's node.
    func killSinks(_ node: String) throws {
        try connection.query(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1",
            ["dataflow test/\(node)"])
    }
}
