import DataflowCheckpoint
import Synchronization

/// How a pipeline is to be run, besides what its file says.
public struct RunOptions: Sendable {
    /// `--restore`: what to start from.
    public var restore = CheckpointSession.Restore.latest
    /// `--accept-duplicates`: sinks that are ahead of an older checkpoint may write rows again.
    public var acceptDuplicates = false
    /// `--forget-state`: nodes whose state in the checkpoint is given up.
    public var forgottenNodes: Set<String> = []
    /// `--for`: stop after this time.
    public var duration: Duration?
    /// `--limit`: stop when the sources have emitted this many rows together. A source whose rows come in pieces that it
    /// cannot divide may emit more; nothing that was read is lost.
    public var limit: Int?
    /// `--until-idle`: stop when every source had nothing to read for this long.
    public var untilIdle: Duration?
    /// `--drain`: end by closing all windows instead of keeping them in the checkpoint.
    public var drains = false
    /// How long nodes may go on opening when the run is to end: those that only need a moment end at a checkpoint as ever,
    /// the others are given up.
    public var openingGrace = Duration.seconds(1)

    public init() {}
}

/// How a run that did not fail has ended.
public struct RunSummary: Sendable {
    public var outcome: CheckpointStateMachine.Outcome
    /// The counters of the last attempt.
    public var metrics: RuntimeMetrics
    /// How often the pipeline failed and started again.
    public var restarts: Int
    /// Whether it ended as if the input had ended, by ``PipelineRunner/drain()`` or ``RunOptions/drains``.
    public var wasDrained: Bool { metrics.wasDrained.load(ordering: .relaxed) }
}
