import DataflowBuiltins
import DataflowEndToEnd
import DataflowOperator
import DataflowPipeline
import DataflowRuntime
import Foundation
import Logging
import Synchronization
import Testing

/// NEXMark's events in a PostgreSQL database, and what SQL computes from them: `expected.qN` by Tests/Resources/nexmark/qN.sql.
final class NexmarkDatabase: Sendable {
    /// Some seconds of the auction, or the same events spread over days.
    enum Span: String {
        case seconds, days

        /// Event time from one event to the next.
        var interval: String { self == .seconds ? "2ms" : "10s" }
    }

    static let eventCount = Repository.isSoak ? 200_000 : 20_000
    private static let made = Mutex<[Span: NexmarkDatabase]>([:])

    let database: TestDatabase
    let span: Span
    private let computed = Mutex<[String: Expected]>([:])

    /// The one of all tests of this process.
    static func shared(_ span: Span) async throws -> NexmarkDatabase {
        if let database = made.withLock({ $0[span] }) { return database }
        let database = try await NexmarkDatabase(span)
        made.withLock { $0[span] = database }
        return database
    }

    /// Settings that make a pipeline's sources give the events of this database.
    var sourceSettings: [String] { Self.sourceSettings(span) }

    private static func sourceSettings(_ span: Span) -> [String] {
        [
            "defaults.generate-source.count=\(eventCount)",
            "defaults.generate-source.event_interval=\(span.interval)",
            // So that a split has rows enough to be cut within.
            "defaults.generate-source.splits=3",
        ]
    }

    private init(_ span: Span) async throws {
        self.span = span
        database = try TestDatabase(TestServer.shared())
        let folder = try TemporaryFolder()
        let kinds = ["person", "auction", "bid"]
        let nodes = kinds.map { kind in
            """
              \(kind): { type: generate-source, events: \(kind) }
              \(kind)_rows: { type: file-sink, from: \(kind), path: \(folder.path)/\(kind).csv, format: csv, single_file: true }

            """
        }
        let text = """
            pipeline: dump
            checkpoint: { interval: 1h, directory: \(folder.path)/state }
            defaults: { generate-source: { kind: nexmark, disorder: 1s } }
            nodes:
            \(nodes.joined())
            """
        try text.write(toFile: folder.path + "/dump.yaml", atomically: true, encoding: .utf8)
        try await NexmarkRun(file: folder.path + "/dump.yaml", settings: Self.sourceSettings(span)).run()
        try database.query("create schema expected")
        try database.run(file: "nexmark/schema.sql")
        for kind in kinds { try database.query("\\copy \(kind) from '\(folder.path)/\(kind).csv' csv header") }
        try database.query("analyze")
    }

    /// What SQL computes for a query.
    private struct Expected {
        var columns: [(name: String, isFloat: Bool)]
        var rows: [String]
    }

    /// Compares `actual` (a table or a query in brackets) with what SQL computes, column by column; floats to 1e-9 relative.
    func expect(_ query: String, in actual: String, _ comment: String, sourceLocation: SourceLocation) throws {
        let expected = try expected(query)
        let found = try rows(expected.columns.map(\.name), of: actual)
        let isFloat = expected.columns.map(\.isFloat)
        let differences = zip(expected.rows, found).filter { !Self.isSame($0, $1, isFloat) }
        #expect(
            expected.rows.count == found.count && differences.isEmpty,
            """
            \(query), \(comment): \(expected.rows.count) rows expected, \(found.count) found
            \(differences.prefix(3).map { "expected \($0)\n   found \($1)" }.joined(separator: "\n"))
            """, sourceLocation: sourceLocation)
    }

    private func rows(_ columns: [String], of table: String) throws -> [String] {
        let names = columns.map { "\"\($0)\"" }.joined(separator: ", ")
        let order = (1...columns.count).map { "\($0)" }.joined(separator: ", ")
        return try database.query("set timezone = 'UTC'; select \(names) from \(table) as t order by \(order)")
    }

    private func expected(_ query: String) throws -> Expected {
        if let expected = computed.withLock({ $0[query] }) { return expected }
        let sql = try String(
            contentsOfFile: "\(Repository.root)/Tests/Resources/nexmark/\(query).sql", encoding: .utf8)
        let columns = try database.query(
            """
            set timezone = 'UTC';
            create table expected.\(query) as
            \(sql);
            select column_name, data_type from information_schema.columns
            where table_schema = 'expected' and table_name = '\(query)' order by ordinal_position
            """
        ).map { line in
            let parts = line.split(separator: "|")
            return (name: String(parts[0]), isFloat: parts[1] == "double precision")
        }
        let rows = try rows(columns.map(\.name), of: "expected.\(query)")
        try #require(!rows.isEmpty, "\(query) is expected to have rows")
        let expected = Expected(columns: columns, rows: rows)
        computed.withLock { $0[query] = expected }
        return expected
    }

    private static func isSame(_ expected: String, _ found: String, _ isFloat: [Bool]) -> Bool {
        if expected == found { return true }
        let left = expected.split(separator: "|", omittingEmptySubsequences: false)
        let right = found.split(separator: "|", omittingEmptySubsequences: false)
        guard left.count == isFloat.count, right.count == left.count else { return false }
        return left.indices.allSatisfy { i in
            if left[i] == right[i] { return true }
            guard isFloat[i], let a = Double(left[i]), let b = Double(right[i]) else { return false }
            return abs(a - b) <= 1e-9 * max(abs(a), abs(b))
        }
    }
}

/// A run of a pipeline file within this process.
struct NexmarkRun {
    var file: String
    var settings: [String]
    var parallelism = 1
    /// Stops when the sources have emitted so many rows.
    var limit: Int?

    /// The key of the stream into `node`, if it has one.
    func key(of node: String) throws -> [String]? {
        let definition = try load()
        let found = try #require(definition.graph.nodes.first { $0.name == node })
        return found.inputStreams.first?.kind.key
    }

    @discardableResult
    func run() async throws -> RunSummary {
        let definition = try load()
        var options = RunOptions()
        options.limit = limit
        let runner = PipelineRunner(
            plan: try PhysicalPlan(definition.graph, parallelism: parallelism), config: definition.config,
            options: options, logger: Logger(label: "nexmark") { _ in SwiftLogNoOpLogHandler() })
        return try await runner.run()
    }

    private func load() throws -> PipelineDefinition {
        try PipelineDefinition.load(
            path: file, settings: settings, registry: OperatorRegistry(BuiltinPlugins.all),
            environment: EnvironmentVariables([:]))
    }
}
