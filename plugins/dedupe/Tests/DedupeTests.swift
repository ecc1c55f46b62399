import DataflowOperator
import DataflowTesting
import Testing

@testable import Dedupe

private let second: Int64 = 1_000_000
private let schema = Schema([
    Field("at", .timestamp, nullable: false), Field("user", .string), Field("split", .int64), Field("number", .int64),
])
private let events = Stream(schema, eventTime: "at")

private func settings(_ key: [String], within: Duration? = nil) throws -> DedupeConfig {
    var config = DedupeConfig()
    config.key = OneOrMany(try key.map { try ExpressionText($0) })
    config.within = within
    return config
}

private func bag(_ rows: [[Value]]) -> [[Value]: Int] { rows.reduce(into: [:]) { $0[$1, default: 0] += 1 } }

/// Splits of rows in disorder, and what becomes of each, decided one row at a time without ever forgetting.
private struct Clicks {
    static let within: Int64 = 10 * second
    static let outOfOrderness: Int64 = 8 * second
    var splits: [[[Value]]] = []
    var kept: [[Value]] = []
    var duplicates: [[Value]] = []
    var late: [[Value]] = []

    init(splits count: Int, rows: Int, seed: UInt64) {
        var random = SplitMix(state: seed)
        for split in 0..<count {
            var own: [[Value]] = []
            var latest = Int64.min / 2
            var times: [Value: [Int64]] = [:]
            for number in 0..<rows {
                let back = random.next() % 9 == 0 ? random.next() % 40 : random.next() % 9
                let time = (Int64(number) - Int64(back)) * second / 2
                let user: Value =
                    random.next() % 9 == 0 ? .null : .string("a user with a long name \(random.next() % 6)")
                let row: [Value] = [.timestamp(time), user, .int(Int64(split)), .int(Int64(number))]
                own.append(row)
                let watermark = latest - Clicks.outOfOrderness
                if time < watermark, time <= watermark - Clicks.within {
                    late.append(row)
                } else if times[user, default: []].contains(where: { abs($0 - time) < Clicks.within }) {
                    duplicates.append(row)
                } else {
                    times[user, default: []].append(time)
                    kept.append(row)
                }
                latest = max(latest, time)
            }
            splits.append(own)
        }
    }
}

@Suite struct DedupeTests {
    @Test(arguments: [1, 7, 8192], [[1], [2], [4], [1, 4, 3]])
    func
        `rows go on, are duplicates or late as a row at a time says, whatever the batches, the parallelism and the restarts`(
            size: Int, pieces: [Int]
        ) async throws
    {
        for seed in 1...3 as ClosedRange<UInt64> {
            let clicks = Clicks(splits: 3, rows: 300, seed: seed)
            #expect(!clicks.late.isEmpty && !clicks.duplicates.isEmpty)
            let (kept, duplicates, late) = (CollectedRows(), CollectedRows(), CollectedRows())
            let script = MemoryScript(
                schema,
                splits: clicks.splits.map { rows in
                    stride(from: 0, to: rows.count, by: size).map {
                        .batch(RecordBatch(schema, rows: Array(rows[$0..<min(rows.count, $0 + size)])))
                    }
                })
            var pipeline = TestPipeline()
            try pipeline.add("clicks", MemorySource.self, .init(script))
            try pipeline.add(
                "timed", EventTimeStamp.self, .init("at", outOfOrderness: .microseconds(Clicks.outOfOrderness)),
                from: "clicks")
            try pipeline.add(
                "unique", Dedupe.self,
                try settings(
                    [size == 7 ? "coalesce(upper(user), '-')" : "user", "split"], within: .microseconds(Clicks.within)),
                from: "timed")
            try pipeline.add("kept", CollectingSink.self, .init(kept), from: "unique")
            try pipeline.add("duplicates", CollectingSink.self, .init(duplicates), from: "unique.duplicates")
            try pipeline.add("late", CollectingSink.self, .init(late), from: "unique.late")
            // State by increments, a few rows at a time.
            let (run, limits) = (pipeline, IncrementalTable.Limits(whole: 0, part: 3))
            try await IncrementalTable.$limits.withValue(limits) { try await run.run(inPieces: pieces, rows: 900) }
            #expect(bag(kept.rows) == bag(clicks.kept), "seed \(seed)")
            #expect(bag(duplicates.rows) == bag(clicks.duplicates), "seed \(seed)")
            #expect(bag(late.rows) == bag(clicks.late), "seed \(seed)")
        }
    }

