import DataflowConfig
import DataflowOperator

extension PipelineGraph {
    /// The name of the hidden sink for rows that nobody takes.
    public static let deadLetterName = "dead-letter"
}

/// Turns the values of a file into a graph, and collects everything that is wrong with it on the way.
///
/// A node whose input has errors is not asked for its outputs, so one mistake is reported once; everything else goes on.
struct PipelineValidator {
    private let registry: OperatorRegistry
    private var collector = DiagnosticCollector()
    private var declarations: [NodeDeclaration] = []

    init(registry: OperatorRegistry) { self.registry = registry }

    mutating func validate(_ root: ConfigNode) throws(ConfigError) -> PipelineDefinition {
        let extensions = (root.entries ?? []).map(\.key).filter { $0.hasPrefix("x-") }
        let config = collector.attempt { () throws(ConfigError) in
            try PipelineConfig.schema.decode(root, otherKeys: ["defaults", "nodes"] + extensions)
        }
        let defaults = checkedDefaults(root["defaults"])
        readNodes(root, defaults: defaults)
        let order = resolve()
        var nodes: [PipelineGraph.Node] = []
        if let order { nodes = propagate(order) }
        try collector.throwErrors()
        guard let config else { throw ConfigError(collector.diagnostics) }
        var graph = PipelineGraph(pipeline: config.pipeline, nodes: nodes)
        collector.append(contentsOf: graph.eventTimeFindings())
        try collector.throwErrors()
        graph.propagateUsedColumns()
        graph.deadLetter = try deadLetter(for: graph, config)
        warnAboutLooseEnds(graph)
        let lints = declarations.flatMap { declaration in
            declaration.descriptor.lint(declaration.section).map { $0.under("nodes.\(declaration.name)") }
        }
        let warnings = collector.diagnostics + PipelineConfig.lint(root) + lints
        return PipelineDefinition(config: config, graph: graph, warnings: warnings.uniqued().sortedByPlace())
    }

    // MARK: Reading

    /// `defaults:` with its types checked; their keys are checked with the nodes that use them.
    private mutating func checkedDefaults(_ node: ConfigNode?) -> ConfigNode? {
        guard let node, !node.isNull else { return nil }
        guard let entries = node.entries else {
            collector.append(
                Diagnostic(
                    .error, "type-mismatch", "expected settings by operator type, found \(node.displayed)",
                    at: node.mark, path: "defaults"))
            return nil
        }
        for entry in entries {
            let path = "defaults.\(entry.key)"
            if registry[entry.key] == nil {
                let suggestion = Suggestion.phrase(for: entry.key, among: registry.all.map(\.info.name))
                collector.append(
                    Diagnostic(
                        .error, "unknown-operator", "there is no operator `\(entry.key)`\(suggestion)",
                        at: entry.keyMark,
                        length: entry.key.count, path: path))
            } else if entry.value.entries == nil, !entry.value.isNull {
                collector.append(
                    Diagnostic(
                        .error, "type-mismatch", "expected settings, found \(entry.value.displayed)",
                        at: entry.value.mark, path: path))
            }
            for own in entry.value.entries ?? [] where own.key == "type" || own.key == "from" {
                collector.append(
                    Diagnostic(
                        .error, "unknown-key", "`\(own.key)` cannot have a default: it belongs to each node",
                        at: own.keyMark,
                        length: own.key.count, path: "\(path).\(own.key)"))
            }
        }
        return node
    }

    private mutating func readNodes(_ root: ConfigNode, defaults: ConfigNode?) {
        guard let nodes = root["nodes"], !nodes.isNull else {
            let mark = root["nodes"]?.keyMark ?? root.mark
            collector.append(Diagnostic(.error, "missing-key", "the pipeline has no `nodes`", at: mark, path: "nodes"))
            return
        }
        guard let entries = nodes.entries, !entries.isEmpty else {
            let found = nodes.entries == nil ? nodes.displayed : "none"
            collector.append(
                Diagnostic(
                    .error, "type-mismatch", "expected nodes by name, found \(found)", at: nodes.mark, path: "nodes"))
            return
        }
        for entry in entries {
            if let node = NodeDeclaration.read(entry, defaults: defaults, registry: registry, into: &collector) {
                declarations.append(node)
            }
        }
        names = entries.map(\.key)
    }

