import DataflowCheckpoint
import DataflowColumnar
import DataflowOperator
import DataflowPipeline
import DataflowRuntime
import DataflowTesting
import Synchronization
import Testing

/// A run that dies at any step of a checkpoint and is started again must leave what an uninterrupted run leaves.
@Suite struct `Crash and restart` {
    /// Two splits with a pause behind every second batch, where the test takes a checkpoint.
    static func script() -> MemoryScript {
        let splits = (0..<2).map { split in
            (0..<6).flatMap { index -> [MemoryScript.Step] in
                let batch = keys("a", "s\(split)", "n\(index)", "s\(split)n\(index)")
                return index % 2 == 1 ? [.batch(batch), .pause] : [.batch(batch)]
            }
        }
        return MemoryScript(keySchema, splits: splits)
    }

    /// Every row once, in one sink; counts by key in another.
    struct World {
        let all = CollectedRows()
        let counts = CollectedRows()

        var result: (rows: [[Value]], counts: [[Value]: [Value]]) {
            (all.rows.sorted { "\($0)" < "\($1)" }, counts.table(key: ["key"]))
        }
    }

    static func pipeline(_ script: MemoryScript, _ world: World, parallelism: Int) throws -> TestPipeline {
        var pipeline = TestPipeline()
        pipeline.parallelism = parallelism
        try pipeline.add("words", MemorySource.self, .init(script))
        try pipeline.add("counts", KeyCount.self, .init(key: "key", step: 3), from: "words")
        try pipeline.add("table", CollectingSink.self, .init(world.counts), from: "counts")
        try pipeline.add("all", CollectingSink.self, .init(world.all), from: "words")
        return pipeline
    }

    /// Runs to the end or the failure, with a checkpoint at every pause.
    static func drive(_ runner: PipelineRunner, _ script: MemoryScript) async throws {
        let isOver = Gate()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                defer { isOver.open() }
                _ = try await runner.run()
            }
            group.addTask {
                while !isOver.isOpen {
                    if script.isPaused {
                        let before = runner.progress()
                        runner.takeCheckpoint()
                        while !isOver.isOpen {
                            let now = runner.progress()
                            if now.checkpoints.completed > before.checkpoints.completed { break }
                            if now.restarts > before.restarts { break }
                            await Task.yield()
                        }
                        script.resume()
                    }
                    await Task.yield()
                }
            }
            while let result = await group.nextResult() {
                if case .failure(let error) = result { throw error }
            }
        }
    }

    static func uninterrupted() async throws -> (rows: [[Value]], counts: [[Value]: [Value]]) {
        let folder = try TemporaryDirectory()
        let world = World()
        let script = script()
        try await drive(try pipeline(script, world, parallelism: 1).runner(checkpoints: folder.path), script)
        return world.result
    }

    @Test(arguments: [false, true], [false, true])
    func `at every operation of the store, before and after it`(after: Bool, incremental: Bool) async throws {
        let limits = incremental ? IncrementalTable.Limits(whole: 0, part: 1) : IncrementalTable.Limits()
        try await IncrementalTable.$limits.withValue(limits) {
            // With increments there are more operations, many of them alike.
            try await dieAtEveryOperation(after: after, step: incremental ? 3 : 1)
        }
    }

    private func dieAtEveryOperation(after: Bool, step: Int) async throws {
        let expected = try await Self.uninterrupted()
        #expect(expected.rows.count == 2 * 6 * 4)
        var operation = 0
        var crashes = 0
        while true {
            let folder = try TemporaryDirectory()
            let world = World()
            let files = CrashingStore(dyingAt: operation, after: after)
            let first = Self.script()
            let place = "operation \(operation)"
            do {
                try await Self.drive(
                    try Self.pipeline(first, world, parallelism: 2).runner(checkpoints: folder.path, files: files),
                    first)
            } catch {
                #expect(files.isDead, "\(place): \(error)")
                crashes += 1
            }
            if !files.isDead { break }
            let second = Self.script()
            try await Self.drive(
                try Self.pipeline(second, world, parallelism: 1).runner(checkpoints: folder.path), second)
            #expect(world.result.rows == expected.rows, "\(place) \(files.operationNames.last ?? "")")
            #expect(world.result.counts == expected.counts, "\(place) \(files.operationNames.last ?? "")")
            operation += step
        }
        #expect(crashes > 40 / step)
    }

    @Test(arguments: CollectedRows.Failpoint.allCases, [0, 1, 2])
    func `at every step of a sink, with a restart in the same process`(
        point: CollectedRows.Failpoint, passes: Int
    ) async throws {
        let expected = try await Self.uninterrupted()
        for sink in ["table", "all"] {
            let folder = try TemporaryDirectory()
            let world = World()
            let script = Self.script()
            (sink == "all" ? world.all : world.counts).fail(at: point, afterPasses: passes)
            let retry = RetryPolicy(attempts: 3, backoff: .milliseconds(1), maxBackoff: .milliseconds(1))
            let runner = try Self.pipeline(script, world, parallelism: 2).runner(checkpoints: folder.path, retry: retry)
            try await Self.drive(runner, script)
            #expect(world.result.rows == expected.rows)
            #expect(world.result.counts == expected.counts)
            if point != .open || passes == 0 { #expect(runner.progress().restarts == 1) }
        }
    }
}

