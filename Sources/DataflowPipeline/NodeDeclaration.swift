import DataflowConfig
import DataflowOperator

/// The keys that every node has, whatever its operator.
struct NodeKeys: OperatorConfig {
    var type = Located("")
    var onError: Located<OnError>?
    var parallelism: Located<Int>?
    var delivery: Located<Delivery>?

    init() {}

    static let schema = ConfigSchema<Self> {
        ConfigField("type", \.type, .required, "The operator: `dataflow list` shows them all.")
        ConfigField(
            "on_error", \.onError,
            "What becomes of rows that the node cannot process: `dead_letter` sends them out of its `errors` port, and to the dead letters where nothing reads that; `drop` counts them; `fail` ends the run with exit code 65. Default `dead_letter`."
        )
        ConfigField("parallelism", \.parallelism, .advanced, "Subtasks of the node. Default: the pipeline's.") {
            (1...128).contains($0?.value ?? 1) ? nil : "must be from 1 to 128"
        }
        ConfigField(
            "delivery", \.delivery, .advanced,
            "Of a sink: `exactly_once` (the default where it can) or `at_least_once`, which shows rows sooner.")
    }

    static let names = ["type", "from", "on_error", "parallelism", "delivery"]
}

/// A node of the file before its place in the graph is known.
struct NodeDeclaration {
    /// What `from` names: a node, or a port of one.
    struct Reference {
        var node: String
        /// The port's name and its place; nil for the main one.
        var port: (name: String, mark: Mark)?
        var mark: Mark
        var text: String
    }

    var name: String
    var mark: Mark
    /// The node's own keys, with the defaults of its type behind them.
    var section: ConfigNode
    var keys: NodeKeys
    var descriptor: OperatorDescriptor
    /// By input port.
    var inputs: [[Reference]] = []
    /// nil where the settings have errors.
    var config: (any OperatorConfig)?

    /// Reads a node as far as that is possible without the other nodes.
    static func read(
        _ entry: ConfigNode.Entry, defaults: ConfigNode?, registry: OperatorRegistry,
        into collector: inout DiagnosticCollector
    ) -> NodeDeclaration? {
        func report(
            _ code: String, _ message: String, at mark: Mark, length: Int = 0, hint: String? = nil, path: String? = nil
        ) {
            let path = path.map { "nodes.\(entry.key).\($0)" } ?? "nodes.\(entry.key)"
            collector.append(Diagnostic(.error, code, message, at: mark, length: length, hint: hint, path: path))
        }
        let isHidden = entry.key == PipelineGraph.deadLetterName
        guard isName(entry.key), !entry.key.contains("."), !isHidden else {
            let problem = isHidden ? "is the name of the pipeline's own sink" : "is no name of a node"
            report(
                "node-name", "`\(entry.key)` \(problem)", at: entry.keyMark, length: entry.key.count,
                hint: "a name has letters, digits, `-` and `_`, and begins with a letter or digit")
            return nil
        }
        guard let own = entry.value.entries else {
            report(
                "type-mismatch", "expected the settings of the node `\(entry.key)`, found \(entry.value.displayed)",
                at: entry.value.mark)
            return nil
        }
        guard let typeNode = entry.value["type"] else {
            report(
                "missing-key", "the node `\(entry.key)` has no `type`", at: entry.keyMark, length: entry.key.count,
                hint: "`dataflow list` shows the operators")
            return nil
        }
        guard let type = typeNode.scalar?.text, let descriptor = registry[type] else {
            let suggestion = Suggestion.phrase(for: typeNode.scalar?.text ?? "", among: registry.all.map(\.info.name))
            report(
                "unknown-operator", "there is no operator \(typeNode.displayed)\(suggestion)", at: typeNode.mark,
                length: typeNode.scalar?.text.count ?? 0, hint: "`dataflow list` shows the operators", path: "type")
            return nil
        }
        let inherited = (defaults?[type]?.entries ?? []).filter { fallback in !own.contains { $0.key == fallback.key } }
        let section = ConfigNode(.mapping(own + inherited), mark: entry.value.mark, keyMark: entry.keyMark)
        let shared = ConfigNode(
            .mapping((own + inherited).filter { NodeKeys.names.contains($0.key) && $0.key != "from" }),
            mark: section.mark,
            keyMark: entry.keyMark)
        let path = "nodes.\(entry.key)"
        let keys = collector.attempt(under: path) { () throws(ConfigError) in try NodeKeys(decoding: shared) }
        var declaration = NodeDeclaration(
            name: entry.key, mark: entry.keyMark, section: section, keys: keys ?? NodeKeys(), descriptor: descriptor)
        declaration.config = collector.attempt(under: path) { () throws(ConfigError) in
            try descriptor.decode(section, NodeKeys.names)
        }
        declaration.readInputs(report)
        declaration.checkKeys(report)
        return declaration
    }

