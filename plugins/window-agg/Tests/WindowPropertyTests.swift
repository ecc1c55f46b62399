import DataflowOperator
import DataflowTesting
import Testing

@testable import WindowAgg

private let second: Int64 = 1_000_000

/// A setting of windows; its number seeds the rows.
struct WindowCase: CustomTestStringConvertible {
    var seed: UInt64
    var size: Int64
    var every: Int64
    var offset: Int64 = 0
    var lateness: Int64 = 0
    var emit: Emission?
    /// Whether states are put on disk now and then.
    var spills = false

    var testDescription: String {
        "size \(size), every \(every), offset \(offset), lateness \(lateness), emit \(String(describing: emit)), \(spills ? "on disk, " : "")seed \(seed)"
    }

    var shape: WindowShape {
        size == every
            ? .tumbling(.seconds(size), offset: .seconds(offset))
            : .sliding(.seconds(size), every: .seconds(every), offset: .seconds(offset))
    }

    /// The windows that a row enters, found by looking at each: those that it lies in and is not late for.
    func windows(_ time: Int64, mark: Int64) -> [Int64] {
        let near = time / (every * second)
        return (near - size / every - 3...near + 3).map { $0 * every * second + offset * second - every * second }
            .filter { start in
                start <= time && time < start + size * second
                    && (mark == .min || mark < start + (size + lateness) * second)
            }
    }

    static let all: [WindowCase] = [
        WindowCase(seed: 1, size: 10, every: 10),
        WindowCase(seed: 2, size: 10, every: 10, lateness: 3),
        WindowCase(seed: 3, size: 10, every: 10, offset: 7),
        WindowCase(seed: 4, size: 10, every: 4),
        WindowCase(seed: 5, size: 20, every: 5, offset: 3),
        WindowCase(seed: 6, size: 10, every: 4, offset: 1, lateness: 3),
        WindowCase(seed: 7, size: 12, every: 5, emit: .every(.seconds(1))),
        WindowCase(seed: 8, size: 10, every: 10, lateness: 3, emit: .every(.seconds(1))),
        WindowCase(seed: 9, size: 7, every: 3, lateness: 20, emit: .every(.milliseconds(300))),
        WindowCase(seed: 10, size: 9, every: 1, lateness: 15),
        WindowCase(seed: 11, size: 10, every: 10, spills: true),
        WindowCase(seed: 12, size: 10, every: 10, offset: 7, spills: true),
        WindowCase(seed: 13, size: 10, every: 4, spills: true),
        WindowCase(seed: 14, size: 20, every: 5, offset: 3, spills: true),
        WindowCase(seed: 15, size: 9, every: 1, spills: true),
    ]
}

/// Rows of two splits in disorder, some twice, with the marks that a declared event time puts on rows behind.
private struct DisorderlySource {
    var random: SplitMix
    var watermarks: [Int64] = [.min, .min]
    var highest: [Int64] = [.min, .min]
    var next: Int64 = 0

