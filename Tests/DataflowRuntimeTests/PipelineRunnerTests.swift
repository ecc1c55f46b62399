import DataflowCheckpoint
import DataflowColumnar
import DataflowOperator
import DataflowPipeline
import DataflowRuntime
import DataflowTesting
import Synchronization
import Testing

@Suite struct `Pipeline runner` {
    let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    /// numbers → counts → table
    func counting(
        _ script: MemoryScript, _ rows: CollectedRows, parallelism: Int = 1, step: Int = 0
    ) throws -> TestPipeline {
        var pipeline = TestPipeline()
        pipeline.parallelism = parallelism
        try pipeline.add("words", MemorySource.self, .init(script))
        try pipeline.add("counts", KeyCount.self, .init(key: "key", step: step), from: "words")
        try pipeline.add("table", CollectingSink.self, .init(rows), from: "counts")
        return pipeline
    }

    func counts(_ rows: CollectedRows) -> [String: Int64] {
        var result: [String: Int64] = [:]
        for (key, row) in rows.table(key: ["key"]) {
            if case .string(let key) = key[0], case .int(let count) = row[1] { result[key] = count }
        }
        return result
    }

    @Test(arguments: [1, 2, 4])
    func `a bounded input runs to its end and is committed`(parallelism: Int) async throws {
        let splits = (0..<5).map { split -> [MemoryScript.Step] in
            (0..<10).map { .batch(keys("a", "b", "k\(split)", "k\($0)")) }
        }
        let rows = CollectedRows()
        let runner = try counting(MemoryScript(keySchema, splits: splits), rows, parallelism: parallelism, step: 2)
            .runner(checkpoints: folder.path)
        let summary = try await runner.run()
        #expect(summary.outcome == .finished)
        let counts = counts(rows)
        #expect(counts["a"] == 50)
        #expect(counts["b"] == 50)
        #expect(counts["k0"] == 15)
        #expect(counts["k9"] == 5)
        #expect(summary.metrics.unbalancedEdges.isEmpty)
        #expect(summary.metrics[node: "words"]?.rowsOut.load(ordering: .relaxed) == 200)
        #expect(summary.metrics[node: "counts"]?.rowsIn.load(ordering: .relaxed) == 200)
        #expect(summary.metrics[node: "counts"]?.counters.total == 200)
        #expect(rows.commits.count == 1)
    }

    @Test func `a finished pipeline started again changes nothing, and goes on when there is more`() async throws {
        let rows = CollectedRows()
        let first: [MemoryScript.Step] = [.batch(keys("a", "b"))]
        _ = try await counting(MemoryScript(keySchema, splits: [first]), rows).runner(checkpoints: folder.path).run()
        #expect(counts(rows) == ["a": 1, "b": 1])

        let again = try counting(MemoryScript(keySchema, splits: [first]), rows).runner(checkpoints: folder.path)
        #expect(try await again.run().outcome == .nothingNew)
        #expect(rows.commits.count == 1)

        let more = MemoryScript(keySchema, splits: [first + [.batch(keys("b", "c"))]])
        let summary = try await counting(more, rows).runner(checkpoints: folder.path).run()
        #expect(summary.outcome == .finished)
        #expect(counts(rows) == ["a": 1, "b": 2, "c": 1])
        #expect(more.readCount(split: 0) == 1)
    }

    @Test func `stop ends at a checkpoint and the next start goes on`() async throws {
        let rows = CollectedRows()
        let steps: [MemoryScript.Step] = [.batch(keys("a", "b")), .pause, .batch(keys("b", "c"))]
        let script = MemoryScript(keySchema, splits: [steps])
        let runner = try counting(script, rows).runner(checkpoints: folder.path)
        async let summary = runner.run()
        await script.waitForPause()
        runner.stop()
        #expect(try await summary.outcome == .stopped)
        #expect(counts(rows) == ["a": 1, "b": 1])

        let again = MemoryScript(keySchema, splits: [steps])
        let second = try counting(again, rows).runner(checkpoints: folder.path)
        async let finished = second.run()
        await again.waitForPause()
        again.resume()
        #expect(try await finished.outcome == .finished)
        #expect(counts(rows) == ["a": 1, "b": 2, "c": 1])
        #expect(again.readCount(split: 0) == 1)
    }

