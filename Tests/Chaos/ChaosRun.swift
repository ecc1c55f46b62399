import DataflowEndToEnd
import Foundation
import Glibc

/// One life of a scenario's pipeline under a plan of faults, and the comparison with a life without any.
package struct ChaosRun {
    package struct Report: Sendable {
        /// Faults that happened; fewer than planned where the input was over before.
        package var faults: [Fault.Kind: Int] = [:]
        package var starts = 0
        /// Ends of the program that no fault of ours was: exit code 69 or 75, after which a supervisor starts it again.
        package var givenUp = 0
        /// Rows that are the same.
        package var rows = 0
        /// By place: what is missing and what is too much; empty where all is right.
        package var differences: [String] = []

        package var faultCount: Int { faults.values.reduce(0, +) }

        /// One line, and one for each difference.
        package var summary: String {
            let kinds = faults.map { "\($0.value) \($0.key.rawValue)" }.sorted().joined(separator: ", ")
            let head = "\(faultCount) faults (\(kinds)), \(starts) starts, \(givenUp) of them after it gave up"
            return ([head + "; \(rows) rows are right"] + differences).joined(separator: "\n")
        }
    }

    /// Rows a second where time does not matter.
    private static let unlimited = 100_000_000

    private let scenario: any Scenario
    private let plan: FaultPlan
    private let rows: Int
    private let rate: Int
    private let folder: TemporaryFolder
    private let faults: ProgramFaults
    private let note: (String) -> Void
    private var process: ChildProcess?
    private var parallelism = 2
    private var isFinished = false
    private var report = Report()

    /// - Parameters:
    ///   - rows: how much input there is. It comes so slowly that it outlasts the plan.
    ///   - note: is told what happens, a line each.
    package init(
        _ scenario: any Scenario, _ plan: FaultPlan, rows: Int, note: @escaping (String) -> Void = { _ in }
    ) throws {
        self.scenario = scenario
        self.plan = plan
        self.rows = rows
        rate = max(1000, rows * 1000 / max(1, plan.milliseconds * 2))
        self.note = note
        folder = try TemporaryFolder()
        faults = try ProgramFaults(in: folder.path, checkpoints: folder.path + "/checkpoints")
    }

    private var checkpoints: String { folder.path + "/checkpoints" }

    /// What a life without faults writes.
    package static func expected(_ scenario: any Scenario, rows: Int) throws -> [String: [String]] {
        let folder = try TemporaryFolder()
        var environment = scenario.environment
        environment["ROWS"] = "\(rows)"
        environment["RATE"] = "\(unlimited)/s"
        environment["CHECKPOINT_PATH"] = folder.path
        try scenario.feed(rate: nil)
        try ChildProcess(
            Repository.program("dataflow"), ["run", scenario.pipeline] + scenario.arguments(rate: nil),
            environment: environment
        ).succeed(within: .seconds(600))
        return try scenario.output()
    }

    /// Lives through the plan and then to the end of the input.
    ///
    /// - Throws: when the program ends as it never should, or does not come to its end.
    package mutating func run(expecting expected: [String: [String]]) throws -> Report {
        try scenario.feed(rate: rate)
        try start(rate: rate)
        for step in plan.steps {
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
        report.differences += try scenario.shortcomings(checkpoints: checkpoints, log: nil)
        try scenario.feed(rate: nil)
        try start(rate: nil)
        try process?.succeed(within: .seconds(600))
        compare(try scenario.output(), expected)
        report.differences += try scenario.shortcomings(checkpoints: checkpoints, log: process?.errors)
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
        switch fault {
        case .kill:
            try scenario.begin(fault)
            try kill()
        case .stop:
            process?.send(SIGTERM)
            guard let exit = process?.wait(timeout: .seconds(60)) else {
                throw failure("does not stop within a minute of SIGTERM")
            }
            guard exit == .code(0) || isTemporary(exit) else { throw failure("after SIGTERM: \(exit)") }
            try start(rate: rate)
        case .clockJump(let offset): faults.clockOffset = offset
        case .slowDisk(let each, _): faults.syncDelay = each
        case .diskFull: faults.isDiskFull = true
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
        try start(rate: rate)
    }

    // MARK: The program

    private mutating func start(rate: Int?) throws {
        var environment = faults.environment.merging(scenario.environment) { _, own in own }
        environment["ROWS"] = "\(rows)"
        environment["RATE"] = "\(rate ?? ChaosRun.unlimited)/s"
        environment["CHECKPOINT_PATH"] = checkpoints
        process = try ChildProcess(
            Repository.program("dataflow"),
            ["run", scenario.pipeline, "--parallelism", "\(parallelism)"] + scenario.arguments(rate: rate),
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
                try start(rate: rate)
            } else {
                throw failure("ended with \(exit)")
            }
        }
    }

    private func isTemporary(_ exit: ChildProcess.Exit) -> Bool { exit == .code(69) || exit == .code(75) }

    private func failure(_ what: String) -> ChildProcess.Failure {
        .init(description: "dataflow \(what)\n\(process?.errors.suffix(4000) ?? "")")
    }

    // MARK: The result

    private mutating func compare(_ found: [String: [String]], _ expected: [String: [String]]) {
        for place in expected.keys.sorted() {
            let difference = ChaosRun.difference(found[place] ?? [], expected[place] ?? [])
            report.rows += (expected[place] ?? []).count - difference.missing.count
            for (what, rows) in [("missing", difference.missing), ("too much", difference.extra)] where !rows.isEmpty {
                report.differences.append(
                    "\(place): \(rows.count) rows \(what), such as \(rows.prefix(3).joined(separator: "; "))")
            }
        }
    }

    /// What two sorted lists do not share.
    package static func difference(_ found: [String], _ expected: [String]) -> (missing: [String], extra: [String]) {
        var (missing, extra): ([String], [String]) = ([], [])
        var (f, e) = (0, 0)
        while f < found.count || e < expected.count {
            if f == found.count || e < expected.count && expected[e] < found[f] {
                missing.append(expected[e])
                e += 1
            } else if e == expected.count || found[f] < expected[e] {
                extra.append(found[f])
                f += 1
            } else {
                f += 1
                e += 1
            }
        }
        return (missing, extra)
    }
}
