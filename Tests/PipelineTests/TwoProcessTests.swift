import DataflowEndToEnd
import Foundation
import Glibc
import Testing

/// Two processes with one pipeline: never do both write.
@Suite struct TwoProcessTests {
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func start(_ sink: String, _ arguments: String..., state: String = "state") throws -> ChildProcess {
        let file = "\(folder.path)/\(state).yaml"
        let text = """
            pipeline: p
            checkpoint: { interval: 50ms, directory: \(folder.path)/\(state) }
            nodes:
              numbers: { type: generate-source, rate: 2000/s, columns: { n: { sequence: {} } } }
              out: { from: numbers, \(sink) }
            """
        try text.write(toFile: file, atomically: true, encoding: .utf8)
        return try ChildProcess(Repository.program("dataflow"), ["run", file, "--parallelism", "1"] + arguments)
    }

    private var files: String { "type: file-sink, path: \(folder.path)/out" }

    /// The numbers that are in the files, in order.
    private func written() throws -> [Int] {
        try FileManager.default.contentsOfDirectory(atPath: folder.path + "/out")
            .filter { $0.hasSuffix(".ndjson") }.flatMap { name in
                folder.text("out/\(name)").split(separator: "\n").compactMap { Int($0.dropFirst(5).dropLast()) }
            }.sorted()
    }

    /// Waits until the condition holds.
    private func expect(_ what: String, of run: ChildProcess, _ holds: () throws -> Bool) throws {
        let deadline = ContinuousClock.now + .seconds(30)
        while try !holds() {
            try #require(ContinuousClock.now < deadline, "\(what)\n\(run.errors)")
            try #require(run.wait(timeout: .milliseconds(20)) == nil, "\(what)\n\(run.errors)")
        }
    }

    @Test(arguments: [false, true])
    func `the second is refused with exit code 75 as long as the first lives, even if it is halted`(halted: Bool)
        throws
    {
        let first = try start(files)
        try expect("the first writes", of: first) { (try? written())?.isEmpty == false }
        if halted { first.halt() }
        let second = try start(files)
        #expect(second.wait(timeout: .seconds(30)) == .code(75), "\(second.errors)")
        #expect(second.errors.contains("pipeline 'p' is already running (process \(first.pid) "), "\(second.errors)")
        if halted { first.send(SIGCONT) }
        let before = try written().count
        try expect("the first goes on", of: first) { try written().count > before }
        first.send(SIGTERM)
        #expect(first.wait(timeout: .seconds(30)) == .code(0), "\(first.errors)")
        #expect(try written() == Array(0..<written().count))
    }

    @Test func `the second takes over when the first is dead, and each row is there once`() throws {
        let first = try start(files)
        try expect("the first writes", of: first) { (try? written())?.isEmpty == false }
        first.send(SIGKILL)
        #expect(first.wait(timeout: .seconds(10)) == .signal(SIGKILL))
        let before = try written().count
        let second = try start(files)
        try expect("the second writes", of: second) { try written().count > before }
        second.send(SIGTERM)
        #expect(second.wait(timeout: .seconds(30)) == .code(0), "\(second.errors)")
        #expect(second.errors.contains("restored checkpoint"))
        #expect(try written() == Array(0..<written().count))
    }

    // MARK: Copies of a checkpoint folder, whose locks know nothing of each other

    private struct Table {
        let database: TestDatabase

        init() throws { database = try TestDatabase(TestServer.shared()) }

        var sink: String { "type: pg-sink, connection: \"\(database.url)\", table: t" }

        /// How many rows there are, once the table is there.
        var count: Int { (try? database.query("select count(*) from t").first.flatMap { Int($0) }) ?? 0 }

        /// Whether each number from 0 on is there once.
        func isExact() throws -> Bool {
            let counts = "count(*) = count(distinct n), count(*) = max(n) + 1"
            return try database.query("select \(counts) from t") == ["t|t"]
        }
    }

    private func copyState() throws {
        try FileManager.default.copyItem(atPath: folder.path + "/state", toPath: folder.path + "/copy")
    }

    @Test func `a run that a copy has overtaken while it hung writes nothing more`() throws {
        let table = try Table()
        let first = try start(table.sink)
        try expect("the first writes", of: first) { table.count > 0 }
        first.halt()
        try copyState()
        let before = table.count
        let second = try start(table.sink, state: "copy")
        try expect("the second writes", of: second) { table.count > before }
        first.send(SIGCONT)
        let exit = first.wait(timeout: .seconds(60))
        #expect(exit == .code(78), "\(first.errors)")
        #expect(first.errors.contains("has taken over table t"), "\(first.errors)")
        second.send(SIGTERM)
        #expect(second.wait(timeout: .seconds(30)) == .code(0), "\(second.errors)")
        #expect(try table.isExact())
    }

    @Test func `a copy that knows less than the table holds is refused`() throws {
        let table = try Table()
        let before = try start(table.sink, "--limit", "1000")
        #expect(before.wait(timeout: .seconds(30)) == .code(0), "\(before.errors)")
        try copyState()
        let first = try start(table.sink)
        try expect("the first writes", of: first) { table.count > 1000 }
        first.send(SIGTERM)
        #expect(first.wait(timeout: .seconds(30)) == .code(0), "\(first.errors)")
        let count = table.count
        let second = try start(table.sink, state: "copy")
        #expect(second.wait(timeout: .seconds(30)) == .code(78), "\(second.errors)")
        #expect(second.errors.contains("table t is ahead of checkpoint"), "\(second.errors)")
        #expect(table.count == count)
        #expect(try table.isExact())
    }
}
