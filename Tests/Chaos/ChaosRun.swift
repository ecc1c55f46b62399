import DataflowEndToEnd
import Foundation
import Glibc

/// One life of a scenario's pipeline under a plan of faults, and the comparison with a life without any.
package struct ChaosRun {
    /// Rows a second where time does not matter.
    private static let unlimited = 100_000_000

    private let scenario: any Scenario
    private let plan: FaultPlan
    private let rows: Int
    /// How long the input lasts at least, so that it is not over before the plan is, however long starts and servers take.
    private let lasting: Duration
    private let folder: TemporaryFolder
    private let faults: ProgramFaults
    private let note: (String) -> Void
    private var process: ChildProcess?
    private var parallelism = 2
    private var isFinished = false
    /// The newest checkpoint when the program was started.
    private var first: String?
    private var report = ChaosReport()

    /// - Parameters:
    ///   - rows: how much input there is. It comes so slowly that it outlasts the plan.
    ///   - note: is told what happens, a line each.
    package init(
        _ scenario: any Scenario, _ plan: FaultPlan, rows: Int, note: @escaping (String) -> Void = { _ in }
    ) throws {
        self.scenario = scenario
        self.plan = plan
        self.rows = rows
        lasting = plan.duration * 4 + .seconds(5)
        self.note = note
        folder = try TemporaryFolder()
        faults = try ProgramFaults(in: folder.path, checkpoints: folder.path + "/checkpoints")
    }

    private var checkpoints: CheckpointFolder { CheckpointFolder(path: folder.path + "/checkpoints") }

    /// What a life without faults writes.
    ///
    /// - Parameter arguments: further words of the command line.
    package static func withoutFaults(
        _ scenario: any Scenario, rows: Int, arguments: [String] = []
    ) throws -> [String: [String]] {
        let folder = try TemporaryFolder()
        var environment = scenario.environment
        environment["ROWS"] = "\(rows)"
        environment["RATE"] = "\(unlimited)/s"
        environment["CHECKPOINT_PATH"] = folder.path
        try scenario.feed(share: 1)
        try ChildProcess(
            Repository.program("dataflow"), ["run", scenario.pipeline] + scenario.arguments(lasting: nil) + arguments,
            environment: environment
        ).succeed(within: .seconds(600))
        return try scenario.output()
    }

    /// Lives through the plan and then to the end of the input.
    ///
    /// - Throws: when the program ends as it never should, or does not come to its end.
    package mutating func run(expecting expected: [String: [String]]) throws -> ChaosReport {
        try start(lasting: lasting)
        for (index, step) in plan.steps.enumerated() {
            try scenario.feed(share: Double(index + 1) / Double(plan.steps.count + 1))
            if step.awaitsCheckpoint { try awaitCheckpoint() }
            try pass(step.after)
            guard !isFinished else { break }
            try suffer(step)
        }
        faults.clockOffset = .zero
        if !isFinished {
            process?.send(SIGTERM)
            _ = process?.wait(timeout: .seconds(60))
        }
        process = nil
        report.differences += try scenario.shortcomings(checkpoints: checkpoints.path, log: nil)
        report.remarks += try scenario.remarks(over: false)
        try scenario.feed(share: 1)
        try start(lasting: nil)
        try process?.succeed(within: .seconds(600))
        report.compare(try scenario.output(), expected)
        report.differences += try scenario.shortcomings(checkpoints: checkpoints.path, log: process?.errors)
        report.remarks += try scenario.remarks(over: true)
        if !report.differences.isEmpty { report.differences.append("the last run:\n\(process?.errors ?? "")") }
        process = nil
        return report
    }

    // MARK: Faults

    private mutating func suffer(_ step: FaultPlan.Step) throws {
        let fault = step.fault
        parallelism = step.parallelism
        note("\(fault)\(step.killsMeanwhile ? ", killed meanwhile" : "")")
        report.faults[fault.kind, default: 0] += 1
        try scenario.prepare(fault)
        switch fault {
        case .kill:
            try kill()
        case .stop:
            process?.send(SIGTERM)
            guard let exit = process?.wait(timeout: .seconds(60)) else {
                throw failure("does not stop within a minute of SIGTERM")
            }
            // A program that has hardly begun has no handler for the signal yet.
            guard exit == .code(0) || exit == .signal(SIGTERM) || isTemporary(exit) else {
                throw failure("after SIGTERM: \(exit)")
            }
            try start(lasting: lasting)
        case .clockJump(let offset): faults.clockOffset = offset
        case .slowDisk(let each, _): faults.syncDelay = each
        case .diskFull: faults.isDiskFull = true
        // The tests' broker forgets open transactions when it ends, and says all the same that they were committed.
        case .brokerDown: try process?.whileIdle(checkpoints) { try scenario.begin(fault) }
        default: try scenario.begin(fault)
        }
        guard let lasting = fault.lasting else { return }
        // Whatever happens meanwhile, it is mended.
        let problem = Result {
            try pass(lasting / 2)
            if step.killsMeanwhile, !isFinished { try kill() }
            try pass(lasting / 2)
        }
        switch fault {
        case .slowDisk: faults.syncDelay = .zero
        case .diskFull: faults.isDiskFull = false
        default: try scenario.end(fault)
        }
        try problem.get()
    }

    private mutating func kill() throws {
        process?.send(SIGKILL)
        _ = process?.wait(timeout: .seconds(10))
        report.moments[checkpoints.moment(since: first).rawValue, default: 0] += 1
        try start(lasting: lasting)
    }

    // MARK: The program

    private mutating func start(lasting: Duration?) throws {
        first = checkpoints.newest()
        var environment = faults.environment.merging(scenario.environment) { _, own in own }
        environment["ROWS"] = "\(rows)"
        environment["RATE"] =
            lasting.map { "\(max(1, Int(.seconds(60) * rows / $0)))/min" } ?? "\(ChaosRun.unlimited)/s"
        environment["CHECKPOINT_PATH"] = checkpoints.path
        process = try ChildProcess(
            Repository.program("dataflow"),
            ["run", scenario.pipeline, "--parallelism", "\(parallelism)"] + scenario.arguments(lasting: lasting),
            environment: environment)
        report.starts += 1
    }

    /// Lets time go by; the program is started again when it gives up on something that may pass.
    private mutating func pass(_ time: Duration) throws {
        let end = ContinuousClock.now + time
        while !isFinished, ContinuousClock.now < end {
            guard let exit = process?.wait(timeout: ContinuousClock.now.duration(to: end)) else { return }
            if exit == .code(0) {
                isFinished = true
            } else if isTemporary(exit) {
                report.givenUp += 1
                note("the program ended with \(exit) and is started again")
                try start(lasting: lasting)
            } else {
                throw failure("ended with \(exit)")
            }
        }
    }

    /// Lets the program complete a checkpoint, if it comes to that.
    private mutating func awaitCheckpoint() throws {
        let limit = ContinuousClock.now + .seconds(20)
        let before = checkpoints.newestComplete()
        while !isFinished, ContinuousClock.now < limit, checkpoints.newestComplete() == before {
            try pass(.milliseconds(5))
        }
    }

    private func isTemporary(_ exit: ChildProcess.Exit) -> Bool { exit == .code(69) || exit == .code(75) }

    private func failure(_ what: String) -> ChildProcess.Failure {
        .init(description: "dataflow \(what)\n\(process?.errors.suffix(4000) ?? "")")
    }
}
