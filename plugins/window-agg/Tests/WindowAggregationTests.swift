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
}
