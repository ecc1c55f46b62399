public import DataflowColumnar
public import DataflowConfig

/// How rows must be spread over the subtasks of a node.
public enum Partitioning: Hashable, Sendable {
    /// Any row may go to any subtask: the node can be chained to the one in front of it.
    case any
    /// All rows go to one subtask.
    case single
    /// Rows with the same values in these columns go to the same subtask (key group by ``RowKeys`` hash).
    case hash([String])
    /// The same for a node with several inputs, whose columns have other names in each: one list an input, in order of
    /// ports, of as many columns of the same types. Rows of different inputs with equal values meet.
    case hashEach([[String]])

    /// The columns that rows of an input are hashed by; none where they are not hashed.
    public func columns(of port: InputPort) -> [String] {
        switch self {
        case .any, .single: []
        case .hash(let columns): columns
        case .hashEach(let columns): port.index < columns.count ? columns[port.index] : []
        }
    }
}

/// A part of a transform that runs in front of its exchange, chained to the node upstream: pre-aggregation, key columns.
///
/// It must hold no state behind `prepareSnapshot`: what it gathered is emitted there. What it emits to its main port
/// enters the exchange; its errors port and the ports of ``Operator/ports(_:)`` (rows that are late, say) are the
/// node's own. It counts the rows that come in, the node itself those that come out of the local stage.
public struct LocalStage: Sendable {
    /// What leaves the local stage and enters the node itself.
    public var output: Stream
    /// How the local stage's output is spread over the node's subtasks.
    public var partitioning: Partitioning
    /// Makes an instance, on its task.
    public var make: @Sendable (OperatorContext) throws(OperatorError) -> any Transform

    public init(
        output: Stream, partitioning: Partitioning,
        make: @escaping @Sendable (OperatorContext) throws(OperatorError) -> any Transform
    ) {
        self.output = output
        self.partitioning = partitioning
        self.make = make
    }
}

/// Turns rows into other rows. Synchronous throughout, so a barrier can never fall inside a batch.
///
/// Order of calls: `open`, then `process`, `advance`, `split`, `tick` as they come, `prepareSnapshot` and `snapshot` at
/// each barrier, `finish` when every input has ended. After `.more`, `resume` until `.done` before anything else.
public protocol Transform: Operator {
    /// How the rows must be spread over subtasks; not asked where there is a local stage. Default `.any`.
    static func partitioning(_ config: Config, inputs: [Stream]) throws(ConfigError) -> Partitioning
    /// The part that runs in front of the exchange, if any. When there is one, ``OperatorContext/inputs`` of the node
    /// itself is the local stage's output. Default nil.
    static func localStage(_ config: Config, inputs: [Stream]) throws(ConfigError) -> LocalStage?
    /// True for operators that keep rows or keys between batches. Default: false where the partitioning is `.any`.
    static var isStateful: Bool { get }

    /// Takes up state: tables of this operator, as `snapshot` gave them, already divided for this subtask.
    func open(restoring state: StateSnapshot) throws(OperatorError)

    /// Takes the rows of one batch.
    func process(_ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer) throws(OperatorError)
        -> Progress

    /// The merged watermark of all inputs has moved on. Default: passes it on.
    func advance(to watermark: Watermark, into output: inout OutputBuffer) throws(OperatorError) -> Progress

    /// A split began, ended or fell idle. Default: passes it on.
    func split(_ event: SplitEvent, into output: inout OutputBuffer) throws(OperatorError) -> Progress

    /// Goes on with what the last call left undone.
    func resume(into output: inout OutputBuffer) throws(OperatorError) -> Progress

    /// The time asked for with ``OperatorContext/tick`` has come.
    func tick(_ now: ContinuousClock.Instant, into output: inout OutputBuffer) throws(OperatorError) -> Progress

    /// The barrier is next: emit what must lie in front of it.
    func prepareSnapshot(_ checkpoint: CheckpointID, into output: inout OutputBuffer) throws(OperatorError) -> Progress

    /// Every input has ended and, with event time, the last watermark has been seen.
    func finish(into output: inout OutputBuffer) throws(OperatorError) -> Progress

    /// The state, by reference: no encoding, no I/O. An ``IncrementalTable`` may give its rows later.
    func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot

    /// Gives more rows of the tables that were not complete in `snapshot`: appends them to `snapshot`, as parts of the tables,
    /// and comes back soon after `deadline`. Rows are as they were at the barrier. Default: nothing, `.done`.
    ///
    /// Called again and again until it answers `.done`, between all other calls, also between `.more` and `resume`; while it
    /// has not, there is no other barrier.
    func continueSnapshot(
        until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot
    ) throws(OperatorError) -> Progress

    /// About how many bytes of memory the state takes; asked after every batch where there is a ``MemoryBudget``, so it must be
    /// cheap. Default 0, for operators that keep little.
    var stateByteCount: Int { get }

    /// Whether ``spill()`` makes room. Asked once, behind `init`. Default false: the run ends when the budget is exceeded.
    var canSpill: Bool { get }

    /// Puts state on disk (``MemoryBudget/makeFile()``), so that little of it stays in memory. Called between other calls,
    /// never between `.more` and `resume`; may do nothing while a snapshot is under way, and is then called again.
    func spill() throws(OperatorError)
}

extension Transform {
    public static func partitioning(_ config: Config, inputs: [Stream]) throws(ConfigError) -> Partitioning { .any }
    public static func localStage(_ config: Config, inputs: [Stream]) throws(ConfigError) -> LocalStage? { nil }
    public static var isStateful: Bool { false }

    public func open(restoring state: StateSnapshot) throws(OperatorError) {}
    public func advance(to watermark: Watermark, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        output.emit(watermark)
        return .done
    }
    public func split(_ event: SplitEvent, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        output.emit(event)
        return .done
    }
    public func resume(into output: inout OutputBuffer) throws(OperatorError) -> Progress { .done }
    public func tick(_ now: ContinuousClock.Instant, into output: inout OutputBuffer) throws(OperatorError) -> Progress
    {
        .done
    }
    public func prepareSnapshot(
        _ checkpoint: CheckpointID, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress { .done }
    public func finish(into output: inout OutputBuffer) throws(OperatorError) -> Progress { .done }
    public func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot { [] }
    public func continueSnapshot(
        until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot
    ) throws(OperatorError) -> Progress { .done }
    public var stateByteCount: Int { 0 }
    public var canSpill: Bool { false }
    public func spill() throws(OperatorError) {}
}
