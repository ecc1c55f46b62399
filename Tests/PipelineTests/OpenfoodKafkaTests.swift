import DataflowEndToEnd
import DataflowKafkaTesting
import Foundation
import Testing

/// The flagship's tables by way of Kafka: `openfood-producer.yaml` and `openfood-kafka.yaml`, against a broker of the tests.
@Suite(.serialized, .enabled(if: KafkaTestBroker.isThere, "needs the broker of scripts/kafka.sh"))
struct OpenfoodKafkaTests {
    private static let rows = Repository.recordedPages == nil || Repository.isSoak ? 6000 : 39_290

    private let folder: TemporaryFolder
    private let brokers: String
    private let topic = KafkaTestBroker.uniqueName("openfood")

    init() throws {
        folder = try TemporaryFolder()
        brokers = try #require(KafkaTestBroker.address)
        try KafkaTestAdmin(brokers).createTopic(topic, partitions: 4)
    }

    private func start(_ pipeline: String, _ environment: [String: String?], _ settings: [String]) throws
        -> ChildProcess
    {
        var variables = environment
        variables["KAFKA_BROKERS"] = brokers
        variables["KAFKA_TOPIC"] = topic
        variables["CHECKPOINT_PATH"] = folder.path
        return try ChildProcess(
            Repository.program("dataflow"),
            ["run", "\(Repository.root)/pipelines/\(pipeline).yaml"] + settings.flatMap { ["--set", $0] },
            environment: variables)
    }

    private func produce(_ api: StandInAPI, rows: Int, _ settings: [String] = []) throws -> ChildProcess {
        try start(
            "openfood-producer",
            ["OPENFOOD_URL": api.url, "MAX_OFFSET": "\(rows)", "BATCH_LENGTH": "100"],
            ["nodes.pages.rate_limit=10000/s"] + settings)
    }

    private func consume(_ database: TestDatabase, _ settings: [String] = []) throws -> ChildProcess {
        try start("openfood-kafka", ["PG_URL": database.url], ["nodes.messages.stop=latest"] + settings)
    }

    @Test func `a message a product gives the tables that SQL computes from the pages`() throws {
        let database = try ExpectedTables.database(rows: Self.rows, on: .shared())
        let api = try StandInAPI(rows: Self.rows)
        try produce(api, rows: Self.rows).succeed(within: .seconds(300))
        try consume(database).succeed(within: .seconds(300))
        try database.expectTablesAsExpected()
    }

    /// One of them at a time: where a producer that was killed left an aborted transaction, the tests' broker hides what comes behind
    /// from readers that begin in the middle (docs/kafka.md).
    @Test(arguments: ["producer", "tables"])
    func `each may be killed at any time`(killed: String) throws {
        let rows = 6000
        let database = try ExpectedTables.database(rows: rows, on: .shared())
        let api = try StandInAPI(rows: rows)
        let often = ["checkpoint.interval=100ms"]
        for pipeline in ["producer", "tables"] {
            func run() throws -> ChildProcess {
                pipeline == "producer" ? try produce(api, rows: rows, often) : try consume(database, often)
            }
            for _ in 0..<(pipeline == killed ? 5 : 0) {
                guard try run().kill(after: .milliseconds(Int.random(in: 300...1500))) else { break }
            }
            try run().succeed(within: .seconds(300))
        }
        try database.expectTablesAsExpected()
    }
}
