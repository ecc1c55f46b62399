// How fast a join is on one core, what a row that is held costs, and how long a snapshot stops the stream. Checks its
// answers.
//
//     swift run -c release bench-join [rows a side]
import DataflowColumnar
import DataflowConfig
import DataflowExpression
import DataflowOperator
import Glibc
import Join
import Logging

struct Clock: RuntimeClock {
    var now: ContinuousClock.Instant { .now }
    var wallMicroseconds: Int64 { 1_700_000_000_000_000 }
}

struct Random: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

let left = Stream(
    Schema([Field("k", .int64, nullable: false), Field("at", .timestamp, nullable: false), Field("x", .int64)]),
    eventTime: "at")
let right = Stream(
    Schema([Field("rk", .int64, nullable: false), Field("rat", .timestamp, nullable: false), Field("y", .int64)]),
    eventTime: "rat")

/// One row a microsecond, shuffled a little; keys at random.
struct Side {
    var keys: [Int64]
    var times: [Int64]

    init(rows: Int, keys count: UInt64, disorder: UInt64, seed: UInt64) {
        var random = Random(state: seed)
        keys = (0..<rows).map { _ in Int64(random.next() % count) }
        times = (0..<rows).map { Int64($0) - Int64(random.next() % disorder) }
    }

    func batch(_ range: Range<Int>, _ schema: Schema) -> RecordBatch {
        RecordBatch(
            schema,
            [
                Column(.int64, .int64(Values(Array(keys[range])))),
                Column(.timestamp, .int64(Values(Array(times[range])))),
                Column(.int64, .int64(Values(range.map { Int64($0) }))),
            ])
    }
}

/// Pairs by a way of its own: the right rows of each key sorted by time, counted by binary search.
func expectedPairs(_ l: Side, _ r: Side, _ range: (Int64) -> ClosedRange<Int64>) -> Int {
    var byKey: [Int64: [Int64]] = [:]
    for (key, time) in zip(r.keys, r.times) { byKey[key, default: []].append(time) }
    for key in byKey.keys { byKey[key]?.sort() }
    func below(_ times: [Int64], _ time: Int64) -> Int {
        var (low, high) = (0, times.count)
        while low < high {
            let middle = (low + high) / 2
            if times[middle] < time { low = middle + 1 } else { high = middle }
        }
        return low
    }
    return zip(l.keys, l.times).reduce(0) { sum, row in
        guard let times = byKey[row.0] else { return sum }
        let wanted = range(row.1)
        return sum + below(times, wanted.upperBound + 1) - below(times, wanted.lowerBound)
    }
}

/// Time that the process had a core for: other work on the machine does not count.
func coreTime(_ body: () throws -> Void) rethrows -> Double {
    let start = clock()
    try body()
    return Double(clock() - start) / Double(CLOCKS_PER_SEC)
}

func residentBytes() -> Int {
    guard let file = fopen("/proc/self/statm", "r") else { return 0 }
    defer { fclose(file) }
    var text = [CChar](repeating: 0, count: 128)
    _ = fgets(&text, 128, file)
    let bytes = text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    let fields = String(decoding: bytes, as: UTF8.self).split(separator: " ")
    return fields.count > 1 ? (Int(fields[1]) ?? 0) * 4096 : 0
}