    /// The names in the file, of nodes with errors too: a reference to one of those is not a mistake of its own.
    private var names: [String] = []

    // MARK: The graph

    /// The declarations in topological order, those of the file first among equals; nil if there are cycles.
    private mutating func resolve() -> [Int]? {
        let index = Dictionary(uniqueKeysWithValues: declarations.enumerated().map { ($1.name, $0) })
        var feeders = [[Int]](repeating: [], count: declarations.count)
        for (position, declaration) in declarations.enumerated() {
            for reference in declaration.inputs.joined() {
                check(reference, of: declaration, index)
                if let feeder = index[reference.node] { feeders[position].append(feeder) }
            }
        }
        var order: [Int] = []
        var isPlaced = [Bool](repeating: false, count: declarations.count)
        while order.count < declarations.count {
            let ready = declarations.indices.first { node in
                !isPlaced[node] && feeders[node].allSatisfy { isPlaced[$0] }
            }
            guard let ready else {
                reportCycle(feeders, isPlaced)
                return nil
            }
            isPlaced[ready] = true
            order.append(ready)
        }
        return order
    }

    private mutating func check(
        _ reference: NodeDeclaration.Reference, of node: NodeDeclaration, _ index: [String: Int]
    ) {
        let path = "nodes.\(node.name).from"
        guard let feeder = index[reference.node].map({ declarations[$0] }) else {
            guard !names.contains(reference.node) else { return }
            let suggestion = Suggestion.phrase(for: reference.node, among: names.filter { $0 != node.name })
            collector.append(
                Diagnostic(
                    .error, "unknown-node", "there is no node `\(reference.node)`\(suggestion)", at: reference.mark,
                    length: reference.node.count, path: path))
            return
        }
        let info = feeder.descriptor.info
        guard let port = reference.port else {
            if info.role == .sink {
                collector.append(
                    Diagnostic(
                        .error, "from",
                        "`\(feeder.name)` is a sink (\(info.name)): only its errors can be read, as `\(feeder.name).errors`",
                        at: reference.mark, length: reference.text.count, path: path))
            }
            return
        }
        let ports = ["errors"] + (feeder.config.map { feeder.descriptor.ports($0).map(\.name) } ?? [])
        // The ports of a node whose settings have errors are not known.
        guard feeder.config == nil || ports.contains(port.name) else {
            let suggestion = Suggestion.phrase(for: port.name, among: ports)
            collector.append(
                Diagnostic(
                    .error, "unknown-port", "`\(feeder.name)` (\(info.name)) has no port `\(port.name)`\(suggestion)",
                    at: port.mark,
                    length: port.name.count,
                    hint: "its ports are \(ports.map { "`\(feeder.name).\($0)`" }.joined(separator: ", "))", path: path)
            )
            return
        }
        if port.name == "errors", let policy = feeder.keys.onError, policy.value != .deadLetter {
            collector.append(
                Diagnostic(
                    .error, "from",
                    "`\(feeder.name).errors` has no rows: the node says `on_error: \(policy.value.rawValue)`",
                    at: reference.mark,
                    length: reference.text.count, path: path, related: [.init(mark: policy.mark, message: "here")]))
        }
    }

    private mutating func reportCycle(_ feeders: [[Int]], _ isPlaced: [Bool]) {
        // From any node that could not be placed, feeders that could not be placed lead into a cycle.
        var walk: [Int] = []
        guard var current = isPlaced.firstIndex(of: false) else { return }
        while !walk.contains(current) {
            walk.append(current)
            guard let next = feeders[current].first(where: { !isPlaced[$0] }) else { return }
            current = next
        }
        let cycle = Array(walk[(walk.firstIndex(of: current) ?? 0)...].reversed())
        guard let first = cycle.min(), let start = cycle.firstIndex(of: first) else { return }
        let turned = cycle[start...] + cycle[..<start]
        let names = (turned + [first]).map { "`\(declarations[$0].name)`" }.joined(separator: " → ")
        let mark = declarations[first].section["from"]?.mark ?? declarations[first].mark
        collector.append(
            Diagnostic(
                .error, "cycle", "the nodes form a cycle: \(names)", at: mark,
                hint: "rows flow from sources to sinks; a node cannot read what it feeds",
                path: "nodes.\(declarations[first].name).from"))
    }

