import DataflowOperator
import DataflowTesting
import Glibc
import Testing

@testable import WindowAgg

private let second: Int64 = 1_000_000

/// Rows of several splits in disorder, with late ones and duplicates, and what the definition makes of each.
struct SessionRows {
    /// The rows of each split in order, each with its mark.
    var splits: [[(row: [Value], mark: Int64)]]
    let outOfOrderness = 3 * second

    /// - Parameter lastSplitIsIdle: the last split begins when the others have long ended.
    init(_ count: Int, splits splitCount: Int, seed: UInt64, lastSplitIsIdle: Bool = false) {
        var random = SplitMix(state: seed)
        func n(_ bound: Int64) -> Int64 { Int64(random.next() % UInt64(bound)) }
        splits = []
        var id: Int64 = 0
        for split in 0..<splitCount {
            var rows: [(row: [Value], mark: Int64)] = []
            // Across 1970.
            var now = lastSplitIsIdle && split == splitCount - 1 ? 100_000 * second : -200 * second
            var latest = Int64.min
            while rows.count < count {
                // Whole seconds are frequent, so that rows lie exactly a gap apart.
                now += n(10) == 0 ? n(40) * second : n(2) * second + (n(3) == 0 ? n(second) : 0)
                let back = n(15) == 0 ? n(60) * second : n(4) * second
                let row = randomRow(id, time: now - back, &random)
                id += 1
                for _ in 0..<(n(10) == 0 ? 2 : 1) {
                    let mark = latest == .min ? .min : latest - outOfOrderness
                    rows.append((row, now - back < mark ? mark : .min))
                    latest = max(latest, now - back)
                }
            }
            splits.append(Array(rows.prefix(count)))
        }
    }

    static func time(_ row: [Value]) -> Int64 {
        if case .timestamp(let time) = row[0] { time } else { 0 }
    }

    func isLate(_ row: (row: [Value], mark: Int64), _ lateness: Int64) -> Bool {
        row.mark != .min && row.mark >= SessionRows.time(row.row) + lateness
    }

    var all: [(row: [Value], mark: Int64)] { splits.flatMap { $0 } }
    func accepted(_ lateness: Int64) -> [[Value]] { all.filter { !isLate($0, lateness) }.map(\.row) }
    func late(_ lateness: Int64) -> [[Value]] { all.filter { isLate($0, lateness) }.map(\.row) }
}

/// From the definition, a row at a time: the rows of a group in order of time, cut where one is more than the gap behind
/// the one before. Keys are start, end and group.
func sessions(
    _ rows: [[Value]], gap: Int64, aggregates: ([[Value]]) -> [Value]
) -> [[Value]: [Value]] {
    var table: [[Value]: [Value]] = [:]
    for (group, members) in Dictionary(grouping: rows, by: { $0[2] }) {
        var open: [[Value]] = []
        func close() {
            guard let first = open.first, let last = open.last else { return }
            let key: [Value] = [
                .timestamp(SessionRows.time(first)), .timestamp(SessionRows.time(last) + gap), group,
            ]
            table[key] = aggregates(open)
            open = []
        }
        for row in members.sorted(by: { SessionRows.time($0) < SessionRows.time($1) }) {
            if let last = open.last, SessionRows.time(row) - SessionRows.time(last) > gap { close() }
            open.append(row)
        }
        close()
    }
    return table
}

func unorderedAggregates(_ rows: [[Value]]) -> [Value] {
    aggregateNames(ordered: false).map { oracles[$0]?.compute(rows) ?? .null }
}

@Suite struct SessionTests {
    private static let gap = 10 * second
    /// Twenty with `DATAFLOW_SOAK`.
    private static let seeds = Array(1...(getenv("DATAFLOW_SOAK") == nil ? 3 : 20) as ClosedRange<UInt64>)
    /// The three ways to tell results: lateness and emission.
    static let modes: [(lateness: Int64, emission: Emission)] = [
        (0, .onClose), (5 * second, .onClose), (2 * second, .every(.seconds(1))),
    ]

    private func config(_ mode: (lateness: Int64, emission: Emission)) throws -> WindowAggConfig {
        var config = try settings(
            groups: ["g"], aggregateTexts(ordered: false), window: .session(.microseconds(Self.gap)), time: "t",
            lateness: .microseconds(mode.lateness))
        config.emit = mode.emission
        return config
    }

