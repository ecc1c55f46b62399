import DataflowOperator
import DataflowTesting
import Testing

@testable import Join

let left = Stream(
    Schema([
        Field("id", .int64, nullable: false), Field("k", .string), Field("at", .timestamp), Field("x", .int64),
    ]), eventTime: "at")
let right = Stream(
    Schema([
        Field("rid", .int64, nullable: false), Field("rk", .string), Field("rat", .timestamp), Field("y", .int64),
    ]), eventTime: "rat")
let outOfOrderness: Int64 = 5

/// A row of either side, in the order of its split.
struct ModelRow: Sendable {
    var id: Int64
    var key: String?
    var time: Int64?
    var number: Int64?
    /// The split's watermark in front of the row where the row is behind it.
    var mark: Int64?

    var values: [Value] {
        [
            .int(id), key.map { .string($0) } ?? .null, time.map { .timestamp($0) } ?? .null,
            number.map { .int($0) } ?? .null,
        ]
    }
}

/// Two splits a side, with disorder beyond what was declared, nulls and duplicates.
struct ModelInput: Sendable {
    /// By side and split.
    var splits: [[[ModelRow]]] = []

    init(seed: UInt64, rows: Int, keys: UInt64 = 6) {
        var random = SplitMix(state: seed)
        for side in 0..<2 {
            splits.append([])
            for split in 0..<2 {
                var list: [ModelRow] = []
                var base = Int64(random.next() % 30) - 40
                var latest: Int64?
                for index in 0..<rows {
                    base += Int64(random.next() % 3)
                    var row = ModelRow(id: Int64(side * 100_000 + split * 10_000 + index))
                    let disorder = random.next() % 10 == 0 ? Int64(random.next() % 25) : Int64(random.next() % 6)
                    if random.next() % 20 > 0 { row.time = base - disorder }
                    if random.next() % 10 > 0 {
                        let key = random.next() % keys
                        row.key = (key % 2 == 0 ? "k" : "a key too long to stand in a view, number ") + "\(key)"
                    }
                    if random.next() % 8 > 0 { row.number = Int64(random.next() % 10) }
                    if let time = row.time {
                        if let latest, time < latest - outOfOrderness { row.mark = latest - outOfOrderness }
                        latest = max(latest ?? time, time)
                    }
                    list.append(row)
                    if random.next() % 25 == 0 { list.append(row) }
                }
                splits[side].append(list)
            }
        }
    }

    func rows(_ side: Int) -> [ModelRow] { splits[side].flatMap { $0 } }
    var count: Int { splits.joined().reduce(0) { $0 + $1.count } }

    /// A split cut in batches, each with the split's watermark behind it.
    func batches(_ side: Int, _ split: Int, size: Int) -> [(batch: RecordBatch, watermark: Int64?)] {
        let rows = splits[side][split]
        var latest: Int64?
        return stride(from: 0, to: rows.count, by: size).map { start in
            let part = rows[start..<min(rows.count, start + size)]
            for row in part { if let time = row.time { latest = max(latest ?? time, time) } }
            let marks = part.contains { $0.mark != nil } ? Values(part.map { $0.mark ?? .min }) : nil
            let batch = RecordBatch((side == 0 ? left : right).schema, rows: part.map(\.values))
            return (batch.withSplit(Int32(split), splitWatermark: marks), latest.map { $0 - outOfOrderness })
        }
    }
}

/// The result by definition: nested loops over everything, no state, no order.
struct Model {
    var kind = JoinKind.inner
    var lateness: Int64 = 0
    /// Whether `x <= y` is asked for.
    var hasCondition = false

    func matches(_ l: ModelRow, _ r: ModelRow) -> Bool {
        guard let a = l.key, let b = r.key, a == b else { return false }
        guard hasCondition else { return true }
        guard let x = l.number, let y = r.number else { return false }
        return x <= y
    }

    private static let nulls = [Value](repeating: .null, count: 4)

    func interval(_ input: ModelInput, before: Int64, after: Int64) -> [[Value]] {
        func isTaken(_ row: ModelRow) -> Bool {
            guard let time = row.time else { return false }
            return row.mark.map { $0 < time + lateness } ?? true
        }
        let lefts = input.rows(0).filter(isTaken)
        let rights = input.rows(1).filter(isTaken)
        func fits(_ l: ModelRow, _ r: ModelRow) -> Bool {
            guard let t = l.time, let u = r.time else { return false }
            return u >= t - before && u <= t + after && matches(l, r)
        }
        func lead(_ time: Int64?) -> [Value] { kind == .full ? [.timestamp(time ?? 0)] : [] }
        var result: [[Value]] = []
        for l in lefts {
            for r in rights where fits(l, r) { result.append(lead(l.time) + l.values + r.values) }
            if kind != .inner, !rights.contains(where: { fits(l, $0) }) {
                result.append(lead(l.time) + l.values + Model.nulls)
            }
        }
        if kind == .full {
            for r in rights where !lefts.contains(where: { fits($0, r) }) {
                result.append(lead(r.time) + Model.nulls + r.values)
            }
        }
        return result
    }

