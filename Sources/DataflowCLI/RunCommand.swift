import ArgumentParser
import DataflowCheckpoint
import DataflowConfig
import DataflowOperator
import DataflowPipeline
import DataflowRuntime
import Logging

struct RunCommand: ParsableCommand, Verb {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Runs a pipeline from its last checkpoint.",
        discussion: """
            SIGTERM and SIGINT end the run at a checkpoint: what was read is committed, exit code 0. A second signal ends it at \
            once with exit code 75; the next start goes on from the last checkpoint.
            """)

    @Argument(help: ArgumentHelp("The pipeline file.", valueName: "file"))
    var file: String

    @OptionGroup var pipeline: PipelineArguments

    @Option(help: "Subtasks a node, instead of what the file says.")
    var parallelism: Int?

    @Flag(
        name: .customLong("until-idle"),
        help: "Stop when the sources have had nothing to read for a while (see --idle-time).")
    var untilIdle = false

    @Option(
        name: .customLong("idle-time"), help: ArgumentHelp("What --until-idle takes for idle.", valueName: "duration"))
    var idleTime = DurationArgument(.seconds(5))

    @Option(
        name: .customLong("for"),
        help: ArgumentHelp("Stop at a checkpoint after this time, such as 30s.", valueName: "duration"))
    var duration: DurationArgument?

    @Option(help: ArgumentHelp("Stop at a checkpoint when the sources have emitted this many rows.", valueName: "rows"))
    var limit: Int?

    @Option(
        help: ArgumentHelp("What to start from: latest, none, or the number of a checkpoint.", valueName: "checkpoint"))
    var restore = RestoreArgument(restore: .latest)

    @Flag(
        name: .customLong("accept-duplicates"),
        help: "With an older checkpoint: sinks that are ahead of it may write rows a second time.")
    var acceptDuplicates = false

    @Option(
        name: .customLong("forget-state"),
        help: ArgumentHelp("Give up the state that a node has in the checkpoint.", valueName: "node"))
    var forgottenNodes: [String] = []

    @Flag(help: "At a stop, close all windows and write them, instead of keeping them in the checkpoint.")
    var drain = false

    @Option(
        name: .customLong("log-level"), help: ArgumentHelp("trace, debug, info, warning or error.", valueName: "level"))
    var logLevel = LogLevelArgument(level: .info)

    func validate() throws {
        if let parallelism, !(1...128).contains(parallelism) {
            throw ValidationError("--parallelism must be from 1 to 128.")
        }
        if let limit, limit < 1 { throw ValidationError("--limit must be at least 1.") }
        if acceptDuplicates, case .checkpoint = restore.restore {
        } else if acceptDuplicates {
            throw ValidationError("--accept-duplicates goes with --restore and the number of a checkpoint.")
        }
        if [untilIdle, duration != nil, limit != nil].count(where: { $0 }) > 1 {
            throw ValidationError("--until-idle, --for and --limit exclude each other.")
        }
    }

    func perform(_ invocation: Invocation) async -> Int32 {
        let registry = invocation.registry
        let console = invocation.console
        let definition: PipelineDefinition
        let plan: PhysicalPlan
        do throws(ConfigError) {
            definition = try pipeline.load(file, registry)
            plan = try PhysicalPlan(
                definition.graph, parallelism: parallelism ?? definition.config.effectiveParallelism)
            try checkForgottenNodes(definition.graph)
        } catch {
            console.diagnostics(error.diagnostics)
            return ExitStatus.of(error)
        }
        console.diagnostics(definition.warnings)
        var logger = Logger(label: definition.config.pipeline) { _ in ConsoleLog(console: console) }
        logger.logLevel = logLevel.level
        let runner = PipelineRunner(plan: plan, config: definition.config, options: options, logger: logger)
        if invocation.handlesSignals {
            StopSignals.listen(console) {
                console.line("stopping at a checkpoint; once more stops at once")
                runner.stop()
            }
        }
        return await run(runner, definition, console)
    }

    private var options: RunOptions {
        var options = RunOptions()
        options.restore = restore.restore
        options.acceptDuplicates = acceptDuplicates
        options.forgottenNodes = Set(forgottenNodes)
        options.duration = duration?.duration
        options.limit = limit
        options.untilIdle = untilIdle ? idleTime.duration : nil
        options.drains = drain
        return options
    }

    private func checkForgottenNodes(_ graph: PipelineGraph) throws(ConfigError) {
        // A node that is no longer in the file may be named, too: its state is what stands in the way.
        for name in forgottenNodes where name.isEmpty {
            throw ConfigError("unknown-node", "--forget-state needs the name of a node")
        }
    }

    private func run(_ runner: PipelineRunner, _ definition: PipelineDefinition, _ console: Console) async -> Int32 {
        let display = ProgressDisplay(runner: runner, graph: definition.graph, console: console)
        return await withTaskGroup(of: Void.self) { group in
            group.addTask { await display.show() }
            let status: Int32
            do throws(RunError) {
                let summary = try await runner.run()
                group.cancelAll()
                await group.waitForAll()
                display.finish(summary)
                status = ExitStatus.ok
            } catch {
                group.cancelAll()
                await group.waitForAll()
                console.setLive("")
                console.line("dataflow: \(SecretMask.maskedURLs(error.message))")
                status = error.exitCode
            }
            return status
        }
    }
}

/// `latest`, `none`, or a checkpoint's number.
struct RestoreArgument: ExpressibleByArgument {
    var restore: CheckpointSession.Restore

    init(restore: CheckpointSession.Restore) { self.restore = restore }

    init?(argument: String) {
        switch argument {
        case "latest": restore = .latest
        case "none": restore = .none
        default:
            guard let number = UInt64(argument) else { return nil }
            restore = .checkpoint(CheckpointID(number))
        }
    }

    var defaultValueDescription: String { "latest" }
}

struct LogLevelArgument: ExpressibleByArgument {
    var level: Logger.Level

    init(level: Logger.Level) { self.level = level }

    init?(argument: String) {
        guard let level = Logger.Level(rawValue: argument) else { return nil }
        self.level = level
    }

    var defaultValueDescription: String { level.rawValue }
}