    private func fleet(_ config: WindowAggConfig, _ states: [StateSnapshot], _ clock: ManualClock) throws -> Fleet {
        let instances = try states.enumerated().map { index, state in
            try OperatorHarness(
                WindowAgg.self, config, input: Stream(schema, eventTime: "t"), restoring: state, subtask: index,
                parallelism: states.count, clock: clock)
        }
        return Fleet(instances: instances) { RowHash.hashes([$0["g"]].compactMap { $0 }, count: $0.rowCount) }
    }

    @Test(arguments: [1, 7, 8192], seeds)
    func `sessions equal those of the definition at every checkpoint, restored at any parallelism`(
        size: Int, seed: UInt64
    ) throws {
        let mode = Self.modes[(Int(seed) + size) % 3]
        let rows = SessionRows(size == 1 ? 250 : 900, splits: 2, seed: seed)
        var clock = ManualClock()
        var fleet = try fleet(try config(mode), [[]], clock)
        let isUpdating = fleet.instances[0].outputs[0].kind.key != nil
        #expect(isUpdating == (mode.lateness > 0 || mode.emission != .onClose))
        var table: [[Value]: [Value]] = [:]
        var late: [[Value]] = []
        var sofar: [[Value]] = []
        var merged = Int64.min

        func settle() throws {
            for one in fleet.take() {
                late += one.rows(OutputPort(index: 1))
                #expect(one.batches(.errors).isEmpty)
                var mark = Int64.min
                for element in one.elements {
                    switch element {
                    case .watermark(.time(let time)):
                        #expect(time > mark && time <= merged, "seed \(seed)")
                        mark = time
                    case .batch(let batch, .main):
                        // What leaves behind a watermark starts at it or later.
                        #expect(batch.columns[0].int64Values?.array.allSatisfy { $0 >= mark || mark == .max } == true)
                        #expect(batch.splitWatermark == nil)
                        for (index, row) in batch.rows.enumerated() {
                            let key = Array(row.prefix(3))
                            let isDelete = batch.deletes?[index] ?? false
                            #expect(isUpdating || table[key] == nil, "a session left twice, seed \(seed)")
                            #expect(!isDelete || table[key] != nil, "deleted what was never told, seed \(seed)")
                            table[key] = isDelete ? nil : Array(row.dropFirst(3))
                        }
                    default: break
                    }
                }
            }
            #expect(fleet.accountsForEveryRow)
        }

        var positions = [0, 0]
        var latest = [Int64.min, Int64.min]
        var step = 0
        var random = SplitMix(state: seed)
        while positions != rows.splits.map(\.count) {
            let split =
                positions[0] == rows.splits[0].count || (step % 2 == 1 && positions[1] < rows.splits[1].count) ? 1 : 0
            let part = rows.splits[split][
                positions[split]..<min(rows.splits[split].count, positions[split] + (size == 8192 ? 200 : size))]
            positions[split] += part.count
            step += 1
            sofar += part.filter { !rows.isLate($0, mode.lateness) }.map(\.row)
            let batch = RecordBatch(schema, rows: part.map(\.row))
            let marks = part.map(\.mark)
            try fleet.process(
                batch.withSplit(Int32(split), splitWatermark: marks.contains { $0 != .min } ? Values(marks) : nil))
            latest[split] = max(latest[split], part.map { SessionRows.time($0.row) }.max() ?? .min)
            let least = latest.min() ?? .min
            if least > .min, least - rows.outOfOrderness > merged {
                merged = least - rows.outOfOrderness
                try fleet.advance(to: .time(merged))
            }
            if random.next() % 4 == 0 { try fleet.advanceClock(by: .milliseconds(600)) }
            if random.next() % UInt64(size == 8192 ? 2 : 60) == 0 {
                let states = try fleet.checkpoint()
                try settle()
                let isTold: ([Value]) -> Bool = { key in
                    guard mode.emission == .onClose, case .timestamp(let end) = key[1] else { return true }
                    return end < merged
                }
                let wanted = sessions(sofar, gap: Self.gap, aggregates: unorderedAggregates).filter { isTold($0.key) }
                #expect(table == wanted, "seed \(seed)")
                clock = ManualClock()
                fleet = try self.fleet(try config(mode), redistributed(states, to: [3, 1, 4, 2][step % 4]), clock)
            }
        }
        merged = .max
        try fleet.finish()
        try settle()
        #expect(
            table == sessions(rows.accepted(mode.lateness), gap: Self.gap, aggregates: unorderedAggregates),
            "seed \(seed)")
        #expect(bag(late) == bag(rows.late(mode.lateness)), "seed \(seed)")
        #expect(!late.isEmpty || size == 1)
        for state in try fleet.checkpoint() { #expect(state["sessions"]?.rowCount == 0) }
    }

