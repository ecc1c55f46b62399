import ArgumentParser
import DataflowConfig
public import DataflowOperator
import Glibc

/// The `dataflow` program, for a build with any set of plugins.
public enum DataflowCLI {
    /// Runs the program with the process's arguments and ends the process.
    ///
    ///     await DataflowCLI.main([MyPlugin.self])
    public static func main(_ plugins: [any Plugin.Type]) async -> Never {
        exit(await run(Array(CommandLine.arguments.dropFirst()), registry: OperatorRegistry(plugins)))
    }

    /// Runs one command line and gives the exit code; the product is on stdout, all else on stderr.
    package static func run(_ arguments: [String], registry: OperatorRegistry) async -> Int32 {
        signal(SIGPIPE, SIG_IGN)
        let command: any ParsableCommand
        do {
            if let verb = arguments.first, !verb.hasPrefix("-"), !DataflowCommand.verbs.contains(verb) {
                let suggestion = Suggestion.phrase(for: verb, among: DataflowCommand.verbs)
                Console.shared.line("dataflow: there is no verb `\(verb)`\(suggestion)")
                Console.shared.line(
                    "The verbs are \(DataflowCommand.verbs.joined(separator: ", ")); `dataflow help` tells more.")
                return ExitStatus.usage
            }
            command = try DataflowCommand.parseAsRoot(arguments)
            guard let verb = command as? any Verb else {
                // `help`, or nothing at all.
                var command = command
                try command.run()
                return ExitStatus.ok
            }
            return await verb.perform(registry)
        } catch {
            let text = DataflowCommand.fullMessage(for: error)
            let code = DataflowCommand.exitCode(for: error).rawValue
            if code == 0 { Console.output(text) } else { Console.shared.line(text) }
            return code
        }
    }
}

/// What the program ends with; the numbers are those of `sysexits.h`.
enum ExitStatus {
    static let ok: Int32 = 0
    static let findings: Int32 = 1
    static let usage: Int32 = 64
    static let noInput: Int32 = 66
    static let stopped: Int32 = 75
    static let config: Int32 = 78

    /// The code for a configuration that was refused.
    static func of(_ error: ConfigError, otherwise: Int32 = config) -> Int32 {
        let isMissing = error.diagnostics.contains {
            $0.mark.isKnown == false && ($0.code == "no-such-file" || $0.code == "unreadable-file")
        }
        return isMissing ? noInput : otherwise
    }
}

/// A verb of the program.
protocol Verb {
    /// Does what the verb says; gives the exit code.
    func perform(_ registry: OperatorRegistry) async -> Int32
}

struct DataflowCommand: ParsableCommand {
    static let verbs = ["run", "validate", "graph", "list", "help"]

    static let configuration = CommandConfiguration(
        commandName: "dataflow",
        abstract: "Runs data pipelines that are written as YAML files.",
        discussion: """
            Exit codes: 0 ok, 1 findings, 64 usage, 65 bad data with `on_error: fail`, 66 no such file, 69 a dependency cannot \
            be reached, 70 internal error, 75 stopped without draining (safe to restart), 78 invalid configuration.
            """,
        version: "dataflow 0.1.0",
        subcommands: [RunCommand.self, ValidateCommand.self, GraphCommand.self, ListCommand.self])
}
