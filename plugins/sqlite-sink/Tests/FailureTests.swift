import DataflowOperator
import DataflowTesting
import Glibc
import Testing

@testable import SQLiteSink

/// Locks, full disks, damaged files.
struct FailureTests {
    @Test func `a lock is waited for`() async throws {
        let place = try Workplace()
        let sink = try await place.open(place.config(), Rows.append)
        try await sink.write(Rows.batch([("a", 1)]))
        let pending = try await sink.prepare()
        let other = try place.connect()
        try other.execute("begin immediate; insert into t values ('other', 0)")
        var waits = 0
        sink.sink.session.onWait = {
            waits += 1
            // Given up once the commit has met it twice.
            if waits == 2 { try? other.execute("commit") }
        }
        try await sink.commit(pending)
        #expect(waits == 2)
        #expect(try place.rows("select k from t order by k") == [["a"], ["other"]])
    }

    @Test func `a lock that stays ends the run with a retryable error that names its holder`() async throws {
        let place = try Workplace()
        let sink = try await place.open(place.config { $0.busyTimeout = .milliseconds(300) }, Rows.append)
        try await sink.write(Rows.batch([("a", 1)]))
        let pending = try await sink.prepare()
        let other = try place.connect()
        try other.execute("begin immediate")
        let error = await failure { try await sink.commit(pending) }
        #expect(error?.code == "database_locked")
        #expect(error?.retry == .withBackoff)
        #expect(error?.message.contains("held by this process itself") == true, "\(error?.message ?? "")")
        // Nothing is lost: once it is free the commit goes through.
        try other.execute("rollback")
        try await sink.commit(pending)
        #expect(try place.text("select count(*) from t") == "1")
    }

    @Test func `several sinks write to one database, each its table`() async throws {
        let place = try Workplace()
        let tables = (0..<4).map { "t\($0)" }
        let logs = try tables.map { _ in try TemporaryDirectory() }
        var sinks: [Workplace.Harness] = []
        for (table, folder) in zip(tables, logs) {
            sinks.append(try await place.open(place.config(table), Rows.append, node: table, logs: folder))
        }
        for epoch in 1...3 {
            for sink in sinks { try await sink.write(Rows.batch([("a", Int64(epoch))])) }
            // All are prepared before the first commits, as in a pipeline.
            var pending: [Workplace.Harness.Checkpoint] = []
            for sink in sinks { pending.append(try await sink.prepare()) }
            for (sink, checkpoint) in zip(sinks, pending).reversed() { try await sink.commit(checkpoint) }
        }
        for table in tables { #expect(try place.text("select count(*) from \(table)") == "3") }
    }

    @Test func `a full database is a retryable error, and goes on when there is room`() async throws {
        let place = try Workplace()
        let sink = try await place.open(place.config(), Rows.append)
        let batch = Rows.batch((0..<2000).map { (String(repeating: "x", count: 100), $0) })
        try await sink.write(batch)
        let pending = try await sink.prepare()
        let pages = try #require(try place.text("pragma page_count").flatMap { Int($0) })
        try sink.database.execute("pragma max_page_count = \(pages + 3)")
        let error = await failure { try await sink.commit(pending) }
        #expect(error?.code == "disk_full")
        #expect(error?.retry == .withBackoff)
        #expect(try place.text("select count(*) from t") == "0")
        try sink.database.execute("pragma max_page_count = 1000000")
        try await sink.commit(pending)
        #expect(try place.text("select count(*) from t") == "2000")
    }

    @Test func `a file that is no database is the user's error`() async throws {
        let place = try Workplace()
        let file = try #require(fopen(place.path, "w"))
        for _ in 0..<500 { fputs("This is a text, not a database. ", file) }
        fclose(file)
        let error = await failure { _ = try await place.open(place.config(), Rows.append) }
        #expect(error?.code == "database_damaged")
        #expect(error?.domain == .user)
        #expect(error?.retry == .never)
        #expect(error?.message.contains(place.path) == true)
    }

    @Test func `a damaged page is noticed when it is written to`() async throws {
        let place = try Workplace()
        try place.connect().execute(
            """
            create table t (k text, n integer unique);
            with recursive c(value) as (select 1 union all select value + 1 from c limit 2000)
            insert into t select hex(randomblob(50)), value from c
            """)
        let sink = try await place.open(place.config(), Rows.append)
        try await sink.write(Rows.batch([("a", 5000)]))
        try place.connect().execute("pragma wal_checkpoint(truncate)")
        let file = try #require(fopen(place.path, "r+"))
        let pages = try #require(try place.text("pragma page_count").flatMap { Int($0) })
        let page = try #require(try place.text("pragma page_size").flatMap { Int($0) })
        for number in 2..<pages {
            fseek(file, number * page, SEEK_SET)
            for _ in 0..<page { fputc(0xff, file) }
        }
        fclose(file)
        let error = await failure { try await sink.checkpoint() }
        #expect(error?.code == "database_damaged")
    }

    @Test func `a folder that is not there is the user's error`() async throws {
        let place = try Workplace()
        let config = place.config { $0.path = place.folder.path + "/none/data.db" }
        let error = await failure { _ = try await place.open(config, Rows.append) }
        #expect(error?.code == "database_not_writable")
        #expect(error?.message.contains("No such file") == true, "\(error?.message ?? "")")
    }

    @Test(
        arguments: [
            (5, SQLiteFailure.Kind.locked), (6, .locked), (261, .locked), (517, .locked), (13, .full),
            (10, .inputOutput),
            (778, .inputOutput), (11, .damaged), (26, .damaged), (8, .permission), (1032, .permission),
            (14, .permission),
            (19, .row), (2067, .row), (3091, .row), (18, .row), (1, .schema), (17, .schema), (7, .unexpected),
        ] as [(Int32, SQLiteFailure.Kind)])
    func `each result code says what to do`(code: Int32, kind: SQLiteFailure.Kind) {
        #expect(SQLiteFailure(code: code, message: "").kind == kind)
    }
}

extension SinkHarness<SQLiteSink> {
    /// The sink's own connection.
    fileprivate var database: SQLiteDatabase { get throws { try #require(sink.session.database) } }
}
