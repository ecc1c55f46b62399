import DataflowEndToEnd
import DataflowKafkaTesting
import Foundation

/// A broker of its own (`scripts/kafka.sh`), read by `kcat`, which is a client apart from ours.
final class PrivateBroker {
    let address: String
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        address = try PrivateBroker.checked(KafkaTestBroker.script("start", folder.path + "/kafka", "0"))
    }

    /// It writes what it holds to its disk and ends.
    func stop() throws { _ = try PrivateBroker.checked(KafkaTestBroker.script("stop", folder.path + "/kafka")) }

    /// At the same address as before.
    func start() throws { _ = try PrivateBroker.checked(KafkaTestBroker.script("start", folder.path + "/kafka")) }

    var port: UInt16 { address.split(separator: ":").last.flatMap { UInt16($0) } ?? 0 }

    deinit { KafkaTestBroker.script("remove", folder.path + "/kafka") }

    private static func checked(_ output: String?) throws -> String {
        guard let output else { throw ChildProcess.Failure(description: "scripts/kafka.sh failed, see above") }
        return output
    }

    /// The messages of a topic that a `read_committed` reader sees, `key` and `value` with a tab between; a tombstone ends with the tab.
    func messages(_ topic: String, isolation: String = "read_committed") throws -> [String] {
        let reader = try ChildProcess(
            "kcat",
            [
                "-C", "-b", address, "-t", topic, "-o", "beginning", "-e", "-q", "-f", "%k\t%s\n",
                "-X", "isolation.level=\(isolation)",
            ])
        return try reader.succeed(within: .seconds(120)).split(separator: "\n").map(String.init)
    }

    /// What a compacted topic is left with: the last message of each key, unless it is a tombstone.
    func table(_ topic: String) throws -> [String] {
        var rows: [Substring: String] = [:]
        for message in try messages(topic) { rows[message.prefix { $0 != "\t" }] = message }
        return rows.values.filter { !$0.hasSuffix("\t") }
    }
}
