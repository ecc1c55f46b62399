import DataflowOperator
import DataflowPostgres
import DataflowTesting
import Synchronization
import Testing

@testable import PgSink

/// Rows that only the server can judge: the bad ones go to `errors`, all others are committed.
@Suite(.enabled(if: TestServer.isThere))
struct RefusalTests {
    static let schema = Schema([Field("id", .int64, nullable: false), Field("v", .string)])

    static func batch(_ rows: [(Int, String?)]) -> RecordBatch {
        RecordBatch(schema, rows: rows.map { [.int(Int64($0.0)), $0.1.map { .string($0) } ?? .null] })
    }

    enum Way: CaseIterable { case append, sentAhead, staged, arrays }

    @Test(arguments: [[0], [49], [99], [0, 99], [3, 4, 5, 60], Array(0..<100), []], Way.allCases)
    func `bad rows are found wherever they stand`(bad: [Int], way: Way) async throws {
        let place = try Workplace()
        try place.connection.execute(
            "create table t (id bigint primary key, v text, constraint no_bad check (v <> 'bad'))")
        let key = way == .staged || way == .arrays ? ["id"] : []
        // Rows are sent ahead when they are a quarter of a full segment.
        let config = place.config("t", key: key) { $0.maxBatch = ByteSize(bytes: way == .sentAhead ? 4000 : 1 << 20) }
        let driver = try SinkHarness(
            building: PgSink.self, config, input: Stream(RefusalTests.schema), stateDirectory: place.folder)
        if way == .staged { driver.sink.arrayRows = 0 }
        try await driver.open()
        try await driver.write(RefusalTests.batch((0..<100).map { ($0, bad.contains($0) ? "bad" : "v\($0)") }))
        try await driver.checkpoint(1)
        let ids = try place.rows("select id from t order by id").map { Int($0[0] ?? "") }
        #expect(ids == (0..<100).filter { !bad.contains($0) })
        let errors = driver.take().errors
        #expect(errors.map(\.raw) == bad.map { #"{"id":\#($0),"v":"bad"}"# })
        #expect(errors.allSatisfy { $0.code == "sqlstate_23514" && $0.reason.contains("no_bad") })
        #expect(driver.context.counters.passed.load(ordering: .relaxed) == 100 - bad.count)
        #expect(driver.context.counters.errors.load(ordering: .relaxed) == bad.count)
    }

    @Test func `of rows with one unique value the first stays, the others go to errors`() async throws {
        let place = try Workplace()
        try place.connection.execute("create table t (id bigint, v text unique deferrable initially deferred)")
        let driver = try await SinkHarness(
            PgSink.self, place.config("t"), input: Stream(RefusalTests.schema), stateDirectory: place.folder)
        try await driver.write(RefusalTests.batch([(1, "a"), (2, "b"), (3, "a")]))
        _ = try await driver.prepare(1)
        #expect(driver.take().errors.map(\.code) == ["sqlstate_23505"])
        let second = try await SinkHarness(
            PgSink.self, place.config("t"), input: Stream(RefusalTests.schema), generation: 2,
            stateDirectory: place.folder)
        try await second.write(RefusalTests.batch([(1, "a"), (2, "b"), (3, "a")]))
        try await second.checkpoint(2)
        #expect(try place.rows("select id, v from t order by id") == [["1", "a"], ["2", "b"]])
    }

    @Test func `a row that a deferred foreign key refuses is found before the commit`() async throws {
        let place = try Workplace()
        try place.connection.execute(
            """
            create table parent (v text primary key); insert into parent values ('a');
            create table t (id bigint, v text references parent deferrable initially deferred)
            """)
        let driver = try await SinkHarness(
            PgSink.self, place.config("t"), input: Stream(RefusalTests.schema), stateDirectory: place.folder)
        try await driver.write(RefusalTests.batch([(1, "a"), (2, "z"), (3, "a"), (4, nil)]))
        try await driver.checkpoint(1)
        #expect(try place.rows("select id from t order by id") == [["1"], ["3"], ["4"]])
        #expect(driver.take().errors.map(\.code) == ["sqlstate_23503"])
    }

    @Test func `a key that is too long for the index goes to errors`() async throws {
        let place = try Workplace()
        let schema = Schema([Field("k", .string, nullable: false), Field("n", .int64)])
        let driver = try await SinkHarness(
            PgSink.self, place.config("t", key: ["k"]), input: Stream(schema, kind: .upsert(key: ["k"])),
            stateDirectory: place.folder)
        // Not compressible, so that it stays too long.
        var generator = SystemRandomNumberGenerator()
        let long = String(
            (0..<9000).map { _ in "0123456789abcdefghijklmnopqrstuvwxyz".randomElement(using: &generator) ?? "x" })
        try await driver.write(
            RecordBatch(schema, rows: [["a", .int(1)], [.string(long), .int(2)], ["b", .int(3)]]))
        try await driver.checkpoint(1)
        #expect(try place.rows("select k, n from t order by k") == [["a", "1"], ["b", "3"]])
        #expect(driver.take().errors.map(\.code) == ["sqlstate_54000"])
    }

    @Test func `an exception of a trigger refuses its row alone`() async throws {
        let place = try Workplace()
        try place.connection.execute(
            """
            create table t (id bigint, v text);
            create function f() returns trigger language plpgsql as
              $$ begin if new.id = 7 then raise exception 'not seven'; end if; return new; end $$;
            create trigger tr before insert on t for each row execute function f()
            """)
        let driver = try await SinkHarness(
            PgSink.self, place.config("t"), input: Stream(RefusalTests.schema), stateDirectory: place.folder)
        try await driver.write(RefusalTests.batch((0..<10).map { ($0, nil) }))
        try await driver.checkpoint(1)
        #expect(try place.text("select count(*) from t") == "9")
        #expect(driver.take().errors.map(\.reason) == ["not seven (SQLSTATE P0001)"])
    }
}

struct BisectionTests {
    @Test(arguments: [0, 1, 2, 7, 64], [true, false])
    func `every bad row is found once and every good row is accepted once`(count: Int, naming: Bool) {
        for seed in 0..<64 {
            let bad = Set((0..<count).filter { (seed >> ($0 % 6)) & 1 == 1 })
            var bisection = Bisection(count: count)
            var accepted: [Int] = []
            var refused: [Int] = []
            var attempts = 0
            while let range = bisection.next {
                attempts += 1
                if let first = range.first(where: bad.contains) {
                    if let row = bisection.refused(naming: naming ? first - range.lowerBound : nil) {
                        refused.append(row)
                    }
                } else {
                    accepted += range
                    bisection.accepted()
                }
            }
            #expect(accepted == (0..<count).filter { !bad.contains($0) })
            #expect(refused == bad.sorted())
            #expect(attempts <= 3 * count + 10)
        }
    }

    @Test func `one bad row in a million costs few attempts`() {
        for bad in [0, 1, 499_999, 999_999] {
            var bisection = Bisection(count: 1_000_000)
            var attempts = 0
            while let range = bisection.next {
                attempts += 1
                if range.contains(bad) { _ = bisection.refused() } else { bisection.accepted() }
            }
            #expect(attempts < 300)
        }
    }
}