    // MARK: Streams

    private mutating func propagate(_ order: [Int]) -> [PipelineGraph.Node] {
        var nodes: [PipelineGraph.Node] = []
        var placed: [String: Int] = [:]
        /// Outputs by name; a node with errors has none.
        for position in order {
            let declaration = declarations[position]
            guard let config = declaration.config, let inputs = origins(of: declaration, placed, nodes),
                let streams = inputStreams(of: declaration, inputs, nodes)
            else { continue }
            var outputs: [Stream]?
            do throws(ConfigError) {
                outputs = try declaration.descriptor.outputs(config, streams)
            } catch {
                collector.append(contentsOf: error.diagnostics.map { located($0, in: declaration) })
            }
            guard let outputs, checkDelivery(declaration, streams) else { continue }
            let warnings = declaration.descriptor.warnings(config, streams)
            collector.append(contentsOf: warnings.map { located($0, in: declaration) })
            var commits = false
            if case .sink(let twoPhase, _) = declaration.descriptor.factory { commits = twoPhase }
            placed[declaration.name] = nodes.count
            nodes.append(
                PipelineGraph.Node(
                    name: declaration.name, descriptor: declaration.descriptor, config: config, inputs: inputs,
                    inputStreams: streams,
                    outputs: outputs, onError: declaration.keys.onError?.value ?? .deadLetter,
                    parallelism: declaration.keys.parallelism?.value,
                    exactlyOnce: commits && declaration.keys.delivery?.value != .atLeastOnce, mark: declaration.mark))
        }
        checkWeakSources(nodes)
        return nodes
    }

    private func located(_ diagnostic: Diagnostic, in declaration: NodeDeclaration) -> Diagnostic {
        var copy = diagnostic
        if !copy.mark.isKnown {
            var best = declaration.mark
            var node: ConfigNode? = declaration.section
            for key in (diagnostic.path ?? "").split(separator: ".") {
                let element = Int(key).flatMap { index in node?.elements?.dropFirst(index).first }
                node = node?[String(key)] ?? element
                best = node?.mark ?? best
            }
            copy.mark = best
        }
        return copy.under("nodes.\(declaration.name)")
    }

    /// nil where a node that feeds this one has errors.
    private func origins(
        of declaration: NodeDeclaration, _ placed: [String: Int], _ nodes: [PipelineGraph.Node]
    ) -> [[PipelineGraph.Origin]]? {
        if declaration.descriptor.info.role != .source, declaration.inputs.isEmpty { return nil }
        var inputs: [[PipelineGraph.Origin]] = []
        for references in declaration.inputs {
            var origins: [PipelineGraph.Origin] = []
            for reference in references {
                guard let node = placed[reference.node],
                    let feeder = declarations.first(where: { $0.name == reference.node })
                else { return nil }
                switch reference.port?.name {
                case nil:
                    guard feeder.descriptor.info.role != .sink else { return nil }
                    origins.append(.init(node: node, port: .main))
                case "errors": origins.append(.init(node: node, port: .errors))
                case let name?:
                    guard let extra = nodes[node].ports.firstIndex(where: { $0.name == name }) else { return nil }
                    origins.append(.init(node: node, port: OutputPort(index: extra + 1)))
                }
            }
            guard !origins.isEmpty else { return nil }
            inputs.append(origins)
        }
        return inputs
    }

