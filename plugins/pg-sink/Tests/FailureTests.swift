import DataflowOperator
import DataflowPostgres
import DataflowTesting
import Foundation
import Synchronization
import Testing

@testable import PgSink

/// Lets one moment of one statement fail, counted over all connections of a scenario.
final class Saboteur {
    enum Act: CaseIterable {
        /// The connection breaks: before a statement it is not sent, after one its answer is lost.
        case connectionLost
        /// The server's process is ended, as an administrator does it.
        case backendKilled
        /// The sink's process dies and leaves its connection behind, as a frozen machine does.
        case processFrozen
        /// The sink's process dies.
        case processKilled
    }

    struct Crash: Error {}

    let act: Act
    let moment: Int
    let kill: () throws -> Void
    private(set) var count = 0
    private(set) var isDone = false

    init(_ act: Act, at moment: Int, kill: @escaping () throws -> Void) {
        self.act = act
        self.moment = moment
        self.kill = kill
    }

    func watch(_ sink: PgSink) {
        sink.session.observe = { [unowned self] _ throws(PgFailure) in
            count += 1
            guard count == moment else { return }
            isDone = true
            switch act {
            case .connectionLost: throw PgFailure(.connection, "injected")
            case .backendKilled: try? kill()
            case .processFrozen, .processKilled: throw PgFailure(.unexpected, "injected")
            }
        }
    }
}

/// Three epochs with replaced rows, deletes and a row that the server refuses, interrupted at every moment.
struct Scenario {
    /// How rows get into the table.
    enum Way: CaseIterable {
        case append
        /// By way of the temporary table, and by arrays.
        case staged, arrays
    }

    let place: Workplace
    let table: String
    let way: Way
    var upsert: Bool { way != .append }

    static let schema = Schema([Field("k", .string), Field("n", .int64)])

    /// Rows of an epoch in batches; a nil number deletes.
    static let epochs: [[[(String?, Int64?)]]] = [
        [[("a", 1), ("b", 2), (nil, 3), ("bad", -1)], [("c", 4), ("a", 5)]],
        [],
        [[("a", nil), ("d", 6), (nil, nil), ("x", nil)], [("e", 7), ("b", 8)], [("f", 9)]],
        [[("g", 10)]],
    ]

    var input: DataflowOperator.Stream {
        upsert
            ? DataflowOperator.Stream(Scenario.schema, kind: .upsert(key: ["k"]), deletes: true)
            : DataflowOperator.Stream(Scenario.schema)
    }

    var config: PgSinkConfig {
        place.config(table, key: upsert ? ["k"] : []) {
            // Segments of one or two batches, the first of two sent ahead.
            $0.maxBatch = ByteSize(bytes: 128)
            $0.reconnectTimeout = .seconds(20)
        }
    }

    func batch(_ rows: [(String?, Int64?)]) -> RecordBatch {
        RecordBatch(
            Scenario.schema,
            rows: rows.map { [$0.0.map { .string($0) } ?? .null, $0.1.map { .int($0) } ?? .null] },
            deletes: upsert ? rows.map { $0.1 == nil } : nil)
    }

    var expected: [[String?]] {
        let rows = Scenario.epochs.flatMap { $0 }.flatMap { $0 }.filter { $0.0 != "bad" }
        guard upsert else {
            return rows.map { [$0.0, $0.1.map(String.init)] }.sorted { "\($0)" < "\($1)" }
        }
        var table: [String?: Int64] = [:]
        for (key, number) in rows { table[key] = number }
        return table.map { [$0.key, String($0.value)] }.sorted { "\($0)" < "\($1)" }
    }

    var actual: [[String?]] {
        get throws { try place.rows("select k, n from \(table)").sorted { "\($0)" < "\($1)" } }
    }

