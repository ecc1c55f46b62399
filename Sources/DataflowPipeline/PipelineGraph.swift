public import DataflowConfig
public import DataflowOperator

/// What becomes of rows that a node cannot process.
public enum OnError: String, ConfigEnum {
    /// They leave through `node.errors`, or go to the pipeline's dead letters where nothing reads that port.
    case deadLetter = "dead_letter"
    /// They are counted and dropped.
    case drop
    /// The first one ends the run with exit code 65.
    case fail
}

/// The nodes of a pipeline, checked and in topological order, with what flows on every edge: what a file means before
/// anything is decided about tasks and threads.
public struct PipelineGraph: Sendable {
    /// Where an edge starts.
    public struct Origin: Hashable, Sendable {
        /// Position in ``PipelineGraph/nodes``.
        public var node: Int
        public var port: OutputPort

        public init(node: Int, port: OutputPort) {
            self.node = node
            self.port = port
        }
    }

    /// One node of the file.
    public struct Node: Sendable {
        public var name: String
        public var descriptor: OperatorDescriptor
        public var config: any OperatorConfig
        /// What feeds each input port; several origins are a union. Empty for a source.
        public var inputs: [[Origin]]
        /// The stream of each input port.
        public var inputStreams: [Stream]
        /// The main stream, then the extra ports' (errors apart). Empty for a sink.
        public var outputs: [Stream]
        /// The ports besides the main one and errors.
        public let ports: [ExtraPort]
        /// What the pipeline uses of the main output and of the ports.
        public var usedColumns: ColumnSet
        /// What it uses of the main output alone.
        public var mainColumns: ColumnSet
        public var onError: OnError
        /// As written at the node; nil for the pipeline's.
        public var parallelism: Int?
        /// False where `delivery: at_least_once` was chosen.
        public var exactlyOnce: Bool
        /// The place of the node's name in the file.
        public var mark: Mark

        public init(
            name: String, descriptor: OperatorDescriptor, config: any OperatorConfig, inputs: [[Origin]] = [],
            inputStreams: [Stream] = [], outputs: [Stream] = [], usedColumns: ColumnSet = .all,
            onError: OnError = .deadLetter, parallelism: Int? = nil, exactlyOnce: Bool = true, mark: Mark = .unknown
        ) {
            self.name = name
            self.descriptor = descriptor
            self.config = config
            ports = descriptor.ports(config)
            self.inputs = inputs
            self.inputStreams = inputStreams
            self.outputs = outputs
            self.usedColumns = usedColumns
            mainColumns = usedColumns
            self.onError = onError
            self.parallelism = parallelism
            self.exactlyOnce = exactlyOnce
            self.mark = mark
        }

        /// The stream of a port: ``ErrorRows/schema`` for errors.
        public func stream(of port: OutputPort) -> Stream {
            port == .errors ? Stream(ErrorRows.schema) : outputs[port.index]
        }

        /// What a port is called in the file: `errors`, `late`; nil for the main one.
        public func name(of port: OutputPort) -> String? {
            if port == .errors { return "errors" }
            return port == .main ? nil : ports[port.index - 1].name
        }

        /// The ports whose rows go to the dead letters where no node reads them.
        public var deadLetterPorts: [OutputPort] {
            guard onError == .deadLetter else { return [] }
            return [.errors] + ports.indices.filter { ports[$0].unread != .drop }.map { OutputPort(index: $0 + 1) }
        }
    }

    /// The pipeline's name.
    public var pipeline: String
    /// Every node stands behind those that feed it.
    public var nodes: [Node]
    /// The hidden sink for errors and late rows that nothing reads, a file-sink over ``ErrorRows/schema``; nil where
    /// every such port is read, or dropped.
    public var deadLetter: Node?

    public init(pipeline: String, nodes: [Node], deadLetter: Node? = nil) {
        self.pipeline = pipeline
        self.nodes = nodes
        self.deadLetter = deadLetter
    }

    /// Whether a node reads the port.
    public func isRead(_ origin: Origin) -> Bool { nodes.contains { $0.inputs.joined().contains(origin) } }
}
