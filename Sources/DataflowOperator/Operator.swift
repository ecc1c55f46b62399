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
    /// Each name in the list of `from` is an input of its own, with a stream of its own (``Stream/name`` tells which);
    /// otherwise a list is one input, and its streams must be alike.
    public var separatesInputs: Bool
    /// Ports besides the main one and `errors`, e.g. `late`, that every node of the operator can have.
    public var extraPorts: [ExtraPort]
    /// The setting whose keys name further ports, for the reference page; see ``Operator/ports(_:)``.
    public var portsSetting: String?
    /// The most subtasks that make sense; nil for any number.
    public var maxParallelism: Int?
    /// The instance waits in C or for the disk: it gets a thread of its own.
    public var blocks: Bool

    public init(
        _ name: String, _ role: Role, _ summary: String, stability: Stability = .stable, inputs: [String] = [],
        separatesInputs: Bool = false, extraPorts: [ExtraPort] = [], portsSetting: String? = nil,
        maxParallelism: Int? = nil, blocks: Bool = false
    ) {
        self.name = name
        self.summary = summary
        self.role = role
        self.stability = stability
        self.inputs = inputs
        self.separatesInputs = separatesInputs
        self.extraPorts = extraPorts
        self.portsSetting = portsSetting
        self.maxParallelism = maxParallelism
        self.blocks = blocks
    }
}

/// A way out of a node besides the main one and `errors`, read as `node.name`.
public struct ExtraPort: Hashable, Sendable, ExpressibleByStringLiteral {
    /// What becomes of its rows where no node reads them.
    public enum Unread: Hashable, Sendable {
        /// They go to the dead letters: rows that had to be set aside, such as late ones.
        case deadLetter
        /// The same, with a warning of `validate`: the port was asked for in the settings.
        case deadLetterWithWarning
        /// They are dropped: rows that are of interest only where somebody asks for them.
        case drop
    }

    public var name: String
    public var unread: Unread

    public init(_ name: String, unread: Unread = .deadLetter) {
        self.name = name
        self.unread = unread
    }

    public init(stringLiteral name: String) { self.init(name) }
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

    /// The ports of a node with these settings, besides the main one and `errors`. Default: ``OperatorInfo/extraPorts``.
    static func ports(_ config: Config) -> [ExtraPort]

    /// The streams that leave the node: the main one, then one for each of ``ports(_:)``; a sink has none.
    ///
    /// Called by `validate` and `run` alike, with the streams of the inputs (for a union of several nodes: of one
    /// schema). Checks everything that can be known without I/O: columns, types, expressions, keys.
    /// - Throws: all findings at once, each with its place in the pipeline file.
    static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream]

    /// What deserves a warning though it runs, and only the streams of the inputs tell; for the rest there is
    /// `OperatorConfig.validate()`. Default: nothing. Called after `outputs` succeeded; `Diagnostic.warning(field:_:)`.
    static func warnings(_ config: Config, inputs: [Stream]) -> [Diagnostic]

    /// Which columns of each input the node needs so that it can give the columns in `downstream`, which are those that are
    /// read of the main output and of the ports of ``ports(_:)``. Default: all. Called after `outputs` succeeded.
    static func columnsUsed(_ config: Config, inputs: [Stream], downstream: ColumnSet) -> [ColumnSet]

    /// Builds an instance: no I/O, no tasks.
    init(_ config: Config, _ context: OperatorContext) throws(OperatorError)
}

extension Operator {
    public static func ports(_ config: Config) -> [ExtraPort] { info.extraPorts }

    public static func warnings(_ config: Config, inputs: [Stream]) -> [Diagnostic] { [] }

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
