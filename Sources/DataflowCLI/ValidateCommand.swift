import ArgumentParser
import DataflowConfig
import DataflowOperator
import DataflowPipeline

struct ValidateCommand: ParsableCommand, Verb {
    static let configuration = CommandConfiguration(
        commandName: "validate", abstract: "Checks pipeline files; accepts exactly what `run` accepts.",
        discussion:
            "Findings go to stdout. Connects to nothing and writes nothing. Exit code 0 without errors, 1 with errors, 66 if a file cannot be read."
    )

    enum Format: String, CaseIterable, ExpressibleByArgument { case human, short, json, sarif }

    @Argument(help: ArgumentHelp("The pipeline files.", valueName: "file"))
    var files: [String]

    @OptionGroup var pipeline: PipelineArguments

    @Option(help: "How findings are written.")
    var format = Format.human

    /// What came of one file.
    struct Result {
        var file: String
        var findings: [Diagnostic]
        var definition: PipelineDefinition?
    }

    func perform(_ invocation: Invocation) async -> Int32 {
        let registry = invocation.registry
        let console = invocation.console
        var results: [Result] = []
        var status = ExitStatus.ok
        for file in files {
            do throws(ConfigError) {
                let definition = try pipeline.load(file, registry)
                results.append(Result(file: file, findings: definition.warnings, definition: definition))
            } catch {
                results.append(Result(file: file, findings: error.diagnostics, definition: nil))
                status = max(status, ExitStatus.of(error, otherwise: ExitStatus.findings))
            }
        }
        switch format {
        case .human: printHuman(results, console)
        case .short:
            for finding in results.flatMap(\.findings) { console.output(finding.rendered(.short)) }
        case .json: console.output(FindingsReport.json(results).serialized())
        case .sarif: console.output(FindingsReport.sarif(results).serialized())
        }
        return status
    }

    private func printHuman(_ results: [Result], _ console: Console) {
        let colours = console.productHasColours
        for result in results {
            for finding in result.findings { console.output(finding.rendered(colours ? .coloured : .human)) }
            if let definition = result.definition {
                let nodes = definition.graph.nodes.count
                let sinks = definition.graph.nodes.count { $0.descriptor.info.role == .sink }
                console.output(
                    "\(result.file): ok, \(nodes) node\(nodes == 1 ? "" : "s"), \(sinks) sink\(sinks == 1 ? "" : "s")")
                for path in definition.graph.paths() {
                    console.output("  \(path.nodes.joined(separator: " → ")): \(path.guarantee)")
                }
            } else {
                let errors = result.findings.count { $0.severity == .error }
                console.line("\(result.file): \(errors) error\(errors == 1 ? "" : "s")")
            }
        }
    }
}

extension PipelineGraph {
    /// A way that rows take from a source to a sink.
    struct Path {
        var nodes: [String]
        var guarantee: String
    }

    /// Every path, by sink in the order of the graph; at most `limit` of them.
    func paths(limit: Int = 200) -> [Path] {
        var found: [Path] = []
        func walk(_ node: Int, _ behind: [String], _ sink: Node) {
            guard found.count < limit else { return }
            let inputs = nodes[node].inputs.joined()
            if inputs.isEmpty { found.append(Path(nodes: [nodes[node].name] + behind, guarantee: sink.guarantee)) }
            for origin in inputs {
                let port = nodes[origin.node].name(of: origin.port)
                var names = [nodes[node].name] + behind
                // A port other than the main one is part of the way.
                if let port { names = [".\(port)"] + names }
                walk(origin.node, names, sink)
            }
        }
        for (index, node) in nodes.enumerated() where node.descriptor.info.role == .sink { walk(index, [], node) }
        return found.map { path in
            var joined: [String] = []
            for name in path.nodes {
                if name.hasPrefix("."), let last = joined.popLast() {
                    joined.append(last + name)
                } else {
                    joined.append(name)
                }
            }
            return Path(nodes: joined, guarantee: path.guarantee)
        }
    }
}

extension PipelineGraph.Node {
    /// What a sink promises, in words.
    var guarantee: String {
        let kind = inputStreams.first.map { $0.kind == .append ? "" : ", \($0.kind.described)" } ?? ""
        return (exactlyOnce ? "exactly once" : "at least once") + kind
    }
}