    /// Runs the scenario to its end, starting again from the last durable checkpoint after each death.
    ///
    /// - Returns: the number of rows on the errors port of all runs.
    func run(_ saboteur: Saboteur?, node: String) async throws -> Int {
        var durable: SinkHarness<PgSink>.Checkpoint?
        var isPending = false
        var next = 0
        var generation: UInt64 = 1
        var number: UInt64 = 1
        var errors = 0
        var frozen: [SinkHarness<PgSink>] = []
        while true {
            let driver = try SinkHarness(
                building: PgSink.self, config, input: input, restoring: durable, commitPending: isPending,
                lineage: durable == nil ? "lineage-\(generation)" : "lineage-\(lineageOfDurable)",
                generation: generation, node: node, stateDirectory: place.folder)
            if way == .staged { driver.sink.arrayRows = 0 }
            if durable == nil { lineageOfDurable = generation }
            saboteur?.watch(driver.sink)
            do {
                try await driver.open()
                isPending = false
                while next < Scenario.epochs.count {
                    for rows in Scenario.epochs[next] { try await driver.write(batch(rows)) }
                    let checkpoint = try await driver.prepare(number)
                    number += 1
                    durable = checkpoint
                    isPending = true
                    next += 1
                    try await driver.commit(checkpoint)
                    isPending = false
                }
                errors += driver.take().errors.count
                await driver.close()
                break
            } catch let error as OperatorError {
                guard saboteur?.isDone == true, generation == 1 else { throw error }
                errors += driver.take().errors.count
                if saboteur?.act == .processFrozen { frozen.append(driver) } else { await driver.close() }
                generation += 1
                // An interrupted epoch's number is not used again.
                number += 1
            }
        }
        for driver in frozen { await driver.close() }
        return errors
    }

    private let lineage = Box()
    private final class Box { var value: UInt64 = 1 }
    private var lineageOfDurable: UInt64 {
        get { lineage.value }
        nonmutating set { lineage.value = newValue }
    }

    init(_ place: Workplace, _ table: String, _ way: Way) throws {
        self.place = place
        self.table = table
        self.way = way
        try place.connection.execute(
            """
            create table \(table) (k text \(way == .append ? "" : "unique nulls not distinct"), n bigint,
              check (k <> 'bad'))
            """)
    }
}

