import DataflowCheckpoint
import DataflowEndToEnd
import DataflowOperator
import DataflowPipeline
import DataflowRuntime
import DataflowTesting
import Foundation
import Select
import Synchronization
import Testing
import WindowAgg

/// Windows over random streams, compared with what PostgreSQL computes from the same rows by the definition of each shape.
///
/// Each stream runs at several parallelisms and batch sizes, and stopped in the middle of its windows and restored at
/// other parallelisms; the results must be the same each time, late rows included.
@Suite(.serialized)
struct WindowOracleTests {
    /// A shape and its definition in SQL over the view `rows`; times are microseconds.
    struct Shape: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var window: WindowShape
        var lateness: Duration = .zero
        var emit: Duration?
        /// The columns that tell windows of a group apart, and what they are in SQL.
        var bounds = ["window_start": "ws", "window_end": "we"]
        /// Rows with the window that each is in: columns t, k, v and those of `bounds`. A row may be in several windows.
        var accepted: String

        /// The key of a result, in the order of its text.
        var key: [String] { bounds.keys.sorted().reversed() + ["k"] }

        /// One row a window and group.
        var expected: String {
            let key = (key.dropLast().compactMap { bounds[$0] } + ["k"]).joined(separator: ", ")
            return """
                select \(key), count(*), count(v), sum(v), min(v), max(v), count(distinct v)
                from (\(accepted)) accepted group by \(key)
                """
        }

        /// Whether results are corrected: an upsert stream.
        var isUpdating: Bool { lateness > .zero || emit != nil }

        /// How many rows are in no window.
        var late: String { "select count(*) - (select count(distinct (split, pos)) from (\(accepted)) a) from rows" }

        static func tumbling(
            _ size: Int64, offset: Int64 = 0, lateness: Int64 = 0, emit: Duration? = nil
        ) -> Shape {
            Shape(
                testDescription:
                    "tumbling \(size) µs, offset \(offset), lateness \(lateness)\(emit.map { ", every \($0)" } ?? "")",
                window: .tumbling(.microseconds(size), offset: .microseconds(offset)),
                lateness: .microseconds(lateness), emit: emit,
                accepted: """
                    select *, ws + \(size) as we from (
                        select *, \(offset) + floor((t - \(offset))::numeric / \(size))::bigint * \(size) as ws from rows) w
                    where m is null or m < ws + \(size) + \(lateness)
                    """)
        }

        static func sliding(
            _ size: Int64, every: Int64, offset: Int64 = 0, lateness: Int64 = 0, emit: Duration? = nil
        ) -> Shape {
            Shape(
                testDescription:
                    "sliding \(size) µs every \(every), offset \(offset), lateness \(lateness)\(emit.map { ", every \($0)" } ?? "")",
                window: WindowShape(
                    .sliding(
                        size: .microseconds(size), every: .microseconds(every), offset: .microseconds(offset))),
                lateness: .microseconds(lateness), emit: emit,
                accepted: """
                    select *, ws + \(size) as we from (
                        select rows.*, \(offset) + n * \(every) as ws from rows, lateral generate_series(
                            floor((t - \(offset) - \(size))::numeric / \(every))::bigint + 1,
                            floor((t - \(offset))::numeric / \(every))::bigint) n) w
                    where m is null or m < ws + \(size) + \(lateness)
                    """)
        }

        /// Gaps and islands over the rows that are not behind their split's watermark by the allowed lateness.
        static func session(_ gap: Int64, lateness: Int64 = 0, emit: Duration? = nil) -> Shape {
            Shape(
                testDescription: "session \(gap) µs, lateness \(lateness)\(emit.map { ", every \($0)" } ?? "")",
                window: WindowShape(.session(gap: .microseconds(gap))), lateness: .microseconds(lateness), emit: emit,
                accepted: """
                    select split, pos, t, k, v, min(t) over session as ws, max(t) over session + \(gap) as we from (
                        select *, sum(case when before is null or t > before + \(gap) then 1 else 0 end) over (
                            partition by k order by t rows unbounded preceding) as island
                        from (
                            select *, lag(t) over (partition by k order by t) as before from rows
                            where m is null or m < t + \(lateness)) accepted) islands
                    window session as (partition by k, island)
                    """)
        }

        static let global = Shape(
            testDescription: "global", window: .global, emit: .milliseconds(1), bounds: [:],
            accepted: "select * from rows")

        /// Each `rows` rows of a group in the order of one split.
        static func count(_ rows: Int) -> Shape {
            Shape(
                testDescription: "\(rows) rows", window: WindowShape(.count(rows: rows)),
                bounds: ["window_number": "number"],
                accepted: """
                    select *, (row_number() over (partition by k order by pos) - 1) / \(rows) as number from rows
                    """)
        }

