import DataflowChaos
import DataflowEndToEnd
import Testing

/// Every scenario of `dataflow-chaos` under plans of faults; a failing seed is repeated with that program.
///
/// `make test` has the same plans each time; the soak draws others.
@Suite(.serialized)
struct ChaosTests {
    private static let seed: UInt64 = Repository.isSoak ? .random(in: 0..<1_000_000) : 7

    @Test(arguments: Scenarios.all.filter { $0.isAvailable && $0.name != KafkaScenario.name }.map { $0.name })
    func `what is written under faults is what is written without`(name: String) throws {
        let scenario = try #require(Scenarios.all.first { $0.name == name })
        try live(scenario, faults: Repository.isSoak ? 24 : 8, rows: Repository.isSoak ? 300_000 : 100_000)
    }

    /// From a topic through windows into a topic and PostgreSQL; the soak takes ten million rows through 300 faults.
    @Test(.enabled(if: KafkaScenario.isAvailable), arguments: [[.kill], KafkaScenario.faults])
    func `Kafka and PostgreSQL hold what SQL computes from the same events`(kinds: [Fault.Kind]) throws {
        try live(
            KafkaScenario.self, faults: Repository.isSoak ? 300 : kinds == [.kill] ? 10 : 16, kinds: kinds,
            rows: Repository.isSoak ? 10_000_000 : 200_000)
    }

    private func live(_ scenario: any Scenario.Type, faults: Int, kinds: [Fault.Kind]? = nil, rows: Int) throws {
        let expected = try scenario.expected(rows: rows)
        #expect(expected.count > 1 && expected.values.allSatisfy { !$0.isEmpty })
        let plan = FaultPlan(seed: Self.seed, faults: faults, kinds: kinds ?? scenario.faults)
        let only = kinds == [.kill] ? " --kind kill" : ""
        let again =
            "dataflow-chaos --scenario \(scenario.name) --seed \(plan.seed) --faults \(faults) --rows \(rows)\(only)"
        var steps: [String] = []
        do {
            var run = try ChaosRun(scenario.init(rows: rows), plan, rows: rows) { steps.append($0) }
            let report = try run.run(expecting: expected)
            #expect(report.differences.isEmpty, "\(again)\n\(steps.joined(separator: "\n"))\n\(report.summary)")
            #expect(report.faultCount >= faults / 2, "\(again): the input was over too early")
            print("\(again): \(report.summary)")
        } catch {
            Issue.record("\(again)\n\(steps.joined(separator: "\n"))\n\(error)")
        }
    }

    @Test func `the same seed gives the same plan`() {
        let plans = [7, 7, 8].map { FaultPlan(seed: $0, faults: 50, kinds: Fault.Kind.allCases) }
        #expect(plans[0].steps.map(\.fault) == plans[1].steps.map(\.fault))
        #expect(plans[0].steps.map(\.after) == plans[1].steps.map(\.after))
        #expect(plans[0].steps.map(\.fault) != plans[2].steps.map(\.fault))
        #expect(Set(plans[0].steps.map(\.fault.kind)).count > 5)
    }

    @Test func `rows that are missing and rows that are too much are told`() {
        let difference = ChaosReport.difference(["a", "b", "b", "d"], ["b", "c", "d", "e"])
        #expect(difference.missing == ["c", "e"])
        #expect(difference.extra == ["a", "b"])
        let same = ChaosReport.difference(["a", "a"], ["a", "a"])
        #expect(same.missing.isEmpty && same.extra.isEmpty)
    }
}
