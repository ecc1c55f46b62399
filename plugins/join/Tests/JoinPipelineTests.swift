import DataflowOperator
import DataflowRuntime
import DataflowTesting
import Testing

@testable import Join

/// Says that its rows replace those of the same key, as an aggregation would.
private final class Upserts: Transform {
    struct Config: OperatorConfig {
        static let schema = ConfigSchema<Self> {}
    }
    static let info = OperatorInfo("upserts", .transform, "An upsert stream, for tests.")
    static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        [Stream(inputs[0].schema, kind: .upsert(key: ["rk"]))]
    }
    init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {}
    func process(_ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer) throws(OperatorError)
        -> Progress
    {
        output.emit(batch)
        return .done
    }
}

/// Joins within whole pipelines: exchanges by columns of different names, watermarks merged over both inputs, barriers
/// aligned over both, state divided again.
@Suite struct JoinPipelineTests {
    private struct Run {
        var scripts: [MemoryScript]
        var rows = CollectedRows()
        var late = [CollectedRows(), CollectedRows()]

        /// A source for each split of either side, and one more that has fallen idle.
        init(_ input: ModelInput, batchSize: Int, pauses: [Double]) {
            scripts = []
            for side in [0, 1] {
                let stream = side == 0 ? left : right
                for split in [0, 1] {
                    var steps: [MemoryScript.Step] = []
                    let batches = input.batches(side, split, size: batchSize)
                    for (index, (batch, watermark)) in batches.enumerated() {
                        for pause in pauses where Int(pause * Double(batches.count)) == index { steps.append(.pause) }
                        steps.append(.batch(batch))
                        if let watermark { steps.append(.watermark(.time(watermark))) }
                    }
                    scripts.append(MemoryScript(stream.schema, splits: [steps], eventTime: stream.eventTime))
                }
                scripts.append(
                    MemoryScript(
                        stream.schema, splits: [[.watermark(.idle)] + pauses.map { _ in .pause }],
                        eventTime: stream.eventTime))
            }
        }

        func pipeline(_ config: JoinConfig, parallelism: Int) throws -> TestPipeline {
            var pipeline = TestPipeline()
            pipeline.parallelism = parallelism
            let names = ["l0", "l1", "l2", "r0", "r1", "r2"]
            for (name, script) in zip(names, scripts) {
                try pipeline.add(name, MemorySource.self, .init(script), parallelism: 1)
            }
            try pipeline.add(
                "joined", Join.self, config, inputs: [Array(names.prefix(3)), Array(names.suffix(3))])
            try pipeline.add("out", CollectingSink.self, .init(rows), from: "joined")
            try pipeline.add("late0", CollectingSink.self, .init(late[0]), from: "joined.late_left")
            try pipeline.add("late1", CollectingSink.self, .init(late[1]), from: "joined.late_right")
            return pipeline
        }
    }

    private func shapes(_ kind: JoinKind) throws -> [JoinConfig] {
        var interval = try settings(kind, hasCondition: true, lateness: 0)
        interval.within = within(8, 3)
        var windows = try settings(kind, hasCondition: true, lateness: 4)
        windows.window = window(12, every: 5, offset: 1)
        return [interval, windows]
    }

    private func expected(_ config: JoinConfig, _ input: ModelInput) -> (rows: [[Value]], late: [[[Value]]]) {
        if config.within != nil {
            let model = Model(kind: config.kind, hasCondition: true)
            return (model.interval(input, before: 8, after: 3), [0, 1].map { model.late(input, side: $0) })
        }
        return Model(kind: config.kind, lateness: 4, hasCondition: true).windows(input, size: 12, every: 5, offset: 1)
    }

    private func counted(_ summary: RunSummary) -> Int { summary.metrics[node: "joined"]?.counters.total ?? 0 }

