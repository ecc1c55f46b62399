// How many rows dedupe, top-n on close, sample, split and union take in a second of one core's time; each answer is checked.
import DataflowColumnar
import DataflowConfig
import DataflowExpression
import DataflowOperator
import Dedupe
import Glibc
import Logging
import Sample
import Split
import TopN
import Union

struct Clock: RuntimeClock {
    var now: ContinuousClock.Instant { .now }
    var wallMicroseconds: Int64 { 1_700_000_000_000_000 }
}

/// A seeded generator: the same rows each time.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// Runs batches through a transform, with the watermark of each behind it; prints rows a second and gives rows by port.
func run<T: Transform>(
    _ name: String, _ type: T.Type, _ config: T.Config, _ inputs: [Stream], _ batches: [RecordBatch],
    watermark: (Int) -> Int64? = { _ in nil }
) throws -> [Int: Int] {
    let outputs = try T.outputs(config, inputs: inputs)
    let context = OperatorContext(
        pipeline: "bench", node: "node", inputs: inputs, outputs: outputs,
        unreadPorts: T.self == Dedupe.self ? [OutputPort(index: 1)] : [], lineage: "bench", generation: 1,
        stateDirectory: "/nonexistent", logger: Logger(label: "bench"), clock: Clock())
    let node = try T(config, context)
    try node.open(restoring: [])
    var rows: [Int: Int] = [:]
    var buffer = OutputBuffer()
    func drain(_ progress: Progress) throws {
        var progress = progress
        while true {
            for case .batch(let batch, let port) in buffer.drain() { rows[port.index, default: 0] += batch.rowCount }
            guard progress == .more else { return }
            progress = try node.resume(into: &buffer)
        }
    }
    // Time of the processor, so that what else runs on the machine counts less.
    func measure(_ work: () throws -> Void) rethrows -> Double {
        let start = clock()
        try work()
        return Double(clock() - start) / Double(CLOCKS_PER_SEC)
    }
    let time = try measure {
        for (index, batch) in batches.enumerated() {
            try drain(try node.process(batch, from: InputPort(index: index % inputs.count), into: &buffer))
            if let time = watermark(index) { try drain(try node.advance(to: .time(time), into: &buffer)) }
        }
    }
    let snapshot = try measure { _ = try node.snapshot(CheckpointID(1)) }
    try drain(try node.finish(into: &buffer))
    let count = batches.reduce(0) { $0 + $1.rowCount }
    print(
        "\(name): \((Double(count) / time / 100_000).rounded() / 10) M/s, snapshot \((snapshot * 10_000).rounded() / 10) ms"
    )
    return rows
}

let count = 8_000_000
let size = RecordBatch.defaultRowCount
let schema = Schema([
    Field("at", .timestamp, nullable: false), Field("id", .int64, nullable: false), Field("country", .string),
    Field("amount", .float64),
])
let countries = (0..<200).map { "country \($0)" }
var random = SplitMix(state: 1)
/// A row each millisecond; an identity is used twice, within a thousand rows.
var number: Int64 = 0
let batches = stride(from: 0, to: count, by: size).map { start -> RecordBatch in
    let first = Int64(start)
    let ids = Values<Int64>(count: size) { ids in
        for i in 0..<size { ids[i] = (first + Int64(i)) / 2000 * 1000 + (first + Int64(i)) % 1000 }
    }
    let names = Column.string((0..<size).map { _ in countries[Int(random.next() % 200)] })
    let amounts = Values<Double>(count: size) { amounts in
        for i in 0..<size { amounts[i] = Double(random.next() % 1000) }
    }
    let times = Values<Int64>(count: size) { times in for i in 0..<size { times[i] = (first + Int64(i)) * 1000 } }
    return RecordBatch(
        schema,
        [Column(.timestamp, .int64(times)), Column(.int64, .int64(ids)), names, Column(.float64, .float64(amounts))])
}
let rows = batches.count * size
let stream = Stream(schema, eventTime: "at")
func behind(_ index: Int) -> Int64 { Int64((index + 1) * size) * 1000 - 5_000_000 }

var dedupe = DedupeConfig()
dedupe.key = OneOrMany([try ExpressionText("id")])
let unique = Set(batches.flatMap { $0.columns[1].int64Values?.array ?? [] }).count
dedupe.within = .seconds(600)
let kept = try run(
    "dedupe within 10 minutes of event time, half duplicates", Dedupe.self, dedupe, [stream], batches, watermark: behind
)
precondition(kept == [0: unique], "dedupe let \(kept) through, expected \(unique)")
dedupe.within = nil
let forEver = try run("dedupe for ever, \(unique) keys", Dedupe.self, dedupe, [stream], batches)
precondition(forEver == [0: unique], "dedupe let \(forEver) through, expected \(unique)")

// The same rows in windows of ten seconds.
let windows = batches.map { batch in
    let starts = Values<Int64>(count: size) { starts in
        for i in 0..<size { starts[i] = (batch.columns[0].int64Values?[i] ?? 0) / 10_000_000 * 10_000_000 }
    }
    return batch.replacingColumns(schema, [Column(.timestamp, .int64(starts))] + batch.columns.dropFirst())
}
var top = TopNConfig()
top.partitionBy = [Located("at"), Located("country")]
top.orderBy = [try OrderText("amount desc")]
top.n = 3
top.emit = .onClose
let best = try run("top 3 of 200 countries and 10 s, on close", TopN.self, top, [stream], windows, watermark: behind)
let partitions = rows / 10_000 * 200
precondition(abs((best[0] ?? 0) - partitions * 3) < partitions, "top-n told \(best) rows")

var sample = SampleConfig()
sample.rate = 0.01
sample.key = OneOrMany([Located("id")])
let some = try run("sample 0.01 by an integer", Sample.self, sample, [stream], batches)
precondition(abs(Double(some[0] ?? 0) / Double(rows) - 0.01) < 0.001, "sample let \(some) through")
sample.key = nil
_ = try run("sample 0.01 by all four columns", Sample.self, sample, [stream], batches)

var split = SplitConfig()
split.routes = ConfigMap([
    .init("big", try ExpressionText("amount >= 900")), .init("one", try ExpressionText("country = 'country 7'")),
])
let routed = try run("split into two routes and the rest", Split.self, split, [stream], batches)
precondition(routed.values.reduce(0, +) == rows, "split lost rows: \(routed)")

var union = UnionConfig()
union.source = "origin"
let both = try run(
    "union of two, with source", Union.self, union, [Stream(schema, name: "a"), Stream(schema, name: "b")], batches)
precondition(both == [0: rows], "union lost rows: \(both)")
