import DataflowOperator

/// What a ``MemorySource`` does, split by split; shared by all its subtasks and by the test, and kept across restarts.
public final class MemoryScript: Sendable {
    public enum Step: Sendable {
        case batch(RecordBatch)
        case watermark(Watermark)
        case split(SplitEvent)
        /// Nothing comes from this split until ``MemoryScript/resume()``.
        case pause
        /// The source fails with this error, once: after a restart the step is passed over.
        case abort(OperatorError)
    }

    private struct State {
        var resumes = 0
        var aborted: Set<[Int]> = []
        var reads: [Int: Int] = [:]
        var observers: [CheckedContinuation<Void, Never>] = []
        var pausedSplits: Set<Int> = []
    }

    public let schema: Schema
    public let splits: [[Step]]
    public let eventTime: String?
    private let state = Lock(State())

    /// - Parameter splits: the steps of each split; a split belongs to subtask `index % parallelism`.
    public init(_ schema: Schema, splits: [[Step]], eventTime: String? = nil) {
        self.schema = schema
        self.splits = splits
        self.eventTime = eventTime
    }

    /// One split of batches with boxed rows.
    public convenience init(_ schema: Schema, batches: [[[Value]]]) {
        self.init(schema, splits: [batches.map { .batch(RecordBatch(schema, rows: $0)) }])
    }

    /// Lets every split that stands at a pause go on; the next pause stops it again.
    public func resume() {
        state.withLock { state in
            state.resumes += 1
            state.pausedSplits = []
        }
    }

    /// How often the batches of a split were read, over all restarts: more than their number where steps were repeated.
    public func readCount(split: Int) -> Int { state.withLock { $0.reads[split] ?? 0 } }

    /// Returns when every split that is not at its end stands at a pause.
    public func waitForPause() async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            let isThere = state.withLock { state in
                if state.pausedSplits.isEmpty { state.observers.append(continuation) }
                return !state.pausedSplits.isEmpty
            }
            if isThere { continuation.resume() }
        }
    }

    /// Whether a split stands at a pause now.
    public var isPaused: Bool { state.withLock { !$0.pausedSplits.isEmpty } }

    fileprivate var resumes: Int { state.withLock(\.resumes) }

    fileprivate func paused(_ split: Int, _ isPaused: Bool) {
        let observers = state.withLock { state -> [CheckedContinuation<Void, Never>] in
            if isPaused { state.pausedSplits.insert(split) } else { state.pausedSplits.remove(split) }
            guard isPaused else { return [] }
            defer { state.observers = [] }
            return state.observers
        }
        for observer in observers { observer.resume() }
    }

    fileprivate func takeAbort(_ split: Int, _ step: Int) -> Bool {
        state.withLock { $0.aborted.insert([split, step]).inserted }
    }

    fileprivate func didRead(_ split: Int) { state.withLock { $0.reads[split, default: 0] += 1 } }
}

public struct MemorySourceConfig: OperatorConfig {
    /// What the source does; set by the test.
    public var script: MemoryScript?

    public init() {}
    public init(_ script: MemoryScript) { self.script = script }

    public static let schema = ConfigSchema<Self> {}
}

/// A source over batches in memory that pauses and fails where its script says so. Its state is the next step of each split.
public final class MemorySource: Source {
    public typealias Config = MemorySourceConfig

    public static let info = OperatorInfo("memory-source", .source, "Batches from memory, for tests.")

    public static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        [Stream(config.script?.schema ?? Schema([]), eventTime: config.script?.eventTime)]
    }

    private let script: MemoryScript
    private let owned: [Int]
    private var next: [Int: Int] = [:]
    private var passedPauses: [Int: Int] = [:]
    private var turn = 0
    private var hasAnnounced = false
    private var ended: Set<Int> = []

    public init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        guard let script = config.script else {
            throw OperatorError(.user, .never, "no_script", "memory-source needs a script, which only a test can give")
        }
        self.script = script
        owned = script.splits.indices.filter { $0 % context.parallelism == context.subtask }
    }

    public func open(restoring state: StateSnapshot) async throws(OperatorError) {
        for row in state["splits"]?.batches.flatMap(\.rows) ?? [] {
            guard case .string(let name) = row[0], case .int(let step) = row[1], let split = Int(name) else { continue }
            if owned.contains(split) { next[split] = Int(step) }
        }
    }

    public func poll(
        until deadline: ContinuousClock.Instant, into output: inout OutputBuffer
    ) async throws(OperatorError) -> PollResult {
        if !hasAnnounced {
            hasAnnounced = true
            output.emit(.assigned(owned.map { Int32($0) }))
        }
        for offset in 0..<owned.count {
            let split = owned[(turn + offset) % owned.count]
            guard try step(split, &output) else { continue }
            turn = (turn + offset + 1) % owned.count
            return .emitted
        }
        return ended.count == owned.count ? .endOfInput : .idle
    }

    /// - Returns: false when the split has nothing to do now.
    private func step(_ split: Int, _ output: inout OutputBuffer) throws(OperatorError) -> Bool {
        let index = next[split] ?? 0
        guard index < script.splits[split].count else {
            guard ended.insert(split).inserted else { return false }
            output.emit(.ended(Int32(split)))
            return true
        }
        switch script.splits[split][index] {
        case .batch(let batch):
            output.emit(batch.withSplit(Int32(split), splitWatermark: batch.splitWatermark))
            script.didRead(split)
        case .watermark(let watermark): output.emit(watermark)
        case .split(let event): output.emit(event)
        case .pause:
            let resumes = script.resumes
            guard let seen = passedPauses[split] else {
                passedPauses[split] = resumes
                script.paused(split, true)
                return false
            }
            guard resumes > seen else { return false }
            passedPauses[split] = nil
            script.paused(split, false)
        case .abort(let error):
            if script.takeAbort(split, index) { throw error }
        }
        next[split] = index + 1
        return true
    }

    public func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot {
        let schema = Schema([Field("split", .string, nullable: false), Field("next", .int64, nullable: false)])
        let rows = next.sorted { $0.key < $1.key }.map { [Value.string("\($0.key)"), .int(Int64($0.value))] }
        return [StateTable("splits", distribution: .split(column: 0), [RecordBatch(schema, rows: rows)])]
    }
}
