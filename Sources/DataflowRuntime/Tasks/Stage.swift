import DataflowConfig
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
    /// What the operator's state has of the memory budget, where there is one.
    let memory: MemoryReservation?

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
        memory =
            if case .transform(let transform) = instance, plan.role != .local {
                context.memory?.reserve(canSpill: transform.canSpill)
            } else { nil }
    }

    /// Reports what the state takes; has it put on disk where that is too much.
    ///
    /// - Throws: of the operator's, or that the state of this node cannot be put on disk.
    func account(_ transform: any Transform) throws(OperatorError) {
        guard let memory else { return }
        guard !memory.resize(to: transform.stateByteCount) else { return }
        guard memory.canSpill else {
            let size = ByteSize(bytes: transform.stateByteCount), limit = ByteSize(bytes: memory.limit)
            let part =
                context.parallelism > 1
                ? "one of \(context.parallelism) subtasks has \(size.roundedDescription)" : size.roundedDescription
            throw OperatorError(
                .user, .never, "memory_budget",
                "the state of this \(plan.node.descriptor.info.name) (\(part)) and of other nodes that cannot put theirs on disk is more than the memory budget of \(limit); raise `memory`, or keep less: fewer keys, shorter times"
            )
        }
        try transform.spill()
        _ = memory.resize(to: transform.stateByteCount)
    }

    private static func writer(_ id: Int, _ writers: [Int: ExchangeWriter]) -> ExchangeWriter {
        guard let writer = writers[id] else { preconditionFailure("exchange \(id) has no writer in this task") }
        return writer
    }

    func failure(_ error: OperatorError) -> NodeFailure {
        NodeFailure(node: plan.node.name, subtask: context.subtask, error: error)
    }
}
