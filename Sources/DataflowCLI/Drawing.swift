import DataflowConfig
import DataflowOperator
import DataflowPipeline

/// A graph that is ready to be drawn: boxes in groups, and labelled arrows. What each format has in common.
struct Drawing {
    struct Box {
        var id: String
        var title: String
        var subtitle: String
        var role: OperatorInfo.Role
        var isDeadLetter = false
        /// Subtasks.
        var parallelism: Int
    }

    struct Group {
        var title: String
        var boxes: [String]
    }

    struct Arrow {
        var from: String
        var to: String
        /// The port it leaves by, if not the main one, and the input it enters by, if it has a name.
        var port: String?
        var input: String?
        /// `upsert by a`; nil for append.
        var kind: String?
        /// Name and type of the columns that the receiver uses.
        var columns: [(name: String, type: String)]
        /// How rows choose a subtask; nil within a task, and in a logical graph.
        var exchange: String?
        /// Rows that could not be processed.
        var isErrors = false
    }

    var title: String
    var isPhysical: Bool
    var boxes: [Box] = []
    var groups: [Group] = []
    var arrows: [Arrow] = []

    /// The nodes of the file; those that share a task stand together.
    init(_ graph: PipelineGraph, plan: PhysicalPlan) {
        title = graph.pipeline
        isPhysical = false
        var tasks: [Int: PhysicalPlan.Task] = [:]
        for task in plan.tasks {
            for stage in task.stages where stage.role != .local {
                if let node = stage.nodeIndex { tasks[node] = task }
            }
        }
        for (index, node) in graph.nodes.enumerated() {
            boxes.append(
                Box(
                    id: node.name, title: node.name, subtitle: node.descriptor.info.name,
                    role: node.descriptor.info.role,
                    parallelism: tasks[index]?.parallelism ?? 1))
            for (port, origins) in node.inputs.enumerated() {
                for origin in origins {
                    let feeder = graph.nodes[origin.node]
                    let stream = feeder.stream(of: origin.port)
                    let isNamed = node.inputs.count > 1 && port < node.descriptor.info.inputs.count
                    arrows.append(
                        Arrow(
                            from: feeder.name, to: node.name, port: feeder.name(of: origin.port),
                            input: isNamed ? node.descriptor.info.inputs[port] : nil,
                            kind: stream.kind == .append ? nil : stream.kind.described,
                            columns: node.usedColumns(of: stream, port: port), isErrors: origin.port == .errors))
                }
            }
        }
        for task in plan.tasks {
            let names = task.stages.filter { $0.role != .local && $0.nodeIndex != nil }.map(\.node.name)
            guard names.count > 1 else { continue }
            groups.append(Group(title: task.parallelism > 1 ? "chain ×\(task.parallelism)" : "chain", boxes: names))
        }
    }

    /// The tasks of the plan with their stages, and the exchanges between them.
    init(_ plan: PhysicalPlan, graph: PipelineGraph) {
        title = plan.pipeline
        isPhysical = true
        func id(_ task: Int, _ stage: Int) -> String { "t\(task)s\(stage)" }
        for task in plan.tasks {
            for (position, stage) in task.stages.enumerated() {
                let role = stage.role == .source ? OperatorInfo.Role.source : stage.role == .sink ? .sink : .transform
                boxes.append(
                    Box(
                        id: id(task.id, position), title: stage.name,
                        subtitle: stage.role == .local ? "local stage" : stage.node.descriptor.info.name,
                        role: role, isDeadLetter: stage.nodeIndex == nil, parallelism: task.parallelism))
            }
            groups.append(
                Group(
                    title: "task \(task.id)" + (task.parallelism > 1 ? " ×\(task.parallelism)" : ""),
                    boxes: task.stages.indices.map { id(task.id, $0) }))
        }
        var deadLetters = Set<Int>()
        for task in plan.tasks {
            for (position, stage) in task.stages.enumerated() {
                for route in stage.routes {
                    let from = id(task.id, position)
                    let port = stage.node.name(of: route.port)
                    let stream = route.port == .errors ? Stream(ErrorRows.schema) : stage.outputs[route.port.index]
                    let kind = stream.kind == .append ? nil : stream.kind.described
                    switch route.target {
                    case .stage(let next, let input):
                        let receiver = task.stages[next]
                        arrows.append(
                            Arrow(
                                from: from, to: id(task.id, next), port: port, kind: kind,
                                columns: receiver.node.usedColumns(of: stream, port: input.index)))
                    case .exchange(let number):
                        let exchange = plan.exchanges[number]
                        let receiver = plan.tasks[exchange.toTask].stages[0]
                        let isLocal = stage.role == .local && route.port == .main
                        arrows.append(
                            Arrow(
                                from: from, to: id(exchange.toTask, 0), port: port, kind: kind,
                                columns: isLocal
                                    ? stream.columns
                                    : receiver.node.usedColumns(of: stream, port: exchange.inputPort.index),
                                exchange: exchange.distribution.described, isErrors: route.port == .errors))
                    case .deadLetter(let number):
                        // One arrow a task stands for all of its ports.
                        guard deadLetters.insert(task.id).inserted else { continue }
                        arrows.append(
                            Arrow(
                                from: id(task.id, task.stages.count - 1), to: id(plan.exchanges[number].toTask, 0),
                                kind: nil,
                                columns: [], isErrors: true))
                    }
                }
            }
        }
    }
}

extension PhysicalPlan.Distribution {
    var described: String {
        switch self {
        case .forward: "forward"
        case .rebalance: "rebalance"
        case .hash(let columns): "hash(\(columns.joined(separator: ", ")))"
        }
    }
}

extension Stream {
    fileprivate var columns: [(name: String, type: String)] { schema.fields.map { ($0.name, "\($0.type)") } }
}

extension PipelineGraph.Node {
    /// The columns of an input that the node uses, in the input's order.
    fileprivate func usedColumns(of stream: Stream, port: Int) -> [(name: String, type: String)] {
        let downstream = descriptor.info.role == .sink ? ColumnSet.all : usedColumns
        let used = inputStreams.isEmpty ? [] : descriptor.columnsUsed(config, inputStreams, downstream)
        guard port < used.count else { return stream.columns }
        let columns = stream.columns.filter { used[port].contains($0.name) }
        return columns.isEmpty ? stream.columns : columns
    }
}
