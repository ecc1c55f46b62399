import DataflowOperator
import DataflowTesting
import Testing

@testable import TopN

private let slot: Int64 = 10_000_000
private let salesSchema = Schema([
    Field("window_start", .timestamp, nullable: false), Field("country", .string), Field("city", .int64),
    Field("revenue", .float64),
])
private let stream = Stream(salesSchema, eventTime: "window_start")

private func closing(_ n: Int, ties: Ties = .breaking) throws -> TopNConfig {
    var config = try settings(["window_start", "country"], ["revenue desc"], n)
    config.emit = .onClose
    config.ties = ties
    return config
}

/// Rows of several splits in disorder, and what of them is late: behind the latest time of their split less two slots.
private struct Sales {
    var splits: [[[[Value]]]] = []
    var inTime: [[Value]] = []
    var late: [[Value]] = []

    init(splits count: Int, rows: Int, batch size: Int, seed: UInt64) {
        var random = SplitMix(state: seed)
        for _ in 0..<count {
            var latest = Int64.min / 2
            var own: [[Value]] = []
            for index in 0..<rows {
                let back = random.next() % 12 == 0 ? random.next() % 9 : random.next() % 3
                let time = (Int64(index / 8) - Int64(back)) * slot
                let row: [Value] = [
                    .timestamp(time), random.next() % 7 == 0 ? .null : .string(random.next() % 2 == 0 ? "de" : "fr"),
                    .int(Int64(random.next() % 5)),
                    random.next() % 9 == 0 ? .null : .float(Double(random.next() % 6)),
                ]
                own.append(row)
                if time < latest - 2 * slot { late.append(row) } else { inTime.append(row) }
                latest = max(latest, time)
            }
            splits.append(stride(from: 0, to: rows, by: size).map { Array(own[$0..<min(rows, $0 + size)]) })
        }
    }

    /// The n best of each window and country, worked out by sorting, with SQL's ROW_NUMBER or RANK.
    func best(_ n: Int, _ ties: Ties) -> [[Value]] {
        Dictionary(grouping: inTime) { [$0[0], $0[1]] }.values.flatMap { rows in
            let ordered = sorted(rows, [(3, true), (2, false)])
            var result: [[Value]] = []
            for (index, row) in ordered.enumerated() {
                let better = ordered.prefix { $0[3] != row[3] }.count
                let rank = ties == .including ? better + 1 : index + 1
                if rank <= n { result.append(n == 1 ? row : row + [.int(Int64(rank))]) }
            }
            return result
        }
    }
}

private func bag(_ rows: [[Value]]) -> [[Value]: Int] { rows.reduce(into: [:]) { $0[$1, default: 0] += 1 } }

@Suite struct ClosingTopTests {
    @Test(arguments: [1, 3], [Ties.breaking, .including])
    func `each partition leaves once with its final rows, whatever the batches, the parallelism and the restarts`(
        n: Int, ties: Ties
    ) async throws {
        for (seed, size) in [(1, 1), (2, 7), (3, 8192)] as [(UInt64, Int)] {
            let sales = Sales(splits: 3, rows: 200, batch: size, seed: seed)
            let config = try closing(n, ties: ties)
            for pieces in [[1], [2], [4], [1, 4, 3]] {
                let best = CollectedRows()
                let late = CollectedRows()
                var pipeline = TestPipeline()
                let script = MemoryScript(
                    salesSchema, splits: sales.splits.map { $0.map { .batch(RecordBatch(salesSchema, rows: $0)) } })
                try pipeline.add("sales", MemorySource.self, .init(script))
                try pipeline.add(
                    "timed", EventTimeStamp.self,
                    .init("window_start", outOfOrderness: .microseconds(2 * slot)), from: "sales")
                try pipeline.add("best", TopN.self, config, from: "timed")
                try pipeline.add("out", CollectingSink.self, .init(best), from: "best")
                try pipeline.add("late", CollectingSink.self, .init(late), from: "best.late")
                try await pipeline.run(inPieces: pieces, rows: 600)
                let place = "seed \(seed), batches of \(size), parallelism \(pieces)"
                #expect(bag(best.rows) == bag(sales.best(n, ties)), "\(place)")
                #expect(bag(late.rows) == bag(sales.late), "\(place)")
            }
        }
    }