    private static let narrow = Schema([Field("t", .timestamp), Field("g", .string), Field("v", .int64)])
    private static let input = Stream(narrow, eventTime: "t")

    private func harness(
        lateness: Int64 = 0, emission: Emission? = nil, groups: [String] = ["g"], time: String? = "t",
        restoring state: StateSnapshot = [], clock: ManualClock = ManualClock()
    ) throws -> OperatorHarness<WindowAgg> {
        var config = try settings(
            groups: groups, [("n", "count(*)")], window: .session(.seconds(10)), time: time,
            lateness: .seconds(lateness))
        config.emit = emission
        return try OperatorHarness(WindowAgg.self, config, input: Self.input, restoring: state, clock: clock)
    }

    private func rows(_ seconds: [Int64], mark: Int64? = nil) -> RecordBatch {
        let batch = RecordBatch(Self.narrow, rows: seconds.map { [.timestamp($0 * second), "a", .int($0)] })
        guard let mark else { return batch }
        return batch.withSplit(0, splitWatermark: Values(repeating: mark * second, count: seconds.count))
    }

    private func session(_ start: Int64, _ end: Int64, _ n: Int64) -> [Value] {
        [.timestamp(start * second), .timestamp(end * second), "a", .int(n)]
    }

    @Test(
        arguments: [
            ([0], [[0, 10, 1]]), ([0, 10], [[0, 20, 2]]), ([0, 11], [[0, 10, 1], [11, 21, 1]]),
            ([11, 0, 5], [[0, 21, 3]]), ([0, 30, 15], [[0, 10, 1], [15, 25, 1], [30, 40, 1]]),
            ([0, 20, 40, 30, 10], [[0, 50, 5]]), ([-5, -15, -30], [[-30, -20, 1], [-15, 5, 2]]),
            ([7, 7], [[7, 17, 2]]),
        ] as [([Int64], [[Int64]])])
    func `rows at most a gap apart are one session`(times: [Int64], expected: [[Int64]]) throws {
        for cuts in [1, 2, times.count] {
            let harness = try harness()
            for start in stride(from: 0, to: times.count, by: cuts) {
                try harness.process(rows(Array(times[start..<min(times.count, start + cuts)])))
                _ = try harness.checkpoint()
            }
            try harness.finish()
            let wanted = expected.map { session($0[0], $0[1], $0[2]) }
            #expect(Set(harness.output.rows()) == Set(wanted))
            #expect(harness.output.rows().count == wanted.count)
            #expect(harness.outputs[0] == Stream(harness.outputs[0].schema, eventTime: "window_start"))
        }
    }

    @Test func `a session leaves when the watermark is past its end, and holds back the watermark until then`() throws {
        let harness = try harness()
        try harness.process(rows([5, 12]))
        try harness.advance(to: .time(20 * second))
        try harness.advance(to: .time(22 * second))
        // A row exactly a gap behind the last one may still come: it is not behind the watermark.
        #expect(harness.output.rows().isEmpty)
        try harness.process(rows([22]))
        try harness.advance(to: .time(32 * second))
        #expect(harness.output.rows().isEmpty)
        #expect(harness.take().watermarks == [.time(5 * second)])
        try harness.advance(to: .time(32 * second + 1))
        #expect(harness.output.rows() == [session(5, 32, 3)])
        #expect(harness.output.watermarks == [.time(32 * second + 1)])
    }

    @Test func `late is a row whose split's watermark has passed it by the lateness, whatever session is open`() throws
    {
        let harness = try harness()
        try harness.process(rows([20]))
        // Its session would be open: Flink would take it.
        try harness.process(rows([17], mark: 18))
        #expect(harness.output.rows(OutputPort(index: 1)) == [[.timestamp(17 * second), "a", 17]])
        let tolerant = try self.harness(lateness: 3)
        try tolerant.process(rows([20]))
        try tolerant.process(rows([17, 15], mark: 18))
        #expect(tolerant.output.rows(OutputPort(index: 1)) == [[.timestamp(15 * second), "a", 15]])
        try tolerant.finish()
        #expect(tolerant.output.table(key: ["window_start"]).values.map { $0 } == [session(17, 30, 2)])
        #expect(tolerant.accountsForEveryRow)
    }