    @Test(arguments: [false, true])
    func `a stop ends nodes that go on opening, and the next start reads all`(drains: Bool) async throws {
        let rows = CollectedRows()
        let opening = Gate()
        let script = MemoryScript(keySchema, splits: [[.batch(keys("a", "b"))]])
        func pipeline() throws -> TestPipeline {
            var pipeline = TestPipeline()
            try pipeline.add("words", MemorySource.self, .init(script))
            try pipeline.add("table", CollectingSink.self, .init(rows, opening: opening), from: "words")
            pipeline.options.openingGrace = .zero
            return pipeline
        }
        let runner = try pipeline().runner(checkpoints: folder.path)
        async let failure = { () async -> RunError? in
            do throws(RunError) {
                _ = try await runner.run()
                return nil
            } catch { return error }
        }()
        await opening.waitForVisitor()
        if drains { runner.drain() } else { runner.stop() }
        let error = await failure
        #expect(error?.exitCode == 75)
        #expect(error?.message.contains("node 'table' was still opening") == true)
        #expect(rows.rows.isEmpty)

        opening.open()
        #expect(try await pipeline().runner(checkpoints: folder.path).run().outcome == .finished)
        #expect(rows.rows.count == 2)
    }

    @Test func `a stop lets nodes that only need a moment open, and ends at a checkpoint`() async throws {
        let rows = CollectedRows()
        let opening = Gate()
        let script = MemoryScript(keySchema, splits: [[.batch(keys("a")), .pause]])
        var pipeline = TestPipeline()
        try pipeline.add("words", MemorySource.self, .init(script))
        try pipeline.add("table", CollectingSink.self, .init(rows, opening: opening), from: "words")
        pipeline.options.openingGrace = .seconds(3600)
        let runner = try pipeline.runner(checkpoints: folder.path)
        async let summary = runner.run()
        await opening.waitForVisitor()
        opening.open()
        runner.stop()
        #expect(try await summary.outcome == .stopped)
    }

    @Test func `drain closes what is open and finishes`() async throws {
        let rows = CollectedRows()
        let script = MemoryScript(keySchema, splits: [[.batch(keys("a")), .pause, .batch(keys("b"))]])
        let runner = try counting(script, rows).runner(checkpoints: folder.path)
        async let summary = runner.run()
        await script.waitForPause()
        runner.drain()
        #expect(try await summary.outcome == .finished)
        #expect(counts(rows) == ["a": 1])
    }

    @Test func `limit, until idle and duration end the run at a checkpoint`() async throws {
        let steps: [MemoryScript.Step] = (0..<10).map { .batch(keys("k\($0)")) } + [.pause]
        for variant in 0..<3 {
            let folder = try TemporaryDirectory()
            let rows = CollectedRows()
            var pipeline = try counting(MemoryScript(keySchema, splits: [steps]), rows)
            switch variant {
            case 0: pipeline.options.limit = 4
            case 1: pipeline.options.untilIdle = .milliseconds(1)
            default: pipeline.options.duration = .milliseconds(50)
            }
            let summary = try await pipeline.runner(checkpoints: folder.path).run()
            #expect(summary.outcome == .stopped)
            #expect(rows.rows.count == (variant == 0 ? 4 : 10))
        }
    }