func run(
    _ name: String, _ config: JoinConfig, _ l: Side, _ r: Side, disorder: Int64, expected: Int, holds: Bool = false
)
    throws
{
    let inputs = [left, right]
    let outputs = try Join.outputs(config, inputs: inputs)
    let node = try Join(
        config,
        OperatorContext(
            pipeline: "bench", node: "join", inputs: inputs, outputs: outputs, lineage: "bench", generation: 1,
            stateDirectory: "/nonexistent", logger: Logger(label: "bench"), clock: Clock()))
    try node.open(restoring: [])
    let rows = l.keys.count
    var batches: [(RecordBatch, Int)] = []
    for start in stride(from: 0, to: rows, by: 8192) {
        let range = start..<min(rows, start + 8192)
        batches.append((l.batch(range, left.schema), 0))
        batches.append((r.batch(range, right.schema), 1))
    }
    var pairs = 0
    var output = OutputBuffer()
    func collect(_ progress: Progress) throws {
        var progress = progress
        while true {
            for case .batch(let batch, .main) in output.drain() { pairs += batch.rowCount }
            guard progress == .more else { return }
            progress = try node.resume(into: &output)
        }
    }
    let before = residentBytes()
    var seconds = try coreTime {
        for (index, (batch, side)) in batches.enumerated() {
            try collect(try node.process(batch, from: InputPort(index: side), into: &output))
            if !holds, side == 1 {
                let seen = Int64(min(rows, (index / 2 + 1) * 8192))
                try collect(try node.advance(to: .time(seen - disorder), into: &output))
            }
        }
    }
    var text = ""
    if holds {
        let bytes = (residentBytes() - before) / (2 * rows)
        var tables: StateSnapshot = []
        let stop = try coreTime { tables = try node.snapshot(CheckpointID(1)) }
        let read = try coreTime {
            while try node.continueSnapshot(until: .now, into: &tables) == .more {}
        }
        let held = tables.reduce(0) { $0 + $1.rowCount } - 1
        precondition(held == 2 * rows, "\(held) rows in the snapshot")
        text =
            ", \(bytes) bytes resident a row held, a snapshot of \(held) rows stops the stream \(stop * 1000) ms and reads \(Int(read * 1000)) ms"
    }
    seconds += try coreTime { try collect(try node.advance(to: .end, into: &output)) }
    precondition(pairs == expected, "\(name): \(pairs) pairs, expected \(expected)")
    print(
        "\(name): \(2 * rows) rows, \(pairs) pairs, \(Double(Int(Double(2 * rows) / seconds / 1e4)) / 100) M rows/s, \(Double(Int(Double(pairs) / seconds / 1e4)) / 100) M pairs/s\(text)"
    )
}

let rows = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 1_000_000

func config(_ change: (inout JoinConfig) -> Void) -> JoinConfig {
    var config = JoinConfig()
    config.on = JoinKeys([("k", "rk")])
    change(&config)
    return config
}

func interval(_ before: Int64, _ after: Int64) -> JoinConfig {
    config {
        $0.within = JoinInterval()
        $0.within?.before = .microseconds(before)
        $0.within?.after = .microseconds(after)
    }
}

do {
    let l = Side(rows: rows, keys: 10_000, disorder: 100, seed: 1)
    let r = Side(rows: rows, keys: 10_000, disorder: 100, seed: 2)
    let near = expectedPairs(l, r) { ($0 - 10_000)...$0 }
    try run("interval, 10,000 keys", interval(10_000, 0), l, r, disorder: 100, expected: near)
    try run("interval, nothing freed", interval(10_000, 0), l, r, disorder: 100, expected: near, holds: true)

    let size: Int64 = 10_000
    func window(_ time: Int64) -> ClosedRange<Int64> {
        let start = time - ((time % size) + size) % size
        return start...(start + size - 1)
    }
    let windowed = config {
        $0.window = JoinWindow()
        $0.window?.tumbling = .microseconds(size)
    }
    try run("tumbling window, 10,000 keys", windowed, l, r, disorder: 100, expected: expectedPairs(l, r, window))

    let hotLeft = Side(rows: 100_000, keys: 1, disorder: 50_000, seed: 3)
    let hotRight = Side(rows: 100_000, keys: 1, disorder: 50_000, seed: 4)
    try run(
        "one key, in disorder, equal times", interval(0, 0), hotLeft, hotRight, disorder: 50_000,
        expected: expectedPairs(hotLeft, hotRight) { $0...$0 })
    let fewLeft = Side(rows: 2000, keys: 1, disorder: 1, seed: 5)
    let fewRight = Side(rows: 2000, keys: 1, disorder: 1, seed: 6)
    try run(
        "one key, all with all", interval(10_000, 10_000), fewLeft, fewRight, disorder: 1, expected: 4_000_000)
} catch {
    print("failed: \(error)")
    exit(1)
}
