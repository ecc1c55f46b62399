import ArgumentParser
import DataflowConfig
import DataflowOperator
import DataflowPipeline
import Glibc

struct GraphCommand: ParsableCommand, Verb {
    static let configuration = CommandConfiguration(
        commandName: "graph",
        abstract: "Draws a pipeline: what flows between its nodes, and which of them share a task.",
        discussion: "For a picture: dataflow graph FILE | dot -Tsvg > pipeline.svg")

    enum Format: String, CaseIterable, ExpressibleByArgument { case dot, mermaid, json }

    @Argument(help: ArgumentHelp("The pipeline file.", valueName: "file"))
    var file: String

    @OptionGroup var pipeline: PipelineArguments

    @Option(help: "How the graph is written.")
    var format = Format.dot

    @Flag(help: "Show how it runs: tasks, local stages, exchanges, dead letters.")
    var physical = false

    @Option(help: "Subtasks a node, instead of what the file says.")
    var parallelism: Int?

    func perform(_ invocation: Invocation) async -> Int32 {
        let registry = invocation.registry
        let console = invocation.console
        do throws(ConfigError) {
            let definition = try pipeline.load(file, registry)
            console.diagnostics(definition.warnings)
            let plan = try PhysicalPlan(
                definition.graph, parallelism: parallelism ?? definition.config.effectiveParallelism)
            let drawing = physical ? Drawing(plan, graph: definition.graph) : Drawing(definition.graph, plan: plan)
            switch format {
            case .dot: console.output(drawing.dot)
            case .mermaid: console.output(drawing.mermaid)
            case .json: console.output(drawing.json.serialized())
            }
            return ExitStatus.ok
        } catch {
            console.diagnostics(error.diagnostics)
            return ExitStatus.of(error)
        }
    }
}

extension PipelineConfig {
    /// The parallelism of the file, or the number of cores.
    var effectiveParallelism: Int { parallelism ?? max(1, min(128, sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }
}
