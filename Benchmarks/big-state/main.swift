// How long a snapshot of a global aggregate of many keys holds the stream up, how many bytes a checkpoint gets, and what a key
// takes in memory. Times are of the thread's processor, so that other work on the machine does not show. Checks its answers.
//
// Then the same state beyond a memory budget: how long it takes to put memory on disk, and to merge many runs.
//
//     swift run -c release bench-big-state [keys]
import DataflowColumnar
import DataflowConfig
import DataflowExpression
import DataflowOperator
import Glibc
import Logging
import Synchronization
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

func context(_ inputs: [Stream], _ outputs: [Stream], memory: MemoryBudget? = nil) -> OperatorContext {
    OperatorContext(
        pipeline: "bench", node: "agg", inputs: inputs, outputs: outputs, lineage: "bench", generation: 1,
        stateDirectory: "/nonexistent", logger: Logger(label: "bench"), clock: Clock(), memory: memory)
}

/// Milliseconds that this thread has computed.
func computed() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) * 1e3 + Double(time.tv_nsec) / 1e6
}

/// Bytes of memory that the process has resident.
func resident() -> Int {
    guard let file = fopen("/proc/self/statm", "r") else { return 0 }
    defer { fclose(file) }
    var line = [CChar](repeating: 0, count: 200)
    guard fgets(&line, 200, file) != nil else { return 0 }
    let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return (text.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * 4096
}

func rounded(_ value: Double) -> Double { (value * 100).rounded() / 100 }

let keys = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 10_000_000
let batchSize = 8192
let input = Stream(Schema([Field("k", .int64, nullable: false), Field("v", .int64, nullable: false)]))
var config = WindowAggConfig()
config.groupBy = GroupBy([("k", try ExpressionText("k"))])
config.aggregates = ConfigMap([
    .init("n", try AggregateText("count(*)")), .init("s", try AggregateText("sum(v)")),
])
config.window = .global

guard let stage = try WindowAgg.localStage(config, inputs: [input]) else { preconditionFailure("no local stage") }
let local = try stage.make(context([input], [stage.output]))
let node = try WindowAgg(config, context([stage.output], WindowAgg.outputs(config, inputs: [input])))
try node.open(restoring: [])
var random = Random(state: 1)
var rowsIn = 0

/// Rows with these keys as what crosses the exchange.
@MainActor func partials(_ key: (Int) -> Int64) throws -> [RecordBatch] {
    let batch = RecordBatch(
        input.schema,
        [
            Column(.int64, .int64(Values(count: batchSize) { k in for i in 0..<batchSize { k[i] = key(i) } })),
            Column(.int64, .int64(Values(repeating: 1, count: batchSize))),
        ])
    var buffer = OutputBuffer()
    _ = try local.process(batch, from: .main, into: &buffer)
    _ = try local.prepareSnapshot(CheckpointID(1), into: &buffer)
    rowsIn += batchSize
    return buffer.drain().compactMap { if case .batch(let batch, .main) = $0 { batch } else { nil } }
}

@MainActor func process(_ batches: [RecordBatch]) throws {
    var buffer = OutputBuffer()
    for batch in batches { _ = try node.process(batch, from: .main, into: &buffer) }
}

/// Sends pending changes, as before each barrier.
@MainActor func emit() throws {
    var buffer = OutputBuffer()
    var progress = try node.prepareSnapshot(CheckpointID(1), into: &buffer)
    while progress == .more {
        _ = buffer.drain()
        progress = try node.resume(into: &buffer)
    }
}

let before = resident()
for start in stride(from: 0, to: keys, by: batchSize) { try process(partials { Int64((start + $0) % keys) }) }
print("\(keys) keys: \(rounded(Double(resident() - before) / Double(keys))) bytes a key, with what is to be told")
try emit()

/// Takes checkpoints while batches of the same kind come in.
@MainActor func measure(_ name: String, checkpoints: Int, changes: Int, _ key: () -> Int64) throws {
    var stops: [Double] = []
    var snapshots: [Double] = []
    var plain: [Double] = []
    var bytes: [Int] = []
    var reading: [Double] = []
    for _ in 0..<checkpoints {
        for _ in stride(from: 0, to: changes, by: batchSize) {
            let batches = try partials { _ in key() }
            let start = computed()
            try process(batches)
            plain.append(computed() - start)
        }
        try emit()
        var size = 0
        let rowsAtBarrier = rowsIn
        var counted: Int64 = 0
        func count(_ tables: StateSnapshot) {
            for batch in tables.flatMap(\.batches) {
                size += RecordBatchCoder.encode(batch).count
                // number, key group, key, count(*), …
                if batch.columns.count > 3 { counted += batch.columns[3].int64Values?.array.reduce(0, +) ?? 0 }
            }
        }
        let start = computed()
        let first = try node.snapshot(CheckpointID(1))
        snapshots.append(computed() - start)
        count(first)
        var progress = Progress.more
        var read = 0.0
        while progress == .more {
            let batches = try partials { _ in key() }
            let start = computed()
            try process(batches)
            let between = computed()
            var tables: StateSnapshot = []
            progress = try node.continueSnapshot(until: .now.advanced(by: .milliseconds(2)), into: &tables)
            read += computed() - between
            stops.append(computed() - start)
            count(tables)
        }
        if first.first?.increment?.keeps == 0 {
            precondition(counted == Int64(rowsAtBarrier), "\(counted) rows are in the snapshot of \(rowsAtBarrier)")
        }
        reading.append(read)
        bytes.append(size)
    }
    stops.sort()
    plain.sort()
    print(
        """
        \(name): snapshot() \(rounded(snapshots.max() ?? 0)) ms at most; then a batch and a part of the state \
        \(rounded(stops[stops.count * 99 / 100])) ms (p99), \(rounded(stops.last ?? 0)) ms (max) of \(stops.count); \
        a batch without \(rounded(plain[plain.count / 2])) ms; all parts \(rounded(reading.reduce(0, +) / Double(checkpoints))) ms; \
        \(rounded(Double(bytes.reduce(0, +)) / Double(checkpoints) / 1e6)) MB a checkpoint
        """)
}

let twentieth = keys / 20
try measure("all keys changed", checkpoints: 2, changes: keys * 6) { Int64(random.next() % UInt64(keys)) }
try measure("5 % changed, evenly spread", checkpoints: 12, changes: twentieth * 3) {
    Int64(random.next() % UInt64(twentieth)) * 20
}
try measure("5 % changed, side by side", checkpoints: 12, changes: twentieth * 3) {
    Int64(random.next() % UInt64(twentieth))
}

print("\(rowsIn) rows, \(rounded(Double(resident() - before) / Double(keys))) bytes a key at the end")

/// Groups beyond a budget: how long a share of it takes to be put on disk, as where memory is full and at each barrier, and how long
/// many such runs take to be merged.
@MainActor func measureSpilling() throws {
    let path = "/tmp/bench-big-state-\(getpid())"
    mkdir(path, 0o700)
    defer {
        rmdir(path + "/spill")
        rmdir(path)
    }
    let share = 256 << 20
    let memory = MemoryBudget(limit: share, spillingTo: path + "/spill")
    let context = try context([stage.output], WindowAgg.outputs(config, inputs: [input]), memory: memory)
    let node = try WindowAgg(config, context)
    try node.open(restoring: [])
    @MainActor func fill(_ batches: [RecordBatch]) throws {
        var buffer = OutputBuffer()
        for batch in batches { _ = try node.process(batch, from: .main, into: &buffer) }
    }
    @MainActor func spill() throws -> (wall: Duration, cpu: Double) {
        let (start, before) = (ContinuousClock.now, computed())
        try node.spill()
        return (start.duration(to: .now), rounded(computed() - before))
    }
    var next: Int64 = 0
    while node.stateByteCount < share {
        try fill(partials { next + Int64($0) })
        next += Int64(batchSize)
    }
    let full = try spill()
    print("\(share >> 20) MiB of \(next) groups are put on disk within \(full.wall), \(full.cpu) ms of them computed")
    var stops: [(wall: Duration, cpu: Double)] = []
    for _ in 0..<40 {
        for _ in 0..<50 { try fill(partials { _ in Int64(random.next() % UInt64(keys)) }) }
        stops.append(try spill())
    }
    stops.sort { $0.cpu < $1.cpu }
    let written = context.counters.spilledBytes.load(ordering: .relaxed) >> 20
    print(
        "\(50 * batchSize) groups at a time, 40 times: \(stops[20]) each (median), \(stops[39]) with merging; \(written) MiB written"
    )
}

try measureSpilling()
