import DataflowChaos
import DataflowEndToEnd
import Testing

/// Every scenario of `dataflow-chaos` under a plan of faults; a failing seed is repeated with that program.
@Suite(.serialized)
struct ChaosTests {
    @Test(arguments: Scenarios.all.filter { $0.isAvailable }.map { $0.name })
    func `what is written under faults is what is written without`(name: String) throws {
        let scenario = try #require(Scenarios.all.first { $0.name == name })
        let rows = Repository.isSoak ? 400_000 : 60_000
        let expected = try ChaosRun.expected(scenario.init(rows: rows), rows: rows)
        #expect(expected.count > 1 && expected.values.allSatisfy { !$0.isEmpty })
        let faults = Repository.isSoak ? 40 : 8
        let plan = FaultPlan(seed: .random(in: 0..<1_000_000), faults: faults, kinds: scenario.faults)
        var steps: [String] = []
        var run = try ChaosRun(scenario.init(rows: rows), plan, rows: rows) { steps.append($0) }
        let report = try run.run(expecting: expected)
        let again = "dataflow-chaos --scenario \(name) --seed \(plan.seed) --faults \(faults) --rows \(rows)"
        #expect(report.differences.isEmpty, "\(again)\n\(steps.joined(separator: "\n"))\n\(report.summary)")
        #expect(report.faultCount >= faults / 2, "\(again): the input was over too early")
        print("\(name), seed \(plan.seed): \(report.summary)")
    }

    @Test func `the same seed gives the same plan`() {
        let plans = [7, 7, 8].map { FaultPlan(seed: $0, faults: 50, kinds: Fault.Kind.allCases) }
        #expect(plans[0].steps.map(\.fault) == plans[1].steps.map(\.fault))
        #expect(plans[0].steps.map(\.after) == plans[1].steps.map(\.after))
        #expect(plans[0].steps.map(\.fault) != plans[2].steps.map(\.fault))
        #expect(Set(plans[0].steps.map(\.fault.kind)).count > 5)
    }

    @Test func `rows that are missing and rows that are too much are told`() {
        let difference = ChaosRun.difference(["a", "b", "b", "d"], ["b", "c", "d", "e"])
        #expect(difference.missing == ["c", "e"])
        #expect(difference.extra == ["a", "b"])
        let same = ChaosRun.difference(["a", "a"], ["a", "a"])
        #expect(same.missing.isEmpty && same.extra.isEmpty)
    }
}
