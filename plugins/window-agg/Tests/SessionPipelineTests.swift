import DataflowOperator
import DataflowPipeline
import DataflowRuntime
import DataflowTesting
import Testing

@testable import WindowAgg

/// Declares the column `t` as event time, as `select` does.
final class DeclareTime: Transform {
    struct Config: OperatorConfig {
        var outOfOrderness = Duration.zero
        init() {}
        init(_ outOfOrderness: Duration) { self.outOfOrderness = outOfOrderness }
        static let schema = ConfigSchema<Self> {}
    }

    static let info = OperatorInfo("declare-time", .transform, "Declares event time, for tests.")
    static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        [Stream(inputs[0].schema, eventTime: "t")]
    }
    private let watermarks: WatermarkGenerator

    init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        var declared = EventTimeConfig()
        declared.outOfOrderness = config.outOfOrderness
        declared.idleTimeout = .milliseconds(1)
        watermarks = WatermarkGenerator(declared, context)
    }

    func open(restoring state: StateSnapshot) throws(OperatorError) { try watermarks.open(restoring: state) }
    func process(
        _ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress {
        guard let times = batch.columns[0].int64Values else { return .done }
        output.emit(batch.withSplit(batch.split, splitWatermark: watermarks.observe(times, split: batch.split)))
        watermarks.emitWatermark(into: &output)
        return .done
    }
    func advance(to watermark: Watermark, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        watermarks.advance(to: watermark, into: &output)
        return .done
    }
    func split(_ event: SplitEvent, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        watermarks.split(event, into: &output)
        return .done
    }
    func tick(_ now: ContinuousClock.Instant, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        watermarks.tick(now, into: &output)
        return .done
    }
    func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot { watermarks.snapshot() }
}

/// A running pipeline: splits in memory, event time, a window-agg; results, late rows and errors are collected.
struct WindowPipeline {
    let rows = CollectedRows()
    let late = CollectedRows()
    let errors = CollectedRows()
    let folder: TemporaryDirectory
    let config: WindowAggConfig
    let script: MemoryScript

    init(_ splits: [[[Value]]], batchSize: Int, _ config: WindowAggConfig, idleSplit: Int? = nil) throws {
        folder = try TemporaryDirectory()
        self.config = config
        script = MemoryScript(
            schema,
            splits: splits.enumerated().map { split, rows in
                let batches = stride(from: 0, to: rows.count, by: batchSize).map { start in
                    MemoryScript.Step.batch(
                        RecordBatch(schema, rows: Array(rows[start..<min(rows.count, start + batchSize)])))
                }
                return (split == idleSplit ? [.split(.idle(Int32(split)))] : []) + batches
            })
    }

    /// - Parameter limit: stops at a checkpoint behind so many rows.
    /// - Returns: `finished` or `stopped`.
    func run(parallelism: Int, limit: Int? = nil) async throws -> String {
        var pipeline = TestPipeline()
        pipeline.parallelism = parallelism
        pipeline.options.limit = limit
        try pipeline.add("source", MemorySource.self, .init(script))
        try pipeline.add("times", DeclareTime.self, .init(.seconds(3)), from: "source")
        try pipeline.add("windows", WindowAgg.self, config, from: "times")
        try pipeline.add("rows", CollectingSink.self, .init(rows), from: "windows")
        try pipeline.add("late", CollectingSink.self, .init(late), from: "windows.late")
        try pipeline.add("errors", CollectingSink.self, .init(errors), from: "windows.errors")
        return "\(try await pipeline.runner(checkpoints: folder.path).run().outcome)"
    }

    /// What is left, by the first `keys` columns; a row of an append stream that comes twice is an issue.
    func table(keys: Int, isUpdating: Bool) -> [[Value]: [Value]] {
        var table: [[Value]: [Value]] = [:]
        for batch in rows.batches {
            for (index, row) in batch.rows.enumerated() {
                let key = Array(row.prefix(keys))
                if !isUpdating, table[key] != nil { Issue.record("\(key) left twice") }
                table[key] = batch.deletes?[index] == true ? nil : Array(row.dropFirst(keys))
            }
        }
        return table
    }
}

@Suite struct `Sessions and count windows in a running pipeline` {
    private static let texts = ["n", "sx", "mb", "ds", "hid"]

    private func config(_ window: WindowShape) throws -> WindowAggConfig {
        try settings(groups: ["g"], Self.texts.map { ($0, oracles[$0]?.text ?? "") }, window: window)
    }

    private func aggregates(_ rows: [[Value]]) -> [Value] { Self.texts.map { oracles[$0]?.compute(rows) ?? .null } }

    private func sessionConfig(_ mode: (lateness: Int64, emission: Emission)) throws -> WindowAggConfig {
        var config = try config(.session(.seconds(10)))
        config.time = "t"
        config.allowedLateness = .microseconds(mode.lateness)
        config.emit = mode.emission
        return config
    }

