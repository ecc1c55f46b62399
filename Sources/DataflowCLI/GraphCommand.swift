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

    func perform(_ registry: OperatorRegistry) async -> Int32 {
        do throws(ConfigError) {
            let definition = try pipeline.load(file, registry)
            Console.shared.diagnostics(definition.warnings)
            let plan = try PhysicalPlan(
                definition.graph, parallelism: parallelism ?? definition.config.effectiveParallelism)
            let drawing = physical ? Drawing(plan, graph: definition.graph) : Drawing(definition.graph, plan: plan)
            switch format {
            case .dot: Console.output(drawing.dot)
            case .mermaid: Console.output(drawing.mermaid)
            case .json: Console.output(drawing.json.serialized())
            }
            return ExitStatus.ok
        } catch {
            Console.shared.diagnostics(error.diagnostics)
            return ExitStatus.of(error)
        }
    }
}

extension PipelineConfig {
    /// The parallelism of the file, or the number of cores.
    var effectiveParallelism: Int { parallelism ?? max(1, min(128, sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }
}
