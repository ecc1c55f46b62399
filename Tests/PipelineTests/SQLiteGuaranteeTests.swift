import CSQLite
import DataflowEndToEnd
import Foundation
import Testing

/// The program and a SQLite file: killed, restarted with other parallelism, beside other programs.
@Suite struct SQLiteGuaranteeTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private var database: String { folder.path + "/data.db" }

    /// A connection of this process.
    private final class Connection {
        private var handle: OpaquePointer?

        init(_ path: String) throws {
            try #require(sqlite3_open_v2(path, &handle, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, nil) == SQLITE_OK)
            sqlite3_busy_timeout(handle, 10_000)
        }

        deinit { sqlite3_close_v2(handle) }

        /// Rows as texts, columns joined by `|`.
        @discardableResult
        func query(_ sql: String) throws -> [String] {
            var statement: OpaquePointer?
            let made = sqlite3_prepare_v2(handle, sql, -1, &statement, nil)
            try #require(made == SQLITE_OK, "\(sql): \(String(cString: sqlite3_errmsg(handle)))")
            defer { sqlite3_finalize(statement) }
            var rows: [String] = []
            while true {
                let step = sqlite3_step(statement)
                if step == SQLITE_DONE { return rows }
                try #require(step == SQLITE_ROW, "\(sql): \(String(cString: sqlite3_errmsg(handle)))")
                let texts = (0..<sqlite3_column_count(statement)).map {
                    sqlite3_column_text(statement, $0).map { String(cString: $0) } ?? "null"
                }
                rows.append(texts.joined(separator: "|"))
            }
        }
    }

    /// Numbers into one table as they are, and their counts by remainder into another of the same file.
    private func pipeline(_ name: String, count: Int, rate: String, sink: String = "") throws -> String {
        let file = "\(folder.path)/\(name).yaml"
        try """
        pipeline: \(name)
        checkpoint: { interval: 50ms, directory: \(folder.path)/state }
        restart: { attempts: 1, backoff: 10ms }
        nodes:
          numbers:
            type: generate-source
            count: \(count)
            rate: \(rate)
            columns: { id: { sequence: {} }, word: { text: { length: 20 } } }
          rows: { type: sqlite-sink, from: numbers, path: \(database), table: \(name)_rows\(sink) }
          counts: { type: window-agg, from: numbers, window: global, group_by: { r: id % 7 }, emit: 20ms, aggregates: { n: count(*), s: sum(id) } }
          sums: { type: sqlite-sink, from: counts, path: \(database), table: \(name)_sums, key: [r]\(sink) }
        """.write(toFile: file, atomically: true, encoding: .utf8)
        return file
    }

    private func check(_ name: String, count: Int) throws {
        let connection = try Connection(database)
        #expect(
            try connection.query("select count(*), count(distinct id), min(id), max(id) from \(name)_rows") == [
                "\(count)|\(count)|0|\(count - 1)"
            ])
        let expected = (0..<7).map { rest in
            let ids = stride(from: rest, to: count, by: 7)
            return "\(rest)|\(ids.reduce(0) { sum, _ in sum + 1 })|\(ids.reduce(0, +))"
        }
        #expect(try connection.query("select r, n, s from \(name)_sums order by r") == expected)
        #expect(try connection.query("pragma integrity_check") == ["ok"])
    }

    @Test func `killed at any moment and started with other parallelism, every row is there once`() throws {
        let count = 60_000
        let file = try pipeline("killed", count: count, rate: "20000/s")
        var kills = 0
        var random = SystemRandomNumberGenerator()
        for round in 0..<(Repository.isSoak ? 60 : 8) {
            let process = try ChildProcess(
                Repository.program("dataflow"), ["run", file, "--parallelism", "\(round % 3 + 1)"])
            guard try process.kill(after: .milliseconds(Int.random(in: 100...900, using: &random))) else { break }
            kills += 1
        }
        #expect(kills > 0)
        try ChildProcess(Repository.program("dataflow"), ["run", file, "--parallelism", "2"])
            .succeed(within: .seconds(120))
        try check("killed", count: count)
    }

    @Test func `two pipelines write to one file at the same time`() throws {
        let runs = try ["one", "two"].map { name in
            (
                name: name,
                process: try ChildProcess(
                    Repository.program("dataflow"), ["run", pipeline(name, count: 20_000, rate: "20000/s")])
            )
        }
        for run in runs { try run.process.succeed(within: .seconds(120)) }
        for run in runs { try check(run.name, count: 20_000) }
    }

    @Test func `a program that keeps the lock is named, and once it lets go nothing is missing`() throws {
        let file = try pipeline("late", count: 5000, rate: "100000/s", sink: ", busy_timeout: 300ms")
        let other = try Connection(database)
        try other.query("create table mine (x)")
        try other.query("begin immediate")
        let process = try ChildProcess(Repository.program("dataflow"), ["run", file])
        #expect(process.wait(timeout: .seconds(60)) == .code(69))
        #expect(process.errors.contains("database is locked"), "\(process.errors)")
        #expect(process.errors.contains("process \(getpid()) ("), "\(process.errors)")
        try other.query("commit")
        try ChildProcess(Repository.program("dataflow"), ["run", file]).succeed(within: .seconds(60))
        try check("late", count: 5000)
    }
}