    private func check(_ pipeline: WindowPipeline, _ rows: SessionRows, _ lateness: Int64, _ seed: UInt64) {
        let isUpdating = lateness > 0 || pipeline.config.emission != .onClose
        let table = pipeline.table(keys: 3, isUpdating: isUpdating)
        #expect(
            table == sessions(rows.accepted(lateness), gap: 10_000_000, aggregates: aggregates), "seed \(seed)")
        // The port carries the columns that the pipeline uses; t is one of them.
        #expect(bag(pipeline.late.rows.map { [$0[0]] }) == bag(rows.late(lateness).map { [$0[0]] }), "seed \(seed)")
        #expect(pipeline.errors.rows.isEmpty)
        // Every row is in a session or late.
        let counted = table.values.reduce(0) { if case .int(let n) = $1[0] { $0 + Int(n) } else { $0 } }
        #expect(counted + pipeline.late.rows.count == rows.all.count)
    }

    @Test(arguments: [1, 7, 8192], [1, 2, 4])
    func `sessions are the same at any size of batches and any parallelism`(size: Int, parallelism: Int) async throws {
        for (number, mode) in SessionTests.modes.enumerated() {
            let seed = UInt64(100 + number)
            let rows = SessionRows(size == 1 ? 80 : 250, splits: 4, seed: seed, lastSplitIsIdle: true)
            let pipeline = try WindowPipeline(
                rows.splits.map { $0.map(\.row) }, batchSize: size, sessionConfig(mode), idleSplit: 3)
            let outcome = try await pipeline.run(parallelism: parallelism)
            #expect(outcome == "finished")
            check(pipeline, rows, mode.lateness, seed)
        }
    }

    @Test(arguments: [0, 1, 2])
    func `a run that is stopped in the middle of sessions goes on with any parallelism`(number: Int) async throws {
        let mode = SessionTests.modes[number]
        let seed = UInt64(200 + number)
        let rows = SessionRows(240, splits: 3, seed: seed)
        let pipeline = try WindowPipeline(rows.splits.map { $0.map(\.row) }, batchSize: 7, sessionConfig(mode))
        for parallelism in [1, 4] {
            let outcome = try await pipeline.run(parallelism: parallelism, limit: 250)
            #expect(outcome == "stopped")
        }
        if pipeline.config.emission == .onClose {
            // A stop closes nothing.
            let all = sessions(rows.accepted(mode.lateness), gap: 10_000_000, aggregates: aggregates)
            #expect(pipeline.table(keys: 3, isUpdating: true).count < all.count)
        }
        let outcome = try await pipeline.run(parallelism: 3)
        #expect(outcome == "finished")
        check(pipeline, rows, mode.lateness, seed)
        // Nothing new to read changes nothing.
        let before = pipeline.rows.rows.count
        #expect(try await pipeline.run(parallelism: 2) == "nothingNew")
        #expect(pipeline.rows.rows.count == before)
    }

    @Test(arguments: [1, 7, 8192], [1, 2, 4])
    func `count windows are the same at any size of batches and any parallelism`(size: Int, parallelism: Int)
        async throws
    {
        let rows = SessionRows(size == 1 ? 150 : 700, splits: 1, seed: 300).splits[0].map(\.row)
        let pipeline = try WindowPipeline([rows], batchSize: size, config(.count(16)))
        #expect(try await pipeline.run(parallelism: parallelism) == "finished")
        #expect(
            pipeline.table(keys: 2, isUpdating: false) == countWindows(rows, of: 16, aggregates: aggregates))
        #expect(pipeline.late.rows.isEmpty && pipeline.errors.rows.isEmpty)
    }

    @Test func `count windows go on behind a stop with any parallelism, and count each row once`() async throws {
        let rows = SessionRows(700, splits: 1, seed: 301).splits[0].map(\.row)
        let pipeline = try WindowPipeline([rows], batchSize: 7, config(.count(16)))
        for parallelism in [1, 4] {
            #expect(try await pipeline.run(parallelism: parallelism, limit: 240) == "stopped")
        }
        #expect(try await pipeline.run(parallelism: 3) == "finished")
        #expect(
            pipeline.table(keys: 2, isUpdating: false) == countWindows(rows, of: 16, aggregates: aggregates))

        // Of several splits the order is open, the number of windows is not.
        let splits = SessionRows(300, splits: 3, seed: 302)
        let several = try WindowPipeline(splits.splits.map { $0.map(\.row) }, batchSize: 7, config(.count(16)))
        #expect(try await several.run(parallelism: 4) == "finished")
        func counts(_ table: [[Value]: [Value]]) -> [[Value]: Value] { table.mapValues { $0[0] } }
        #expect(
            counts(several.table(keys: 2, isUpdating: false))
                == counts(countWindows(splits.all.map(\.row), of: 16, aggregates: aggregates)))
    }
}