    func late(_ input: ModelInput, side: Int) -> [[Value]] {
        input.rows(side).filter { row in
            row.time.map { time in row.mark.map { $0 >= time + lateness } ?? false } ?? false
        }.map(\.values)
    }

    /// Windows by trying every start that could matter.
    private func windows(_ input: ModelInput, _ grid: (size: Int64, every: Int64, offset: Int64)) -> [Int64] {
        (-400...1000).map { $0 * grid.every + grid.offset }
    }

    func windows(
        _ input: ModelInput, size: Int64, every: Int64, offset: Int64
    ) -> (rows: [[Value]], late: [[[Value]]]) {
        func isTaken(_ row: ModelRow, _ start: Int64) -> Bool {
            guard let time = row.time, time >= start, time < start + size else { return false }
            return row.mark.map { $0 < start + size + lateness } ?? true
        }
        var result: [[Value]] = []
        var counted: [Set<Int64>] = [[], []]
        for start in windows(input, (size, every, offset)) {
            let lead = [Value.timestamp(start), .timestamp(start + size)]
            let lefts = input.rows(0).filter { isTaken($0, start) }
            let rights = input.rows(1).filter { isTaken($0, start) }
            counted[0].formUnion(lefts.map(\.id))
            counted[1].formUnion(rights.map(\.id))
            for l in lefts {
                for r in rights where matches(l, r) { result.append(lead + l.values + r.values) }
                if kind != .inner, !rights.contains(where: { matches(l, $0) }) {
                    result.append(lead + l.values + Model.nulls)
                }
            }
            if kind == .full {
                for r in rights where !lefts.contains(where: { matches($0, r) }) {
                    result.append(lead + Model.nulls + r.values)
                }
            }
        }
        let late = [0, 1].map { side in
            input.rows(side).filter { row in
                guard let time = row.time, let mark = row.mark else { return false }
                let starts = windows(input, (size, every, offset)).filter { $0 <= time && time < $0 + size }
                return starts.allSatisfy { mark >= $0 + size + lateness }
            }.map(\.values)
        }
        return (result, late)
    }
}

func bag(_ rows: [[Value]]) -> [[Value]: Int] { rows.reduce(into: [:]) { $0[$1, default: 0] += 1 } }

/// What stands in only one of two multisets: empty where they are equal, short where they are not.
func difference(_ found: [[Value]], _ expected: [[Value]]) -> [String] {
    let (a, b) = (bag(found), bag(expected))
    let keys = Set(a.keys).union(b.keys).filter { a[$0] != b[$0] }
    return keys.prefix(5).map { "\($0): \(a[$0] ?? 0) times, expected \(b[$0] ?? 0)" }
}

func settings(_ kind: JoinKind, hasCondition: Bool, lateness: Int64) throws -> JoinConfig {
    var config = JoinConfig()
    config.kind = kind
    config.on = JoinKeys([("k", "rk")])
    config.allowedLateness = .microseconds(lateness)
    if hasCondition { config.condition = try ExpressionText("x <= y") }
    return config
}

func within(_ before: Int64, _ after: Int64) -> JoinInterval {
    var interval = JoinInterval()
    interval.before = .microseconds(before)
    interval.after = .microseconds(after)
    return interval
}

func window(_ size: Int64, every: Int64? = nil, offset: Int64 = 0) -> JoinWindow {
    var window = JoinWindow()
    if let every {
        window.sliding = .microseconds(size)
        window.every = .microseconds(every)
    } else {
        window.tumbling = .microseconds(size)
    }
    window.offset = .microseconds(offset)
    return window
}

/// Gives the operator the rows of all splits, interleaved at random, with the merged watermark of those that have not ended.
func drive(_ harness: OperatorHarness<Join>, _ input: ModelInput, size: Int, seed: UInt64) throws {
    var random = SplitMix(state: seed)
    var queues = [0, 1].flatMap { side in [0, 1].map { (side, input.batches(side, $0, size: size)[...]) } }
    var marks = [Int64](repeating: .min, count: queues.count)
    var merged = Int64.min
    while let open = queues.indices.filter({ !queues[$0].1.isEmpty }).randomElement(using: &random) {
        let step = queues[open].1.removeFirst()
        try harness.process(step.batch, from: InputPort(index: queues[open].0))
        if let watermark = step.watermark { marks[open] = max(marks[open], watermark) }
        if queues[open].1.isEmpty { marks[open] = .max }
        let least = marks.min() ?? .min
        if least > merged, least < .max {
            merged = least
            try harness.advance(to: .time(least))
        }
    }
    try harness.finish()
}

/// Rows of the main port that are older than a watermark that was sent before them.
func overtaken(_ emitted: Emitted, _ stream: Stream) throws -> [[Value]] {
    let column = try #require(stream.eventTime.flatMap { stream.schema.index(of: $0) })
    var watermark = Int64.min
    var found: [[Value]] = []
    for element in emitted.elements {
        switch element {
        case .batch(let batch, .main):
            found += batch.rows.filter { row in
                if case .timestamp(let time) = row[column] { time < watermark } else { true }
            }
        case .watermark(.time(let time)):
            if time < watermark { found.append([.timestamp(time)]) }
            watermark = max(watermark, time)
        case .batch, .watermark, .split: break
        }
    }
    return found
}
