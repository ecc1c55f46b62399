import DataflowOperator
import DataflowTesting
import Testing

@testable import Split

private let schema = Schema([
    Field("id", .int64, nullable: false), Field("amount", .int64), Field("country", .string),
])

private func settings(_ routes: [(String, String)], _ mode: SplitConfig.Mode = .first) throws -> SplitConfig {
    var config = SplitConfig()
    config.routes = ConfigMap(try routes.map { .init($0.0, try ExpressionText($0.1)) })
    config.mode = mode
    return config
}

private let routes = [("big", "amount > 100"), ("eu", "country in ('DE', 'FR')")]
private let rows: [[Value]] = [
    [1, 500, "DE"], [2, 500, "US"], [3, 5, "FR"], [4, 5, "US"], [5, .null, .null], [6, .null, "DE"],
]

private func ids(_ output: Emitted, _ port: Int) -> [Value] { output.rows(OutputPort(index: port)).map { $0[0] } }

@Suite struct SplitTests {
    @Test(
        arguments: [
            (SplitConfig.Mode.first, [[4, 5], [1, 2], [3, 6]]), (.all, [[4, 5], [1, 2], [1, 3, 6]]),
        ] as [(SplitConfig.Mode, [[Value]])])
    func `a row leaves through its routes, and stays where none takes it`(
        mode: SplitConfig.Mode, expected: [[Value]]
    ) throws {
        for size in [1, 4, 6] {
            let harness = try OperatorHarness(Split.self, try settings(routes, mode), input: Stream(schema))
            for start in stride(from: 0, to: rows.count, by: size) {
                try harness.process(Array(rows[start..<min(rows.count, start + size)]), schema: schema)
            }
            for port in 0...2 { #expect(ids(harness.output, port) == expected[port]) }
            #expect(harness.output.errors.isEmpty && harness.accountsForEveryRow)
        }
    }

    @Test func `a condition without a value sends its row to the errors, unless a route had taken it`() throws {
        let routes = [("big", "amount > 100"), ("odd", "1000 / amount = 8"), ("rest", "true")]
        let input: [[Value]] = [[1, 0, .null], [2, 500, .null], [3, 125, .null], [4, 1, .null]]
        let first = try OperatorHarness(Split.self, try settings(routes), input: Stream(schema))
        try first.process(input, schema: schema)
        #expect(first.output.errors.map(\.code) == ["division_by_zero"])
        #expect([1, 2, 3].map { ids(first.output, $0) } == [[2, 3], [], [4]])
        #expect(first.accountsForEveryRow)
        let swapped = [routes[1], routes[0], routes[2]]
        let all = try OperatorHarness(Split.self, try settings(swapped, .all), input: Stream(schema))
        try all.process(input, schema: schema)
        #expect(all.output.errors.count == 1)
        #expect([0, 1, 2, 3].map { ids(all.output, $0) } == [[], [3], [2, 3], [2, 3, 4]])
        #expect(all.accountsForEveryRow)
    }

    @Test func `a key of an upsert stream that changes its route is deleted where it was`() throws {
        let input = Stream(schema, kind: .upsert(key: ["id"]), deletes: false)
        let harness = try OperatorHarness(Split.self, try settings(routes), input: input)
        #expect(harness.outputs.map(\.deletes) == [true, true, true])
        func tables() -> [[Value]] {
            (0...2).map {
                harness.output.table(key: ["id"], OutputPort(index: $0)).keys.map { $0[0] }.sorted { "\($0)" < "\($1)" }
            }
        }
        try harness.process(rows, schema: schema)
        #expect(tables() == [[4, 5], [1, 2], [3, 6]])
        try harness.process([[1, 5, "DE"], [3, 5, "US"], [4, 900, "US"]], schema: schema)
        #expect(tables() == [[3, 5], [2, 4], [1, 6]])
        try harness.process(
            RecordBatch(schema, rows: [[2, .null, .null], [6, .null, .null]], deletes: [true, true]))
        #expect(tables() == [[3, 5], [4], [1]])
        #expect(harness.accountsForEveryRow)
    }

    @Test(arguments: [SplitConfig.Mode.first, .all], [[1], [2], [4], [1, 4, 3]])
    func `every port has the rows of its condition, at any parallelism and over restarts`(
        mode: SplitConfig.Mode, pieces: [Int]
    ) async throws {
        let rows: [[Value]] = (0..<600).map { [.int($0), .int($0 * 37 % 211), .string(["DE", "US"][Int($0 % 2)])] }
        let splits = (0..<3).map { split in
            stride(from: 0, to: 200, by: 20).map {
                MemoryScript.Step.batch(
                    RecordBatch(schema, rows: Array(rows[split * 200 + $0..<split * 200 + $0 + 20])))
            }
        }
        let found = (0..<3).map { _ in CollectedRows() }
        var pipeline = TestPipeline()
        try pipeline.add("orders", MemorySource.self, .init(MemoryScript(schema, splits: splits)))
        try pipeline.add("routed", Split.self, try settings(routes, mode), from: "orders")
        try pipeline.add("rest", CollectingSink.self, .init(found[0]), from: "routed")
        try pipeline.add("big", CollectingSink.self, .init(found[1]), from: "routed.big")
        try pipeline.add("eu", CollectingSink.self, .init(found[2]), from: "routed.eu")
        try await pipeline.run(inPieces: pieces, rows: 600)
        let isBig: ([Value]) -> Bool = { if case .int(let amount) = $0[1] { amount > 100 } else { false } }
        let isEU: ([Value]) -> Bool = { $0[2] == "DE" }
        let expected = [
            rows.filter { !isBig($0) && !isEU($0) }, rows.filter(isBig),
            rows.filter { isEU($0) && (mode == .all || !isBig($0)) },
        ]
        for (found, expected) in zip(found, expected) {
            #expect(found.rows.count == expected.count)
            #expect(Set(found.rows) == Set(expected))
        }
    }

    @Test(
        arguments: [
            ("errors", "true", "`errors` is the port of rows that cannot be processed, expected another name"),
            ("a.b", "true", "`a.b` is no name of a port, expected letters, digits, `-` and `_`"),
        ])
    func `a port has a name that can be written behind the node's`(name: String, condition: String, message: String)
        throws
    {
        let found = try settings([(name, condition)]).validate()
        #expect(found.map(\.message) == [message])
    }

    @Test func `conditions are checked against the input`() throws {
        let error = #expect(throws: ConfigError.self) {
            _ = try Split.outputs(try settings([("a", "amont > 1"), ("b", "amount")]), inputs: [Stream(schema)])
        }
        #expect(error?.diagnostics.count == 2)
    }

    @Test func `split keeps to what every operator has to`() throws {
        let batches = [RecordBatch(schema, rows: rows), RecordBatch(schema, rows: rows.reversed())]
        for mode in SplitConfig.Mode.allCases {
            for input in [Stream(schema), Stream(schema, kind: .upsert(key: ["id"]), deletes: true)] {
                let config = try settings(routes, mode)
                #expect(try OperatorConformance.check(Split.self, config, inputs: [input], batches: batches) == [])
            }
        }
    }
}