    @Test(arguments: [nil, Duration.seconds(60)] as [Duration?])
    func `an order that is sent again through other partitions goes on once`(within: Duration?) async throws {
        for seed in 1...3 as ClosedRange<UInt64> {
            var random = SplitMix(state: seed)
            let orders: [[Value]] = (0..<400).map {
                [.timestamp($0 * second / 100), .string("order \($0)"), .null, .int($0)]
            }
            let splits = (0..<3).map { _ in orders.filter { _ in random.next() % 3 > 0 } }
            let all = Set(splits.joined())
            let kept = CollectedRows()
            let script = MemoryScript(
                schema,
                splits: splits.map { rows in
                    stride(from: 0, to: rows.count, by: 16).map {
                        .batch(RecordBatch(schema, rows: Array(rows[$0..<min(rows.count, $0 + 16)])))
                    }
                })
            var pipeline = TestPipeline()
            try pipeline.add("orders", MemorySource.self, .init(script))
            try pipeline.add("timed", EventTimeStamp.self, .init("at"), from: "orders")
            try pipeline.add("unique", Dedupe.self, try settings(["user"], within: within), from: "timed")
            try pipeline.add("kept", CollectingSink.self, .init(kept), from: "unique")
            let (run, limits) = (pipeline, IncrementalTable.Limits(whole: 0, part: 3))
            try await IncrementalTable.$limits.withValue(limits) {
                try await run.run(inPieces: [1, 4, 3], rows: splits.joined().count)
            }
            #expect(kept.rows.count == all.count, "seed \(seed)")
            #expect(Set(kept.rows) == all, "seed \(seed)")
        }
    }

    @Test func `the watermark frees what can make no row a duplicate any more`() throws {
        let harness = try OperatorHarness(Dedupe.self, try settings(["user"], within: .seconds(10)), input: events)
        func rows(_ range: Range<Int64>) -> [[Value]] {
            range.map { [.timestamp($0 * second), .string("\($0)"), .null, .null] }
        }
        try harness.process(rows(0..<100), schema: schema)
        try harness.advance(to: .time(60 * second))
        #expect(try harness.checkpoint()["keys"]?.rowCount == 59)
        // In time, since it is not behind by as much as `within`, and known.
        try harness.process([[.timestamp(55 * second), "51", .null, .null]], schema: schema)
        #expect(harness.take().rows(OutputPort(index: 1)).count == 1)
        // Of a split that was idle: what it would be compared with has been forgotten.
        try harness.process([[.timestamp(50 * second), "1", .null, .null]], schema: schema)
        #expect(harness.take().rows(OutputPort(index: 2)).count == 1)
        try harness.advance(to: .time(200 * second))
        #expect(try harness.checkpoint()["keys"]?.rowCount == 0)
        try harness.process(rows(200..<300), schema: schema)
        // A later run may read on, so the end of input frees nothing.
        try harness.advance(to: .end)
        #expect(try harness.checkpoint()["keys"]?.rowCount == 100)
        #expect(harness.accountsForEveryRow)
    }

    @Test func `without event time the clock decides, and frees`() throws {
        let config = try settings(["user"], within: .seconds(10))
        let harness = try OperatorHarness(Dedupe.self, config, input: Stream(schema))
        func click(_ user: String) throws -> Int {
            try harness.process([[.timestamp(0), .string(user), .null, .null]], schema: schema)
            return harness.take().rows().count
        }
        #expect(try click("a") == 1)
        try harness.advanceClock(by: .seconds(6))
        #expect(try click("a") == 0)
        #expect(try click("b") == 1)
        // From the row that was kept, not from the last one seen.
        try harness.advanceClock(by: .milliseconds(4001))
        #expect(try click("a") == 1)
        #expect(try click("b") == 0)
        let state = try harness.checkpoint()
        #expect(state["keys"]?.rowCount == 2)
        for _ in 0..<20 { try harness.advanceClock(by: .seconds(1)) }
        #expect(try harness.checkpoint()["keys"]?.rowCount == 0)
        let restored = try OperatorHarness(
            Dedupe.self, config, input: Stream(schema), restoring: state, clock: harness.clock)
        for _ in 0..<20 { try restored.advanceClock(by: .seconds(1)) }
        #expect(try restored.checkpoint()["keys"]?.rowCount == 0)
    }

