import DataflowEndToEnd
import Foundation

/// `Tests/Resources/chaos/kafka-sink.yaml`.
package final class KafkaSinkScenario: Scenario {
    package static let name = "kafka-sink"
    /// No jumps of the clock: librdkafka waits on conditions until times of the wall clock, which the preloaded library shifts for
    /// the program and not for the kernel.
    package static let faults: [Fault.Kind] = [.kill, .stop, .slowDisk, .diskFull]
    /// `make test` says where its broker is if one could be installed.
    package static var isAvailable: Bool { ProcessInfo.processInfo.environment["DATAFLOW_TEST_KAFKA"] != nil }

    private let broker: PrivateBroker

    package init(rows: Int) throws { broker = try PrivateBroker() }

    package var pipeline: String { "\(Repository.root)/Tests/Resources/chaos/kafka-sink.yaml" }
    package var environment: [String: String?] { ["BROKERS": broker.address] }

    package func output() throws -> [String: [String]] {
        var found: [String: [String]] = [:]
        for topic in ["rows", "windows"] { found[topic] = try broker.messages(topic).sorted() }
        for topic in ["totals", "best"] { found[topic] = try broker.table(topic).sorted() }
        return found
    }
}
