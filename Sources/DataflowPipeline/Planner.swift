import DataflowColumnar
public import DataflowConfig
import DataflowOperator

extension PhysicalPlan {
    /// Decides about tasks, subtasks and exchanges.
    ///
    /// - A stage is chained to the one that feeds it when that is the only one, both have the same parallelism and the
    ///   rows need not be spread anew. A node's local stage is chained to whatever feeds the node.
    /// - A node has the parallelism written at it, else `parallelism`, but not more than its operator allows; a node that
    ///   needs all rows in one place has 1; a node that declares event time, or stands between a source and such a node,
    ///   has that of its input, so that the splits of a subtask stay together and in order.
    /// - Where rows change subtask they are hashed by the node's key, or by the stream's key where the stream is upsert
    ///   (a later row must not overtake an earlier one with its key), else they are dealt out batch by batch.
    ///
    /// - Throws: what the operators' `partitioning` and `localStage` find.
    public init(_ graph: PipelineGraph, parallelism: Int) throws(ConfigError) {
        var planner = Planner(graph: graph, parallelism: max(1, parallelism))
        try planner.plan()
        pipeline = graph.pipeline
        tasks = planner.tasks
        exchanges = planner.exchanges
    }
}

private struct Planner {
    /// Where the rows of a node's port can be had: a stage of a task.
    private struct Outlet {
        var task: Int
        var stage: Int
    }

    let graph: PipelineGraph
    let parallelism: Int
    var tasks: [PhysicalPlan.Task] = []
    var exchanges: [PhysicalPlan.Exchange] = []
    /// The stages of each planned node: the local ones, then the node itself; main rows come from the last.
    private var outlets: [[Outlet]] = []

    init(graph: PipelineGraph, parallelism: Int) {
        self.graph = graph
        self.parallelism = parallelism
    }

    mutating func plan() throws(ConfigError) {
        for index in graph.nodes.indices {
            let node = graph.nodes[index]
            switch node.descriptor.factory {
            case .source:
                let task = addTask(parallelism: capped(node))
                outlets.append([addStage(stage(index, .source, inputs: [], outputs: node.outputs), to: task)])
            case .sink:
                try addHead(index, .sink, distribution: .any, outputs: [], parallelism: capped(node))
            case .transform(let factory):
                if let local = try factory.localStage(node.config, node.inputStreams) {
                    addLocal(index, local)
                } else {
                    let partitioning = try factory.partitioning(node.config, node.inputStreams)
                    try addTransform(index, partitioning)
                }
            }
        }
        addDeadLetters()
    }

    // MARK: Nodes

    private func capped(_ node: PipelineGraph.Node) -> Int {
        max(1, min(node.parallelism ?? parallelism, node.descriptor.info.maxParallelism ?? .max, KeyGroup.count))
    }

    private func stage(
        _ index: Int, _ role: PhysicalPlan.Stage.Role, inputs: [Stream], outputs: [Stream], local: LocalStage? = nil
    ) -> PhysicalPlan.Stage {
        PhysicalPlan.Stage(
            nodeIndex: index, node: graph.nodes[index], role: role, inputs: inputs, outputs: outputs, routes: [],
            local: local, eventTimeDownstream: graph.eventTimeDownstream(of: index))
    }

    private mutating func addTransform(_ index: Int, _ partitioning: Partitioning) throws(ConfigError) {
        let node = graph.nodes[index]
        let origins = node.inputs.flatMap { $0 }
        var wanted = partitioning == .single ? 1 : capped(node)
        if graph.keepsSplits(index), let first = origins.first {
            wanted = origins.map { tasks[outlet($0).task].parallelism }.max() ?? tasks[outlet(first).task].parallelism
        }
        if partitioning == .any, origins.count == 1, let origin = origins.first, origin.port == .main {
            let outlet = outlet(origin)
            if tasks[outlet.task].parallelism == wanted {
                let added = addStage(
                    stage(index, .transform, inputs: node.inputStreams, outputs: node.outputs), to: outlet.task)
                tasks[outlet.task].stages[outlet.stage].routes.append(
                    .init(port: .main, target: .stage(added.stage, .main)))
                outlets.append([added])
                return
            }
        }
        try addHead(index, .transform, distribution: partitioning, outputs: node.outputs, parallelism: wanted)
    }

