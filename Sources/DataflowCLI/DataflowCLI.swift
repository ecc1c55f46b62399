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
        StandardStreams.fill()
        signal(SIGPIPE, SIG_IGN)
        exit(
            await run(
                Array(CommandLine.arguments.dropFirst()),
                Invocation(registry: OperatorRegistry(plugins), console: Console(), handlesSignals: true)))
    }

    /// Runs one command line and gives the exit code.
    package static func run(_ arguments: [String], _ invocation: Invocation) async -> Int32 {
        let console = invocation.console
        if let verb = arguments.first, !verb.hasPrefix("-"), !DataflowCommand.verbs.contains(verb) {
            console.line(
                "dataflow: there is no verb `\(verb)`\(Suggestion.phrase(for: verb, among: DataflowCommand.verbs))")
            console.line("The verbs are \(DataflowCommand.verbs.joined(separator: ", ")); `dataflow help` tells more.")
            return ExitStatus.usage
        }
        do {
            var command = try DataflowCommand.parseAsRoot(arguments)
            if let verb = command as? any Verb { return await verb.perform(invocation) }
            // `help`, or nothing at all: its answer is thrown.
            try command.run()
            return ExitStatus.ok
        } catch {
            let text = DataflowCommand.fullMessage(for: error)
            let code = DataflowCommand.exitCode(for: error).rawValue
            if code == 0 { console.output(text) } else { console.line(text) }
            return code
        }
    }
}

/// What a command line runs in.
package struct Invocation: Sendable {
    package var registry: OperatorRegistry
    /// The product is on its product stream, all else on the other.
    package var console: Console
    /// The process is the program's own, so that SIGINT and SIGTERM are for it.
    package var handlesSignals: Bool

    package init(registry: OperatorRegistry, console: Console, handlesSignals: Bool) {
        self.registry = registry
        self.console = console
        self.handlesSignals = handlesSignals
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
    func perform(_ invocation: Invocation) async -> Int32
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
