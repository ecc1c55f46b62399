// Drives pg-sink as the runtime does, `delivery: exactly_once`, over the rows of the peers' pg_limits.c: one case a run, so
// that `Benchmarks/pg_sink.py` can alternate both and compare rates and processor time. Checks that the rows arrive.
//
//     DATAFLOW_TEST_PG_URL=postgresql://… bench-pg-sink copy ROWS BATCH      into a table without index, epochs of BATCH rows
//     DATAFLOW_TEST_PG_URL=postgresql://… bench-pg-sink upsert ROWS BATCH    by key, all rows new, then all rows there
//     DATAFLOW_TEST_PG_URL=postgresql://… bench-pg-sink encode ROWS          the encoder and the index of keys alone
//
// The table is created anew: (ts timestamptz, country text, n bigint, total double precision, av double precision), with
// PRIMARY KEY (ts, country) for upserts.
import DataflowColumnar
import DataflowConfig
import DataflowOperator
import DataflowPostgres
import Glibc
import Logging
import PgSink

struct Clock: RuntimeClock {
    var now: ContinuousClock.Instant { .now }
    var wallMicroseconds: Int64 { 1_700_000_000_000_000 }
}

let arguments = CommandLine.arguments.dropFirst()
let mode = arguments.first ?? ""
let rowCount = arguments.dropFirst().first.flatMap { Int($0) } ?? 2_000_000
let batchSize = arguments.dropFirst(2).first.flatMap { Int($0) } ?? rowCount
let url = getenv("DATAFLOW_TEST_PG_URL").map { String(cString: $0) } ?? ""
guard ["copy", "upsert", "encode"].contains(mode), rowCount > 0, batchSize > 0, !url.isEmpty else {
    print("usage: DATAFLOW_TEST_PG_URL=postgresql://… bench-pg-sink copy|upsert|encode [rows [rows an epoch]]")
    exit(64)
}
let folder = "/var/tmp/dataflow-bench-pg-\(getpid())"

let server = try PgConnection(PgSettings(parsing: url), timeout: .seconds(60)) { _, _ in }

let schema = Schema([
    Field("ts", .timestamp, nullable: false), Field("country", .string, nullable: false),
    Field("n", .int64, nullable: false), Field("total", .float64, nullable: false),
    Field("av", .float64, nullable: false),
])
let countries = (0..<200).map { k in
    String(decoding: [UInt8(ascii: "A") + UInt8(k / 26), UInt8(ascii: "A") + UInt8(k % 26)], as: UTF8.self)
}

/// The rows of pg_limits.c, `row(i, pass)`.
func batch(_ rows: Range<Int>, pass: Int) -> RecordBatch {
    let count = rows.count
    let first = rows.lowerBound
    var texts = ViewBuilder(capacity: count)
    for i in rows { texts.append(countries[i % 200]) }
    return RecordBatch(
        schema,
        [
            Column(
                .timestamp,
                .int64(
                    Values(count: count) { target in
                        for i in 0..<count {
                            target[i] = 1_735_603_200_000_000 + Int64((first + i) / 200 * 10) * 1_000_000
                        }
                    })),
            texts.finish(),
            Column(
                .int64,
                .int64(
                    Values(count: count) { target in
                        for i in 0..<count { target[i] = Int64((first + i) % 977 + pass) }
                    })),
            Column(
                .float64,
                .float64(
                    Values(count: count) { target in
                        for i in 0..<count { target[i] = Double((first + i) % 977 + pass) * 12.37 }
                    })),
            Column(
                .float64,
                .float64(Values(count: count) { target in for i in 0..<count { target[i] = 12.37 + Double(pass) } })),
        ])
}

func report(_ name: String, _ time: Duration) {
    let seconds = Double(time.components.seconds) + Double(time.components.attoseconds) / 1e18
    print("\(name) rows=\(rowCount) sec=\(seconds) rows/s=\(Int(Double(rowCount) / seconds))")
}

func sink(_ table: String, key: [String]) throws -> PgSink {
    var config = PgSinkConfig()
    config.connection = Secret(url)
    config.table = table
    config.key = key
    // Nothing is sent before the segment is full.
    if mode == "encode" { config.maxBatch = .gibibytes(1) }
    let input = DataflowOperator.Stream(schema, kind: key.isEmpty ? .append : .upsert(key: key))
    return try PgSink(
        config,
        OperatorContext(
            pipeline: "bench", node: table, inputs: [input], lineage: "bench-\(UInt64.random(in: 0 ... .max))",
            generation: 1, stateDirectory: folder, logger: Logger(label: "bench"), clock: Clock()))
}

mkdir(folder, 0o700)
atexit { rmdir(folder) }
let clock = ContinuousClock()
let upsert = mode != "copy"
let table = upsert ? "bench_upsert" : "bench_append"
try server.execute("set client_min_messages = error; drop table if exists \(table)")
try server.execute(
    "create table \(table) (ts timestamptz, country text, n bigint, total double precision, av double precision"
        + "\(upsert ? ", primary key (ts, country)" : ""))")
// Needs the role pg_checkpoint; without it a checkpoint of the server may fall into the measured time.
_ = try? server.execute("checkpoint")
let target = try sink(table, key: upsert ? ["ts", "country"] : [])
try await target.open(restoring: [])
if mode == "encode" {
    let batches = stride(from: 0, to: rowCount, by: 8192).map { batch($0..<min($0 + 8192, rowCount), pass: 0) }
    var errors = OutputBuffer()
    let start = clock.now
    for batch in batches { try await target.write(batch, errors: &errors) }
    report("encode", clock.now - start)
    await target.close()
    exit(0)
}
var epoch: UInt64 = 0
for pass in 0...(upsert ? 1 : 0) {
    let start = clock.now
    var errors = OutputBuffer()
    for first in stride(from: 0, to: rowCount, by: batchSize) {
        let end = min(first + batchSize, rowCount)
        for row in stride(from: first, to: end, by: 8192) {
            try await target.write(batch(row..<min(row + 8192, end), pass: pass), errors: &errors)
        }
        epoch += 1
        let checkpoint = CheckpointID(epoch)
        try await target.flush(checkpoint, errors: &errors)
        let pending = try await target.prepareCommit(checkpoint)
        try await target.commit(pending, checkpoint)
    }
    report(upsert ? pass == 0 ? "upsert new-keys" : "upsert update" : "copy append", clock.now - start)
}
await target.close()
let sum = (0..<rowCount).reduce(0) { $0 + $1 % 977 + (upsert ? 1 : 0) }
let found = try server.query("select count(*), sum(n) from \(table)", [])
guard found.integer(0, 0) == Int64(rowCount), found.integer(0, 1) == Int64(sum) else {
    print("\(table) is wrong: expected \(rowCount) rows with a sum of \(sum)")
    exit(1)
}