@Suite struct `Snapshots in parts` {
    /// A sink that takes nothing until its commit fills the channel behind an operator whose state the commit waits for.
    @Test(.timeLimit(.minutes(5)), arguments: [1, 3])
    func `are read on while a sink waits for the checkpoint`(parallelism: Int) async throws {
        try await IncrementalTable.$limits.withValue(.init(whole: 0, part: 16)) {
            let folder = try TemporaryDirectory()
            let schema = Schema([Field("n", .int64, nullable: false)])
            let batches = (0..<200 as Range<Int64>).map { index in
                RecordBatch(
                    schema,
                    [
                        Column(
                            .int64,
                            .int64(Values(count: 1024) { v in for i in 0..<1024 { v[i] = index * 1024 + Int64(i) } }))
                    ])
            }
            let rows = CollectedRows()
            func run(_ script: MemoryScript) async throws -> RunSummary {
                var pipeline = TestPipeline()
                pipeline.config.channelSize = .kibibytes(64)
                pipeline.parallelism = parallelism
                try pipeline.add("numbers", MemorySource.self, .init(script))
                try pipeline.add("remember", Remember.self, .init(), from: "numbers")
                try pipeline.add("sink", CollectingSink.self, .init(rows), from: "remember")
                let runner = try pipeline.runner(checkpoints: folder.path)
                async let summary = runner.run()
                await script.waitForPause()
                let before = runner.progress().checkpoints.completed
                runner.takeCheckpoint()
                script.resume()
                _ = try await summary
                #expect(runner.progress().checkpoints.completed > before)
                return try await summary
            }
            let steps = batches.map { MemoryScript.Step.batch($0) }
            let beginning = steps[..<100] + [.pause] + steps[100..<150]
            let first = try await run(MemoryScript(schema, splits: [Array(beginning)]))
            #expect(first.outcome == .finished)
            #expect(rows.rows.count == 150 * 1024)
            let second = try await run(MemoryScript(schema, splits: [Array(beginning + [.pause] + steps[150...])]))
            #expect(second.outcome == .finished)
            #expect(rows.rows.count == 200 * 1024)
        }
    }
}

@Suite struct `Backpressure` {
    @Test func `a stalled sink costs exactly the bytes of its channel`() async throws {
        let folder = try TemporaryDirectory()
        let schema = Schema([Field("n", .int64, nullable: false)])
        // 1,024 batches of 32 KiB; the channel holds 64 KiB: two batches.
        let batch = RecordBatch(schema, [Column(.int64, .int64(Values(repeating: 1, count: 4096)))])
        let script = MemoryScript(schema, splits: [Array(repeating: .batch(batch), count: 1024)])
        let gate = Gate()
        let rows = CollectedRows()
        var pipeline = TestPipeline()
        pipeline.config.channelSize = .kibibytes(64)
        try pipeline.add("numbers", MemorySource.self, .init(script))
        try pipeline.add("slow", StallingSink.self, .init(rows, gate: gate), from: "numbers")
        let runner = try pipeline.runner(checkpoints: folder.path)
        async let summary = runner.run()
        await gate.waitForVisitor()
        // One batch in the sink's hands, two in the channel, one in the source's.
        while script.readCount(split: 0) < 4 { await Task.yield() }
        for _ in 0..<1000 { await Task.yield() }
        #expect(script.readCount(split: 0) == 4)
        gate.open()
        let metrics = try await summary.metrics
        #expect(rows.batches.reduce(0) { $0 + $1.rowCount } == 1024 * 4096)
        #expect(metrics[node: "numbers"]?.backpressureNanoseconds.load(ordering: .relaxed) ?? 0 > 0)
    }
}

@Suite struct `Leaks` {
    @Test func `starting and stopping again and again leaves nothing behind`() async throws {
        let rounds = isSoaking ? 1000 : 20
        func round() async throws {
            let folder = try TemporaryDirectory()
            let world = `Crash and restart`.World()
            let script = MemoryScript(keySchema, splits: [[.batch(keys("a", "b"))], [.batch(keys("c")), .pause]])
            let runner = try `Crash and restart`.pipeline(script, world, parallelism: 2).runner(
                checkpoints: folder.path)
            async let summary = runner.run()
            await script.waitForPause()
            runner.stop()
            #expect(try await summary.outcome == .stopped)
        }
        for _ in 0..<5 { try await round() }
        let before = openDescriptors()
        let threads = ownThreads()
        for _ in 0..<rounds { try await round() }
        // Threads end on their own after `shutDown`, and other tests run beside this one: look until it is quiet.
        var (descriptors, left) = (openDescriptors(), ownThreads())
        for _ in 0..<1_000_000 where descriptors > before + 2 || left > threads + 4 {
            await Task.yield()
            (descriptors, left) = (openDescriptors(), ownThreads())
        }
        #expect(descriptors <= before + 2)
        #expect(left <= threads + 4)
    }

    private func openDescriptors() -> Int { (try? LocalFiles().list("/proc/self/fd")?.count) ?? 0 }
    private func ownThreads() -> Int { (try? LocalFiles().list("/proc/self/task")?.count) ?? 0 }
}
