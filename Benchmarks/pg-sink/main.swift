// How fast pg-sink is: encoding and finding the last row a key alone, a whole epoch of added rows and of upserts, beside a plain COPY by psql of the same
// rows from a file. Checks that the rows arrive.
//
//     DATAFLOW_TEST_PG_URL=postgresql://… swift run -c release bench-pg-sink [rows]
import DataflowColumnar
import DataflowConfig
import DataflowOperator
import Glibc
import Logging
import PgSink

struct Clock: RuntimeClock {
    var now: ContinuousClock.Instant { .now }
    var wallMicroseconds: Int64 { 1_700_000_000_000_000 }
}

guard let url = getenv("DATAFLOW_TEST_PG_URL").map({ String(cString: $0) }) else {
    print("set DATAFLOW_TEST_PG_URL to a database that may be written to")
    exit(64)
}
let rowCount = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 1_000_000
let folder = "/var/tmp/dataflow-bench-pg-\(getpid())"
mkdir(folder, 0o700)

/// Runs psql; ends the benchmark if it fails.
func psql(_ arguments: String) {
    guard system("psql '\(url)' -q -v ON_ERROR_STOP=1 \(arguments)") == 0 else { exit(1) }
}

let schema = Schema([
    Field("id", .int64, nullable: false), Field("country", .string), Field("price", .float64), Field("n", .int32),
    Field("at", .timestamp),
])
let batches = stride(from: 0, to: rowCount, by: 8192).map { start in
    let count = min(8192, rowCount - start)
    return RecordBatch(
        schema,
        [
            .int64((0..<count).map { Int64(start + $0) }),
            .string((0..<count).map { ($0 % 50 == 0) ? nil : "country-\($0 % 200) with a name" }),
            .float64((0..<count).map { Double($0) * 1.25 }), .int32((0..<count).map { Int32($0) }),
            .timestamp((0..<count).map { 1_700_000_000_000_000 + Int64($0) * 1000 }),
        ])
}

func report(_ name: String, _ time: Duration) {
    let seconds = Double(time.components.seconds) + Double(time.components.attoseconds) / 1e18
    let name = name + String(repeating: " ", count: max(0, 34 - name.count))
    print("\(name) \(Int((seconds * 1000).rounded())) ms  \(Int(Double(rowCount) / seconds / 1000)) thousand rows/s")
}

func run(_ name: String, table: String, key: [String], maxBatch: ByteSize) async throws {
    psql("-c 'drop table if exists \(table)' 2> \(folder)/notices")
    let input = DataflowOperator.Stream(schema, kind: key.isEmpty ? .append : .upsert(key: key))
    var config = PgSinkConfig()
    config.connection = Secret(url)
    config.table = table
    config.key = key
    config.maxBatch = maxBatch
    let sink = try PgSink(
        config,
        OperatorContext(
            pipeline: "bench", node: table, inputs: [input], lineage: "bench-\(UInt64.random(in: 0 ... .max))",
            generation: 1, stateDirectory: folder, logger: Logger(label: "bench"), clock: Clock()))
    try await sink.open(restoring: [])
    let clock = ContinuousClock()
    let start = clock.now
    var errors = OutputBuffer()
    for batch in batches { try await sink.write(batch, errors: &errors) }
    let written = clock.now
    try await sink.flush(CheckpointID(1), errors: &errors)
    let pending = try await sink.prepareCommit(CheckpointID(1))
    try await sink.commit(pending, CheckpointID(1))
    let end = clock.now
    await sink.close()
    if maxBatch >= .gibibytes(1) { report("\(name): encoded", written - start) }
    report("\(name): an epoch, committed", end - start)
    psql(
        "-Atc 'select 1 / (count(*) = \(rowCount) and sum(id) = \(rowCount * (rowCount - 1) / 2))::int from \(table)' > \(folder)/check"
    )
}

// Nothing is sent before the segment is full: this is the encoder and the index of the keys.
try await run("upsert, one segment", table: "bench_one", key: ["id"], maxBatch: .gibibytes(1))
for size in [1, 4, 8, 32] {
    try await run("append, \(size) MiB", table: "bench_append", key: [], maxBatch: .mebibytes(size))
}
try await run("upsert, new rows, 8 MiB", table: "bench_upsert", key: ["id"], maxBatch: .mebibytes(8))

// The same rows by psql from a file in the page cache.
psql("-c 'copy bench_append to stdout (format binary)' > \(folder)/rows")
psql("-c 'drop table if exists bench_plain; create table bench_plain (like bench_append)' 2> \(folder)/notices")
let clock = ContinuousClock()
report(
    "plain COPY by psql", clock.measure { psql("-c 'copy bench_plain from stdin (format binary)' < \(folder)/rows") })
for table in ["bench_one", "bench_append", "bench_upsert", "bench_plain"] { psql("-c 'drop table \(table)'") }
_ = system("rm -r \(folder)")