    @Test func `a failure that may pass starts the pipeline again from its checkpoint`() async throws {
        let rows = CollectedRows()
        let lost = OperatorError(.external, .withBackoff, "connection_lost", "the server went away")
        let script = MemoryScript(
            keySchema, splits: [[.batch(keys("a")), .abort(lost), .batch(keys("a")), .abort(lost), .batch(keys("a"))]])
        let retry = RetryPolicy(attempts: 3, backoff: .milliseconds(1), maxBackoff: .milliseconds(2))
        let runner = try counting(script, rows).runner(checkpoints: folder.path, retry: retry)
        let summary = try await runner.run()
        #expect(summary.outcome == .finished)
        #expect(summary.restarts == 2)
        #expect(counts(rows) == ["a": 3])
    }

    @Test func `after too many failures in a row the run ends with the last one`() async throws {
        let lost = OperatorError(.external, .withBackoff, "connection_lost", "the server went away")
        let script = MemoryScript(keySchema, splits: [[.abort(lost), .abort(lost), .abort(lost)]])
        let retry = RetryPolicy(attempts: 2, backoff: .milliseconds(1), maxBackoff: .milliseconds(1))
        let runner = try counting(script, CollectedRows()).runner(checkpoints: folder.path, retry: retry)
        let error = await #expect(throws: RunError.self) { try await runner.run() }
        #expect(error?.exitCode == 69)
        #expect(error?.node == "words")
        #expect(error?.message.contains("node 'words': the server went away") == true)
        #expect(error?.message.contains("gave up after 3 failures") == true)
    }

    @Test(arguments: [(OperatorError.Domain.user, Int32(78)), (.data, 65), (.engine, 70), (.external, 69)])
    func `an error that no restart helps ends the run with its exit code`(
        _ domain: OperatorError.Domain, _ exitCode: Int32
    ) async throws {
        let error = OperatorError(domain, .never, "final", "this will not do")
        let script = MemoryScript(keySchema, splits: [[.abort(error)]])
        let retry = RetryPolicy(attempts: 5, backoff: .milliseconds(1))
        let runner = try counting(script, CollectedRows()).runner(checkpoints: folder.path, retry: retry)
        let failure = await #expect(throws: RunError.self) { try await runner.run() }
        #expect(failure?.exitCode == exitCode)
        #expect(failure?.isRetryable == false)
    }

    @Test func `a second start is refused while the first lives`() async throws {
        let script = MemoryScript(keySchema, splits: [[.pause]])
        let first = try counting(script, CollectedRows()).runner(checkpoints: folder.path)
        async let summary = first.run()
        await script.waitForPause()
        let second = try counting(script, CollectedRows()).runner(checkpoints: folder.path)
        let error = await #expect(throws: RunError.self) { try await second.run() }
        #expect(error?.exitCode == 75)
        #expect(error?.message.contains("already running") == true)
        first.stop()
        _ = try await summary
    }

    @Test func `rescaling from 1 to 4 to 3 keeps every count`() async throws {
        let rows = CollectedRows()
        var steps = [[MemoryScript.Step]](repeating: [], count: 6)
        var expected: [String: Int64] = [:]
        for (round, parallelism) in [1, 4, 3].enumerated() {
            for split in steps.indices {
                for batch in 0..<5 {
                    let names = (0..<40).map { "key\(($0 * 7 + split * 13 + batch + round * 31) % 97)" }
                    for name in names { expected[name, default: 0] += 1 }
                    steps[split].append(.batch(RecordBatch(keySchema, rows: names.map { [.string($0)] })))
                }
            }
            let runner = try counting(MemoryScript(keySchema, splits: steps), rows, parallelism: parallelism)
                .runner(checkpoints: folder.path)
            let summary = try await runner.run()
            #expect(summary.outcome == .finished)
            #expect(counts(rows) == expected)
            #expect(summary.metrics.sourceRows.load(ordering: .relaxed) == 6 * 5 * 40)
        }
    }

