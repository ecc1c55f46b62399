import DataflowEndToEnd
import DataflowKafkaTesting
import Foundation
import Glibc

/// `Tests/Resources/chaos/kafka.yaml`, fed by `kafka-feed.yaml`, with a broker and a PostgreSQL of its own behind proxies.
///
/// Nothing happens to the feed, which is another process of the program: a transaction that it aborts would hide what comes
/// behind from readers that begin in the middle, for the tests' broker tells them of aborted transactions that end before.
package final class KafkaScenario: Scenario {
    package static let name = "kafka"
    /// The broker of the tests is not killed: it forgets what it has acknowledged in the last second, and open transactions.
    package static let faults = KafkaSinkScenario.faults + DisturbedDatabase.faults + [.brokerCut]
    package static var isAvailable: Bool { KafkaSinkScenario.isAvailable }

    private let folder: TemporaryFolder
    private let broker: PrivateBroker
    private let proxy: CuttingProxy
    private let database: DisturbedDatabase
    private let rows: Int
    private var feed: ChildProcess?

    package init(rows: Int) throws {
        self.rows = rows
        folder = try TemporaryFolder()
        broker = try PrivateBroker()
        database = try DisturbedDatabase()
        proxy = try CuttingProxy(to: broker.port, isKafka: true)
        let admin = try KafkaTestAdmin(broker.address)
        for topic in ["in", "out"] { try admin.createTopic(topic, partitions: 4) }
    }

    deinit {
        proxy.close()
        feed = nil
    }

    package var pipeline: String { "\(Repository.root)/Tests/Resources/chaos/kafka.yaml" }

    package var environment: [String: String?] {
        ["KAFKA": "127.0.0.1:\(proxy.port)", "PG_URL": database.url, "TOPIC_IN": "in", "TOPIC_OUT": "out"]
    }

    /// The input goes on for ever while faults happen; in the end it is what is there.
    package func arguments(rate: Int?) -> [String] { rate == nil ? ["--set", "nodes.messages.stop=latest"] : [] }

    package func feed(rate: Int?) throws {
        if let feed {
            feed.send(SIGTERM)
            _ = feed.wait(timeout: .seconds(60))
        }
        var environment = environment
        environment["KAFKA"] = broker.address
        environment["ROWS"] = "\(rows)"
        environment["RATE"] = "\(rate ?? 100_000_000)/s"
        environment["CHECKPOINT_PATH"] = folder.path + "/feed"
        feed = try ChildProcess(
            Repository.program("dataflow"),
            ["run", "\(Repository.root)/Tests/Resources/chaos/kafka-feed.yaml", "--parallelism", "1"],
            environment: environment)
        if rate == nil {
            try feed?.succeed(within: .seconds(600))
            feed = nil
        }
    }

    package func begin(_ fault: Fault) throws {
        switch fault {
        case .brokerCut: proxy.cut()
        default: try database.begin(fault)
        }
    }

    package func end(_ fault: Fault) throws { try database.end(fault) }

    package func output() throws -> [String: [String]] {
        var found = try database.rows(of: ["rows", "windows"])
        for topic in ["in", "out"] { found["topic \(topic)"] = try broker.messages(topic).sorted() }
        return found
    }
}