    mutating func batch(_ size: Int, around time: Int64) -> (batch: RecordBatch, marks: [Int64]) {
        let split = Int(random.next() % 2)
        var rows: [[Value]] = []
        var marks: [Int64] = []
        for _ in 0..<size {
            if let last = rows.last, random.next() % 10 == 0 {
                rows.append(last)
            } else {
                let back = random.next() % 10 == 0 ? 30 * second : 4 * second
                let time = time - Int64(random.next() % UInt64(back))
                rows.append(randomRow(next, time: time, &random))
                next += 1
            }
            guard case .timestamp(let time) = rows[rows.count - 1][0] else { continue }
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

@Suite struct WindowPropertyTests {
    @Test(arguments: [1, 7, 8192], WindowCase.all)
    func `windows equal the same computed a row at a time, at any parallelism and size of batches`(
        size: Int, windows: WindowCase
    ) throws {
        let ordered = windows.size == windows.every
        // All aggregates merge; where each row counts several times a few of every kind will do.
        let names = ordered ? aggregateNames(ordered: true) : ["n", "sx", "sf", "hi", "his", "ds", "bo", "mb", "ms"]
        var config = try settings(
            groups: ["g"], names.map { ($0, oracles[$0]?.text ?? "") }, window: windows.shape, time: "t",
            lateness: .seconds(windows.lateness))
        config.emit = windows.emit
        let input = Stream(schema, eventTime: "t")
        let output = try WindowAgg.outputs(config, inputs: [input])[0]
        let isAppend = windows.lateness == 0 && windows.emit == nil
        #expect(output.kind == (isAppend ? .append : .upsert(key: ["window_start", "window_end", "g"])))
        let folder = try TemporaryDirectory()
        // With a share of less than a key group takes, windows are put together in pieces.
        let memory = MemoryBudget(limit: windows.seed % 2 == 0 ? 1 << 20 : 1, spillingTo: folder.path + "/spill")
        func make(_ states: [StateSnapshot], hasBudget: Bool = true) throws -> Fleet {
            let instances = try states.enumerated().map { index, state in
                try OperatorHarness(
                    WindowAgg.self, config, input: input, restoring: state, subtask: index, parallelism: states.count,
                    memory: windows.spills && hasBudget ? memory : nil)
            }
            return Fleet(instances: instances) { batch in
                let starts = (batch["t"]?.int64Values?.array ?? []).map { windows.windows($0, mark: .min).last ?? 0 }
                return RowHash.hashes(
                    (ordered ? [.timestamp(starts)] : []) + [batch["g"]].compactMap { $0 }, count: batch.rowCount)
            }
        }
        var source = DisorderlySource(random: SplitMix(state: windows.seed))
        var clockRandom = SplitMix(state: windows.seed + 100)
        var fleet = try make([[]])
        var spilledBytes = 0
        var accepted: [[Value]] = []
        var late: [[Value]] = []
        var emitted: [Emitted] = []
        let steps = size == 1 ? 300 : size == 7 ? 80 : 6
        // From before 1970 to after it.
        for step in 0..<steps {
            let time = Int64(step) * 120 * second / Int64(steps) - 60 * second
            let (batch, marks) = source.batch(size == 8192 ? 300 : size, around: time)
            for (row, mark) in zip(batch.rows, marks) {
                guard case .timestamp(let time) = row[0] else { continue }
                let starts = windows.windows(time, mark: mark)
                if starts.isEmpty { late.append(row) }
                for start in starts { accepted.append(row + [.timestamp(start)]) }
            }
            try fleet.process(batch)
            if source.merged != .min { try fleet.advance(to: .time(source.merged)) }
            if clockRandom.next() % 3 == 0 { try fleet.advanceClock(by: .milliseconds(400)) }
            if windows.spills {
                for instance in fleet.instances where clockRandom.next() % 2 == 0 { try instance.spill() }
            }
            if step == steps / 3 || step == steps / 2 || step == steps * 2 / 3 {
                let states = try fleet.checkpoint()
                emitted += fleet.take()
                #expect(fleet.accountsForEveryRow)
                spilledBytes += fleet.spilledBytes
                // Without a budget everything comes back into memory.
                fleet = try make(
                    redistributed(states, to: [1: 4, 4: 3, 3: 1][states.count, default: 1]),
                    hasBudget: clockRandom.next() % 3 != 0)
            }
        }
        try fleet.finish()
        emitted += fleet.take()
        #expect(fleet.accountsForEveryRow)
        #expect(size == 8192 || windows.spills == (spilledBytes + fleet.spilledBytes > 0))

        var table: [[Value]: [Value]] = [:]
        apply(emitted, keys: 3, to: &table)
        let wanted = Dictionary(grouping: accepted) { row -> [Value] in
            guard case .timestamp(let start)? = row.last else { return [] }
            return [.timestamp(start), .timestamp(start + windows.size * second), row[2]]
        }.mapValues { rows in names.map { oracles[$0]?.compute(rows) ?? .null } }
        let differing = Set(table.keys).union(wanted.keys).filter { table[$0] != wanted[$0] }
        #expect(differing.isEmpty, "\(windows.testDescription)")
        if isAppend { #expect(emitted.flatMap { $0.rows() }.count == table.count, "a window leaves once") }
        let lateOut = emitted.flatMap { $0.rows(OutputPort(index: 1)) }
        #expect(lateOut.count == late.count && Set(lateOut) == Set(late), "\(windows.testDescription)")
        #expect(!late.isEmpty || windows.lateness > 0 || size == 1)
        #expect(emitted.allSatisfy { $0.errors.isEmpty })
        checkWatermarks(emitted)
    }

    /// What leaves behind a watermark starts at it or later.
    private func checkWatermarks(_ emitted: [Emitted]) {
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
