import DataflowEndToEnd
import DataflowKafkaTesting
import Foundation

/// A server of `scripts/kafka.sh` that lives as long as this object: Tansu, or TLS in front of another broker.
final class KafkaServer {
    let address: String
    private let process: ChildProcess

    /// - Parameter words: the arguments of the script.
    init(_ words: String...) throws {
        let process = try ChildProcess("bash", ["\(Repository.root)/scripts/kafka.sh"] + words)
        let deadline = ContinuousClock.now + .seconds(120)
        while !process.output.hasSuffix("\n") {
            let exit = process.wait(timeout: .milliseconds(20))
            guard exit == nil, ContinuousClock.now < deadline else {
                throw ChildProcess.Failure(description: "kafka.sh \(words): no address\n\(process.errors)")
            }
        }
        self.process = process
        address = process.output.trimmingCharacters(in: .whitespacesAndNewlines)
    }
}

/// Reads all of a topic with `kcat`, a client apart from ours; a line a message, in the given form.
func kcat(_ topic: String, at brokers: String, _ form: String = "%s\n", _ properties: String...) throws -> [String] {
    let reader = try ChildProcess(
        "kcat",
        ["-C", "-b", brokers, "-t", topic, "-o", "beginning", "-e", "-q", "-f", form]
            + (["isolation.level=read_committed"] + properties).flatMap { ["-X", $0] })
    return try reader.succeed(within: .seconds(120)).split(separator: "\n").map(String.init)
}
