import DataflowCheckpoint
import DataflowOperator
import DataflowPipeline
import DataflowRuntime
import Logging

/// A pipeline put together in code, for tests that need the runtime but no file.
///
///     var pipeline = TestPipeline()
///     try pipeline.add("numbers", MemorySource.self, .init(script))
///     try pipeline.add("table", CollectingSink.self, .init(rows), from: "numbers")
///     let summary = try await pipeline.runner(checkpoints: folder.path).run()
public struct TestPipeline: Sendable {
    public var name: String
    /// The settings beside the nodes; the checkpoint interval is long, so that none is taken unless asked for.
    public var config = PipelineConfig()
    public var options = RunOptions()
    public var parallelism = 1
    private var nodes: [PipelineGraph.Node] = []

    public init(_ name: String = "test") {
        self.name = name
        config.pipeline = name
        config.checkpoint.interval = .seconds(3600)
        config.linger = .zero
    }

    /// Adds a source.
    public mutating func add<S: Source>(
        _ name: String, _ type: S.Type, _ config: S.Config, parallelism: Int? = nil
    ) throws {
        try add(name, .source(type), config, [[]], parallelism, .deadLetter)
    }

    /// Adds a transform that reads the main ports of `from`, or those named after a dot.
    public mutating func add<T: Transform>(
        _ name: String, _ type: T.Type, _ config: T.Config, from: String..., parallelism: Int? = nil,
        onError: OnError = .deadLetter
    ) throws {
        try add(name, .transform(type), config, [from], parallelism, onError)
    }

    /// Adds a transform with several inputs, each of which reads the nodes or ports of one list.
    public mutating func add<T: Transform>(
        _ name: String, _ type: T.Type, _ config: T.Config, inputs: [[String]], parallelism: Int? = nil,
        onError: OnError = .deadLetter
    ) throws {
        try add(name, .transform(type), config, inputs, parallelism, onError)
    }

    /// Adds a sink.
    public mutating func add<S: Sink>(
        _ name: String, _ type: S.Type, _ config: S.Config, from: String..., parallelism: Int? = nil,
        onError: OnError = .deadLetter
    ) throws {
        try add(name, .sink(type), config, [from], parallelism, onError)
    }

    private mutating func add(
        _ name: String, _ descriptor: OperatorDescriptor, _ config: any OperatorConfig, _ from: [[String]],
        _ parallelism: Int?, _ onError: OnError
    ) throws {
        let origin = { [nodes] (text: String) -> PipelineGraph.Origin in
            let parts = text.split(separator: ".")
            guard let index = nodes.firstIndex(where: { $0.name == parts[0] }) else {
                preconditionFailure("there is no node \(text) before \(name)")
            }
            guard parts.count > 1 else { return .init(node: index, port: .main) }
            if parts[1] == "errors" { return .init(node: index, port: .errors) }
            guard let port = nodes[index].ports.firstIndex(where: { $0.name == parts[1] }) else {
                preconditionFailure("there is no port \(text)")
            }
            return .init(node: index, port: OutputPort(index: port + 1))
        }
        let separates = descriptor.info.separatesInputs
        let names = separates ? from.joined().map { [$0] } : from.filter { !$0.isEmpty }
        let inputs = names.map { $0.map(origin) }
        let streams = zip(inputs, names).compactMap { origins, names in
            origins.first.map { origin in
                var stream = nodes[origin.node].stream(of: origin.port)
                if separates { stream.name = names[0] }
                return stream
            }
        }
        let outputs = try descriptor.outputs(config, streams)
        nodes.append(
            PipelineGraph.Node(
                name: name, descriptor: descriptor, config: config, inputs: inputs, inputStreams: streams,
                outputs: outputs, onError: onError, parallelism: parallelism))
    }

    public func plan() throws -> PhysicalPlan {
        try PhysicalPlan(PipelineGraph(pipeline: name, nodes: nodes), parallelism: parallelism)
    }

    /// A runner over a folder of checkpoints.
    public func runner(
        checkpoints: String, clock: any TimedClock = SystemClock(), files: any CheckpointFiles = LocalFiles(),
        retry: RetryPolicy = RetryPolicy(attempts: 0),
        logger: Logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
    ) throws -> PipelineRunner {
        var config = config
        config.checkpoint.directory = checkpoints
        return PipelineRunner(
            plan: try plan(), config: config, options: options, logger: logger, clock: clock, files: files, retry: retry
        )
    }
}