    private typealias Report = (String, String, Mark, Int, String?, String?) -> Void

    private mutating func readInputs(_ report: Report) {
        let info = descriptor.info
        let from = section["from"]
        if info.role == .source {
            if let from {
                report(
                    "from", "`\(name)` is a source (\(info.name)): it reads from no node", from.keyMark ?? from.mark, 4,
                    nil, "from")
            }
            return
        }
        guard let from, !from.isNull else {
            report(
                "missing-key", "the node `\(name)` has no `from`", from?.mark ?? mark, from == nil ? name.count : 0,
                "name the node whose rows it takes", "from")
            return
        }
        guard info.inputs.isEmpty else {
            readNamedInputs(from, report)
            return
        }
        if from.entries != nil {
            report(
                "from", "\(info.name) has one input: expected the name of a node, or a list of names, found a mapping",
                from.mark, 0, nil, "from")
            return
        }
        let list = references(from, report)
        inputs = info.separatesInputs ? list.map { [$0] } : [list]
    }

    private mutating func readNamedInputs(_ from: ConfigNode, _ report: Report) {
        let names = descriptor.info.inputs
        let shape = "`from: { \(names.map { "\($0): …" }.joined(separator: ", ")) }`"
        guard let entries = from.entries else {
            report(
                "from", "\(descriptor.info.name) has \(names.count) inputs: write \(shape)", from.mark, 0, nil, "from")
            return
        }
        for entry in entries where !names.contains(entry.key) {
            let suggestion = Suggestion.phrase(for: entry.key, among: names)
            report(
                "unknown-key", "there is no input `\(entry.key)`\(suggestion)", entry.keyMark, entry.key.count,
                "write \(shape)", "from")
        }
        for input in names where from[input] == nil {
            report(
                "missing-key", "the input `\(input)` is missing", from.keyMark ?? from.mark, 4, "write \(shape)", "from"
            )
        }
        inputs = names.map { input in from[input].map { references($0, report) } ?? [] }
    }

    private func references(_ node: ConfigNode, _ report: Report) -> [Reference] {
        guard let elements = node.elements else { return reference(node, report).map { [$0] } ?? [] }
        if elements.isEmpty {
            report("from", "the list is empty: expected the name of a node", node.mark, 0, nil, "from")
        }
        var found: [Reference] = []
        for element in elements {
            guard let reference = reference(element, report) else { continue }
            if found.contains(where: { $0.text == reference.text }) {
                report(
                    "from", "`\(reference.text)` stands twice in the list: its rows would be taken twice",
                    reference.mark,
                    reference.text.count, nil, "from")
            } else {
                found.append(reference)
            }
        }
        return found
    }

    private func reference(_ node: ConfigNode, _ report: Report) -> Reference? {
        guard let scalar = node.scalar, !scalar.text.isEmpty else {
            report("from", "expected the name of a node, found \(node.displayed)", node.mark, 0, nil, "from")
            return nil
        }
        guard let dot = scalar.text.firstIndex(of: ".") else {
            return Reference(node: scalar.text, port: nil, mark: node.mark, text: scalar.text)
        }
        let before = String(scalar.text[..<dot])
        let port = String(scalar.text[scalar.text.index(after: dot)...])
        return Reference(
            node: before, port: (port, node.mark(atUTF8Offset: before.utf8.count + 1)), mark: node.mark,
            text: scalar.text)
    }

    private func checkKeys(_ report: Report) {
        let info = descriptor.info
        if let delivery = keys.delivery {
            if case .sink(let commits, _) = descriptor.factory {
                if delivery.value == .exactlyOnce, !commits {
                    report(
                        "delivery", "\(info.name) cannot deliver exactly once: it has no commit", delivery.mark, 0,
                        "leave `delivery` out, or write `at_least_once`", "delivery")
                }
            } else {
                report(
                    "delivery", "`delivery` belongs to sinks, and \(info.name) is a \(info.role.rawValue)",
                    delivery.mark, 0, nil, "delivery")
            }
        }
        if let parallelism = keys.parallelism, let most = info.maxParallelism, parallelism.value > most {
            report(
                "parallelism",
                "\(info.name) runs as at most \(most) subtask\(most == 1 ? "" : "s"), found `\(parallelism.value)`",
                parallelism.mark, 0, nil, "parallelism")
        }
    }
}
