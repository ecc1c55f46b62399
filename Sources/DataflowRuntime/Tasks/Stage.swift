import DataflowOperator
import DataflowPipeline

/// One operator instance in its task, with all that surrounds it.
final class Stage {
    enum Instance {
        case source(any Source)
        case transform(any Transform)
        case sink(any SinkDriving)
    }

    enum Destination {
        case stage(Int, InputPort)
        case exchange(ExchangeWriter)
        case deadLetter(ExchangeWriter)
    }

    let plan: PhysicalPlan.Stage
    let identity: StageIdentity
    let context: OperatorContext
    let metrics: NodeMetrics
    let instance: Instance
    /// Where rows of the main port go, and of the others by index.
    let main: [Destination]
    let ports: [OutputPort: [Destination]]
    /// Every destination of every port but errors, each once: where watermarks and split events go.
    let streams: [Destination]
    /// Whether event time flows out of the main port.
    let hasEventTime: Bool
    var lastWatermark: Watermark?
    var pendingCommit: CheckpointID?

    init(
        _ plan: PhysicalPlan.Stage, _ identity: StageIdentity, _ context: OperatorContext, _ metrics: NodeMetrics,
        writers: [Int: ExchangeWriter]
    ) throws {
        self.plan = plan
        self.identity = identity
        self.context = context
        self.metrics = metrics
        hasEventTime = plan.outputs.first?.eventTime != nil
        var ports: [OutputPort: [Destination]] = [:]
        for route in plan.routes {
            let destination: Destination
            switch route.target {
            case .stage(let index, let port): destination = .stage(index, port)
            case .exchange(let id): destination = .exchange(Self.writer(id, writers))
            case .deadLetter(let id): destination = .deadLetter(Self.writer(id, writers))
            }
            ports[route.port, default: []].append(destination)
        }
        main = ports[.main] ?? []
        self.ports = ports
        streams = ports.filter { $0.key != .errors }.flatMap(\.value)
        do throws(OperatorError) {
            switch (plan.role, plan.node.descriptor.factory) {
            case (.source, .source(let make)): instance = .source(try make(plan.node.config, context))
            case (.transform, .transform(let factory)):
                instance = .transform(try factory.make(plan.node.config, context))
            case (.sink, .sink(_, let make)): instance = .sink(makeSinkDriver(try make(plan.node.config, context)))
            case (.local, .transform):
                guard let local = plan.local else { preconditionFailure("\(plan.name) is a local stage without one") }
                instance = .transform(try local.make(context))
            case (.source, _), (.transform, _), (.sink, _), (.local, _):
                preconditionFailure("\(plan.name) is planned as \(plan.role), which its operator is not")
            }
        } catch {
            throw NodeFailure(node: plan.node.name, subtask: context.subtask, error: error)
        }
    }

    private static func writer(_ id: Int, _ writers: [Int: ExchangeWriter]) -> ExchangeWriter {
        guard let writer = writers[id] else { preconditionFailure("exchange \(id) has no writer in this task") }
        return writer
    }

    func failure(_ error: OperatorError) -> NodeFailure {
        NodeFailure(node: plan.node.name, subtask: context.subtask, error: error)
    }
}
