// http-source on one core: bench-http-source URL PAGES [CONCURRENCY] [PAGES A RUN]
//
// Reads PAGES pages of 100 rows from a server with the /rows contract (`openfood-api`), begins again from a checkpoint
// after every PAGES A RUN pages, and checks that every page came once and in order. CPU time apart from wall time.
import DataflowColumnar
import DataflowConfig
import DataflowOperator
import Glibc
import HTTPSource
import Logging

struct WallClock: RuntimeClock {
    var now: ContinuousClock.Instant { .now }
    var wallMicroseconds: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1000
    }
}

func processorSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

let arguments = CommandLine.arguments
guard arguments.count >= 3, let pages = Int(arguments[2]) else {
    print("usage: bench-http-source URL PAGES [CONCURRENCY] [PAGES A RUN]")
    exit(64)
}
let pagesPerRun = arguments.count > 4 ? Int(arguments[4]) ?? .max : .max
let offset = ConfigNode.mapping([
    ("limit_param", .text("length")), ("items", .text("$.rows")), ("total", .text("$.num_rows_total")),
    ("until", .text("\(pages * 100)")),
])
let config = try HTTPSourceConfig.schema.decode(
    .mapping([
        ("url", .text(arguments[1])),
        (
            "query",
            .mapping([
                ("dataset", .text("openfoodfacts/product-database")), ("config", .text("default")),
                ("split", .text("food")),
            ])
        ),
        ("paginate", .mapping([("offset", offset)])),
        ("retry", .mapping([("initial_delay", .text("50ms")), ("max_delay", .text("1s"))])),
        ("timeout", .text("5s")), ("concurrency", .text(arguments.count > 3 ? arguments[3] : "1")),
    ]))
let output = try HTTPSource.outputs(config, inputs: [])
let start = ContinuousClock.now
var state: StateSnapshot = []
var count = 0
var bytes = 0
var isEnded = false
while !isEnded {
    let source = try HTTPSource(
        config,
        OperatorContext(
            pipeline: "bench", node: "pages", outputs: output, lineage: "", generation: 0,
            stateDirectory: "/nonexistent",
            logger: Logger(label: "bench"), clock: WallClock()))
    try await source.open(restoring: state)
    var pagesOfRun = 0
    while !isEnded, pagesOfRun < pagesPerRun {
        var buffer = OutputBuffer()
        let result = try await source.poll(until: .now.advanced(by: .milliseconds(100)), into: &buffer)
        if case .endOfInput = result { isEnded = true }
        for case .batch(let batch, .main) in buffer.drain() {
            guard batch["offset"]?.int64Values?[0] == Int64(count * 100) else {
                print("expected offset \(count * 100), found \(batch["offset"]?.value(at: 0) ?? .null)")
                exit(1)
            }
            count += 1
            pagesOfRun += 1
            bytes += batch.byteCount
        }
    }
    state = try source.snapshot(CheckpointID(UInt64(count)))
    await source.close()
}
let seconds = (ContinuousClock.now - start) / .seconds(1)
let processor = processorSeconds()
print(
    "\(count) pages, \(bytes) bytes, \(seconds) s (\(Double(bytes) / seconds / 1e6) MB/s), \(processor) s of CPU: "
        + "\(Double(bytes) / processor / 1e6) MB/s of CPU")
exit(count == pages ? 0 : 1)
