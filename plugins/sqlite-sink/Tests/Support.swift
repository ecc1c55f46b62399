import DataflowOperator
import DataflowTesting
import Testing

@testable import SQLiteSink

/// A database file and a folder for the epoch logs, gone with the object.
final class Workplace {
    let folder: TemporaryDirectory
    let logs: TemporaryDirectory

    init() throws {
        folder = try TemporaryDirectory()
        logs = try TemporaryDirectory()
    }

    var path: String { folder.path + "/data.db" }

    func config(
        _ table: String = "t", key: [String] = [], _ change: (inout SQLiteSinkConfig) -> Void = { _ in }
    ) -> SQLiteSinkConfig {
        var config = SQLiteSinkConfig()
        config.path = path
        config.table = table
        config.key = key
        config.busyTimeout = .seconds(300)
        change(&config)
        return config
    }

    /// A connection of another program, as far as SQLite can tell.
    func connect() throws -> SQLiteDatabase { try SQLiteDatabase(path: path, create: true) }

    /// The rows of a query, as text.
    func rows(_ sql: String) throws -> [[String?]] { try connect().query(sql) }

    func text(_ sql: String) throws -> String? { try rows(sql).first?.first ?? nil }

    typealias Harness = SinkHarness<SQLiteSink>

    func open(
        _ config: SQLiteSinkConfig, _ input: DataflowOperator.Stream, restoring checkpoint: Harness.Checkpoint? = nil,
        pending: Bool = false, accept: Bool = false, lineage: String = "lineage-1", generation: UInt64 = 1,
        node: String = "node", logs: TemporaryDirectory? = nil, exactlyOnce: Bool = true
    ) async throws -> Harness {
        try await SinkHarness(
            SQLiteSink.self, config, input: input, restoring: checkpoint, commitPending: pending,
            acceptDuplicates: accept, lineage: lineage, generation: generation, node: node,
            stateDirectory: (logs ?? self.logs).path, exactlyOnce: exactlyOnce)
    }
}

enum Rows {
    static let schema = Schema([Field("k", .string), Field("n", .int64)])
    static let append = DataflowOperator.Stream(schema)
    static let upsert = DataflowOperator.Stream(schema, kind: .upsert(key: ["k"]), deletes: true)

    /// Rows; in an upsert stream a nil number deletes.
    static func batch(_ rows: [(String?, Int64?)], deletes: Bool = false) -> RecordBatch {
        RecordBatch(
            schema, rows: rows.map { [$0.0.map { .string($0) } ?? .null, $0.1.map { .int($0) } ?? .null] },
            deletes: deletes ? rows.map { $0.1 == nil } : nil)
    }
}
