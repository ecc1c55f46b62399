import DataflowCheckpoint
import DataflowOperator
import DataflowPipeline

/// What follows from the plan alone, for every attempt to run it.
struct RunLayout: Sendable {
    let plan: PhysicalPlan
    /// By task and stage.
    let identities: [[StageIdentity]]
    /// By exchange: the first lane of its producers in the channel of a consuming subtask.
    let firstLane: [Int]
    /// By task: lanes of each subtask's channel.
    let laneCount: [Int]

    init(_ plan: PhysicalPlan) throws {
        self.plan = plan
        identities = try plan.tasks.map { task in
            try task.stages.map { stage in
                StageIdentity(
                    name: stage.node.name, type: stage.node.descriptor.info.name, parallelism: task.parallelism,
                    key: try Self.key(of: stage.node), settings: Self.settings(of: stage.node))
            }
        }
        var firstLane = [Int](repeating: 0, count: plan.exchanges.count)
        var laneCount = [Int](repeating: 0, count: plan.tasks.count)
        for task in plan.tasks {
            for id in task.inputs {
                firstLane[id] = laneCount[task.id]
                laneCount[task.id] += Self.producers(of: plan.exchanges[id], plan)
            }
        }
        self.firstLane = firstLane
        self.laneCount = laneCount
    }

    /// The lanes that an exchange has in the channel of one consuming subtask.
    static func producers(of exchange: PhysicalPlan.Exchange, _ plan: PhysicalPlan) -> Int {
        exchange.distribution == .forward ? 1 : plan.tasks[exchange.fromTask].parallelism
    }

    /// The stage that writes into an exchange.
    func writer(of exchange: PhysicalPlan.Exchange) -> PhysicalPlan.Stage {
        let stage = plan.tasks[exchange.fromTask].stages.first { stage in
            stage.routes.contains { route in
                switch route.target {
                case .exchange(exchange.id), .deadLetter(exchange.id): true
                case .exchange, .deadLetter, .stage: false
                }
            }
        }
        guard let stage else { preconditionFailure("nothing writes into exchange \(exchange.id)") }
        return stage
    }

    /// The stages that can hold state, each node once.
    var stateful: [StageIdentity] {
        zip(plan.tasks, identities).flatMap { task, identities in
            zip(task.stages, identities).compactMap { $0.role == .local ? nil : $1 }
        }
    }

    private static func settings(of node: PipelineGraph.Node) -> [String: UInt32] {
        Dictionary(
            uniqueKeysWithValues: node.descriptor.stateSettings(node.config).map {
                ($0.name, Checksum(of: $0.text.utf8).value)
            })
    }

    /// The columns that a node's rows are spread by: state is keyed by them.
    private static func key(of node: PipelineGraph.Node) throws -> [String] {
        guard case .transform(let factory) = node.descriptor.factory else { return [] }
        let partitioning =
            try factory.localStage(node.config, node.inputStreams)?.partitioning
            ?? factory.partitioning(node.config, node.inputStreams)
        return switch partitioning {
        case .any, .single: []
        case .hash(let columns): columns
        case .hashEach(let columns): columns.map { $0.joined(separator: ", ") }
        }
    }
}