    @Test func `times that are kept and forgotten agree with a list of them`() {
        for seed in 1...4 as ClosedRange<UInt64> {
            var random = SplitMix(state: seed)
            let kept = KeptTimes(keys: [.int64], within: 10, state: schema)
            var expected: [Int64: [Int64]] = [:]
            var now: Int64 = 0
            for round in 0..<300 {
                now += Int64(random.next() % 20)
                let keys = (0..<20).map { _ in Int64(random.next() % 12) }
                let times = keys.map { _ in now - Int64(random.next() % 80) }
                let ids = kept.keys([.int64(keys)], count: 20)
                let result = kept.offer(ids, Values(times))
                for (i, key) in keys.enumerated() {
                    let isKept = expected[key, default: []].allSatisfy { abs($0 - times[i]) >= 10 }
                    #expect(result[i] == isKept, "seed \(seed) round \(round)")
                    if isKept { expected[key, default: []].append(times[i]) }
                }
                if round % 5 == 0 {
                    kept.forget(upTo: now - 60)
                    expected = expected.mapValues { $0.filter { $0 > now - 60 } }.filter { !$0.value.isEmpty }
                    #expect(kept.table.count == expected.count, "seed \(seed) round \(round)")
                }
                if round % 100 == 99 {
                    kept.forget(upTo: .max)
                    expected = [:]
                }
            }
        }
    }

    @Test(
        arguments: [
            (["usr"], Stream(schema), "unknown column \"usr\""),
            (["user", "user"], Stream(schema), "`user` is there twice in `key`"),
            (
                ["user"], Stream(schema, kind: .upsert(key: ["number"])),
                "dedupe takes a stream of facts: an upsert stream (by number) has one row a key already, and it is the last"
            ),
        ] as [([String], Stream, String)])
    func `what cannot work is found before running`(key: [String], input: Stream, message: String) {
        let error = #expect(throws: ConfigError.self) { _ = try Dedupe.outputs(try settings(key), inputs: [input]) }
        #expect(error?.diagnostics.first?.message == message)
    }

    @Test func `a key that has no value goes to the errors, and one that is computed is not in the output`() throws {
        let config = try settings(["1000 / number", "user"], within: .seconds(10))
        let harness = try OperatorHarness(Dedupe.self, config, input: events)
        func row(_ user: String, _ number: Int64, at seconds: Int64 = 0) -> [Value] {
            [.timestamp(seconds * second), .string(user), .null, .int(number)]
        }
        try harness.process([row("a", 7), row("a", 0), row("a", 8), row("b", 7), row("a", 7)], schema: schema)
        #expect(harness.output.errors.map(\.code) == ["division_by_zero"])
        #expect(harness.output.rows() == [row("a", 7), row("a", 8), row("b", 7)])
        #expect(harness.output.rows(OutputPort(index: 1)) == [row("a", 7)])
        try harness.process(
            RecordBatch(schema, rows: [row("c", 1)]).withSplit(0, splitWatermark: Values([60 * second])))
        #expect(harness.output.rows(OutputPort(index: 2)) == [row("c", 1)])
        #expect(harness.accountsForEveryRow)
        #expect(
            Dedupe.columnsUsed(config, inputs: [events], downstream: .some([])) == [.some(["at", "user", "number"])])
    }

    @Test func `keys for ever are a warning, and the last row is somebody else's`() throws {
        let lint = DedupeConfig.schema.lint(.mapping([("key", .text("user"))]))
        #expect(
            lint.map(\.message) == [
                "without `within` every key is remembered for ever: the state grows with the number of keys"
            ])
        #expect(DedupeConfig.schema.lint(.mapping([("key", .text("user")), ("within", .text("1h"))])).isEmpty)
        let error = #expect(throws: ConfigError.self) {
            _ = try DedupeConfig.schema.decode(.mapping([("key", .text("user")), ("keep", .text("last"))]))
        }
        #expect(error?.diagnostics.first?.hint?.contains("top-n") == true)
    }

    @Test func `dedupe keeps to what every operator has to`() throws {
        let batches = Clicks(splits: 2, rows: 60, seed: 7).splits.map { RecordBatch(schema, rows: $0) }
        for config in [
            try settings(["user"]), try settings(["user", "split"], within: .seconds(10)),
            try settings(["split / 2", "user"], within: .seconds(10)),
        ] {
            for input in [events, Stream(schema)] {
                #expect(
                    try OperatorConformance.check(
                        Dedupe.self, config, inputs: [input], batches: batches, watermarks: [.time(5 * second)]) == [])
            }
        }
    }
}
