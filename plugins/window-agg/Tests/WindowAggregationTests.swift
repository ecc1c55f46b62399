import DataflowOperator
import DataflowTesting
import Testing

@testable import WindowAgg

@Suite struct WindowAggregationTests {
    private static let second: Int64 = 1_000_000

    /// Rows of two splits in disorder, with the marks that a declared event time puts on rows behind.
    private struct Source {
        var random: SplitMix
        var watermarks: [Int64] = [.min, .min]
        var highest: [Int64] = [.min, .min]
        var next: Int64 = 0

        mutating func batch(_ size: Int, around time: Int64) -> (batch: RecordBatch, marks: [Int64]) {
            let split = Int(random.next() % 2)
            var rows: [[Value]] = []
            var marks: [Int64] = []
            for _ in 0..<size {
                let back = random.next() % 20 == 0 ? 40 * second : 4 * second
                let time = time - Int64(random.next() % UInt64(back))
                rows.append(randomRow(next, time: time, &random))
                next += 1
                marks.append(time < watermarks[split] ? watermarks[split] : .min)
                highest[split] = max(highest[split], time)
                watermarks[split] = max(watermarks[split], highest[split] - 2 * second)
            }
            let batch = RecordBatch(schema, rows: rows)
            let hasMarks = marks.contains { $0 != .min }
            return (batch.withSplit(Int32(split), splitWatermark: hasMarks ? Values(marks) : nil), marks)
        }

        var merged: Int64 { watermarks.min() ?? .min }
    }

    @Test(arguments: [1, 7, 8192], [1, 2, 3] as [UInt64])
    func `windows over event time equal the same computed a row at a time, at any parallelism`(
        size: Int, seed: UInt64
    ) throws {
        let lateness: Int64 = seed == 2 ? 3 * Self.second : 0
        let offset: Int64 = seed == 3 ? 7 * Self.second : 0
        let length: Int64 = 10 * Self.second
        let config = try settings(
            groups: ["g"], aggregateTexts(ordered: true),
            window: .tumbling(.seconds(10), offset: .microseconds(offset)), time: "t",
            lateness: .microseconds(lateness))
        let input = Stream(schema, eventTime: "t")
        func start(_ time: Int64) -> Int64 {
            var start = (time - offset) / length * length + offset
            while start > time { start -= length }
            return start
        }
        func make(_ states: [StateSnapshot]) throws -> Fleet {
            let instances = try states.enumerated().map { index, state in
                try OperatorHarness(
                    WindowAgg.self, config, input: input, restoring: state, subtask: index, parallelism: states.count)
            }
            return Fleet(instances: instances) { batch in
                let starts = (batch["t"]?.int64Values?.array ?? []).map { start($0) }
                return RowHash.hashes([.timestamp(starts)] + [batch["g"]].compactMap { $0 }, count: batch.rowCount)
            }
        }
        var source = Source(random: SplitMix(state: seed))
        var fleet = try make([[]])
        var accepted: [[Value]] = []
        var late: [[Value]] = []
        var emitted: [Emitted] = []
        let steps = size == 1 ? 600 : size == 7 ? 200 : 6
        // From before 1970 to after it.
        for step in 0..<steps {
            let time = Int64(step) * 120 * Self.second / Int64(steps) - 60 * Self.second
            let (batch, marks) = source.batch(size == 8192 ? 700 : size, around: time)
            for (row, mark) in zip(batch.rows, marks) {
                guard case .timestamp(let time) = row[0] else { continue }
                if mark != .min && mark >= start(time) + length + lateness {
                    late.append(row)
                } else {
                    accepted.append(row)
                }
            }
            try fleet.process(batch)
            if source.merged != .min { try fleet.advance(to: .time(source.merged)) }
            if step == steps / 3 || step == steps / 2 || step == steps * 2 / 3 {
                let states = try fleet.checkpoint()
                emitted += fleet.take()
                #expect(fleet.accountsForEveryRow)
                let parallelism = seed == 1 ? 1 : [1: 3, 3: 2][states.count, default: 1]
                fleet = try make(redistributed(states, to: parallelism))
            }
        }
        try fleet.finish()
        emitted += fleet.take()
        #expect(fleet.accountsForEveryRow)

        let results = emitted.flatMap { $0.rows() }
        let table = Dictionary(results.map { (Array($0.prefix(3)), Array($0.dropFirst(3))) }) { _, _ in
            Issue.record("a window left twice, seed \(seed)")
            return []
        }
        let wanted = expected(
            accepted,
            by: { row in
                guard case .timestamp(let time) = row[0] else { return [] }
                return [.timestamp(start(time)), .timestamp(start(time) + length), row[2]]
            }, ordered: true)
        #expect(table == wanted, "seed \(seed)")
        #expect(Set(emitted.flatMap { $0.rows(OutputPort(index: 1)) }) == Set(late), "seed \(seed)")
        #expect(!late.isEmpty || lateness > 0 || size == 1)
        // What leaves behind a watermark starts at it or later.
        for one in emitted {
            var mark = Int64.min
            for element in one.elements {
                switch element {
                case .watermark(.time(let time)):
                    #expect(time >= mark)
                    mark = time
                case .batch(let batch, .main):
                    #expect(batch.columns[0].int64Values?.array.allSatisfy { $0 >= mark || mark == .max } == true)
                default: break
                }
            }
        }
    }

