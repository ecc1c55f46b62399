import DataflowColumnar
import DataflowOperator
import DataflowPipeline
import DataflowRuntime

/// What lies between two tasks.
enum RuntimeCases {
    static var all: [() throws -> MicroCase] { [hop, exchange] }

    private static let capacity = ChannelCapacity(bytes: 64 << 20, batches: 256)

    /// A batch into a channel and out of it, without waiting.
    private static func hop() -> MicroCase {
        let batch = Events.batch()
        let channel = Channel(lanes: 1, capacity: capacity, clock: SystemClock())
        let hops = 128
        return MicroCase(
            name: "channel hop", unit: "batch", units: hops,
            body: {
                try runInline {
                    var rows = 0
                    for _ in 0..<hops {
                        try await channel.send(batch, lane: 0)
                        if case .element(.batch(let received), _) = try await channel.next() {
                            rows += received.rowCount
                        }
                    }
                    return rows
                }
            }, expected: hops * batch.rowCount)
    }

    /// A batch through an exchange by hash to two subtasks.
    private static func exchange() -> MicroCase {
        let batch = Events.batch()
        let channels = (0..<2).map { _ in Channel(lanes: 1, capacity: capacity, clock: SystemClock()) }
        nonisolated(unsafe) let writer = ExchangeWriter(
            .hash(["item"]), schema: Events.schema,
            targets: channels.map { ExchangeWriter.Target(channel: $0, lane: 0) }, subtask: 0,
            metrics: EdgeMetrics(from: "a", to: "b"))
        return MicroCase(
            name: "exchange by hash to 2", unit: "row", units: batch.rowCount,
            body: {
                try runInline {
                    _ = try await writer.send(batch)
                    var rows = 0
                    for channel in channels {
                        if case .element(.batch(let received), _) = try await channel.next() {
                            rows += received.rowCount
                        }
                    }
                    return rows
                }
            }, expected: batch.rowCount)
    }
}

/// Runs jobs on the thread that drains it.
private final class InlineExecutor: TaskExecutor {
    private let jobs = Lock([UnownedJob]())

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        jobs.withLock { $0.append(job) }
    }

    /// - Returns: whether there was anything to do.
    func drain() -> Bool {
        let jobs = jobs.withLock { jobs in
            defer { jobs.removeAll() }
            return jobs
        }
        for job in jobs { job.runSynchronously(on: asUnownedTaskExecutor()) }
        return !jobs.isEmpty
    }
}

/// Runs what never has to wait for another thread on this one, where callgrind counts.
private func runInline(_ body: @escaping @Sendable () async throws -> Int) throws -> Int {
    let executor = InlineExecutor()
    let result = Lock<Result<Int, any Error>?>(nil)
    Task(executorPreference: executor) {
        let outcome: Result<Int, any Error>
        do { outcome = .success(try await body()) } catch { outcome = .failure(error) }
        result.withLock { $0 = outcome }
    }
    while executor.drain() {}
    guard let outcome = result.withLock(\.self) else {
        throw WrongAnswer(description: "what should not wait waits for another thread")
    }
    return try outcome.get()
}
