import DataflowOperator
import DataflowTesting
import Testing

@testable import Sample

private let schema = Schema([
    Field("user", .int64), Field("page", .string), Field("price", .float64), Field("tags", .list(.string)),
])

private func settings(_ rate: Double, key: [String]? = nil, seed: Int = 0) -> SampleConfig {
    var config = SampleConfig()
    config.rate = rate
    config.key = key.map { OneOrMany($0.map { Located($0) }) }
    config.seed = seed
    return config
}

private func row(_ i: Int64) -> [Value] {
    [i % 9 == 0 ? .null : .int(i % 500), .string("page \(i)"), .float(Double(i) / 3), .list([.string("t\(i % 3)")])]
}

private func sampled(_ config: SampleConfig, _ rows: [[Value]], size: Int = 8192, input: Stream = Stream(schema)) throws
    -> [[Value]]
{
    let harness = try OperatorHarness(Sample.self, config, input: input)
    for start in stride(from: 0, to: rows.count, by: size) {
        try harness.process(Array(rows[start..<min(rows.count, start + size)]), schema: schema)
    }
    #expect(harness.accountsForEveryRow)
    return harness.output.rows()
}

@Suite struct SampleTests {
    @Test(arguments: [0.001, 0.01, 0.25, 0.5, 0.9])
    func `the rate is that of the rows, within what chance allows`(rate: Double) throws {
        let rows = (0..<50_000).map { row($0) }
        for seed in 1...3 {
            let count = Double(try sampled(settings(rate, seed: seed), rows).count)
            // Five standard deviations of a binomial distribution.
            let deviation = (50_000 * rate * (1 - rate)).squareRoot()
            #expect(abs(count - 50_000 * rate) < 5 * deviation, "seed \(seed)")
        }
    }

    @Test func `everything goes on at rate 1, and next to nothing at the smallest`() throws {
        let rows = (0..<1000).map { row($0) }
        #expect(try sampled(settings(1), rows) == rows)
        #expect(try sampled(settings(1e-300), rows).isEmpty)
    }

    @Test(arguments: [1, 7])
    func `the same rows are chosen whatever the batches, and some of them at a lower rate`(size: Int) throws {
        let rows = (0..<2000).map { row($0) }
        let half = try sampled(settings(0.5, seed: 4), rows)
        #expect(try sampled(settings(0.5, seed: 4), rows, size: size) == half)
        #expect(try sampled(settings(0.5, seed: 5), rows) != half)
        #expect(Set(half).isSuperset(of: try sampled(settings(0.2, seed: 4), rows, size: size)))
    }

    @Test func `the same rows are chosen at any parallelism and over restarts`() async throws {
        let rows = (0..<3000).map { row($0) }
        let expected = try sampled(settings(0.3, seed: 9), rows).map { "\($0)" }.sorted()
        for pieces in [[1], [2], [4], [1, 4, 3]] {
            let found = CollectedRows()
            let splits = (0..<3).map { split in
                stride(from: 0, to: 1000, by: 50).map { start in
                    MemoryScript.Step.batch(
                        RecordBatch(schema, rows: Array(rows[split * 1000 + start..<split * 1000 + start + 50])))
                }
            }
            var pipeline = TestPipeline()
            try pipeline.add("pages", MemorySource.self, .init(MemoryScript(schema, splits: splits)))
            try pipeline.add("some", Sample.self, settings(0.3, seed: 9), from: "pages")
            try pipeline.add("out", CollectingSink.self, .init(found), from: "some")
            try await pipeline.run(inPieces: pieces, rows: 3000)
            #expect(found.rows.map { "\($0)" }.sorted() == expected)
        }
    }

    @Test func `rows of one key go on together`() throws {
        let rows = (0..<5000).map { row($0) }
        let chosen = try sampled(settings(0.2, key: ["user"]), rows)
        let users = Set(chosen.map { $0[0] })
        #expect(chosen == rows.filter { users.contains($0[0]) })
        #expect((60...140).contains(users.count))
    }

    @Test func `an upsert stream is sampled by its key, so that deletes find their rows`() throws {
        let input = Stream(schema, kind: .upsert(key: ["user"]), deletes: true)
        let harness = try OperatorHarness(Sample.self, settings(0.5), input: input)
        try harness.process((1...200).map { [.int($0), "x", .null, .null] }, schema: schema)
        let there = harness.take().table(key: ["user"]).count
        #expect((60...140).contains(there))
        try harness.process(
            RecordBatch(
                schema, rows: (1...200).map { [.int($0), .null, .null, .null] },
                deletes: (1...200).map { _ in true }))
        #expect(harness.output.changes().filter(\.isDelete).count == there)
        #expect(throws: ConfigError.self) { _ = try Sample.outputs(settings(0.5, key: ["page"]), inputs: [input]) }
    }

    @Test func `only the columns that decide are needed besides those that are read`() {
        let input = Stream(schema, eventTime: nil)
        #expect(
            Sample.columnsUsed(settings(0.5, key: ["user"]), inputs: [input], downstream: .some(["page"]))
                == [.some(["user", "page"])])
        #expect(
            Sample.columnsUsed(settings(0.5), inputs: [input], downstream: .some(["page"])) == [
                .some(Set(schema.names))
            ])
    }

    @Test func `a key that is not there is found before running`() {
        let error = #expect(throws: ConfigError.self) {
            _ = try Sample.outputs(settings(0.5, key: ["usr"]), inputs: [Stream(schema)])
        }
        #expect(error?.diagnostics.first?.message == "there is no column `usr`, did you mean `user`?")
    }

    @Test(arguments: ["0", "-0.1", "1.1", "half"])
    func `a rate is a part of one`(text: String) {
        #expect(throws: ConfigError.self) { _ = try SampleConfig.schema.decode(.mapping([("rate", .text(text))])) }
    }

    @Test func `sample keeps to what every operator has to`() throws {
        let batches = [0, 1].map { part in RecordBatch(schema, rows: (0..<30).map { row(part * 30 + $0) }) }
        for config in [settings(0.5, seed: 3), settings(0.25, key: ["user", "page"])] {
            #expect(
                try OperatorConformance.check(Sample.self, config, inputs: [Stream(schema)], batches: batches) == [])
        }
    }
}
