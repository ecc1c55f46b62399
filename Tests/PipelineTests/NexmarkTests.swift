import DataflowCheckpoint
import DataflowEndToEnd
import DataflowOperator
import DataflowRuntime
import Synchronization
import Testing

/// The NEXMark queries of pipelines/nexmark: what they write into PostgreSQL is, row by row, what SQL computes from the same
/// events; straight through, and stopped and gone on with at another parallelism.
@Suite(.serialized)
struct NexmarkTests {
    private static let secondsQueries = [
        "q0", "q1", "q2", "q3", "q4", "q5", "q7", "q8", "q11", "q12", "q18", "q19", "q21", "q22",
    ]
    /// Those that go by hours and days.
    private static let daysQueries = ["q14", "q15", "q16", "q17"]

    @Test(arguments: secondsQueries) func `a query gives what SQL gives`(query: String) async throws {
        try await check(query, .seconds)
    }

    @Test(arguments: daysQueries) func `a query by days gives what SQL gives`(query: String) async throws {
        try await check(query, .days)
    }

    private func check(
        _ query: String, _ span: NexmarkDatabase.Span, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let events = try await NexmarkDatabase.shared(span)
        var rows = 0
        for parallelism in [1, 4] {
            let table = "\(query)_straight_\(parallelism)"
            let folder = try TemporaryFolder()
            var run = try run(query, into: table, events, folder)
            run.parallelism = parallelism
            run.settings.append("checkpoint.interval=100ms")
            let summary = try await run.run()
            #expect(summary.outcome == .finished, sourceLocation: sourceLocation)
            expectNothingLost(summary, "\(query), parallelism \(parallelism)", sourceLocation)
            try events.expect(
                query, in: compared(query, table), "parallelism \(parallelism)", sourceLocation: sourceLocation)
            rows = summary.metrics.sourceRows.load(ordering: .relaxed)
        }
        let table = "\(query)_stopped"
        let folder = try TemporaryFolder()
        var run = try run(query, into: table, events, folder)
        run.limit = rows / 3
        for parallelism in [2, 4] {
            run.parallelism = parallelism
            let summary = try await run.run()
            #expect(summary.outcome == .stopped, sourceLocation: sourceLocation)
        }
        run.limit = nil
        run.parallelism = 3
        let summary = try await run.run()
        #expect(summary.outcome == .finished, sourceLocation: sourceLocation)
        #expect(summary.metrics.sourceRows.load(ordering: .relaxed) < rows * 2 / 5, sourceLocation: sourceLocation)
        expectNothingLost(summary, "\(query), stopped", sourceLocation)
        try events.expect(query, in: compared(query, table), "stopped twice", sourceLocation: sourceLocation)
    }

    /// The query's file, with a table in place of the standard output.
    private func run(
        _ query: String, into table: String, _ events: NexmarkDatabase, _ folder: TemporaryFolder
    ) throws -> NexmarkRun {
        var run = NexmarkRun(
            file: "\(Repository.root)/pipelines/nexmark/\(query).yaml",
            settings: events.sourceSettings + ["checkpoint.directory=\(folder.path)"])
        let key = try run.key(of: "out")
        run.settings += [
            "nodes.out.type=pg-sink", "nodes.out.connection=\(events.database.url)", "nodes.out.table=\(table)",
        ]
        if let key { run.settings.append("nodes.out.key=[\(key.joined(separator: ", "))]") }
        return run
    }

    /// What of a table is compared: of windows of processing time the sums, as no two runs have the same windows.
    private func compared(_ query: String, _ table: String) -> String {
        query == "q12"
            ? "(select bidder, sum(bid_count)::bigint as bid_count from \(table) group by bidder)" : table
    }

    private func expectNothingLost(_ summary: RunSummary, _ comment: String, _ sourceLocation: SourceLocation) {
        for node in summary.metrics.nodes {
            #expect(
                node.counters.late.load(ordering: .relaxed) == 0 && node.counters.errors.load(ordering: .relaxed) == 0,
                "\(comment): \(node.name) has rows that are late or errors", sourceLocation: sourceLocation)
        }
    }
}