    @Test func `a late row corrects, extends and joins sessions that were told, under new keys`() throws {
        let harness = try harness(lateness: 100)
        let key = ["window_start", "window_end", "g"]
        #expect(harness.outputs[0].kind == .upsert(key: key))
        #expect(harness.outputs[0].deletes)
        var table: [[Value]: [Value]] = [:]
        func changes() -> [(row: [Value], isDelete: Bool)] {
            let changes = harness.take().changes()
            for change in changes {
                table[Array(change.row.prefix(3))] = change.isDelete ? nil : change.row
            }
            return changes
        }
        func told() -> Set<[Value]> { Set(table.values) }
        try harness.process(rows([0, 5, 20, 50]))
        try harness.advance(to: .time(45 * second))
        _ = changes()
        #expect(told() == [session(0, 15, 2), session(20, 30, 1)])
        // Under the same key.
        try harness.process(rows([3], mark: 40))
        try harness.advance(to: .time(46 * second))
        #expect(changes().map(\.isDelete) == [false])
        #expect(told() == [session(0, 15, 3), session(20, 30, 1)])
        // Joins both, under the key of neither.
        try harness.process(rows([12], mark: 40))
        _ = try harness.checkpoint()
        #expect(changes().filter(\.isDelete).count == 2)
        #expect(told() == [session(0, 30, 5)])
        // Goes on: what was told is no more, until it is over again.
        try harness.process(rows([29, 38], mark: 40))
        try harness.advance(to: .time(47 * second))
        #expect(changes().map(\.isDelete) == [true])
        #expect(told() == [])
        try harness.advance(to: .time(48 * second + 1))
        #expect(told().isEmpty && changes().count == 1)
        #expect(told() == [session(0, 48, 7)])
        // A session of its own that is over already.
        try harness.process(rows([-20], mark: 40))
        _ = try harness.checkpoint()
        _ = changes()
        #expect(told() == [session(-20, -10, 1), session(0, 48, 7)])
        try harness.finish()
        _ = changes()
        #expect(told() == [session(-20, -10, 1), session(0, 48, 7), session(50, 60, 1)])
        #expect(try harness.checkpoint()["sessions"]?.rowCount == 0)
    }