    /// One stream a port: the only one, or the union of several append streams of the same columns.
    private mutating func inputStreams(
        of declaration: NodeDeclaration, _ inputs: [[PipelineGraph.Origin]], _ nodes: [PipelineGraph.Node]
    ) -> [Stream]? {
        var streams: [Stream] = []
        for (port, origins) in inputs.enumerated() {
            let references = declaration.inputs[port]
            var union = nodes[origins[0].node].stream(of: origins[0].port)
            for (origin, reference) in zip(origins, references).dropFirst() {
                let stream = nodes[origin.node].stream(of: origin.port)
                if let problem = Self.difference(union, stream, references[0].text, reference.text) {
                    collector.append(
                        Diagnostic(
                            .error, "union", problem, at: reference.mark, length: reference.text.count,
                            hint:
                                "the nodes of a list must have the same columns; a `select` in front of one can arrange them",
                            path: "nodes.\(declaration.name).from"))
                    return nil
                }
                union.schema = Schema(
                    zip(union.schema.fields, stream.schema.fields).map {
                        Field($0.name, $0.type, nullable: $0.nullable || $1.nullable)
                    })
            }
            if declaration.descriptor.info.separatesInputs { union.name = references[0].text }
            streams.append(union)
        }
        return streams
    }

    private static func difference(_ a: Stream, _ b: Stream, _ nameA: String, _ nameB: String) -> String? {
        for (name, stream) in [(nameA, a), (nameB, b)] where stream.kind != .append {
            return
                "`\(name)` is an upsert stream (\(stream.kind.described)): it cannot be in a list, where rows of the others would replace its own"
        }
        if a.eventTime != b.eventTime {
            return
                "`\(nameA)` and `\(nameB)` differ in event time: \(a.eventTime ?? "none") and \(b.eventTime ?? "none")"
        }
        for field in a.schema.fields {
            guard let other = b.schema[field.name] else {
                return "`\(nameB)` has no column `\(field.name)`, but `\(nameA)` has"
            }
            if other.type != field.type {
                return "the column `\(field.name)` is \(other.type) in `\(nameB)`, but \(field.type) in `\(nameA)`"
            }
        }
        if let extra = b.schema.fields.first(where: { a.schema[$0.name] == nil }) {
            return "`\(nameB)` has a column `\(extra.name)`, but `\(nameA)` has not"
        }
        if a.schema.names != b.schema.names {
            return "the columns of `\(nameB)` are in another order than those of `\(nameA)`"
        }
        return nil
    }

    private mutating func checkDelivery(_ declaration: NodeDeclaration, _ inputs: [Stream]) -> Bool {
        guard let delivery = declaration.keys.delivery, delivery.value == .atLeastOnce,
            inputs.contains(where: \.deletes)
        else { return true }
        collector.append(
            Diagnostic(
                .error, "delivery",
                "`at_least_once` is not possible here: rows of this stream can be deleted, and a delete that came twice could remove a newer row",
                at: delivery.mark, path: "nodes.\(declaration.name).delivery"))
        return false
    }

    /// Behind a source whose rows may come twice there is no state and no exactly-once sink.
    private mutating func checkWeakSources(_ nodes: [PipelineGraph.Node]) {
        /// The source, and why, by node.
        var weak: [Int: (source: String, reason: String)] = [:]
        for (index, node) in nodes.enumerated() {
            if let reason = node.descriptor.weakness(node.config) {
                weak[index] = (node.name, reason)
            } else {
                weak[index] = node.inputs.joined().lazy.compactMap { weak[$0.node] }.first
            }
            guard let origin = weak[index] else { continue }
            var problem: (text: String, hint: String)?
            if case .transform(let factory) = node.descriptor.factory, factory.isStateful {
                problem = (
                    "`\(node.name)` (\(node.descriptor.info.name)) keeps state, which would be wrong here: the rows come from `\(origin.source)`, and \(origin.reason)",
                    "let one pipeline read all of it, or keep the state in another pipeline"
                )
            } else if node.exactlyOnce {
                problem = (
                    "`\(node.name)` cannot deliver exactly once: the rows come from `\(origin.source)`, and \(origin.reason)",
                    "write `delivery: at_least_once`"
                )
            }
            guard let problem else { continue }
            collector.append(
                Diagnostic(
                    .error, "delivery", problem.text, at: node.mark, length: node.name.count, hint: problem.hint,
                    path: "nodes.\(node.name)"))
        }
    }

