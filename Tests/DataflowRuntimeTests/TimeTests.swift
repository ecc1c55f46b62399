import DataflowCheckpoint
import DataflowColumnar
import DataflowConfig
import DataflowOperator
import DataflowPipeline
import DataflowRuntime
import DataflowTesting
import Glibc
import Testing

/// What a node was told of time, in order of its calls; shared with the test.
private final class Diary: Sendable {
    private let entries = Lock<[String]>([])
    let ticked = Gate()
    let wrote = Gate()
    let wasIdle = Gate()
    func note(_ entry: String) { entries.withLock { $0.append(entry) } }
    var all: [String] { entries.withLock { $0 } }
}

private struct DiaryConfig: OperatorConfig {
    var diary = Diary()
    init() {}
    init(_ diary: Diary) { self.diary = diary }
    static let schema = ConfigSchema<Self> {}
}

/// Passes on, notes watermarks and ticks; asks for a tick one second behind each batch.
private final class Timekeeper: Transform {
    typealias Config = DiaryConfig
    static let info = OperatorInfo("timekeeper", .transform, "Notes time.")
    static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] { [inputs[0]] }
    static func partitioning(_ config: Config, inputs: [Stream]) throws(ConfigError) -> Partitioning { .single }
    private let diary: Diary
    private let context: OperatorContext
    init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        diary = config.diary
        self.context = context
    }
    func process(_ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer) throws(OperatorError)
        -> Progress
    {
        context.tick.request(at: context.clock.now.advanced(by: .seconds(1)))
        output.emit(batch)
        return .done
    }
    func advance(to watermark: Watermark, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        switch watermark {
        case .end: diary.note("end")
        case .time(let time): diary.note("\(time)")
        case .idle: diary.note("idle")
        }
        output.emit(watermark)
        return .done
    }
    func tick(_ now: ContinuousClock.Instant, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        diary.note("tick")
        diary.ticked.open()
        return .done
    }
    func finish(into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        diary.note("finish")
        return .done
    }
}

/// A sink that waits in C, on a thread of its own, and notes when it is told that nothing comes.
private final class WaitingSink: Sink {
    typealias Config = DiaryConfig
    static let info = OperatorInfo("waiting-sink", .sink, "Waits in C.", blocks: true)
    static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] { [] }
    private let diary: Diary
    private var thread: pthread_t?
    init(_ config: Config, _ context: OperatorContext) throws(OperatorError) { diary = config.diary }
    func open(restoring state: StateSnapshot) async throws(OperatorError) { thread = pthread_self() }
    func write(_ batch: RecordBatch, errors: inout OutputBuffer) async throws(OperatorError) {
        #expect(thread == pthread_self(), "every call comes on the same thread")
        usleep(1000)
        diary.note("row")
        diary.wrote.open()
    }
    func idle(errors: inout OutputBuffer) async throws(OperatorError) {
        #expect(thread == pthread_self())
        diary.note("idle")
        diary.wasIdle.open()
    }
    func flush(_ checkpoint: CheckpointID, errors: inout OutputBuffer) async throws(OperatorError) {
        #expect(thread == pthread_self())
        diary.note("flush")
    }
}

@Suite struct `Time in a running pipeline` {
    let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    @Test func `watermarks of subtasks merge by minimum and the last one closes everything`() async throws {
        let diary = Diary()
        let script = MemoryScript(
            keySchema,
            splits: [
                [.batch(keys("a")), .watermark(.time(10)), .pause, .watermark(.time(30)), .batch(keys("b"))],
                [.batch(keys("a")), .watermark(.time(20))],
            ], eventTime: "key")
        var pipeline = TestPipeline()
        pipeline.parallelism = 2
        try pipeline.add("words", MemorySource.self, .init(script))
        try pipeline.add("time", Timekeeper.self, .init(diary), from: "words")
        try pipeline.add("rows", CollectingSink.self, .init(CollectedRows()), from: "time")
        let runner = try pipeline.runner(checkpoints: folder.path)
        async let summary = runner.run()
        await script.waitForPause()
        while !diary.all.contains("10") { await Task.yield() }
        script.resume()
        #expect(try await summary.outcome == .finished)
        // On a slow machine the second until the tick may pass, too.
        #expect(diary.all.filter { $0 != "tick" } == ["10", "30", "end", "finish"])
    }

    @Test func `ticks go by the clock that the runner was given`() async throws {
        let diary = Diary()
        let clock = ManualClock()
        let script = MemoryScript(keySchema, splits: [[.batch(keys("a")), .pause]])
        var pipeline = TestPipeline()
        try pipeline.add("words", MemorySource.self, .init(script))
        try pipeline.add("time", Timekeeper.self, .init(diary), from: "words")
        let rows = CollectedRows()
        try pipeline.add("rows", StallingSink.self, .init(rows), from: "time")
        let runner = try pipeline.runner(checkpoints: folder.path, clock: clock)
        async let summary = runner.run()
        await script.waitForPause()
        while rows.rows.isEmpty { await Task.yield() }
        #expect(diary.all == [])
        clock.advance(by: .seconds(2))
        try await diary.ticked.wait()
        #expect(diary.all == ["tick"])
        runner.stop()
        _ = try await summary
    }

    @Test func `a sink that waits in C has a thread of its own and is told when nothing comes`() async throws {
        let diary = Diary()
        let script = MemoryScript(keySchema, splits: [[.batch(keys("a")), .pause, .batch(keys("b"))]])
        var pipeline = TestPipeline()
        pipeline.config.linger = .milliseconds(1)
        try pipeline.add("words", MemorySource.self, .init(script))
        try pipeline.add("slow", WaitingSink.self, .init(diary), from: "words")
        let runner = try pipeline.runner(checkpoints: folder.path)
        async let summary = runner.run()
        try await diary.wasIdle.wait()
        script.resume()
        #expect(try await summary.outcome == .finished)
        #expect(diary.all.prefix(3) == ["row", "idle", "row"])
        #expect(diary.all.last == "flush")
        #expect(diary.all.filter { $0 == "flush" }.count == 1)
    }

    @Test func `a checkpoint that takes longer than its timeout fails the run and names who is waited for`()
        async throws
    {
        let gate = Gate()
        let script = MemoryScript(keySchema, splits: [[.batch(keys("a")), .pause]])
        var pipeline = TestPipeline()
        pipeline.config.checkpoint.timeout = .milliseconds(20)
        try pipeline.add("words", MemorySource.self, .init(script))
        try pipeline.add("stuck", StallingSink.self, .init(CollectedRows(), gate: gate), from: "words")
        let runner = try pipeline.runner(checkpoints: folder.path)
        let run = Task { try await runner.run() }
        await gate.waitForVisitor()
        runner.takeCheckpoint()
        let error = await #expect(throws: RunError.self) { _ = try await run.value }
        #expect(error?.exitCode == 75)
        #expect(error?.message.contains("it waits for stuck[0]") == true)
    }
}
