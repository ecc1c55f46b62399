// How fast window-agg (local stage and final stage apart) and top-n are on one core. Checks its answers.
//
//     swift run -c release bench-window-agg [rows]
//     swift run -c release bench-window-agg memory int64|text
import DataflowColumnar
import DataflowConfig
import DataflowExpression
import DataflowOperator
import Glibc
import Logging
import TopN
import WindowAgg

struct Clock: RuntimeClock {
    var now: ContinuousClock.Instant { .now }
    var wallMicroseconds: Int64 { 1_700_000_000_000_000 }
}

struct Random {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

func context(_ inputs: [Stream], _ outputs: [Stream]) -> OperatorContext {
    OperatorContext(
        pipeline: "bench", node: "agg", inputs: inputs, outputs: outputs, lineage: "bench", generation: 1,
        stateDirectory: "/nonexistent", logger: Logger(label: "bench"), clock: Clock())
}

func config(
    _ groups: [String], _ aggregates: [(String, String)], window: WindowShape = .global, time: String? = nil
) throws -> WindowAggConfig {
    var config = WindowAggConfig()
    config.groupBy = GroupBy(try groups.map { ($0, try ExpressionText($0)) })
    config.aggregates = ConfigMap(try aggregates.map { .init($0.0, try AggregateText($0.1)) })
    config.window = window
    config.time = time.map { Located($0) }
    return config
}

/// Runs batches through both stages and prints rows a second of each.
func run(_ name: String, _ config: WindowAggConfig, _ input: Stream, _ batches: [RecordBatch]) throws -> [RecordBatch] {
    let outputs = try WindowAgg.outputs(config, inputs: [input])
    guard let stage = try WindowAgg.localStage(config, inputs: [input]) else { return [] }
    let local = try stage.make(context([input], [stage.output]))
    let node = try WindowAgg(config, context([stage.output], outputs))
    try node.open(restoring: [])
    let rows = batches.reduce(0) { $0 + $1.rowCount }

    var partials: [OutputBuffer.Element] = []
    var partialRows = 0
    let clock = ContinuousClock()
    let localTime = try clock.measure {
        var buffer = OutputBuffer()
        for batch in batches {
            _ = try local.process(batch, from: .main, into: &buffer)
            if config.time != nil, let times = batch.columns[0].int64Values {
                _ = try local.advance(to: .time(times[times.count - 1]), into: &buffer)
            }
            partials += buffer.drain()
        }
        _ = try local.prepareSnapshot(CheckpointID(1), into: &buffer)
        partials += buffer.drain()
    }
    var results: [RecordBatch] = []
    // The longest that the stream stood still for a window's close.
    var longestClose = Duration.zero
    func collect(_ buffer: inout OutputBuffer) {
        for case .batch(let batch, .main) in buffer.drain() { results.append(batch) }
    }
    let finalTime = try clock.measure {
        var buffer = OutputBuffer()
        for element in partials {
            switch element {
            case .batch(let batch, _):
                partialRows += batch.rowCount
                _ = try node.process(batch, from: .main, into: &buffer)
            case .watermark(let watermark):
                let close = try clock.measure {
                    var progress = try node.advance(to: watermark, into: &buffer)
                    collect(&buffer)
                    while progress == .more {
                        progress = try node.resume(into: &buffer)
                        collect(&buffer)
                    }
                }
                longestClose = max(longestClose, close)
            case .split: break
            }
        }
    }
    let snapshotTime = try clock.measure { _ = try node.snapshot(CheckpointID(1)) }
    let emitTime = try clock.measure {
        var buffer = OutputBuffer()
        var progress = try node.finish(into: &buffer)
        collect(&buffer)
        while progress == .more {
            progress = try node.resume(into: &buffer)
            collect(&buffer)
        }
    }
    func rate(_ rows: Int, _ time: Duration) -> String {
        let seconds = Double(time.components.seconds) + Double(time.components.attoseconds) * 1e-18
        return "\((Double(rows) / seconds / 100_000).rounded() / 10) M/s"
    }
    let emitted = results.reduce(0) { $0 + $1.rowCount }
    print(
        "\(name): local \(rate(rows, localTime)), \(partialRows) partial rows, final \(rate(partialRows, finalTime)), "
            + "both \(rate(rows, localTime + finalTime)), snapshot \(snapshotTime), longest close \(longestClose), emitted \(emitted) in \(emitTime)"
    )
    return results
}

func total(_ batches: [RecordBatch], _ column: String) -> Int64 {
    batches.reduce(0) { sum, batch in
        guard let values = batch[column]?.int64Values else { return sum }
        return values.array.reduce(sum, &+)
    }
}

let rows = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 10_000_000
let batchSize = 8192
/// Resident bytes of this process.
func residentBytes() -> Int {
    guard let file = fopen("/proc/self/statm", "r") else { return 0 }
    defer { fclose(file) }
    var (size, resident) = (0, 0)
    return withVaList([withUnsafeMutablePointer(to: &size) { $0 }, withUnsafeMutablePointer(to: &resident) { $0 }]) {
        vfscanf(file, "%ld %ld", $0) == 2
    } ? resident * 4096 : 0
}

/// What a group of a global count takes, a checkpoint's copy apart and included; in a process of its own, since memory is
/// used again.
func measureMemory(_ name: String, _ key: (Int) -> Column) throws {
    let groups = 2_000_000
    let type = key(0).type
    let input = Stream(Schema([Field("key", type)]))
    let config = try config(["key"], [("n", "count(*)")])
    guard let stage = try WindowAgg.localStage(config, inputs: [input]) else { return }
    let node = try WindowAgg(config, context([stage.output], WindowAgg.outputs(config, inputs: [input])))
    try node.open(restoring: [])
    let before = residentBytes()
    var buffer = OutputBuffer()
    for start in stride(from: 0, to: groups, by: batchSize) {
        let columns = [key(start), Column(.int64, .int64(Values(repeating: 1, count: batchSize)))]
        _ = try node.process(RecordBatch(stage.output.schema, columns), from: .main, into: &buffer)
    }
    var progress = try node.prepareSnapshot(CheckpointID(1), into: &buffer)
    while progress == .more {
        _ = buffer.drain()
        progress = try node.resume(into: &buffer)
    }
    _ = buffer.drain()
    let live = residentBytes() - before
    let snapshot = try node.snapshot(CheckpointID(1))
    let held = residentBytes() - before
    let count = snapshot[0].rowCount
    print("memory, global count by \(name): \(live / count) bytes a key, \(held / count) with a checkpoint's copy")
}

// `bench-window-agg memory int64`, `bench-window-agg memory text`
if CommandLine.arguments.dropFirst().first == "memory" {
    try measureMemory(CommandLine.arguments.last == "text" ? "short text" : "int64") { start in
        guard CommandLine.arguments.last == "text" else {
            return Column(
                .int64, .int64(Values(count: batchSize) { t in for i in 0..<batchSize { t[i] = Int64(start + i) } }))
        }
        var names = ViewBuilder(capacity: batchSize)
        for i in 0..<batchSize { names.append("k\(start + i)") }
        return names.finish()
    }
    exit(0)
}

var random = Random(state: 1)
let countries = (0..<200).map { "C\($0)" }

let events = Schema([
    Field("event_time", .timestamp, nullable: false), Field("country", .string), Field("price", .float64),
])
var batches: [RecordBatch] = []
for start in stride(from: 0, to: rows, by: batchSize) {
    let count = min(batchSize, rows - start)
    var names = ViewBuilder(capacity: count)
    for _ in 0..<count { names.append(countries[Int(random.next() % 200)]) }
    let times = Values<Int64>(count: count) { t in for i in 0..<count { t[i] = Int64(start + i) * 100 } }
    let prices = Values<Double>(count: count) { t in for i in 0..<count { t[i] = Double(random.next() % 100_000) / 100 }
    }
    batches.append(
        RecordBatch(events, [Column(.timestamp, .int64(times)), names.finish(), Column(.float64, .float64(prices))]))
}
let stream = Stream(events, eventTime: "event_time")
let calls = [("n", "count(*)"), ("s", "sum(price)"), ("a", "avg(price)"), ("lo", "min(price)"), ("hi", "max(price)")]
let windows = try run(
    "tumbling 10s × 200 countries, 5 aggregates",
    config(["country"], calls, window: .tumbling(.seconds(10)), time: "event_time"), stream, batches)
precondition(total(windows, "n") == Int64(rows), "the windows' counts do not add up")

let sliding = try run(
    "sliding 60s every 10s × 200 countries, 5 aggregates",
    config(["country"], calls, window: .sliding(.seconds(60), every: .seconds(10)), time: "event_time"), stream, batches
)
precondition(total(sliding, "n") == Int64(rows) * 6, "each row counts in six windows")

let sessions = try run(
    "sessions × 200 countries, 5 aggregates",
    config(["country"], calls, window: .session(.seconds(1)), time: "event_time"),
    stream, batches)
precondition(total(sessions, "n") == Int64(rows), "the sessions' counts do not add up")

// The aggregates of docs/aggregates.md one by one, over 200 keys; the answers are checked in the tests.
for call in [
    "sum(price)", "stddev(price)", "stddev(cents)", "sum(distinct cents)", "approx_count_distinct(cents)",
    "approx_quantile(price, 0.99)", "approx_top_k(country, 10)", "approx_top_k(cents, 10)", "collect_list(cents, 100)",
    "collect_list(cents, 100 order by price)", "collect_set(country)", "string_agg(distinct country, ',')",
] {
    let cents = Schema(events.fields + [Field("cents", .int64)])
    let some = batches.prefix(max(1, batches.count / 4)).map { batch in
        let prices = batch.columns[2].float64Values ?? Values(repeating: 0, count: batch.rowCount)
        let values = Values<Int64>(count: batch.rowCount) { t in for i in 0..<t.count { t[i] = Int64(prices[i] * 100) }
        }
        return RecordBatch(cents, batch.columns + [Column(.int64, .int64(values))])
    }
    let groups = try run("\(call), 200 keys", config(["country"], [("r", call)]), Stream(cents), Array(some))
    precondition(groups.reduce(0) { $0 + $1.rowCount } == 200, "a country is missing")
}

let counts = try run("global count, 200 keys", config(["country"], [("n", "count(*)")]), stream, batches)
precondition(total(counts, "n") == Int64(rows), "the counts do not add up")

batches = []
for start in stride(from: 0, to: rows, by: batchSize) {
    let count = min(batchSize, rows - start)
    var names = ViewBuilder(capacity: count)
    for _ in 0..<count { names.append("key-\(random.next() % 1_000_000)") }
    batches.append(RecordBatch(Schema([Field("key", .string)]), [names.finish()]))
}
let many = try run(
    "global count, 1M short keys", config(["key"], [("n", "count(*)")]), Stream(batches[0].schema), batches)
precondition(total(many, "n") == Int64(rows), "the counts do not add up")

/// Rows over 200 s of event time with keys at random.
@MainActor func keyed(_ keys: UInt64) -> [RecordBatch] {
    let schema = Schema([Field("event_time", .timestamp, nullable: false), Field("key", .int64)])
    return stride(from: 0, to: rows, by: batchSize).map { start in
        let count = min(batchSize, rows - start)
        let step = 200_000_000 / Double(rows)
        let times = Values<Int64>(count: count) { t in for i in 0..<count { t[i] = Int64(Double(start + i) * step) } }
        let ids = Values<Int64>(count: count) { t in for i in 0..<count { t[i] = Int64(random.next() % keys) } }
        return RecordBatch(schema, [Column(.timestamp, .int64(times)), Column(.int64, .int64(ids))])
    }
}

for keys in [10_000, 1_000_000] as [UInt64] {
    batches = keyed(keys)
    let stream = Stream(batches[0].schema, eventTime: "event_time")
    let tumbling = try run(
        "tumbling 10s × \(keys) keys, count",
        config(["key"], [("n", "count(*)")], window: .tumbling(.seconds(10)), time: "event_time"), stream, batches)
    precondition(total(tumbling, "n") == Int64(rows), "the windows' counts do not add up")
    let sliding = try run(
        "sliding 60s every 10s × \(keys) keys, count",
        config(["key"], [("n", "count(*)")], window: .sliding(.seconds(60), every: .seconds(10)), time: "event_time"),
        stream, batches)
    precondition(total(sliding, "n") == Int64(rows) * 6, "each row counts in six windows")
}

let clicks = Schema([Field("at", .timestamp, nullable: false), Field("visitor", .int64, nullable: false)])
batches = stride(from: 0, to: rows, by: batchSize).map { start in
    let count = min(batchSize, rows - start)
    let times = Values<Int64>(count: count) { t in for i in 0..<count { t[i] = Int64(start + i) * 100 } }
    let visitors = Values<Int64>(count: count) { t in for i in 0..<count { t[i] = Int64(random.next() % 1_000_000) } }
    return RecordBatch(clicks, [Column(.timestamp, .int64(times)), Column(.int64, .int64(visitors))])
}
for gap in [10, 10_000] as [Int64] {
    // A visitor comes every 100 s on average.
    let visits = try run(
        "sessions of 1M visitors, gap \(gap) s",
        config(["visitor"], [("n", "count(*)")], window: .session(.seconds(gap)), time: "at"),
        Stream(clicks, eventTime: "at"), batches)
    precondition(total(visits, "n") == Int64(rows), "the sessions' counts do not add up")
}

/// Runs batches through top-n and prints rows a second.
func runTop(_ name: String, _ config: TopNConfig, _ input: Stream, _ batches: [RecordBatch]) throws -> [RecordBatch] {
    let node = try TopN(config, context([input], TopN.outputs(config, inputs: [input])))
    try node.open(restoring: [])
    var buffer = OutputBuffer()
    var results: [RecordBatch] = []
    let clock = ContinuousClock()
    let time = try clock.measure {
        for batch in batches { _ = try node.process(batch, from: .main, into: &buffer) }
        var progress = try node.finish(into: &buffer)
        while true {
            for case .batch(let batch, .main) in buffer.drain() { results.append(batch) }
            guard progress == .more else { break }
            progress = try node.resume(into: &buffer)
        }
    }
    let rows = batches.reduce(0) { $0 + $1.rowCount }
    let seconds = Double(time.components.seconds) + Double(time.components.attoseconds) * 1e-18
    print("\(name): \((Double(rows) / seconds / 10_000).rounded() / 100) M/s")
    return results
}

var top = TopNConfig()
top.orderBy = [try OrderText("price desc")]
top.n = 10
let scored = Schema([Field("id", .int64, nullable: false), Field("country", .string), Field("price", .float64)])
batches = stride(from: 0, to: rows / 4, by: batchSize).map { start in
    let ids = Values<Int64>(count: batchSize) { t in for i in 0..<batchSize { t[i] = Int64(random.next() % 100_000) } }
    let names = Column.string((0..<batchSize).map { _ in countries[Int(random.next() % 200)] })
    let prices = Values<Double>(count: batchSize) { t in for i in 0..<batchSize { t[i] = Double(random.next() >> 11) } }
    return RecordBatch(scored, [Column(.int64, .int64(ids)), names, Column(.float64, .float64(prices))])
}
top.partitionBy = [Located("country")]
let facts = try runTop("top 10 of 200 countries, facts", top, Stream(scored), batches)
precondition(facts.reduce(0) { $0 + $1.rowCount } == 2000, "a country has not ten rows")
top.partitionBy = []
let updated = try runTop(
    "top 10 of 100,000 keys, updates at random", top, Stream(scored, kind: .upsert(key: ["id"])), batches)
var last: [Int64: Double] = [:]
for batch in batches {
    for row in 0..<batch.rowCount {
        last[batch.columns[0].int64Values?[row] ?? 0] = batch.columns[2].float64Values?[row]
    }
}
let best = Set(last.sorted { $0.value > $1.value }.prefix(10).map(\.key))
precondition(Set(updated.flatMap { $0.columns[0].int64Values?.array ?? [] }) == best, "another top ten")