    /// The local stage is chained to each node that feeds this one; the node itself reads from the exchange behind it.
    private mutating func addLocal(_ index: Int, _ local: LocalStage) {
        let node = graph.nodes[index]
        let wanted = local.partitioning == .single ? 1 : capped(node)
        let task = addTask(parallelism: wanted)
        let main = addStage(stage(index, .transform, inputs: [local.output], outputs: node.outputs), to: task)
        var added: [Outlet] = []
        for (port, origins) in node.inputs.enumerated() {
            for origin in origins {
                for source in sources(of: origin) {
                    let feeder = source.task
                    let outputs = [local.output] + node.outputs.dropFirst()
                    let chained = addStage(
                        stage(index, .local, inputs: node.inputStreams, outputs: outputs, local: local), to: feeder)
                    tasks[feeder].stages[source.stage].routes.append(
                        .init(port: origin.port, target: .stage(chained.stage, InputPort(index: port))))
                    let exchange = connect(
                        from: feeder, to: task, port: .main, partitioning: local.partitioning, stream: local.output)
                    tasks[feeder].stages[chained.stage].routes.append(.init(port: .main, target: .exchange(exchange)))
                    added.append(chained)
                }
            }
        }
        outlets.append(added + [main])
    }

    private mutating func addHead(
        _ index: Int, _ role: PhysicalPlan.Stage.Role, distribution: Partitioning, outputs: [Stream], parallelism: Int
    ) throws(ConfigError) {
        let node = graph.nodes[index]
        let task = addTask(parallelism: parallelism)
        let head = addStage(stage(index, role, inputs: node.inputStreams, outputs: outputs), to: task)
        for (port, origins) in node.inputs.enumerated() {
            for origin in origins {
                for source in sources(of: origin) {
                    let exchange = connect(
                        from: source.task, to: task, port: InputPort(index: port), partitioning: distribution,
                        stream: graph.nodes[origin.node].stream(of: origin.port))
                    tasks[source.task].stages[source.stage].routes.append(
                        .init(port: origin.port, target: .exchange(exchange)))
                }
            }
        }
        outlets.append([head])
    }

    private mutating func addDeadLetters() {
        guard let sink = graph.deadLetter else { return }
        var task: Int?
        for index in graph.nodes.indices {
            for port in graph.nodes[index].deadLetterPorts where !graph.isRead(.init(node: index, port: port)) {
                let target: Int
                if let task {
                    target = task
                } else {
                    target = addTask(parallelism: 1)
                    task = target
                    tasks[target].stages.append(
                        PhysicalPlan.Stage(
                            nodeIndex: nil, node: sink, role: .sink, inputs: [Stream(ErrorRows.schema)], outputs: [],
                            routes: [], local: nil, eventTimeDownstream: false))
                }
                for source in outlets[index] {
                    let exchange = connect(
                        from: source.task, to: target, port: .main, partitioning: .any,
                        stream: Stream(ErrorRows.schema))
                    tasks[source.task].stages[source.stage].routes.append(
                        .init(port: port, target: .deadLetter(exchange: exchange)))
                }
            }
        }
    }

    // MARK: Tasks and exchanges

    private mutating func addTask(parallelism: Int) -> Int {
        tasks.append(PhysicalPlan.Task(id: tasks.count, parallelism: parallelism, stages: [], inputs: []))
        return tasks.count - 1
    }

    private mutating func addStage(_ stage: PhysicalPlan.Stage, to task: Int) -> Outlet {
        tasks[task].stages.append(stage)
        return Outlet(task: task, stage: tasks[task].stages.count - 1)
    }

    /// The stage that the main rows of an origin come from.
    private func outlet(_ origin: PipelineGraph.Origin) -> Outlet {
        guard let last = outlets[origin.node].last else { preconditionFailure("node \(origin.node) is not planned") }
        return last
    }

    /// The stages that rows of an origin come from: ports besides the main one also leave the local stages.
    private func sources(of origin: PipelineGraph.Origin) -> [Outlet] {
        origin.port == .main ? [outlet(origin)] : outlets[origin.node]
    }

    private mutating func connect(
        from source: Int, to target: Int, port: InputPort, partitioning: Partitioning, stream: Stream
    ) -> Int {
        let distribution: PhysicalPlan.Distribution
        switch partitioning {
        case .hash, .hashEach:
            distribution =
                tasks[target].parallelism > 1
                ? .hash(partitioning.columns(of: port)) : tasks[source].parallelism == 1 ? .forward : .rebalance
        case .any where tasks[source].parallelism == tasks[target].parallelism: distribution = .forward
        case .any:
            if let key = stream.kind.key, tasks[target].parallelism > 1 {
                distribution = .hash(key)
            } else {
                distribution = .rebalance
            }
        case .single: distribution = tasks[source].parallelism == 1 ? .forward : .rebalance
        }
        let exchange = PhysicalPlan.Exchange(
            id: exchanges.count, fromTask: source, toTask: target, inputPort: port, distribution: distribution,
            stream: stream)
        exchanges.append(exchange)
        tasks[target].inputs.append(exchange.id)
        return exchange.id
    }
}
