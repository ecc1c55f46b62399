// lookup on one core: bench-lookup [ROWS_OF_THE_TABLE] [ROUNDS]
//
// Writes a CSV table, loads it (and the same rows from PostgreSQL where DATAFLOW_TEST_PG_URL is set), and looks up rows of
// which every second one has a match. Checks the sum of what was found; CPU time, because machines are shared.
import DataflowColumnar
import DataflowConfig
import DataflowOperator
import Glibc
import Logging
import Lookup

struct WallClock: RuntimeClock {
    var now: ContinuousClock.Instant { .now }
    var wallMicroseconds: Int64 { 0 }
}

func processorSeconds() -> Double { Double(clock()) / Double(CLOCKS_PER_SEC) }

let tableRows = CommandLine.arguments.count > 1 ? Int(CommandLine.arguments[1]) ?? 1_000_000 : 1_000_000
let rounds = CommandLine.arguments.count > 2 ? Int(CommandLine.arguments[2]) ?? 200 : 200
let path = "/tmp/bench-lookup-\(getpid()).csv"
guard let file = fopen(path, "w") else { exit(66) }
fputs("code,name,n\n", file)
for row in 0..<tableRows { fputs("customer-\(row),the name of customer \(row),\(row)\n", file) }
fclose(file)
defer { unlink(path) }

let input = Stream(Schema([Field("customer", .string)]))
let types: ConfigMap<TypeText> = [
    "code": try TypeText("string"), "name": try TypeText("string"), "n": try TypeText("int64"),
]
var base = LookupConfig()
base.on = ["customer": "code"]
base.columns = AddedColumns([("name", "name"), ("n", "n")])
base.maxRows = tableRows

func measure(_ label: String, _ config: LookupConfig) throws {
    let context = OperatorContext(
        pipeline: "bench", node: "lookup", inputs: [input], outputs: try Lookup.outputs(config, inputs: [input]),
        lineage: "", generation: 0, stateDirectory: "", logger: Logger(label: "bench"), clock: WallClock())
    let lookup = try Lookup(config, context)
    var start = processorSeconds()
    try lookup.open(restoring: [])
    let load = processorSeconds() - start
    // Every second key is there; spread over the table.
    let batches = (0..<16).map { batch in
        RecordBatch(
            input.schema,
            [
                .string(
                    (0..<8192).map { "customer-\((batch * 8192 + $0) * 7919 % tableRows + ($0 % 2) * tableRows)" })
            ])
    }
    var expected: Int64 = 0
    for batch in 0..<16 {
        for row in stride(from: 0, to: 8192, by: 2) { expected += Int64((batch * 8192 + row) * 7919 % tableRows) }
    }
    var found: Int64 = 0
    start = processorSeconds()
    for round in 0..<rounds {
        var output = OutputBuffer()
        _ = try lookup.process(batches[round % 16], from: .main, into: &output)
        guard round < 16 else { continue }
        for case .batch(let batch, _) in output.drain() {
            for row in 0..<batch.rowCount where !batch.columns[2].isNull(row) {
                if let values = batch.columns[2].int64Values { found += values[row] }
            }
        }
    }
    let seconds = processorSeconds() - start
    precondition(rounds < 16 || found == expected, "found \(found), expected \(expected)")
    print(
        "\(label): \(tableRows) rows loaded in \(load) s of CPU; "
            + "\(Double(rounds * 8192) / seconds / 1e6) M rows/s of CPU looked up")
}

var csv = base
csv.csv = CSVTableConfig()
csv.csv?.path = path
csv.csv?.columns = types
try measure("csv", csv)

if let url = getenv("DATAFLOW_TEST_PG_URL").map({ String(cString: $0) }), !url.isEmpty {
    var postgres = base
    postgres.postgres = PostgresTableConfig()
    postgres.postgres?.connection = Secret(url)
    postgres.postgres?.query =
        "select 'customer-' || n as code, 'the name of customer ' || n as name, n from generate_series(0::int8, \(tableRows - 1)) n"
    postgres.postgres?.columns = types
    try measure("postgres", postgres)
}