@Suite(.enabled(if: TestServer.isThere))
struct FailureTests {
    @Test(arguments: Saboteur.Act.allCases, Scenario.Way.allCases)
    func `whatever fails at whichever moment, every row is in the table once`(
        act: Saboteur.Act, way: Scenario.Way
    ) async throws {
        let place = try Workplace()
        let killer = try TestServer.connect()
        let node = "n\(UInt32.random(in: 0 ... .max))"
        // Straight through, to count the moments; twice, because the first run creates the table of commits.
        var moments = 0
        for table in ["first", "second"] {
            let straight = try Scenario(place, table, way)
            let counter = Saboteur(act, at: .max) {}
            let errors = try await straight.run(counter, node: node + table)
            #expect(errors == 1)
            #expect(try straight.actual == straight.expected)
            moments = counter.count
        }
        #expect(moments > 40)
        // All of them take minutes: `make soak`. Else some, other ones in each run.
        let all = ProcessInfo.processInfo.environment["DATAFLOW_SOAK"] != nil
        let step = all ? 1 : moments / 8
        for moment in stride(from: .random(in: 1...step), through: moments, by: step) {
            let scenario = try Scenario(place, "t\(moment)", way)
            let saboteur = Saboteur(act, at: moment) {
                try killer.query(
                    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = $1",
                    ["dataflow test/\(node)x\(moment)"])
            }
            let errors = try await scenario.run(saboteur, node: "\(node)x\(moment)")
            #expect(saboteur.isDone)
            #expect(try scenario.actual == scenario.expected, "after \(act) at moment \(moment)")
            if act == .connectionLost || act == .backendKilled {
                #expect(errors == 1, "after \(act) at moment \(moment)")
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: place.folder).isEmpty)
        }
    }

    @Test func `a reader sees whole epochs and never a missing table`() async throws {
        let place = try Workplace()
        let schema = Schema([Field("k", .int64, nullable: false), Field("epoch", .int64)])
        let driver = try await SinkHarness(
            PgSink.self, place.config("t", key: ["k"]) { $0.maxBatch = ByteSize(bytes: 4096) },
            input: Stream(schema, kind: .upsert(key: ["k"])), stateDirectory: place.folder)
        let reader = try TestServer.connect()
        func look() throws -> [String?] {
            let result = try reader.query("select count(*), min(epoch), max(epoch) from \(place.schema).t", [])
            return (0..<3).map { result[0, $0] }
        }
        for epoch in 1...4 {
            let before: [String?] = epoch == 1 ? ["0", nil, nil] : ["1000", "\(epoch - 1)", "\(epoch - 1)"]
            for part in 0..<10 {
                try await driver.write(
                    RecordBatch(
                        schema, rows: (0..<100).map { [.int(Int64(part * 100 + $0)), .int(Int64(epoch))] }))
                #expect(try look() == before)
            }
            let checkpoint = try await driver.prepare(UInt64(epoch))
            #expect(try look() == before)
            try await driver.commit(checkpoint)
            #expect(try look() == ["1000", "\(epoch)", "\(epoch)"])
        }
    }

    @Test func `an epoch without rows costs no transaction`() async throws {
        let place = try Workplace()
        let driver = try await SinkHarness(
            PgSink.self, place.config("t"), input: Stream(Scenario.schema), stateDirectory: place.folder)
        var statements = 0
        driver.sink.session.observe = { _ in statements += 1 }
        for number in 1...5 { try await driver.checkpoint(UInt64(number)) }
        #expect(statements == 0)
        #expect(try place.text("select epoch from dataflow_commits") == "0")
    }

    @Test func `a server that is stopped for a while in mid-epoch loses and doubles nothing`() async throws {
        let folder = "/var/tmp/dataflow-pg-restart-\(UInt32.random(in: 0 ... .max))"
        let url = try #require(TestServer.script("start", folder, "0"))
        defer { TestServer.remove(folder) }
        let logs = folder + "/logs"
        try FileManager.default.createDirectory(atPath: logs, withIntermediateDirectories: true)
        var config = PgSinkConfig()
        config.connection = Secret(url)
        config.table = "t"
        config.maxBatch = ByteSize(bytes: 4096)
        let schema = Schema([Field("n", .int64)])
        func rows(_ range: Range<Int>) -> RecordBatch { RecordBatch(schema, rows: range.map { [.int(Int64($0))] }) }
        let driver = try await SinkHarness(PgSink.self, config, input: Stream(schema), stateDirectory: logs)
        try await driver.write(rows(0..<1000))
        try await driver.checkpoint(1)
        try await driver.write(rows(1000..<2000))
        TestServer.script("stop", folder, "immediate")
        // The sink finds nobody at first; the server comes back while it tries.
        let starter = Thread { TestServer.script("start", folder) }
        let started = ContinuousClock.now
        starter.start()
        try await driver.write(rows(2000..<3000))
        let checkpoint = try await driver.prepare(2)
        TestServer.script("stop", folder, "immediate")
        Thread { TestServer.script("start", folder) }.start()
        try await driver.commit(checkpoint)
        #expect(ContinuousClock.now - started < .seconds(240))
        let connection = try TestServer.connect(url)
        let result = try connection.query("select count(*), count(distinct n), max(n) from t", [])
        #expect((0..<3).map { result[0, $0] } == ["3000", "3000", "2999"])
        await driver.close()
    }

    @Test func `a server that stays away ends the run with a retryable error that names it and hides the password`()
        async throws
    {
        let place = try Workplace()
        let config = place.config("t") {
            $0.connection = Secret("postgresql://somebody:geheim@127.0.0.1:1/nowhere")
            $0.openTimeout = .milliseconds(300)
        }
        let driver = try SinkHarness(
            building: PgSink.self, config, input: Stream(Scenario.schema), stateDirectory: place.folder)
        let error = await driver.openFailure()
        #expect(error?.domain == .external)
        #expect(error?.code == "connection_lost")
        let message = "\(error?.message ?? "")"
        #expect(message.contains("somebody@127.0.0.1:1/nowhere") && message.contains("Connection refused"))
        #expect(!message.contains("geheim"))
    }

    @Test(arguments: [
        ("dbname=no_such_database", "does not exist"), ("user=no_such_role", "no_such_role"),
        ("sslmode=require", "SSL"),
    ])
    func `what only a person can change ends the run at once as the user's error`(
        setting: String, text: String
    ) async throws {
        let place = try Workplace()
        let url = try #require(TestServer.url)
        let config = place.config("t") { $0.connection = Secret(url + (url.contains("?") ? "&" : "?") + setting) }
        let error = try await SinkHarness(
            building: PgSink.self, config, input: OpenTests.append, stateDirectory: place.folder
        ).openFailure()
        #expect(error?.domain == .user && error?.retry == .never, "\(error?.message ?? "")")
        #expect(error?.message.contains(text) == true)
    }

    @Test func `a wrong password is the user's error and is not shown`() async throws {
        let folder = "/var/tmp/dataflow-pg-password-\(UInt32.random(in: 0 ... .max))"
        let url = try #require(TestServer.script("start", folder, "0"))
        defer { TestServer.remove(folder) }
        var config = PgSinkConfig()
        config.connection = Secret(url.replacingOccurrences(of: ":ingestpwd@", with: ":geheim@"))
        config.table = "t"
        let error = try await SinkHarness(
            building: PgSink.self, config, input: OpenTests.append, stateDirectory: folder
        ).openFailure()
        #expect(error?.domain == .user)
        #expect(error?.message.contains("password authentication failed") == true)
        #expect(error?.message.contains("geheim") == false)
    }
}