    private static let narrow = Schema([Field("t", .timestamp), Field("g", .string), Field("v", .int64)])

    @Test func `windows over the time of processing close behind its clock, and all at the end`() throws {
        let config = try settings(groups: ["g"], [("n", "count(*)")], window: .tumbling(.seconds(10)))
        let clock = ManualClock(wallMicroseconds: 1_000_000_000_000)
        let harness = try OperatorHarness(WindowAgg.self, config, input: Stream(Self.narrow), clock: clock)
        #expect(harness.outputs[0].eventTime == nil)
        func rows(_ n: Int) -> [[Value]] { (0..<n).map { _ in [.null, "a", .null] } }
        try harness.process(rows(2), schema: Self.narrow)
        try harness.advanceClock(by: .seconds(9))
        try harness.process(rows(3), schema: Self.narrow)
        try harness.advanceClock(by: .milliseconds(900))
        #expect(harness.take().rows().isEmpty)
        try harness.advanceClock(by: .milliseconds(700))
        let first = Int64(1_000_000_000_000)
        #expect(harness.take().rows() == [[.timestamp(first), .timestamp(first + 10_000_000), "a", 5]])
        try harness.process(rows(1), schema: Self.narrow)
        let state = try harness.checkpoint()
        #expect(harness.take().rows().isEmpty)
        let restored = try OperatorHarness(
            WindowAgg.self, config, input: Stream(Self.narrow), restoring: state, clock: clock)
        try restored.process(rows(1), schema: Self.narrow)
        try restored.finish(lastWatermark: false)
        #expect(restored.take().rows() == [[.timestamp(first + 10_000_000), .timestamp(first + 20_000_000), "a", 2]])
    }

    @Test func `rows without a time go to errors, rows for a window that has left too`() throws {
        let config = try settings(groups: ["g"], [("n", "count(*)")], window: .tumbling(.seconds(10)), time: "t")
        let harness = try OperatorHarness(WindowAgg.self, config, input: Stream(Self.narrow, eventTime: "t"))
        try harness.process([[.null, "a", 1], [.timestamp(5_000_000), "a", 1]], schema: Self.narrow)
        #expect(harness.output.errors.map(\.code) == ["missing_time"])
        #expect(harness.accountsForEveryRow)
        try harness.advance(to: .time(12_000_000))
        #expect(harness.take().rows() == [[.timestamp(0), .timestamp(10_000_000), "a", 1]])
        // Not behind its own split, whose watermark was left out while it was idle.
        try harness.process([[.timestamp(6_000_000), "a", 1], [.timestamp(11_000_000), "a", 1]], schema: Self.narrow)
        try harness.finish()
        #expect(harness.output.errors.map(\.code) == ["window_closed"])
        #expect(harness.output.rows() == [[.timestamp(10_000_000), .timestamp(20_000_000), "a", 1]])
    }

    @Test func `closing many groups is cut in pieces and the watermark comes behind them`() throws {
        let config = try settings(groups: ["v"], [("n", "count(*)")], window: .tumbling(.seconds(10)), time: "t")
        let input = Stream(Self.narrow, eventTime: "t")
        let stage = try #require(try WindowAgg.localStage(config, inputs: [input]))
        let outputs = try WindowAgg.outputs(config, inputs: [input])
        let node = try WindowAgg(config, .testing(inputs: [stage.output], outputs: outputs))
        try node.open(restoring: [])
        let groups = 300_000
        for start in stride(from: 0, to: groups, by: 10_000) {
            let ids = (start..<start + 10_000).map { Int64($0) }
            let columns: [Column] = [.timestamp(ids.map { _ in 0 }), .int64(ids), .int64(ids.map { _ in 1 })]
            var output = OutputBuffer()
            #expect(try node.process(RecordBatch(stage.output.schema, columns), from: .main, into: &output) == .done)
        }
        var output = OutputBuffer()
        var progress = try node.advance(to: .time(10_000_000), into: &output)
        var pieces = 0
        var rows = 0
        var last: OutputBuffer.Element?
        while true {
            let elements = output.drain()
            #expect(elements.count <= 17)
            for case .batch(let batch, _) in elements { rows += batch.rowCount }
            last = elements.last
            pieces += 1
            guard progress == .more else { break }
            progress = try node.resume(into: &output)
        }
        #expect(pieces == 3 && rows == groups)
        guard case .watermark(.time(10_000_000)) = last else {
            Issue.record("the watermark is not the last")
            return
        }
        #expect(try node.snapshot(CheckpointID(1))[0].rowCount == 0)
    }

    @Test(
        arguments: [
            (0, 0), (9, 0), (10, 10), (-1, -10), (-10, -10), (-11, -20), (.max, .max - 7), (.min, .min),
            (.min + 1, .min),
        ] as [(Int64, Int64)])
    func `slices are cut by floor division, also before the epoch and at the ends of time`(time: Int64, start: Int64) {
        #expect(SliceGrid(size: 10).start(of: time) == start)
        #expect(SliceGrid(size: 10).end(start) >= time)
    }

    @Test func `an offset moves the grid and is taken modulo the size`() {
        for offset in [3, 13, -7] as [Int64] {
            let grid = SliceGrid(size: 10, offset: offset)
            #expect([2, 3, 12, 13, -7, -8].map { grid.start(of: $0) } == [-7, 3, 3, 13, -7, -17])
        }
    }
}
