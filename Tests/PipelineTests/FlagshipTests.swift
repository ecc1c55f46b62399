import DataflowEndToEnd
import DataflowTesting
import Foundation
import Glibc
import Testing

/// The flagship pipeline as a user runs it: program, API and database are processes of their own.
///
/// The pages are the recorded ones where there are any, and those of the generator otherwise.
@Suite(.serialized)
struct FlagshipTests {
    /// Recorded pages: all of them. Generated pages are larger and the tables the same to compute.
    private static let allRows = Repository.recordedPages == nil ? 6000 : 39_290
    private static let someRows = Repository.isSoak ? 20_000 : 6000

    private static let unlimited = ["nodes.pages.rate_limit=10000/s"]

    private let checkpoints: TemporaryFolder

    init() throws {
        checkpoints = try TemporaryFolder()
        if Repository.recordedPages == nil {
            print("There are no recorded pages (DATAFLOW_TEST_PAGES); the generator's are used.")
        }
    }

    @Test(arguments: [1, 4])
    func `all pages give the tables that SQL computes from them`(parallelism: Int) throws {
        let database = try ExpectedTables.database(rows: Self.allRows, on: .shared())
        let api = try StandInAPI(rows: Self.allRows)
        let run = FlagshipRun(
            api: api.url, database: database.url, checkpoints: checkpoints.path, rows: Self.allRows,
            settings: Self.unlimited + ["checkpoint.interval=500ms"], arguments: ["--parallelism", "\(parallelism)"])
        try run.start().succeed(within: .seconds(300))
        try database.expectTablesAsExpected()
        let reads = try api.statistics().reads
        #expect(reads.count == (Self.allRows + 99) / 100)
        #expect(reads.values.allSatisfy { $0 == 1 })
    }

    @Test func `a finished run started again changes nothing, and with more to read it goes on`() throws {
        let database = try ExpectedTables.database(rows: Self.someRows, on: .shared())
        let api = try StandInAPI(rows: Self.someRows)
        var run = FlagshipRun(
            api: api.url, database: database.url, checkpoints: checkpoints.path, rows: Self.someRows / 2,
            settings: Self.unlimited)
        try run.start().succeed(within: .seconds(120))
        let half = try api.statistics()
        #expect(half.successes == Self.someRows / 200)
        let before = try database.query("select xmin, * from category_counts order by main_category")

        try run.start().succeed(within: .seconds(60))
        #expect(try database.query("select xmin, * from category_counts order by main_category") == before)
        #expect(try api.statistics().successes == half.successes)

        run.rows = Self.someRows
        try run.start().succeed(within: .seconds(120))
        try database.expectTablesAsExpected()
        #expect(try api.statistics().reads.values.allSatisfy { $0 == 1 })
    }

    @Test func `kill -9 at random moments, with faults in the API, changes neither tables nor what is read`() throws {
        let kills = Repository.isSoak ? 100 : 10
        let seed = UInt64.random(in: 0..<1_000_000)
        print("seed \(seed)")
        var random = SplitMix(state: seed)
        let database = try ExpectedTables.database(rows: Self.someRows, on: .shared())
        let api = try StandInAPI(
            rows: Self.someRows,
            faults: [
                "429:0.02", "429-retry-after:0.01", "500:0.02", "503-html:0.02", "cut:0.02", "hang:0.01", "slow:0.02",
                "revision:0.01",
            ], seed: seed)
        let run = FlagshipRun(
            api: api.url, database: database.url, checkpoints: checkpoints.path, rows: Self.someRows,
            settings: [
                // So slow that the kills fall into the run: about half of the pages are read until the last one.
                "nodes.pages.rate_limit=\(max(Self.someRows / 100 / kills / 2, 2))/s", "nodes.pages.timeout=2s",
                "checkpoint.interval=100ms",
            ])
        var done = 0
        var before = try api.statistics().reads
        // Fewer kills than wanted: the run was faster.
        while done < kills, try run.start().kill(after: .milliseconds(300 + Int(random.next() % 1700))) {
            done += 1
            // Within one run no page is read twice.
            let after = try api.statistics().reads
            for (offset, count) in after {
                #expect(count - before[offset, default: 0] <= 1, "seed \(seed), kill \(done), page \(offset)")
            }
            before = after
        }
        #expect(done >= kills / 2, "seed \(seed): the run was over after \(done) kills")
        try run.start(settings: Self.unlimited).succeed(within: .seconds(300))
        try database.expectTablesAsExpected()

        let statistics = try api.statistics()
        let reads = statistics.reads
        #expect(reads.count == Self.someRows / 100)
        #expect(reads.values.allSatisfy { $0 >= 1 && $0 <= 1 + done })
        let repeated = reads.values.reduce(0) { $0 + $1 - 1 }
        print("\(done) kills, \(statistics.faults) faults, \(reads.count) pages, \(repeated) read again")
    }

    @Test func `PostgreSQL stopped for a while and started again loses nothing and doubles nothing`() throws {
        let folder = try TemporaryFolder()
        let server = try PrivateServer(folder: folder.path + "/postgres")
        let database = try TestDatabase(TestServer(url: server.url))
        try ExpectedTables.compute(rows: Self.someRows, in: database)
        let api = try StandInAPI(rows: Self.someRows)
        let run = FlagshipRun(
            api: api.url, database: database.url, checkpoints: checkpoints.path, rows: Self.someRows,
            settings: ["nodes.pages.rate_limit=\(Self.someRows / 100 / 6)/s", "checkpoint.interval=200ms"])
        let process = try run.start()
        #expect(process.wait(timeout: .seconds(2)) == nil, "\(process.errors.suffix(4000))")
        try server.stop()
        #expect(process.wait(timeout: .seconds(Repository.isSoak ? 20 : 3)) == nil, "\(process.errors.suffix(4000))")
        try server.start()
        try process.succeed(within: .seconds(120))
        try database.expectTablesAsExpected()
        #expect(try api.statistics().reads.values.allSatisfy { $0 == 1 })
    }

    @Test func `SIGTERM stops at a checkpoint and the next run goes on`() throws {
        let database = try ExpectedTables.database(rows: Self.someRows, on: .shared())
        let api = try StandInAPI(rows: Self.someRows)
        let run = FlagshipRun(
            api: api.url, database: database.url, checkpoints: checkpoints.path, rows: Self.someRows,
            settings: ["checkpoint.interval=1h"])
        let process = try run.start(settings: ["nodes.pages.rate_limit=10/s"])
        #expect(process.wait(timeout: .seconds(2)) == nil, "\(process.errors.suffix(4000))")
        process.send(SIGTERM)
        try process.succeed(within: .seconds(30))
        let read = try api.statistics().successes
        #expect(read > 0)
        try run.start(settings: Self.unlimited).succeed(within: .seconds(120))
        try database.expectTablesAsExpected()
        // Pages on their way at the signal may be read again, those of the checkpoint not.
        let reads = try api.statistics().reads
        #expect(reads[0] == 1)
        #expect(reads.values.reduce(0) { $0 + $1 - 1 } <= 8)
    }
}
