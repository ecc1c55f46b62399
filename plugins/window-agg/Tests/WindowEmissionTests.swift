import DataflowOperator
import DataflowTesting
import Testing

@testable import WindowAgg

@Suite struct WindowEmissionTests {
    private static let narrow = Schema([Field("t", .timestamp), Field("g", .string), Field("v", .int64)])
    private static let input = Stream(narrow, eventTime: "t")

    private func harness(
        _ window: WindowShape, lateness: Duration = .zero, emit: Emission? = nil, restoring: StateSnapshot = []
    ) throws -> OperatorHarness<WindowAgg> {
        let config = try settings(
            groups: ["g"], [("n", "count(*)"), ("s", "sum(v)")], window: window, time: "t", lateness: lateness,
            emit: emit)
        return try OperatorHarness(WindowAgg.self, config, input: WindowEmissionTests.input, restoring: restoring)
    }

    /// Rows at seconds, all with the split's watermark in seconds, if any.
    private func rows(_ rows: [(Int64, Value, Int64)], mark: Int64? = nil) -> RecordBatch {
        let batch = RecordBatch(
            WindowEmissionTests.narrow, rows: rows.map { [.timestamp($0.0 * 1_000_000), $0.1, .int($0.2)] })
        return batch.withSplit(
            0, splitWatermark: mark.map { mark in Values(repeating: mark * 1_000_000, count: rows.count) })
    }

    private func row(_ start: Int64, _ end: Int64, _ group: Value, _ n: Value, _ s: Value) -> [Value] {
        [.timestamp(start * 1_000_000), .timestamp(end * 1_000_000), group, n, s]
    }

    private func advance(_ harness: OperatorHarness<WindowAgg>, _ seconds: Int64) throws {
        try harness.advance(to: .time(seconds * 1_000_000))
    }