    @Test(arguments: JoinKind.allCases)
    func `the result is the same at any parallelism`(kind: JoinKind) async throws {
        let seed: UInt64 = kind == .inner ? 41 : kind == .left ? 42 : 43
        let input = ModelInput(seed: seed, rows: 150)
        for config in try shapes(kind) {
            let wanted = expected(config, input)
            for (parallelism, batchSize) in [(1, 7), (2, 1), (4, 8192), (4, 7)] {
                let folder = try TemporaryDirectory()
                let run = Run(input, batchSize: batchSize, pauses: [])
                let summary = try await run.pipeline(config, parallelism: parallelism)
                    .runner(checkpoints: folder.path).run()
                let comment: Comment = "seed \(seed), \(kind), parallelism \(parallelism), batches of \(batchSize)"
                #expect("\(summary.outcome)" == "finished")
                #expect(difference(run.rows.rows, wanted.rows) == [], comment)
                for side in [0, 1] { #expect(difference(run.late[side].rows, wanted.late[side]) == [], comment) }
                #expect(counted(summary) == input.count, comment)
            }
        }
    }

    @Test(arguments: JoinKind.allCases)
    func `stopped in the middle and started at another parallelism, the result is the same`(
        kind: JoinKind
    ) async throws {
        let seed: UInt64 = kind == .inner ? 51 : kind == .left ? 52 : 53
        let input = ModelInput(seed: seed, rows: 150)
        for config in try shapes(kind) {
            let folder = try TemporaryDirectory()
            var run = Run(input, batchSize: 7, pauses: [0.3, 0.7])
            var total = 0
            for (round, parallelism) in [1, 4, 3].enumerated() {
                let runner = try run.pipeline(config, parallelism: parallelism).runner(checkpoints: folder.path)
                let scripts = run.scripts
                async let summary = runner.run()
                for script in scripts { await script.waitForPause() }
                if round > 0 {
                    for script in scripts { script.resume() }
                    if round < 2 { for script in scripts { await script.waitForPause() } }
                }
                if round < 2 { runner.stop() }
                let ended = try await summary
                #expect("\(ended.outcome)" == (round < 2 ? "stopped" : "finished"))
                total += counted(ended)
                // A script remembers that it stood at a pause.
                run.scripts = Run(input, batchSize: 7, pauses: [0.3, 0.7]).scripts
            }
            let wanted = expected(config, input)
            let comment: Comment = "seed \(seed), \(kind)"
            #expect(difference(run.rows.rows, wanted.rows) == [], comment)
            for side in [0, 1] { #expect(difference(run.late[side].rows, wanted.late[side]) == [], comment) }
            #expect(total == input.count, comment)
        }
    }

    @Test func `a lookup reads a table that was there before`() async throws {
        let folder = try TemporaryDirectory()
        let keys = (0..<50).map { "user \($0)" }
        let users = MemoryScript(
            right.schema,
            splits: [
                [
                    .batch(
                        RecordBatch(
                            right.schema, rows: keys.enumerated().map { [.int(Int64($0)), .string($1), nil, .int(1)] }))
                ]
            ])
        func facts() -> MemoryScript {
            let rows = keys.map { [1, .string($0), .timestamp(1), 2] as [Value] }
            return MemoryScript(
                left.schema,
                splits: [[.pause, .batch(RecordBatch(left.schema, rows: rows)), .watermark(.time(1))]], eventTime: "at")
        }
        let rows = CollectedRows()
        var config = JoinConfig()
        config.on = JoinKeys([("k", "rk")])
        config.lookup = .latest
        func pipeline(_ facts: MemoryScript, parallelism: Int) throws -> TestPipeline {
            var pipeline = TestPipeline()
            pipeline.parallelism = parallelism
            try pipeline.add("facts", MemorySource.self, .init(facts), parallelism: 1)
            try pipeline.add("users", MemorySource.self, .init(users), parallelism: 1)
            try pipeline.add("table", Upserts.self, .init(), from: "users", parallelism: 1)
            try pipeline.add("joined", Join.self, config, inputs: [["facts"], ["table"]])
            try pipeline.add("out", CollectingSink.self, .init(rows), from: "joined")
            return pipeline
        }
        // The first run reads the table, the second answers from the checkpoint.
        let early = facts()
        let first = try pipeline(early, parallelism: 2).runner(checkpoints: folder.path)
        async let summary = first.run()
        await early.waitForPause()
        while users.readCount(split: 0) == 0 { await Task.yield() }
        first.stop()
        let stopped = try await summary
        #expect(counted(stopped) == 50)
        let later = facts()
        let second = try pipeline(later, parallelism: 3).runner(checkpoints: folder.path)
        async let finished = second.run()
        await later.waitForPause()
        later.resume()
        #expect("\(try await finished.outcome)" == "finished")
        #expect(rows.rows.count == 50)
        #expect(Set(rows.rows.map { $0[4] }).count == 50)
        #expect(rows.rows.allSatisfy { $0[1] == $0[5] })
    }

    @Test func `a stream may be joined with itself`() async throws {
        let folder = try TemporaryDirectory()
        let input = ModelInput(seed: 61, rows: 60)
        let script = MemoryScript(
            left.schema, splits: [input.batches(0, 0, size: 7).map { .batch($0.batch) }], eventTime: "at")
        let rows = CollectedRows()
        var config = JoinConfig()
        config.on = JoinKeys([("k", "k")])
        config.within = within(3, 3)
        config.prefix.right = "other_"
        var pipeline = TestPipeline()
        pipeline.parallelism = 2
        try pipeline.add("rows", MemorySource.self, .init(script), parallelism: 1)
        try pipeline.add("joined", Join.self, config, inputs: [["rows"], ["rows"]])
        try pipeline.add("out", CollectingSink.self, .init(rows), from: "joined")
        _ = try await pipeline.runner(checkpoints: folder.path).run()
        var twice = input
        twice.splits = [[input.splits[0][0]], [input.splits[0][0]]]
        #expect(difference(rows.rows, Model().interval(twice, before: 3, after: 3)) == [])
    }
}
