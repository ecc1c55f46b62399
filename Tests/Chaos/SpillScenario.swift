import CSQLite
import DataflowEndToEnd
import Foundation

/// `Tests/Resources/chaos/spill.yaml`: state that is many times its memory budget. A life without faults has no budget.
package final class SpillScenario: Scenario {
    package static let name = "spill"
    package static let faults = FilesScenario.faults

    private let folder: TemporaryFolder
    private let rows: Int
    private var wasOnDisk = false

    package init(rows: Int) throws {
        folder = try TemporaryFolder()
        self.rows = rows
    }

    package var pipeline: String { "\(Repository.root)/Tests/Resources/chaos/spill.yaml" }
    package var environment: [String: String?] { ["OUT": folder.path] }

    package static func expected(rows: Int) throws -> [String: [String]] {
        try ChaosRun.withoutFaults(SpillScenario(rows: rows), rows: rows, arguments: ["--set", "memory=4GiB"])
    }

    package func output() throws -> [String: [String]] {
        var found = ["users": try users()]
        for place in ["tumbling", "sliding"] { found[place] = try folder.lines(inPartsOf: place) }
        return found
    }

    private func users() throws -> [String] {
        var handle: OpaquePointer?
        var statement: OpaquePointer?
        defer { sqlite3_close_v2(handle) }
        guard sqlite3_open_v2(folder.path + "/users.db", &handle, SQLITE_OPEN_READONLY, nil) == SQLITE_OK,
            sqlite3_prepare_v2(handle, "select user, bids, revenue, auctions, latest from users", -1, &statement, nil)
                == SQLITE_OK
        else { throw ChildProcess.Failure(description: "users.db: \(String(cString: sqlite3_errmsg(handle)))") }
        defer { sqlite3_finalize(statement) }
        var rows: [String] = []
        while sqlite3_step(statement) == SQLITE_ROW {
            let texts = (0..<sqlite3_column_count(statement)).map {
                sqlite3_column_text(statement, $0).map { String(cString: $0) } ?? "null"
            }
            rows.append(texts.joined(separator: "|"))
        }
        return rows.sorted()
    }

    /// The last run is over the budget at each node that aggregates. So were those before, and went on from state on disk, where
    /// they were not killed before much had come in.
    package func shortcomings(checkpoints: String, log: String?) throws -> [String] {
        guard let log else {
            wasOnDisk = try isOnDisk("\(checkpoints)/chaos-spill", "totals")
            return []
        }
        let lines = log.split(separator: "\n").map { $0.split(separator: " ") }
        let inMemory = ["totals", "recent", "lately"].filter { node in
            !lines.contains { $0.starts(with: [Substring(node), "wrote"]) }
        }
        var shortcomings = inMemory.map { "the last run has put nothing of \($0) on disk" }
        // `bid 0 12,345 0 0 0`: of 50 events 46 are bids.
        let read = lines.last { $0.first == "bid" && $0.count == 6 }.flatMap { Int($0[2].filter(\.isNumber)) } ?? 0
        if rows * 46 / 50 - read > 20_000, !wasOnDisk { shortcomings.append("no state was on disk under the faults") }
        return shortcomings
    }

    /// Whether the newest checkpoint has state of a node on disk.
    private func isOnDisk(_ root: String, _ node: String) throws -> Bool {
        let ids = try FileManager.default.contentsOfDirectory(atPath: root).filter { name in
            name.hasPrefix("chk-") && FileManager.default.fileExists(atPath: "\(root)/\(name)/manifest")
        }
        guard let newest = ids.max(), let bytes = FileManager.default.contents(atPath: "\(root)/\(newest)/manifest")
        else { return false }
        // A line in front of it.
        let json = bytes.drop { $0 != UInt8(ascii: "\n") }
        let manifest = try JSONDecoder().decode(Manifest.self, from: json)
        return manifest.nodes.contains { $0.name == node && $0.tables.contains { $0.spilled != nil } }
    }

    /// What of a checkpoint's manifest tells where state lies.
    private struct Manifest: Decodable {
        struct Node: Decodable {
            var name: String
            var tables: [Table]
        }

        struct Table: Decodable {
            struct Spilled: Decodable {}
            var spilled: Spilled?
        }

        var nodes: [Node]
    }
}
