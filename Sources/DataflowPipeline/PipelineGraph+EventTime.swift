import DataflowConfig
import DataflowOperator

// Where event time is declared, lateness is decided split by split. So a split has to come from its source to that node
// whole and in order: the nodes between them run where its rows are read.

extension PipelineGraph {
    /// Whether event time is first declared at this node: it has it, its input does not.
    public func declaresEventTime(_ node: Int) -> Bool {
        let node = nodes[node]
        return node.outputs.first?.eventTime != nil && node.inputStreams.allSatisfy { $0.eventTime == nil }
    }

    /// Whether rows of this node reach one that declares event time, other than through an errors port.
    public func eventTimeDownstream(of node: Int) -> Bool {
        var reached = Set([node])
        for next in nodes.indices where next > node {
            guard nodes[next].inputs.joined().contains(where: { $0.port != .errors && reached.contains($0.node) })
            else { continue }
            if declaresEventTime(next) { return true }
            reached.insert(next)
        }
        return false
    }

    /// Whether the node runs with the subtasks of its input, so that splits stay together: it declares event time, or
    /// stands between a source and a node that does.
    public func keepsSplits(_ node: Int) -> Bool { declaresEventTime(node) || eventTimeDownstream(of: node) }

    /// Nodes between a source and the declaration of event time that cannot keep the splits together and in order.
    func eventTimeFindings() -> [Diagnostic] {
        nodes.indices.flatMap { declaring in
            declaresEventTime(declaring) ? findings(between: declaring) : []
        }
    }

    /// Walks up from a node that declares event time to its source, or to the errors port that its rows come from.
    private func findings(between declaring: Int) -> [Diagnostic] {
        var path: [Int] = []
        var current = declaring
        while nodes[current].descriptor.info.role != .source {
            path.append(current)
            let origins = nodes[current].inputs.flatMap { $0 }
            guard let origin = origins.first else { return [] }
            guard origins.count == 1 else {
                let names = origins.map { "`\(nodes[$0.node].name)`" }.joined(separator: ", ")
                return [
                    finding(
                        at: current, declaring, "it has the inputs \(names), whose splits do not begin together",
                        hint: "declare event time in each of them, in front of `\(nodes[current].name)`")
                ]
            }
            if origin.port == .errors { break }
            current = origin.node
        }
        let source = nodes[current].descriptor.info.role == .source ? current : nil
        return path.flatMap { findings(at: $0, declaring, source: source) }
    }

    private func findings(at index: Int, _ declaring: Int, source: Int?) -> [Diagnostic] {
        let node = nodes[index]
        guard case .transform(let factory) = node.descriptor.factory else { return [] }
        let feeder = source.map { nodes[$0] }
        let feederName = feeder?.name ?? "its input"
        let limit = feeder?.descriptor.info.maxParallelism
        let known = limit == 1 ? 1 : feeder?.parallelism
        let local = try? factory.localStage(node.config, node.inputStreams)
        let partitioning = (try? factory.partitioning(node.config, node.inputStreams)) ?? .any
        var scatters = local != nil
        switch partitioning {
        case .any: break
        case .single: scatters = scatters || known != 1
        case .hash, .hashEach: scatters = true
        }
        if scatters {
            return [
                finding(
                    at: index, declaring, "it brings rows of different splits together",
                    hint: index == declaring
                        ? "declare event time in front of it" : "declare event time in front of `\(node.name)`")
            ]
        }
        if let written = node.parallelism, source != nil, written != known {
            return [
                finding(
                    at: index, declaring, "`parallelism: \(written)` would deal the rows of a split out",
                    hint: "leave it out here, or write `parallelism: \(written)` at `\(feederName)`")
            ]
        }
        if let most = node.descriptor.info.maxParallelism, source != nil, (known ?? limit ?? .max) > most {
            return [
                finding(
                    at: index, declaring, "\(node.descriptor.info.name) runs as \(most) subtasks at most",
                    hint: "write `parallelism: \(most)` at `\(feederName)`")
            ]
        }
        return []
    }

    private func finding(at index: Int, _ declaring: Int, _ reason: String, hint: String) -> Diagnostic {
        let node = nodes[index]
        let place =
            index == declaring
            ? "`\(node.name)` declares event time"
            : "event time is declared behind `\(node.name)`, at `\(nodes[declaring].name)`"
        return Diagnostic(
            .error, "event-time",
            "\(place), which needs each split whole and in its order, but \(reason)",
            at: node.mark, length: node.name.count, hint: hint, path: "nodes.\(node.name)")
    }
}
