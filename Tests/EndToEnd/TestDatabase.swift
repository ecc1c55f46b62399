import Foundation

/// A database of its own for a test, dropped with this object.
package final class TestDatabase: Sendable {
    package let url: String
    package let name: String
    private let server: TestServer

    package init(_ server: TestServer, template: String = "template1") throws {
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
    package func query(_ sql: String) throws -> [String] {
        try TestDatabase.psql(url, ["-c", sql]).split(separator: "\n").map(String.init)
    }

    /// Runs a file of Tests/Resources.
    @discardableResult
    package func run(file: String) throws -> [String] {
        try TestDatabase.psql(url, ["-f", "\(Repository.root)/Tests/Resources/\(file)"]).split(separator: "\n").map(
            String.init)
    }

    @discardableResult
    package static func psql(_ url: String, _ arguments: [String]) throws -> String {
        let process = try ChildProcess(
            "psql", ["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", url] + arguments,
            environment: ["PGOPTIONS": "-c client_min_messages=warning"])
        return try process.succeed(within: .seconds(300))
    }
}