    @Test func `a partition leaves when the watermark has passed its time, the earliest first, and is let go`() throws {
        let harness = try OperatorHarness(TopN.self, try closing(2), input: stream)
        func row(_ slots: Int64, _ city: Int64, _ revenue: Double) -> [Value] {
            [.timestamp(slots * slot), "de", .int(city), .float(revenue)]
        }
        #expect(harness.outputs[0].kind == .append)
        #expect(harness.outputs[0].eventTime == "window_start")
        #expect(harness.outputs[0].schema.names == ["window_start", "country", "city", "revenue", "rank"])
        try harness.process([row(2, 1, 5), row(1, 2, 1), row(1, 3, 2), row(1, 4, 3)], schema: salesSchema)
        try harness.advance(to: .time(slot))
        #expect(harness.take().rows().isEmpty)
        try harness.advance(to: .time(slot + 1))
        #expect(harness.output.rows() == [row(1, 4, 3) + [1], row(1, 3, 2) + [2]])
        #expect(harness.take().watermarks == [.time(slot + 1)])
        // Gone: what comes for it now is late, and so is what its split's watermark had passed.
        try harness.process([row(1, 9, 9)], schema: salesSchema)
        #expect(harness.take().rows(OutputPort(index: 1)) == [row(1, 9, 9)])
        let marked = RecordBatch(salesSchema, rows: [row(3, 1, 1), row(3, 2, 2)])
        try harness.process(marked.withSplit(0, splitWatermark: Values([4 * slot, .min])))
        #expect(harness.take().rows(OutputPort(index: 1)) == [row(3, 1, 1)])
        let state = try harness.checkpoint()
        #expect(state["partitions"]?.rowCount == 2)
        try harness.advance(to: .end)
        #expect(harness.output.rows() == [row(2, 1, 5) + [1], row(3, 2, 2) + [1]])
        #expect(harness.take().watermarks == [.end])
        #expect(try harness.checkpoint()["partitions"]?.rowCount == 0)
        #expect(harness.accountsForEveryRow)
        // What had left before the restart stays closed.
        let restored = try OperatorHarness(TopN.self, try closing(2), input: stream, restoring: state)
        try restored.process([row(1, 9, 9), row(2, 2, 6)], schema: salesSchema)
        #expect(restored.take().rows(OutputPort(index: 1)) == [row(1, 9, 9)])
        try restored.finish(lastWatermark: false)
        #expect(restored.take().rows() == [row(2, 2, 6) + [1], row(2, 1, 5) + [2], row(3, 2, 2) + [1]])
    }

    @Test func `a hundred thousand rows of one partition leave in order`() throws {
        var config = try closing(100_000)
        config.partitionBy = ["window_start"]
        let harness = try OperatorHarness(TopN.self, config, input: stream)
        let count: Int64 = 150_000
        for start in stride(from: 0, to: count, by: 5000) {
            try harness.process(
                (start..<start + 5000).map { [.timestamp(0), .null, .int($0), .float(Double($0 * 7919 % count))] },
                schema: salesSchema)
        }
        try harness.finish()
        let rows = harness.output.rows()
        #expect(rows.count == 100_000)
        #expect(rows.map { $0[3] } == (0..<100_000).map { .float(Double(count - 1 - $0)) })
        #expect(rows.map { $0[4] } == (1...100_000).map { .int($0) })
    }

    @Test(
        arguments: [
            (Stream(salesSchema), "`emit: on_close` needs event time, which the input does not have"),
            (
                Stream(salesSchema, eventTime: "city"),
                "`emit: on_close` needs the event time `city` in `partition_by`: a partition is final when the watermark has passed its time"
            ),
            (
                Stream(salesSchema, kind: .upsert(key: ["city"])),
                "`emit: on_close` needs a stream of facts: the rows of an upsert stream (by city) can change at any time, so no partition is ever final"
            ),
        ] as [(Stream, String)])
    func `an input whose partitions are never final is refused before running`(input: Stream, message: String) throws {
        let error = #expect(throws: ConfigError.self) {
            _ = try TopN.outputs(try closing(2), inputs: [input])
        }
        #expect(error?.diagnostics.first?.message == message)
    }

    @Test func `ties are included on close and behind upserts, and refused where an update could not name them`() throws
    {
        var config = try settings(["country"], ["revenue desc"], 1)
        config.ties = .including
        #expect(throws: ConfigError.self) { _ = try TopN.outputs(config, inputs: [stream]) }
        let upserts = Stream(salesSchema, kind: .upsert(key: ["city"]))
        let harness = try OperatorHarness(TopN.self, config, input: upserts)
        func row(_ city: Int64, _ revenue: Double) -> [Value] { [.timestamp(0), "de", .int(city), .float(revenue)] }
        try harness.process([row(1, 5), row(2, 5), row(3, 4), row(4, 5)], schema: salesSchema)
        try harness.advanceClock(by: .seconds(1))
        #expect(Set(harness.output.table(key: ["country", "city"]).values) == [row(1, 5), row(2, 5), row(4, 5)])
        try harness.process([row(1, 6)], schema: salesSchema)
        try harness.advanceClock(by: .seconds(1))
        #expect(Set(harness.output.table(key: ["country", "city"]).values) == [row(1, 6)])
        try harness.process([row(1, 4), row(2, 4), row(4, 4)], schema: salesSchema)
        try harness.advanceClock(by: .seconds(1))
        #expect(harness.output.table(key: ["country", "city"]).count == 4)
    }

    @Test func `a top that closes keeps to what every operator has to`() throws {
        for ties in Ties.allCases {
            let sales = Sales(splits: 1, rows: 60, batch: 20, seed: 5).splits[0].map {
                RecordBatch(salesSchema, rows: $0)
            }
            let watermarks: [Watermark?] = [.time(0), nil, .time(3 * slot)]
            let config = try closing(2, ties: ties)
            #expect(
                try OperatorConformance.check(
                    TopN.self, config, inputs: [stream], batches: sales, watermarks: watermarks) == [])
        }
    }
}
