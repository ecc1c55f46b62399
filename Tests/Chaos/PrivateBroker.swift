import DataflowEndToEnd
import Foundation

/// A broker of its own (`scripts/kafka.sh`), read by `kcat`, which is a client apart from ours.
final class PrivateBroker {
    let address: String
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        address = try PrivateBroker.script("start", folder.path + "/kafka", "0")
    }

    /// It writes what it holds to its disk and ends.
    func stop() throws { _ = try PrivateBroker.script("stop", folder.path + "/kafka") }

    /// At the same address as before.
    func start() throws { _ = try PrivateBroker.script("start", folder.path + "/kafka") }

    var port: UInt16 { address.split(separator: ":").last.flatMap { UInt16($0) } ?? 0 }

    deinit { _ = try? PrivateBroker.script("remove", folder.path + "/kafka") }

    private static func script(_ words: String...) throws -> String {
        let process = try ChildProcess("bash", ["\(Repository.root)/scripts/kafka.sh"] + words)
        return try process.succeed(within: .seconds(120)).trimmingCharacters(in: .whitespacesAndNewlines)
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