    @Test func `state that no node takes is refused unless it is given up`() async throws {
        let rows = CollectedRows()
        let script = MemoryScript(keySchema, splits: [[.batch(keys("a"))]])
        _ = try await counting(script, rows).runner(checkpoints: folder.path).run()

        var renamed = TestPipeline()
        try renamed.add("words", MemorySource.self, .init(script))
        try renamed.add("tally", KeyCount.self, .init(key: "key"), from: "words")
        try renamed.add("table", CollectingSink.self, .init(rows), from: "tally")
        let error = await #expect(throws: RunError.self) { try await renamed.runner(checkpoints: folder.path).run() }
        #expect(error?.exitCode == 78)
        #expect(error?.message.contains("state of node 'counts'") == true)
        #expect(error?.message.contains("--forget-state counts") == true)

        renamed.options.forgottenNodes = ["count"]
        let unknown = await #expect(throws: RunError.self) { try await renamed.runner(checkpoints: folder.path).run() }
        #expect(unknown?.exitCode == 78)
        #expect(unknown?.message.contains("no node 'count'") == true)
        #expect(unknown?.message.contains("did you mean `counts`?") == true)

        renamed.options.forgottenNodes = ["counts"]
        #expect(try await renamed.runner(checkpoints: folder.path).run().outcome == .nothingNew)
    }

    @Test func `state keyed by other columns is refused`() async throws {
        let schema = Schema([Field("key", .string), Field("other", .string)])
        let script = MemoryScript(schema, batches: [[["a", "x"]]])
        for key in ["key", "other"] {
            var pipeline = TestPipeline()
            try pipeline.add("words", MemorySource.self, .init(script))
            try pipeline.add("counts", KeyCount.self, .init(key: key), from: "words")
            try pipeline.add("table", CollectingSink.self, .init(CollectedRows()), from: "counts")
            let runner = try pipeline.runner(checkpoints: folder.path)
            if key == "key" {
                _ = try await runner.run()
            } else {
                let error = await #expect(throws: RunError.self) { try await runner.run() }
                #expect(error?.message.contains("keyed by (key), the pipeline now says (other)") == true)
            }
        }
    }

