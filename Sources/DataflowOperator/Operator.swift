public import DataflowConfig

/// What a plugin says of itself once, for all its instances.
public struct OperatorInfo: Sendable {
    public enum Role: String, Sendable, CaseIterable { case source, transform, sink }
    public enum Stability: String, Sendable { case stable, beta, experimental }

    /// The kebab-case word used as `type:`.
    public var name: String
    /// One line: what it does.
    public var summary: String
    public var role: Role
    public var stability: Stability
    /// Names of inputs where they are written as a mapping (`from: {left: a, right: b}`); empty for one unnamed input.
    public var inputs: [String]
    /// Ports besides the main one and `errors`, e.g. `late`; their streams follow the main one in `outputs`.
    public var extraPorts: [String]
    /// The most subtasks that make sense; nil for any number.
    public var maxParallelism: Int?
    /// The instance waits in C or for the disk: it gets a thread of its own.
    public var blocks: Bool

    public init(
        _ name: String, _ role: Role, _ summary: String, stability: Stability = .stable, inputs: [String] = [],
        extraPorts: [String] = [], maxParallelism: Int? = nil, blocks: Bool = false
    ) {
        self.name = name
        self.summary = summary
        self.role = role
        self.stability = stability
        self.inputs = inputs
        self.extraPorts = extraPorts
        self.maxParallelism = maxParallelism
        self.blocks = blocks
    }
}

/// What sources, transforms and sinks have in common.
///
/// Three phases: `outputs` validates without I/O, `init` builds without I/O or tasks, `open` may connect. An instance
/// is made on the task that drives it and never leaves it, so it needs no locks.
///
/// Keys that every node has (`type`, `from`, `on_error`, `parallelism`) belong to the pipeline, not to `Config`.
public protocol Operator: AnyObject, SendableMetatype {
    associatedtype Config: OperatorConfig

    static var info: OperatorInfo { get }

    /// The streams that leave the node: the main one, then one for each of ``OperatorInfo/extraPorts``; a sink has none.
    ///
    /// Called by `validate` and `run` alike, with the streams of the inputs (for a union of several nodes: of one
    /// schema). Checks everything that can be known without I/O: columns, types, expressions, keys.
    /// - Throws: all findings at once, each with its place in the pipeline file.
    static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream]

    /// Which columns of each input the node needs so that it can give the columns of the main output in `downstream`.
    /// Default: all. Called after `outputs` succeeded.
    static func columnsUsed(_ config: Config, inputs: [Stream], downstream: ColumnSet) -> [ColumnSet]

    /// Builds an instance: no I/O, no tasks.
    init(_ config: Config, _ context: OperatorContext) throws(OperatorError)
}

extension Operator {
    public static func columnsUsed(_ config: Config, inputs: [Stream], downstream: ColumnSet) -> [ColumnSet] {
        inputs.map { _ in .all }
    }
}

/// Whether a call is through with its work.
public enum Progress: Sendable {
    case done
    /// There is more to emit: the runtime sends on what is in the buffer and calls `resume` until it answers `.done`.
    case more
}