    @Test func `a row counts in each sliding window that it lies in, and a window without rows emits nothing`() throws {
        // Windows of 10 s every 4 s start at … -7, -3, 1, 5, 9 …
        let harness = try harness(.sliding(.seconds(10), every: .seconds(4), offset: .seconds(1)))
        try harness.process(rows([(0, "a", 1), (3, "a", 10), (5, .null, 100), (9, "a", 1000), (12, "a", 10000)]))
        try advance(harness, 2)
        #expect(harness.take().rows().isEmpty)
        try advance(harness, 8)
        #expect(
            Set(harness.take().rows())
                == [row(-7, 3, "a", 1, 1), row(-3, 7, "a", 2, 11), row(-3, 7, .null, 1, 100)])
        try harness.process(rows([(100, "b", 7)]))
        try harness.finish()
        #expect(
            Set(harness.output.rows()) == [
                row(1, 11, "a", 2, 1010), row(1, 11, .null, 1, 100), row(5, 15, "a", 2, 11000),
                row(5, 15, .null, 1, 100), row(9, 19, "a", 2, 11000),
                row(93, 103, "b", 1, 7), row(97, 107, "b", 1, 7),
            ])
        #expect(harness.output.errors.isEmpty && harness.accountsForEveryRow)
    }

    @Test func `a row that is late for some of its windows counts in the others, whenever it gets there`() throws {
        for closesFirst in [false, true] {
            let harness = try harness(.sliding(.seconds(10), every: .seconds(5)))
            // 7 lies in [0, 10) and [5, 15); at watermark 12 it is late for the first.
            try harness.process(rows([(7, "a", 1)]))
            if closesFirst { try advance(harness, 12) }
            try harness.process(rows([(7, "a", 10)], mark: 12))
            try harness.process(rows([(3, "a", 100)], mark: 12))
            try harness.finish()
            #expect(Set(harness.output.rows()) == [row(0, 10, "a", 1, 1), row(5, 15, "a", 2, 11)])
            #expect(harness.output.rows(OutputPort(index: 1)) == [[.timestamp(3_000_000), "a", 100]])
            #expect(harness.output.errors.isEmpty && harness.accountsForEveryRow)
        }
    }

    @Test func `state of a group goes with the last window that it is in`() throws {
        let harness = try harness(.sliding(.seconds(10), every: .seconds(5)))
        try harness.process(rows([(1, "a", 1), (6, "b", 1), (11, "a", 1)]))
        #expect(try harness.checkpoint()["windows"]?.rowCount == 3)
        try advance(harness, 10)
        #expect(try harness.checkpoint()["windows"]?.rowCount == 2)
        try advance(harness, 15)
        #expect(try harness.checkpoint()["windows"]?.rowCount == 1)
        try advance(harness, 20)
        #expect(try harness.checkpoint()["windows"]?.rowCount == 0)
        #expect(
            harness.take().watermarks == [.time(5_000_000), .time(10_000_000), .time(15_000_000)],
            "what comes next starts in the first open window")
    }

    @Test(arguments: [false, true])
    func `a window leaves at its end and again, corrected, once a watermark while it takes late rows`(slides: Bool)
        throws
    {
        let harness = try harness(
            slides ? .sliding(.seconds(10), every: .seconds(5)) : .tumbling(.seconds(10)), lateness: .seconds(5))
        let spill: (Int64, Int64) -> [[Value]] = { n, s in slides ? [self.row(-5, 5, "a", .int(n), .int(s))] : [] }
        try harness.process(rows([(1, "a", 1), (2, "a", 10), (9, "b", 5)]))
        try advance(harness, 10)
        #expect(Set(harness.take().rows()) == Set([row(0, 10, "a", 2, 11), row(0, 10, "b", 1, 5)] + spill(2, 11)))
        try harness.process(rows([(3, "a", 100)], mark: 10))
        try harness.process(rows([(4, "a", 1000)], mark: 11))
        #expect(harness.take().rows().isEmpty)
        try advance(harness, 12)
        // Both are late for [-5, 5), which took rows until 10.
        #expect(harness.take().rows() == [row(0, 10, "a", 4, 1111)])
        try advance(harness, 13)
        #expect(harness.take().rows().isEmpty)
        // A row that is not late but whose window has left.
        try harness.process(rows([(2, "a", 10000)], mark: 14))
        let state = try harness.checkpoint()
        #expect(harness.take().rows() == [row(0, 10, "a", 5, 11111)], "corrections lie before a checkpoint")
        let restored = try self.harness(
            slides ? .sliding(.seconds(10), every: .seconds(5)) : .tumbling(.seconds(10)), lateness: .seconds(5),
            restoring: state)
        try restored.process(rows([(5, "a", 1)], mark: 14))
        try restored.process(rows([(4, "a", 7)], mark: 15))
        try advance(restored, 15)
        let more = slides ? [row(5, 15, "b", 1, 5), row(5, 15, "a", 1, 1)] : []
        #expect(Set(restored.take().rows()) == Set([row(0, 10, "a", 6, 11112)] + more))
        #expect(restored.accountsForEveryRow && restored.output.errors.isEmpty)
        try advance(restored, 20)
        #expect(try restored.checkpoint()["windows"]?.rowCount == 0)
        try restored.finish()
        #expect(restored.take().rows().isEmpty)
    }

    @Test func `with emit open windows are updated at most once in that time, only groups that changed`() throws {
        let harness = try harness(.tumbling(.seconds(10)), emit: .every(.seconds(1)))
        try harness.process(rows([(1, "a", 1), (12, "a", 5), (1, "b", 2)]))
        try harness.advanceClock(by: .milliseconds(300))
        try harness.advanceClock(by: .zero)
        #expect(
            Set(harness.take().rows())
                == [row(0, 10, "a", 1, 1), row(0, 10, "b", 1, 2), row(10, 20, "a", 1, 5)])
        for _ in 0..<5 {
            try harness.process(rows([(2, "a", 1)]))
            try harness.advanceClock(by: .milliseconds(150))
        }
        #expect(harness.take().rows().isEmpty)
        try harness.advanceClock(by: .seconds(1))
        #expect(harness.take().rows() == [row(0, 10, "a", 6, 6)])
        try harness.process(rows([(3, "b", 1)]))
        try advance(harness, 10)
        #expect(harness.take().rows() == [row(0, 10, "b", 2, 3)], "the last result at the close")
        try harness.advanceClock(by: .seconds(2))
        try harness.process(rows([(15, "c", 1)]))
        _ = try harness.checkpoint()
        #expect(harness.take().rows() == [row(10, 20, "c", 1, 1)], "before a checkpoint every change is told")
        try harness.finish()
        #expect(harness.take().rows().isEmpty, "what was told already is not told again")
    }

    @Test func `with emit a group of a sliding window that changed is updated in each of its windows`() throws {
        let harness = try harness(.sliding(.seconds(10), every: .seconds(5)), emit: .every(.seconds(1)))
        try harness.process(rows([(6, "a", 1), (6, "b", 1), (12, "a", 10)]))
        try harness.advanceClock(by: .seconds(1))
        try harness.advanceClock(by: .seconds(1))
        #expect(
            Set(harness.take().rows()) == [
                row(0, 10, "a", 1, 1), row(0, 10, "b", 1, 1), row(5, 15, "a", 2, 11), row(5, 15, "b", 1, 1),
                row(10, 20, "a", 1, 10),
            ])
        try harness.process(rows([(7, "a", 100)]))
        try advance(harness, 10)
        #expect(harness.take().rows() == [row(0, 10, "a", 2, 101)])
        try harness.advanceClock(by: .seconds(1))
        #expect(harness.take().rows() == [row(5, 15, "a", 3, 111)])
        #expect(harness.outputs[0].kind == .upsert(key: ["window_start", "window_end", "g"]))
        #expect(!harness.outputs[0].deletes)
    }

    @Test func `sliding windows over the time of processing close behind its clock`() throws {
        let config = try settings(
            groups: ["g"], [("n", "count(*)")], window: .sliding(.seconds(10), every: .seconds(5)))
        let clock = ManualClock(wallMicroseconds: 1_000_000_000_000)
        let stream = Stream(WindowEmissionTests.narrow)
        let harness = try OperatorHarness(WindowAgg.self, config, input: stream, clock: clock)
        func row(_ start: Int64, _ n: Value) -> [Value] {
            let start = 1_000_000_000_000 + start * 1_000_000
            return [.timestamp(start), .timestamp(start + 10_000_000), "a", n]
        }
        try harness.process(rows([(0, "a", 1), (0, "a", 1)]))
        try harness.advanceClock(by: .seconds(5))
        try harness.process(rows([(0, "a", 1)]))
        try harness.advanceClock(by: .milliseconds(400))
        #expect(harness.take().rows().isEmpty)
        try harness.advanceClock(by: .milliseconds(200))
        #expect(harness.take().rows() == [row(-5, 2)])
        let state = try harness.checkpoint()
        #expect(harness.take().rows().isEmpty, "a stop at a checkpoint does not close windows")
        let restored = try OperatorHarness(WindowAgg.self, config, input: stream, restoring: state, clock: clock)
        try restored.advanceClock(by: .seconds(5))
        #expect(restored.take().rows() == [row(0, 3)])
        try restored.finish(lastWatermark: false)
        #expect(restored.take().rows() == [row(5, 1)])
        #expect(restored.accountsForEveryRow)
    }

    @Test func `rows of a split that was idle count in the sliding windows that are left`() throws {
        let harness = try harness(.sliding(.seconds(10), every: .seconds(5)))
        try harness.process(rows([(7, "a", 1)]))
        try advance(harness, 12)
        // Not behind its own split, whose watermark was left out while it was idle.
        try harness.process(rows([(8, "a", 10), (3, "a", 100)]))
        try harness.finish()
        #expect(harness.output.rows() == [row(0, 10, "a", 1, 1), row(5, 15, "a", 2, 11)])
        #expect(harness.output.errors.map(\.code) == ["window_closed"])
        #expect(harness.accountsForEveryRow)
    }

    @Test(arguments: [WindowShape.tumbling(.seconds(10)), .sliding(.seconds(10), every: .seconds(5))])
    func `without group_by a window has one row`(window: WindowShape) throws {
        let config = try settings([("n", "count(*)")], window: window, time: "t")
        let stage = try #require(try WindowAgg.localStage(config, inputs: [WindowEmissionTests.input]))
        let slides = window != .tumbling(.seconds(10))
        #expect(stage.partitioning == (slides ? .single : .hash(["window_start"])))
        let harness = try OperatorHarness(WindowAgg.self, config, input: WindowEmissionTests.input)
        try harness.process(rows([(1, "a", 1), (2, "b", 1), (6, .null, 1)]))
        try harness.finish()
        func row(_ start: Int64, _ n: Value) -> [Value] {
            [.timestamp(start * 1_000_000), .timestamp((start + 10) * 1_000_000), n]
        }
        #expect(harness.output.rows() == (slides ? [row(-5, 2), row(0, 3), row(5, 1)] : [row(0, 3)]))
    }

    @Test func `a window that left before a checkpoint does not leave again where another subtask had come less far`()
        throws
    {
        let config = try settings(
            groups: ["g"], [("n", "count(*)")], window: .sliding(.seconds(10), every: .seconds(5)), time: "t")
        let subtasks = try (0..<2).map {
            try OperatorHarness(
                WindowAgg.self, config, input: WindowEmissionTests.input, subtask: $0, parallelism: 2)
        }
        let fleet = Fleet(instances: subtasks) { RowHash.hashes([$0.columns[1]], count: $0.rowCount) }
        let groups = (0..<20).map { Value.string("g\($0)") }
        try fleet.process(rows(groups.map { (7, $0, 1) }))
        // As after different orders of a split's falling idle and another one's rows.
        try advance(subtasks[0], 12)
        try advance(subtasks[1], 8)
        let states = try fleet.checkpoint()
        var all = fleet.take().flatMap { $0.rows() }
        #expect(all.count > 0 && all.count < 20)
        let restored = try OperatorHarness(
            WindowAgg.self, config, input: WindowEmissionTests.input, restoring: redistributed(states, to: 1)[0])
        try restored.finish()
        all += restored.output.rows()
        #expect(all.count == 40 && Set(all).count == 40, "each group once in each of its two windows")
    }

    @Test func `closing a sliding window of many groups is cut in pieces`() throws {
        let config = try settings(
            groups: ["v"], [("n", "count(*)")], window: .sliding(.seconds(10), every: .seconds(5)), time: "t")
        let stage = try #require(try WindowAgg.localStage(config, inputs: [WindowEmissionTests.input]))
        let outputs = try WindowAgg.outputs(config, inputs: [WindowEmissionTests.input])
        let node = try WindowAgg(config, .testing(inputs: [stage.output], outputs: outputs))
        try node.open(restoring: [])
        let groups = 140_000
        for (first, last) in [(-5, 0), (0, 5)] as [(Int64, Int64)] {
            for start in stride(from: 0, to: groups, by: 10_000) {
                let ids = (start..<start + 10_000).map { Int64($0) }
                let columns: [Column] = [
                    .timestamp(ids.map { _ in first * 1_000_000 }), .timestamp(ids.map { _ in last * 1_000_000 }),
                    .int64(ids), .int64(ids.map { _ in 1 }),
                ]
                var output = OutputBuffer()
                #expect(
                    try node.process(RecordBatch(stage.output.schema, columns), from: .main, into: &output) == .done)
            }
        }
        var output = OutputBuffer()
        var counts: [Int64: Int] = [:]
        var sums: [Int64: Int64] = [:]
        var pieces = 1
        var progress = try node.advance(to: .time(15_000_000), into: &output)
        while true {
            for case .batch(let batch, _) in output.drain() {
                let start = batch.columns[0].int64Values?[0] ?? 0
                counts[start, default: 0] += batch.rowCount
                sums[start, default: 0] += batch.columns[3].int64Values?.array.reduce(0, +) ?? 0
            }
            guard progress == .more else { break }
            pieces += 1
            progress = try node.resume(into: &output)
        }
        #expect(pieces == 4)
        #expect(counts == [-5_000_000: groups, 0: groups, 5_000_000: groups])
        #expect(sums == [-5_000_000: 140_000, 0: 280_000, 5_000_000: 140_000])
        #expect(try node.snapshot(CheckpointID(1))[0].rowCount == 0)
    }
}
