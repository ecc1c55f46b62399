import DataflowEndToEnd
import DataflowKafkaTesting
import Foundation
import Glibc

/// `Tests/Resources/chaos/kafka.yaml`, fed by `kafka-feed.yaml`, with a broker and a PostgreSQL of its own behind proxies.
///
/// What must come out is computed by PostgreSQL, of which the program's own part is only that it holds the result: each event is
/// a function of its number.
///
/// The feed is another process of the program and writes a portion at a time, so that the input lasts as long as the faults do. It is
/// not disturbed, and the broker goes away only between two portions: a transaction that is aborted would hide what comes behind from
/// readers that begin in the middle, for the tests' broker tells them of aborted transactions that end before. Messages that have been
/// read are deleted: that broker writes all that it holds to its disk every second.
package final class KafkaScenario: Scenario {
    package static let name = "kafka"
    /// The broker of the tests is not killed: it forgets what it has acknowledged in the last second.
    package static let faults =
        KafkaSinkScenario.faults + DisturbedDatabase.faults + [.brokerCut, .brokerDown]
    package static var isAvailable: Bool { KafkaSinkScenario.isAvailable }

    private static let partitions: Int32 = 4
    /// As many parts the input comes in, if there are as many faults.
    private static let portions = 40.0

    private let folder: TemporaryFolder
    private let broker: PrivateBroker
    private let admin: KafkaTestAdmin
    private let proxy: CuttingProxy
    private let database: DisturbedDatabase
    private let rows: Int
    private var feeder: ChildProcess?
    private var fed = 0
    private var fedAt = ContinuousClock.now

    package init(rows: Int) throws {
        self.rows = rows
        folder = try TemporaryFolder()
        broker = try PrivateBroker()
        database = try DisturbedDatabase()
        proxy = try CuttingProxy(to: broker.port, isKafka: true)
        admin = try KafkaTestAdmin(broker.address)
        for topic in ["in", "out"] { try admin.createTopic(topic, partitions: KafkaScenario.partitions) }
    }

    deinit {
        proxy.close()
        feeder = nil
    }

    package var pipeline: String { "\(Repository.root)/Tests/Resources/chaos/kafka.yaml" }

    package var environment: [String: String?] {
        ["KAFKA": "127.0.0.1:\(proxy.port)", "PG_URL": database.url, "TOPIC_IN": "in", "TOPIC_OUT": "out"]
    }

    /// The input goes on for ever while faults happen; in the end it is what is there.
    package func arguments(lasting: Duration?) -> [String] {
        lasting == nil ? ["--set", "nodes.messages.stop=latest"] : []
    }

    // MARK: The input

    package func feed(share: Double) throws {
        let isLast = share >= 1
        if isLast || feeder?.wait(timeout: .zero) != nil { try awaitFeeder() }
        try deleteWhatWasRead()
        guard feeder == nil, fed < rows else { return }
        let part = isLast ? rows : min(rows, Int(Double(rows) * (share + 1 / KafkaScenario.portions)))
        guard part > fed else { return }
        let now = ContinuousClock.now
        // As long as the part before took, pauses included.
        let time = fed == 0 ? .seconds(1) : max(.milliseconds(500), fedAt.duration(to: now))
        try startFeeder(until: part, rate: isLast ? nil : max(1000, Int(.seconds(1) / time * Double(part - fed))))
        (fed, fedAt) = (part, now)
        if isLast { try awaitFeeder() }
    }

    private func awaitFeeder() throws {
        try feeder?.succeed(within: .seconds(600))
        feeder = nil
    }

    private func startFeeder(until part: Int, rate: Int?) throws {
        var environment = environment
        environment["KAFKA"] = broker.address
        environment["ROWS"] = "\(part)"
        environment["RATE"] = "\(rate ?? 100_000_000)/s"
        environment["CHECKPOINT_PATH"] = folder.path + "/feed"
        feeder = try ChildProcess(
            Repository.program("dataflow"),
            ["run", "\(Repository.root)/Tests/Resources/chaos/kafka-feed.yaml", "--parallelism", "1"],
            environment: environment)
    }

    /// As retention does, but right behind the reader: one that went back behind its last checkpoint would fail.
    private func deleteWhatWasRead() throws {
        for (partition, offset) in try positions() where offset > 0 {
            try admin.deleteRecords("in", partition, before: offset)
        }
    }

    /// Where a reader of the topic would go on, by partition, as the group tells.
    private func positions() throws -> [(Int32, Int64)] {
        try admin.committed("dataflow.chaos-kafka.messages", "in", Array(0..<KafkaScenario.partitions))
    }

    // MARK: Faults

    package func prepare(_ fault: Fault) throws {
        if case .brokerDown = fault { try awaitFeeder() }
    }

    package func begin(_ fault: Fault) throws {
        switch fault {
        case .brokerCut: proxy.cut()
        case .brokerDown: try broker.stop()
        default: try database.begin(fault)
        }
    }

    package func end(_ fault: Fault) throws {
        if case .brokerDown = fault { try broker.start() } else { try database.end(fault) }
    }

    // MARK: The result

    package func output() throws -> [String: [String]] {
        var found = try KafkaScenario.tables(database.database)
        found["topic out"] = try broker.messages("out").sorted()
        return found
    }

    package func remarks(over: Bool) throws -> [String] {
        guard over else {
            let ends = try (0..<KafkaScenario.partitions).map { try admin.end("in", $0) }
            let share = Double(try positions().reduce(0) { $0 + $1.1 }) / Double(max(1, ends.reduce(0, +)))
            return ["\(Int(share * Double(fed))) of \(rows) events were read while faults happened"]
        }
        let all = try broker.messages("out", isolation: "read_uncommitted").count
        return ["\(all - (try broker.messages("out").count)) messages of aborted transactions are hidden"]
    }

    /// Of the rows, which are many, how many there are of each ten thousand and what they are.
    private static func tables(_ database: TestDatabase) throws -> [String: [String]] {
        [
            "rows": try database.query(
                """
                select 'from n = ' || n / 10000 * 10000, count(*), sum(n), md5(string_agg(r::text, ' ' order by r::text collate "C"))
                from (select n, k, v, at from rows) r group by n / 10000
                """
            ).sorted(),
            "windows": try database.query("select window_start, window_end, k, events, total, first from windows")
                .sorted(),
        ]
    }

    package static func expected(rows: Int) throws -> [String: [String]] {
        let folder = try TemporaryFolder()
        let server = try PrivateServer(folder: folder.path + "/postgres")
        let database = try TestDatabase(TestServer(url: server.url))
        try database.query(
            """
            create view events as
            select n, 'key-' || n * 7919 % 200 as k, n * 31 % 1001 as v,
                timestamptz '2025-01-01 00:00:00+00' + (n - n * 7919 % 5000) * interval '100 microseconds' as at
            from generate_series(0::bigint, \(rows - 1)) n;
            create view rows as select * from events where n % 4 = 0;
            set work_mem = '256MB';
            create table windows as
            select date_bin('2 seconds', at, timestamptz '2000-01-01 00:00:00+00') as window_start, null::timestamptz as window_end,
                k, count(*) as events, sum(v)::bigint as total, min(n) as first
            from events group by 1, 3;
            update windows set window_end = window_start + interval '2 seconds';
            """)
        var found = try tables(database)
        let time = "at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'"
        found["topic out"] = try database.query(
            """
            select k || e'\\t' || format('{"window_start":"%s","window_end":"%s","k":"%s","events":%s,"total":%s,"first":%s}',
                to_char(window_start \(time)), to_char(window_end \(time)), k, events, total, first)
            from windows
            """
        ).sorted()
        return found
    }
}
