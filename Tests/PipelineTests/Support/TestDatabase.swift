import Foundation
import Synchronization
import Testing

/// A server that tests may use: that of `DATAFLOW_TEST_PG_URL`, or one of its own.
struct TestServer {
    var url: String

    /// The one that `make test` starts. Without it, tests that need a server fail and say so.
    static func shared() throws -> TestServer {
        guard let url = ProcessInfo.processInfo.environment["DATAFLOW_TEST_PG_URL"] else {
            throw ChildProcess.Failure(
                description: "DATAFLOW_TEST_PG_URL is not set; `make test` starts a PostgreSQL and sets it")
        }
        return TestServer(url: url)
    }

    /// The same server, another database.
    func url(database: String) -> String {
        var parts = url.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        parts[parts.count - 1] = database
        return parts.joined(separator: "/")
    }
}

/// A database of its own for a test, dropped with this object.
final class TestDatabase: Sendable {
    let url: String
    let name: String
    private let server: TestServer

    init(_ server: TestServer, template: String = "template1") throws {
        self.server = server
        name = "test_" + UUID().uuidString.lowercased().replacingOccurrences(of: "-", with: "")
        url = server.url(database: name)
        try TestDatabase.psql(server.url, ["-c", "create database \(name) template \(template)"])
    }

    deinit {
        _ = try? TestDatabase.psql(server.url, ["-c", "drop database if exists \(name) with (force)"])
    }

    /// Runs SQL; the rows come as text, fields separated by `|`.
    @discardableResult
    func query(_ sql: String) throws -> [String] {
        try TestDatabase.psql(url, ["-c", sql]).split(separator: "\n").map(String.init)
    }

    /// Runs a file of Tests/Resources.
    @discardableResult
    func run(file: String) throws -> [String] {
        try TestDatabase.psql(url, ["-f", "\(Repository.root)/Tests/Resources/\(file)"]).split(separator: "\n").map(
            String.init)
    }

    @discardableResult
    fileprivate static func psql(_ url: String, _ arguments: [String]) throws -> String {
        let process = try ChildProcess(
            "psql", ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", url] + arguments,
            environment: ["PGOPTIONS": "-c client_min_messages=warning"])
        return try process.succeed(within: .seconds(300))
    }
}

/// The seven tables as SQL alone computes them, in a database that serves as template for those of the tests.
///
/// They are computed once for each number of rows.
final class ExpectedTables {
    private static let made = Mutex<[Int: ExpectedTables]>([:])

    private let database: TestDatabase

    /// A database with the schema `expected` for the first `rows` rows.
    static func database(rows: Int, on server: TestServer) throws -> TestDatabase {
        let template = try made.withLock { made in
            let expected = try made[rows] ?? ExpectedTables(rows: rows, on: server)
            made[rows] = expected
            return expected.database.name
        }
        return try TestDatabase(server, template: template)
    }

    private init(rows: Int, on server: TestServer) throws {
        database = try TestDatabase(server)
        try ExpectedTables.compute(rows: rows, in: database)
    }

    /// Makes the schema `expected` in `database`, from the pages of a stand-in without faults.
    static func compute(rows: Int, in database: TestDatabase) throws {
        let api = try StandInAPI(rows: rows)
        let folder = try TemporaryFolder()
        let path = folder.path + "/pages.ndjson"
        guard FileManager.default.createFile(atPath: path, contents: nil), let file = FileHandle(forWritingAtPath: path)
        else {
            throw ChildProcess.Failure(description: "cannot write \(path)")
        }
        for offset in stride(from: 0, to: rows, by: 100) {
            try file.write(contentsOf: api.page(offset) + Data("\n".utf8))
        }
        try file.close()
        try database.query("create schema expected; create unlogged table expected.pages (page jsonb)")
        // CSV with a quote and a delimiter that occur nowhere takes each line as it is.
        try database.query(#"\copy expected.pages from '\#(path)' csv quote e'\x01' delimiter e'\x02'"#)
        try database.run(file: "openfood-expected.sql")
        try database.query("drop table expected.pages, expected.products")
    }
}

extension TestDatabase {
    /// Compares the seven tables row by row with what SQL computed.
    func expectTablesAsExpected(sourceLocation: SourceLocation = #_sourceLocation) throws {
        let lines = try run(file: "openfood-compare.sql")
        let sizes = lines.prefix(7).map { $0.split(separator: "|").map(String.init) }
        try #require(sizes.count == 7, "\(lines)", sourceLocation: sourceLocation)
        for size in sizes {
            try #require(size.count == 4, sourceLocation: sourceLocation)
            #expect(
                size[3] == "0",
                "\(size[0]): \(size[1]) rows expected, \(size[2]) found, \(size[3]) on one side only\n\(lines.dropFirst(7).filter { $0.hasPrefix(size[0]) }.joined(separator: "\n"))",
                sourceLocation: sourceLocation)
            #expect(Int(size[1]) ?? 0 > 0, "\(size[0]) is expected to have rows", sourceLocation: sourceLocation)
        }
    }
}
