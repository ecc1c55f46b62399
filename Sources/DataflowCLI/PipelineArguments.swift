import ArgumentParser
import DataflowConfig
import DataflowOperator
import DataflowPipeline

/// What every verb that reads pipeline files takes.
struct PipelineArguments: ParsableArguments {
    @Option(
        name: .customLong("set"),
        help: ArgumentHelp(
            "Replace the value at a path of the file, such as checkpoint.interval=200ms.", valueName: "path=value"))
    var settings: [String] = []

    @Option(
        name: .customLong("env-file"),
        help: ArgumentHelp("Read NAME=value lines for ${NAME}; the process's environment wins.", valueName: "file"))
    var environmentFiles: [String] = []

    /// Reads and validates a file.
    func load(_ path: String, _ registry: OperatorRegistry) throws(ConfigError) -> PipelineDefinition {
        var fallback: [String: String] = [:]
        for file in environmentFiles {
            fallback.merge(try EnvironmentVariables.parse(envFile: file)) { _, later in later }
        }
        return try PipelineDefinition.load(
            path: path, settings: settings, registry: registry, environment: .process.falling(backTo: fallback))
    }
}

/// A duration on the command line: `30s`.
struct DurationArgument: ExpressibleByArgument {
    var duration: Duration

    init(_ duration: Duration) { self.duration = duration }

    init?(argument: String) {
        guard let duration = try? Duration(decoding: .text(argument)), duration > .zero else { return nil }
        self.duration = duration
    }

    var defaultValueDescription: String { duration.unitDescription }
}
