// file-source on one core: bench-file-source FILE [ROUNDS]
//
// Reads FILE (NDJSON) record by record through the operator and throws the rows away. Prints the records and the bytes
// in them, so that the answer can be checked with `wc`; CPU time apart from wall time, because machines are shared.
import DataflowColumnar
import DataflowConfig
import DataflowOperator
import FileSource
import Glibc
import Logging

struct WallClock: RuntimeClock {
    var now: ContinuousClock.Instant { .now }
    var wallMicroseconds: Int64 { 0 }
}

func processorSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

let arguments = CommandLine.arguments
guard arguments.count >= 2 else {
    print("usage: bench-file-source FILE [ROUNDS]")
    exit(64)
}
var config = FileSourceConfig()
config.path = OneOrMany([arguments[1]])
let output = try FileSource.outputs(config, inputs: [])

for _ in 0..<(arguments.count > 2 ? Int(arguments[2]) ?? 3 : 3) {
    let source = try FileSource(
        config,
        OperatorContext(
            pipeline: "bench", node: "files", outputs: output, usedColumns: .some(["value"]), lineage: "",
            generation: 0,
            stateDirectory: "", logger: Logger(label: "bench"), clock: WallClock()))
    try await source.open(restoring: [])
    let start = ContinuousClock.now
    let startProcessor = processorSeconds()
    var rows = 0
    var bytes = 0
    var isEnded = false
    while !isEnded {
        var buffer = OutputBuffer()
        if case .endOfInput = try await source.poll(until: .now, into: &buffer) { isEnded = true }
        for case .batch(let batch, .main) in buffer.drain() {
            rows += batch.rowCount
            batch.columns[0].viewValues?.views.withUnsafeBufferPointer { views in
                for view in views { bytes += Int(view.length) }
            }
        }
    }
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    let processor = processorSeconds() - startProcessor
    print(
        "\(rows) records, \(bytes) bytes, \(seconds) s, \(processor) s of CPU: "
            + "\(Double(bytes + rows) / processor / 1e9) GB/s of CPU, \(Double(rows) / processor / 1e6) M records/s")
}