    @Test func `state kept with other settings that define it is refused unless it is given up, others may change`()
        async throws
    {
        let script = MemoryScript(keySchema, splits: [[.batch(keys("a"))]])
        func run(_ meaning: String, step: Int, forgetting: Set<String> = []) async throws -> RunSummary {
            var config = KeyCountConfig(key: "key", step: step)
            config.meaning = meaning
            var pipeline = TestPipeline()
            try pipeline.add("words", MemorySource.self, .init(script))
            try pipeline.add("counts", KeyCount.self, config, from: "words")
            try pipeline.add("table", CollectingSink.self, .init(CollectedRows()), from: "counts")
            pipeline.options.forgottenNodes = forgetting
            return try await pipeline.runner(checkpoints: folder.path).run()
        }
        #expect(try await run("rows", step: 0).outcome == .finished)
        #expect(try await run(" rows ", step: 1).outcome == .nothingNew)
        let error = await #expect(throws: RunError.self) { try await run("bytes", step: 1) }
        #expect(error?.exitCode == 78)
        #expect(
            error?.message.contains("the state of node 'counts' in checkpoint 1 was kept with another `meaning`")
                == true)
        #expect(error?.message.contains("--forget-state counts") == true)
        #expect(try await run("bytes", step: 1, forgetting: ["counts"]).outcome == .nothingNew)
    }

    @Test func `restore none starts anew and says which checkpoints there are when one is missing`() async throws {
        let script = MemoryScript(keySchema, splits: [[.batch(keys("a"))]])
        _ = try await counting(script, CollectedRows()).runner(checkpoints: folder.path).run()
        var missing = try counting(script, CollectedRows())
        missing.options.restore = .checkpoint(CheckpointID(77))
        let error = await #expect(throws: RunError.self) { try await missing.runner(checkpoints: folder.path).run() }
        #expect(error?.message.contains("there is no checkpoint 77") == true)
        let rows = CollectedRows()
        var anew = try counting(script, rows)
        anew.options.restore = .none
        #expect(try await anew.runner(checkpoints: folder.path).run().outcome == .finished)
        #expect(counts(rows) == ["a": 1])
    }

    @Test func `errors and late rows take their ports, and on_error decides`() async throws {
        let script = MemoryScript(keySchema, splits: [[.batch(keys("a", "bad", "late", "b", "bad"))]])
        let (good, bad, late) = (CollectedRows(), CollectedRows(), CollectedRows())
        var pipeline = TestPipeline()
        try pipeline.add("words", MemorySource.self, .init(script))
        try pipeline.add("pass", Pass.self, .init(refused: "bad"), from: "words")
        try pipeline.add("good", CollectingSink.self, .init(good), from: "pass")
        try pipeline.add("bad", CollectingSink.self, .init(bad), from: "pass.errors")
        try pipeline.add("late", CollectingSink.self, .init(late), from: "pass.late")
        let summary = try await pipeline.runner(checkpoints: folder.path).run()
        #expect(good.rows == [["a"], ["b"]])
        #expect(late.rows == [["late"]])
        #expect(bad.rows.map { $0[2] } == ["it is bad", "it is bad"])
        #expect(summary.metrics[node: "pass"]?.errorRows.load(ordering: .relaxed) == 2)
        #expect(summary.metrics[node: "pass"]?.counters.total == 5)

        var failing = TestPipeline("failing")
        try failing.add("words", MemorySource.self, .init(script))
        try failing.add("pass", Pass.self, .init(refused: "bad"), from: "words", onError: .fail)
        try failing.add("good", CollectingSink.self, .init(CollectedRows()), from: "pass")
        let error = await #expect(throws: RunError.self) { try await failing.runner(checkpoints: folder.path).run() }
        #expect(error?.exitCode == 65)
        #expect(error?.message.contains("node 'pass': a row cannot be processed: it is bad") == true)
    }

    @Test(arguments: 0..<10)
    func `what a sink refuses at its last flush is committed by the sink behind it`(_ round: Int) async throws {
        let script = MemoryScript(keySchema, splits: [[.batch(keys("a", "bad", "b"))]])
        let bad = CollectedRows()
        var pipeline = TestPipeline()
        try pipeline.add("words", MemorySource.self, .init(script))
        try pipeline.add("pass", Pass.self, .init(refused: "bad"), from: "words")
        try pipeline.add("strict", RefusingSink.self, .init(), from: "pass")
        try pipeline.add("again", Pass.self, .init(), from: "strict.errors")
        try pipeline.add("bad", CollectingSink.self, .init(bad), from: "again", "pass.errors")
        let summary = try await pipeline.runner(checkpoints: folder.path).run()
        #expect(bad.rows.map { $0[0] }.count == 3, "round \(round)")
        #expect(summary.metrics.unbalancedEdges.isEmpty)
    }

    @Test func `a union of two sources and several readers of one node conserve rows`() async throws {
        let one = MemoryScript(keySchema, splits: [[.batch(keys("a", "b"))], [.batch(keys("c"))]])
        let two = MemoryScript(keySchema, splits: [[.batch(keys("d"))]])
        let (first, second) = (CollectedRows(), CollectedRows())
        var pipeline = TestPipeline()
        pipeline.parallelism = 2
        try pipeline.add("one", MemorySource.self, .init(one))
        try pipeline.add("two", MemorySource.self, .init(two), parallelism: 1)
        try pipeline.add("all", Pass.self, .init(), from: "one", "two")
        try pipeline.add("counts", KeyCount.self, .init(key: "key"), from: "all")
        try pipeline.add("first", CollectingSink.self, .init(first), from: "all")
        try pipeline.add("second", CollectingSink.self, .init(second), from: "counts")
        let summary = try await pipeline.runner(checkpoints: folder.path).run()
        #expect(Set(first.rows.map { $0[0] }) == ["a", "b", "c", "d"])
        #expect(second.rows.count == 4)
        #expect(summary.metrics.unbalancedEdges.isEmpty)
    }
}