    // MARK: Ends

    private mutating func warnAboutLooseEnds(_ graph: PipelineGraph) {
        for (index, node) in graph.nodes.enumerated() where node.descriptor.info.role != .sink {
            if !graph.isRead(.init(node: index, port: .main)) {
                collector.append(
                    Diagnostic(
                        .warning, "unused-node", "nothing reads `\(node.name)`: its rows are counted and dropped",
                        at: node.mark,
                        length: node.name.count, path: "nodes.\(node.name)"))
            }
            for (position, port) in node.ports.enumerated() where port.unread == .deadLetterWithWarning {
                guard !graph.isRead(.init(node: index, port: OutputPort(index: position + 1))) else { continue }
                let fate = node.onError == .deadLetter ? "go to the dead letters" : "are counted and dropped"
                collector.append(
                    Diagnostic(
                        .warning, "unused-port", "nothing reads `\(node.name).\(port.name)`: its rows \(fate)",
                        at: node.mark, length: node.name.count, path: "nodes.\(node.name)"))
            }
        }
    }

    /// The hidden sink, if a port needs it. A build without `file-sink` has none; such rows are counted and dropped.
    private mutating func deadLetter(for graph: PipelineGraph, _ config: PipelineConfig) throws(ConfigError)
        -> PipelineGraph.Node?
    {
        let isNeeded = graph.nodes.indices.contains { index in
            graph.nodes[index].deadLetterPorts.contains { !graph.isRead(.init(node: index, port: $0)) }
        }
        guard isNeeded else { return nil }
        guard let descriptor = registry["file-sink"], case .sink(let commits, _) = descriptor.factory else {
            collector.append(
                Diagnostic(
                    .warning, "no-dead-letter",
                    "this build has no file-sink: rows of unconnected `errors` and `late` ports are counted and dropped"
                ))
            return nil
        }
        let section = ConfigNode.mapping([
            ("path", .text(config.deadLetterDirectory, quoted: true)), ("format", .text("ndjson")),
        ])
        let settings = try descriptor.decode(section, NodeKeys.names)
        let stream = Stream(ErrorRows.schema)
        return PipelineGraph.Node(
            name: PipelineGraph.deadLetterName, descriptor: descriptor, config: settings, inputStreams: [stream],
            outputs: try descriptor.outputs(settings, [stream]), onError: .fail, parallelism: 1, exactlyOnce: commits)
    }
}

extension StreamKind {
    /// `append`, or `upsert by a, b`.
    public var described: String {
        switch self {
        case .append: "append"
        case .upsert(let key): "upsert by \(key.joined(separator: ", "))"
        }
    }
}

extension PipelineGraph {
    /// Projection push-down: from the sinks upwards, each node says which columns of its inputs it needs.
    mutating func propagateUsedColumns() {
        // The runtime reads these itself: it hashes by the key and keeps watermarks by the time.
        var main: [ColumnSet] = nodes.map { node in
            guard let stream = node.outputs.first else { return .some([]) }
            return .some(Set(stream.kind.key ?? []).union(stream.eventTime.map { [$0] } ?? []))
        }
        var used: [ColumnSet] = nodes.enumerated().map { index, node in
            // Dead letters are whole rows.
            let isSetAside = node.deadLetterPorts.contains {
                $0 != .errors && !isRead(.init(node: index, port: $0))
            }
            return isSetAside ? .all : main[index]
        }
        for index in nodes.indices.reversed() {
            let node = nodes[index]
            nodes[index].usedColumns = used[index]
            nodes[index].mainColumns = main[index]
            guard node.descriptor.info.role != .source else { continue }
            let needed = node.descriptor.columnsUsed(
                node.config, node.inputStreams, node.descriptor.info.role == .sink ? .all : used[index])
            for (port, origins) in node.inputs.enumerated() {
                let columns = port < needed.count ? needed[port] : .all
                for origin in origins where origin.port != .errors {
                    used[origin.node] = used[origin.node].union(columns)
                    if origin.port == .main { main[origin.node] = main[origin.node].union(columns) }
                }
            }
        }
    }
}