    @Test func `updating sessions are told at most once an interval, and before a checkpoint`() throws {
        let harness = try harness(emission: .every(.seconds(1)))
        try harness.process(rows([0]))
        _ = try harness.checkpoint()
        #expect(harness.take().changes().map(\.row) == [session(0, 10, 1)])
        try harness.process(rows([1]))
        _ = try harness.checkpoint()
        let changes = harness.take().changes()
        #expect(changes.map(\.isDelete) == [true, false])
        #expect(
            changes.map { Array($0.row.prefix(2)) }
                == [session(0, 10, 0), session(0, 11, 0)].map { Array($0.prefix(2)) })
        try harness.process(rows([2]))
        try harness.advance(to: .time(3 * second))
        try harness.advanceClock(by: .milliseconds(900))
        #expect(harness.take().rows().isEmpty)
        try harness.advanceClock(by: .milliseconds(100))
        #expect(harness.take().changes().map(\.isDelete) == [true, false])
        let state = try harness.checkpoint()
        let restored = try self.harness(emission: .every(.seconds(1)), restoring: state)
        try restored.process(rows([30]))
        try restored.advance(to: .time(20 * second))
        #expect(restored.take().rows().isEmpty)
        try restored.finish()
        #expect(restored.take().rows() == [session(30, 40, 1)])
    }

    @Test func `sessions over the time of processing go by its clock`() throws {
        let clock = ManualClock(wallMicroseconds: 1000 * second)
        let harness = try harness(time: nil, clock: clock)
        #expect(harness.outputs[0].eventTime == nil)
        try harness.process(rows([7, 8]))
        try harness.advanceClock(by: .seconds(9))
        try harness.process(rows([1]))
        try harness.advanceClock(by: .seconds(10))
        #expect(harness.take().rows().isEmpty)
        let state = try harness.checkpoint()
        let restored = try self.harness(time: nil, restoring: state, clock: clock)
        try restored.advanceClock(by: .milliseconds(600))
        #expect(restored.take().rows() == [session(1000, 1019, 3)])
        try restored.process(rows([1]))
        try restored.finish(lastWatermark: false)
        #expect(restored.take().rows().map { $0[3] } == [1])
    }

    @Test func `rows of a split that was idle open a session beside, or go to errors where theirs would be over`()
        throws
    {
        let harness = try harness(groups: [])
        try harness.process(rows([0, 40]))
        try harness.advance(to: .time(38 * second))
        #expect(harness.take().rows().map { $0.dropFirst(2) } == [[1]])
        try harness.process(rows([20, 30]))
        #expect(harness.output.errors.isEmpty)
        try harness.advance(to: .time(39 * second))
        try harness.process(rows([3]))
        try harness.advance(to: .time(39 * second + 1))
        #expect(harness.output.errors.map(\.code) == ["window_closed"])
        try harness.finish()
        // It starts behind the watermark that was passed on, and says so.
        #expect(harness.output.rows() == [[.timestamp(20 * second), .timestamp(50 * second), 3]])
        #expect(harness.output.batches().first?.splitWatermark?.array == [38 * second])
        #expect(harness.accountsForEveryRow)
    }

    @Test func `sessions keep to what every operator keeps to`() throws {
        for mode in Self.modes {
            let rows = SessionRows(200, splits: 1, seed: 9).splits[0]
            let ranges = stride(from: 0, to: 200, by: 25).map { $0..<$0 + 25 }
            let batches = ranges.map { range in
                RecordBatch(schema, rows: rows[range].map(\.row)).withSplit(
                    0, splitWatermark: Values(rows[range].map(\.mark)))
            }
            // A watermark behind every second batch.
            let watermarks = ranges.enumerated().map { index, range -> Watermark? in
                let latest = rows[..<range.upperBound].map { SessionRows.time($0.row) }.max() ?? 0
                return index % 2 == 1 ? .time(latest - 3 * second) : nil
            }
            #expect(
                try OperatorConformance.check(
                    WindowAgg.self, config(mode), inputs: [Stream(schema, eventTime: "t")], batches: batches,
                    watermarks: watermarks) == [])
        }
    }

    @Test func `many open sessions close in pieces, at the cost of what leaves`() throws {
        let config = try settings(groups: ["v"], [("n", "count(*)")], window: .session(.seconds(10)), time: "t")
        let stage = try #require(try WindowAgg.localStage(config, inputs: [Self.input]))
        let node = try WindowAgg(
            config, .testing(inputs: [stage.output], outputs: try WindowAgg.outputs(config, inputs: [Self.input])))
        try node.open(restoring: [])
        let count = 300_000
        for start in stride(from: 0, to: count, by: 10_000) {
            let ids = (start..<start + 10_000).map { Int64($0) }
            let columns: [Column] = [
                .timestamp(ids.map { $0 }), .timestamp(ids.map { $0 + 10 * second }), .int64(ids),
                .int64(ids.map { _ in 1 }),
            ]
            var output = OutputBuffer()
            #expect(try node.process(RecordBatch(stage.output.schema, columns), from: .main, into: &output) == .done)
        }
        func advance(to time: Int64) throws -> (rows: Int, pieces: Int, last: Watermark?) {
            var output = OutputBuffer()
            var progress = try node.advance(to: .time(time), into: &output)
            var result: (rows: Int, pieces: Int, last: Watermark?) = (0, 0, nil)
            while true {
                result.pieces += 1
                for element in output.drain() {
                    if case .batch(let batch, _) = element { result.rows += batch.rowCount }
                    if case .watermark(let watermark) = element { result.last = watermark }
                }
                guard progress == .more else { return result }
                progress = try node.resume(into: &output)
            }
        }
        #expect(try advance(to: 10 * second + 1000) == (1000, 1, .time(1000)))
        let rest = try advance(to: 20 * second)
        #expect(rest.rows == count - 1000 && rest.pieces == 3 && rest.last == .time(20 * second))
        #expect(try node.snapshot(CheckpointID(1))[0].rowCount == 0)
    }
}

/// How often each row is there.
func bag(_ rows: [[Value]]) -> [[Value]: Int] { rows.reduce(into: [:]) { $0[$1, default: 0] += 1 } }
