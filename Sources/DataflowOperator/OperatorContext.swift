public import Logging
public import Synchronization

/// The runtime's clock: real, or driven by hand in tests.
public protocol RuntimeClock: Sendable {
    /// Monotonic time, for deadlines and ticks.
    var now: ContinuousClock.Instant { get }
    /// Microseconds since 1970-01-01T00:00:00Z.
    var wallMicroseconds: Int64 { get }
}

/// What happened to the rows that an operator received; each is counted once. Added to once a batch, never once a row.
public final class OperatorCounters: Sendable {
    /// Rows that went on (whatever number of rows they yielded).
    public let passed = Atomic<Int>(0)
    /// Rows refused by an expression that the user wrote.
    public let filtered = Atomic<Int>(0)
    /// Rows that live on in state.
    public let aggregated = Atomic<Int>(0)
    /// Rows that no window accepted.
    public let late = Atomic<Int>(0)
    /// Rows that went to the errors port.
    public let errors = Atomic<Int>(0)
    /// Bytes of state written to spill files; not one of what happens to rows.
    public let spilledBytes = Atomic<Int>(0)

    public init() {}

    /// Adds to the counters. Cheap, but not for row loops.
    public func add(
        passed p: Int = 0, filtered f: Int = 0, aggregated a: Int = 0, late l: Int = 0, errors e: Int = 0,
        spilledBytes s: Int = 0
    ) {
        if p != 0 { passed.add(p, ordering: .relaxed) }
        if f != 0 { filtered.add(f, ordering: .relaxed) }
        if a != 0 { aggregated.add(a, ordering: .relaxed) }
        if l != 0 { late.add(l, ordering: .relaxed) }
        if e != 0 { errors.add(e, ordering: .relaxed) }
        if s != 0 { spilledBytes.add(s, ordering: .relaxed) }
    }

    /// All five together: what the operator has accounted for.
    public var total: Int {
        passed.load(ordering: .relaxed) + filtered.load(ordering: .relaxed) + aggregated.load(ordering: .relaxed)
            + late.load(ordering: .relaxed) + errors.load(ordering: .relaxed)
    }
}

/// When an operator next wants its `tick`; the runtime reads it between calls.
public final class TickRequest: Sendable {
    private let instant = Mutex<ContinuousClock.Instant?>(nil)

    public init() {}

    /// Asks for a tick at `deadline` or soon after; an earlier request stays.
    public func request(at deadline: ContinuousClock.Instant) {
        instant.withLock { $0 = Swift.min($0 ?? deadline, deadline) }
    }

    /// The earliest request, if any.
    public var next: ContinuousClock.Instant? { instant.withLock { $0 } }

    /// Takes the request back if it is due.
    package func takeDue(_ now: ContinuousClock.Instant) -> Bool {
        instant.withLock { next in
            guard let due = next, due <= now else { return false }
            next = nil
            return true
        }
    }
}

/// Where a run starts from, as far as a sink has to know.
public struct RestoredCheckpoint: Sendable {
    public var id: CheckpointID
    /// The checkpoint was durable but not known to be committed: `commit` will be called with its committables.
    public var commitPending: Bool
    /// An older checkpoint than the newest was asked for and the user accepts rows written twice.
    public var acceptDuplicates: Bool

    public init(id: CheckpointID, commitPending: Bool, acceptDuplicates: Bool = false) {
        self.id = id
        self.commitPending = commitPending
        self.acceptDuplicates = acceptDuplicates
    }
}

/// Everything that an operator instance is told about its place in the pipeline.
public struct OperatorContext: Sendable {
    public var pipeline: String
    /// The node's name: its identity in state, metrics, logs and dead letters.
    public var node: String
    /// Which of ``parallelism`` instances this is, from 0.
    public var subtask: Int
    public var parallelism: Int
    /// The inputs' streams, in order of ports.
    public var inputs: [Stream]
    /// The streams that go out, in order of ports (errors apart).
    public var outputs: [Stream]
    /// What the pipeline uses of the main output and of the ports.
    public var usedColumns: ColumnSet
    /// What it uses of the main output alone: for operators that hold rows for it, while others go to a port at once.
    public var mainColumns: ColumnSet
    /// Output ports whose rows nothing takes: what goes out of them is only counted, so it need not be made.
    public var unreadPorts: Set<OutputPort>
    /// True when a node behind this one declares event time: sources then keep their splits in step.
    public var eventTimeDownstream: Bool
    /// Random id of this history of checkpoints, made at a start without checkpoint.
    public var lineage: String
    /// Rises with each run of the pipeline; fences off earlier runs.
    public var generation: UInt64
    /// Where this run starts from; nil for a new lineage.
    public var restored: RestoredCheckpoint?
    /// A folder that belongs to this node alone, made before `open`; survives restarts (epoch logs stand here).
    public var stateDirectory: String
    /// False asks sinks that can for the cheaper guarantee, `delivery: at_least_once`.
    public var exactlyOnce: Bool
    public var logger: Logger
    public var clock: any RuntimeClock
    public var counters: OperatorCounters
    public var tick: TickRequest
    /// What the state of the run may take in memory; nil where the pipeline file sets no bound.
    public var memory: MemoryBudget?
    /// Where the subtasks of a source tell each other how far they have come.
    public var progress: SubtaskProgress

    public init(
        pipeline: String, node: String, subtask: Int = 0, parallelism: Int = 1, inputs: [Stream] = [],
        outputs: [Stream] = [], usedColumns: ColumnSet = .all, mainColumns: ColumnSet? = nil,
        unreadPorts: Set<OutputPort> = [],
        eventTimeDownstream: Bool = false, lineage: String,
        generation: UInt64, restored: RestoredCheckpoint? = nil, stateDirectory: String, exactlyOnce: Bool = true,
        logger: Logger, clock: any RuntimeClock, counters: OperatorCounters = OperatorCounters(),
        tick: TickRequest = TickRequest(), memory: MemoryBudget? = nil, progress: SubtaskProgress? = nil
    ) {
        self.pipeline = pipeline
        self.node = node
        self.subtask = subtask
        self.parallelism = parallelism
        self.inputs = inputs
        self.outputs = outputs
        self.usedColumns = usedColumns
        self.mainColumns = mainColumns ?? usedColumns
        self.unreadPorts = unreadPorts
        self.eventTimeDownstream = eventTimeDownstream
        self.lineage = lineage
        self.generation = generation
        self.restored = restored
        self.stateDirectory = stateDirectory
        self.exactlyOnce = exactlyOnce
        self.logger = logger
        self.clock = clock
        self.counters = counters
        self.tick = tick
        self.memory = memory
        self.progress = progress ?? SubtaskProgress(parallelism: parallelism)
    }
}
