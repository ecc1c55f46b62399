import ArgumentParser
import DataflowChaos
import DataflowEndToEnd

/// Runs pipelines under faults and compares what they have written with a run without any.
struct DataflowChaos: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dataflow-chaos",
        abstract: "Runs pipelines under seeded plans of faults; their output must be that of a run without faults.")

    @Option(help: ArgumentHelp("What to run: \(Scenarios.all.map { $0.name }.joined(separator: ", ")). (default: all)"))
    var scenario: [String] = []
    @Option(help: "The plan's seed. (default: drawn)")
    var seed: UInt64?
    @Option(help: "Plans a scenario, with seeds that follow one another.")
    var runs = 1
    @Option(help: "Faults a plan.")
    var faults = 20
    @Option(
        help: ArgumentHelp(
            "Only this kind of fault: \(Fault.Kind.allCases.map(\.rawValue).joined(separator: ", ")). (default: all)"))
    var kind: [String] = []
    @Option(help: "Events of the input.")
    var rows = 200_000

    func validate() throws {
        for name in scenario where !Scenarios.all.contains(where: { $0.name == name }) {
            throw ValidationError("there is no scenario \(name)")
        }
        for name in kind where Fault.Kind(rawValue: name) == nil {
            throw ValidationError("there is no fault \(name)")
        }
    }

    func run() throws {
        var failed = false
        let first = seed ?? UInt64.random(in: 0..<1_000_000)
        for type in Scenarios.all where scenario.isEmpty || scenario.contains(type.name) {
            guard type.isAvailable else {
                print("\(type.name): not possible here, what it needs is missing")
                continue
            }
            let expected = try type.expected(rows: rows)
            for seed in first..<first + UInt64(max(runs, 1)) {
                let kinds = type.faults.filter { kind.isEmpty || kind.contains($0.rawValue) }
                let plan = FaultPlan(seed: seed, faults: faults, kinds: kinds)
                print("\(type.name), seed \(seed)")
                do {
                    var run = try ChaosRun(type.init(rows: rows), plan, rows: rows) { print("  \($0)") }
                    let report = try run.run(expecting: expected)
                    print(report.summary)
                    failed = failed || !report.differences.isEmpty
                } catch {
                    print("\(error)")
                    failed = true
                }
                if failed {
                    let only = kind.map { " --kind \($0)" }.joined()
                    print(
                        "again: dataflow-chaos --scenario \(type.name) --seed \(seed) --faults \(faults) --rows \(rows)\(only)"
                    )
                    throw ExitCode(1)
                }
            }
        }
    }
}

DataflowChaos.main()