        static let all: [Shape] = [
            .tumbling(7_000_000), .tumbling(10_000_000, offset: -3_000_000),
            .tumbling(7_000_000, lateness: 5_000_000), .tumbling(7_000_000, emit: .milliseconds(1)),
            .sliding(12_000_000, every: 4_000_000), .sliding(10_000_000, every: 3_000_000, offset: 1_000_000),
            .sliding(10_000_000, every: 4_000_000, lateness: 6_000_000),
            .sliding(10_000_000, every: 10_000_000, emit: .milliseconds(1)),
            .session(1_500_000), .session(1_000_000, lateness: 4_000_000), .session(1_500_000, emit: .milliseconds(1)),
        ]
    }

    private static let aggregates = [
        "n": "count(*)", "vs": "count(v)", "total": "sum(v)", "least": "min(v)", "most": "max(v)",
        "different": "count(distinct v)",
    ]
    private static let results = ["n", "vs", "total", "least", "most", "different"]

    /// A pipeline of the stream and the window, and what comes out of it.
    private struct Run {
        var pipeline = TestPipeline()
        let rows = CollectedRows()
        let late = CollectedRows()
        let errors = CollectedRows()
        private let shape: Shape

        init(
            _ stream: RandomStream, _ shape: Shape, parallelism: Int, batchRows: Int, script: MemoryScript? = nil
        ) throws {
            self.shape = shape
            pipeline.parallelism = parallelism
            try pipeline.add("events", MemorySource.self, .init(script ?? stream.script(batchRows: batchRows)))
            var times = SelectConfig()
            times.eventTime = EventTimeConfig()
            times.eventTime?.column = "t"
            times.eventTime?.outOfOrderness = .microseconds(RandomStream.outOfOrderness)
            times.eventTime?.idleTimeout = .milliseconds(1)
            try pipeline.add("times", Select.self, times, from: "events")
            var window = WindowAggConfig()
            window.window = shape.window
            window.time = shape.bounds["window_start"] == nil ? nil : "t"
            window.groupBy = GroupBy([("k", try ExpressionText("k"))])
            window.allowedLateness = shape.lateness
            if let emit = shape.emit { window.emit = .every(emit) }
            window.aggregates = ConfigMap(
                try WindowOracleTests.results.map {
                    .init($0, try AggregateText(WindowOracleTests.aggregates[$0] ?? ""))
                })
            try pipeline.add("windows", WindowAgg.self, window, from: "times")
            try pipeline.add("rows", CollectingSink.self, .init(rows), from: "windows")
            try pipeline.add("late", CollectingSink.self, .init(late), from: "windows.late")
            try pipeline.add("errors", CollectingSink.self, .init(errors), from: "windows.errors")
        }

        /// The rows in the end, as text: all of an append stream, the last of each key of an upsert stream.
        var text: [String] {
            guard let schema = rows.batches.first?.schema else { return [] }
            let positions = (shape.key + WindowOracleTests.results).compactMap { schema.index(of: $0) }
            let last = shape.isUpdating ? Array(rows.table(key: shape.key).values) : rows.rows
            return last.map { row in positions.map { WindowOracleTests.text(row[$0]) }.joined(separator: "|") }
                .sorted()
        }
    }

    private static func text(_ value: Value) -> String {
        switch value {
        case .null: ""
        case .int(let value), .timestamp(let value): "\(value)"
        case .string(let text): text
        default: "\(value)"
        }
    }

    /// Each row that came in was counted once, and what was sent has arrived.
    private static func expectConservation(_ summary: RunSummary, rows: Int, late: Int, _ comment: Comment) throws {
        let local = try #require(summary.metrics[node: "windows.local"])
        #expect(local.rowsIn.load(ordering: .relaxed) == rows, comment)
        #expect(local.counters.total == rows, comment)
        #expect(local.counters.late.load(ordering: .relaxed) == late, comment)
        #expect(local.counters.errors.load(ordering: .relaxed) == 0, comment)
        #expect(summary.metrics.unbalancedEdges.isEmpty, comment)
        let final = try #require(summary.metrics[node: "windows"])
        #expect(final.counters.total == final.rowsIn.load(ordering: .relaxed), comment)
    }

    private static let seeds = Repository.isSoak ? 6 : 2

    @Test(arguments: Shape.all)
    func `windows are those of SQL at every parallelism and batch size`(shape: Shape) async throws {
        for _ in 0..<Self.seeds {
            let stream = RandomStream(seed: UInt64.random(in: 0..<1_000_000))
            let database = try TestDatabase(.shared())
            try stream.load(into: database)
            let expected = try database.query(shape.expected).sorted()
            let late = try #require(Int(try database.query(shape.late)[0]))
            try #require(expected.count > 20)
            for parallelism in [1, 2, 4] {
                for batchRows in [1, 7, 8192] {
                    let comment: Comment = "seed \(stream.seed), parallelism \(parallelism), batches of \(batchRows)"
                    let folder = try TemporaryDirectory()
                    let run = try Run(stream, shape, parallelism: parallelism, batchRows: batchRows)
                    let summary = try await run.pipeline.runner(checkpoints: folder.path).run()
                    #expect(run.text == expected, comment)
                    #expect(run.late.rows.count == late, comment)
                    #expect(run.errors.rows.isEmpty, comment)
                    try Self.expectConservation(summary, rows: stream.rowCount, late: late, comment)
                }
            }
        }
    }

    @Test(arguments: Shape.all)
    func `a run that is stopped twice in the middle and restored at other parallelisms gives the same windows`(
        shape: Shape
    ) async throws {
        for _ in 0..<Self.seeds {
            var random = SplitMix(state: UInt64.random(in: 0..<1_000_000))
            let stream = RandomStream(seed: random.state)
            let database = try TestDatabase(.shared())
            try stream.load(into: database)
            let expected = try database.query(shape.expected).sorted()
            let late = try #require(Int(try database.query(shape.late)[0]))
            let comment: Comment = "seed \(stream.seed)"
            let folder = try TemporaryDirectory()
            var run = try Run(stream, shape, parallelism: 1, batchRows: 7)
            for (parallelism, share) in [(1, 3), (4, 3), (3, 1)] {
                run.pipeline.parallelism = parallelism
                run.pipeline.options.limit =
                    share == 1 ? nil : Int.random(in: 20..<stream.rowCount / share, using: &random)
                let before = run.rows.rows.count
                let summary = try await run.pipeline.runner(checkpoints: folder.path).run()
                #expect(summary.outcome == (share == 1 ? .finished : .stopped), comment)
                #expect(summary.metrics.unbalancedEdges.isEmpty, comment)
                if share > 1, shape.emit == nil {
                    // A stop flushes no window: most of them are still open.
                    #expect(run.rows.rows.count - before < expected.count, comment)
                }
            }
            #expect(run.text == expected, comment)
            #expect(run.late.rows.count == late, comment)
        }
    }

    @Test(arguments: [Shape.global, .count(7)])
    func `windows without time are those of SQL`(shape: Shape) async throws {
        for _ in 0..<Self.seeds {
            // One split: the order of a group's rows is known.
            let stream = RandomStream(seed: UInt64.random(in: 0..<1_000_000), splits: 1)
            let database = try TestDatabase(.shared())
            try stream.load(into: database)
            let expected = try database.query(shape.expected).sorted()
            for parallelism in [1, 2, 4] {
                for batchRows in [1, 7, 8192] {
                    let comment: Comment = "seed \(stream.seed), parallelism \(parallelism), batches of \(batchRows)"
                    let folder = try TemporaryDirectory()
                    let run = try Run(stream, shape, parallelism: parallelism, batchRows: batchRows)
                    let summary = try await run.pipeline.runner(checkpoints: folder.path).run()
                    #expect(run.text == expected, comment)
                    try Self.expectConservation(summary, rows: stream.rowCount, late: 0, comment)
                }
            }
        }
    }

    @Test func `a split that has fallen idle holds nothing back, and brings its rows when it wakes`() async throws {
        let shape = Shape.tumbling(7_000_000)
        var stream = RandomStream(seed: UInt64.random(in: 0..<1_000_000))
        // The rows of the sleeper lie behind all others, so that none is late whenever it wakes.
        let latest = stream.splits.joined().map(\.time).max() ?? 0
        stream.append(split: [RandomStream.Row(time: latest + 60_000_000, key: "a", value: 1)])
        let database = try TestDatabase(.shared())
        try stream.load(into: database)
        let all = stream.script(batchRows: 7)
        let sleeper = all.splits.count - 1
        let script = MemoryScript(
            RandomStream.schema,
            splits: all.splits.enumerated().map { split, steps in
                split == sleeper ? [.split(.idle(Int32(split))), .pause] + steps : steps
            })
        let folder = try TemporaryDirectory()
        var run = try Run(stream, shape, parallelism: 2, batchRows: 7, script: script)
        run.pipeline.config.checkpoint.interval = .milliseconds(5)
        let runner = try run.pipeline.runner(checkpoints: folder.path)
        async let summary = runner.run()
        await script.waitForPause()
        while run.rows.rows.isEmpty { await Task.yield() }
        script.resume()
        try await Self.expectConservation(
            summary, rows: stream.rowCount, late: run.late.rows.count, "seed \(stream.seed)")
        #expect(run.text == (try database.query(shape.expected).sorted()), "seed \(stream.seed)")
    }
}
