// json-parse on one core: bench-json-parse events|pages FILE [ROUNDS]
//
// Reads FILE (NDJSON) into memory in batches of 1 MiB, as file-source gives them, then times the operator alone.
// Prints the rows and a sum over what was read, so that two builds can be compared.
import DataflowCodec
import DataflowColumnar
import DataflowConfig
import DataflowOperator
import DataflowText
import Glibc
import JSONParse
import Logging

struct WallClock: RuntimeClock {
    var now: ContinuousClock.Instant { .now }
    var wallMicroseconds: Int64 { 0 }
}

func batches(_ path: String) -> [RecordBatch] {
    guard let file = fopen(path, "rb") else {
        print("cannot open \(path)")
        exit(66)
    }
    defer { fclose(file) }
    var batches: [RecordBatch] = []
    var rest: [UInt8] = []
    let schema = Schema([Field("value", .bytes)])
    while true {
        var chunk = rest
        let kept = chunk.count
        chunk.append(contentsOf: [UInt8](repeating: 0, count: 1 << 20))
        let got = chunk.withUnsafeMutableBytes { fread($0.baseAddress.unsafelyUnwrapped + kept, 1, 1 << 20, file) }
        if got == 0 { break }
        chunk.removeLast((1 << 20) - got)
        guard let end = chunk.lastIndex(of: UInt8(ascii: "\n")) else {
            rest = chunk
            continue
        }
        rest = Array(chunk[(end + 1)...])
        let buffer = Buffer(Array(chunk[...end]))
        var views: [StringView] = []
        buffer.withUnsafeBytes { bytes in
            var start = 0
            while start < bytes.count {
                let length = bytes[start...].firstIndex(of: UInt8(ascii: "\n")).map { $0 - start } ?? 0
                views.append(
                    StringView(
                        UnsafeRawBufferPointer(rebasing: bytes[start..<start + length]), buffer: 0, offset: start))
                start += length + 1
            }
        }
        batches.append(
            RecordBatch(
                schema, [Column(.bytes, views: ViewStorage(views: Values(views), buffers: [buffer]))], split: 0))
    }
    return batches
}

func column(_ type: DataType) -> JSONColumnConfig {
    var column = JSONColumnConfig()
    column.type = ColumnType(type)
    return column
}

let arguments = CommandLine.arguments
guard arguments.count >= 3 else {
    print("usage: bench-json-parse events|pages FILE [ROUNDS]")
    exit(64)
}
var config = JSONParseConfig()
if arguments[1] == "events" {
    config.columns = [
        "event_time": column(.timestamp), "country": column(.string), "price": column(.float64),
        "status": column(.string),
    ]
    var eventTime = EventTimeConfig()
    eventTime.column = "event_time"
    eventTime.outOfOrderness = .seconds(5)
    config.eventTime = eventTime
} else {
    config.rows = Located(try JSONPath(decoding: .text("$.rows[*].row")))
    config.columns = [
        "nutriscore_grade": column(.string), "categories_tags": column(.list(.string)),
        "brands_tags": column(.list(.string)), "packaging_tags": column(.list(.string)),
        "nova_groups_tags": column(.list(.string)),
    ]
}
// The text of what was read, as file-sink writes it, timed apart.
let writer = JSONRows(
    Schema(config.columns.map { Field($0.key, $0.value.type.type) }))
var text = TextBuffer(capacity: 1 << 20)
let input = batches(arguments[2])
let bytes = input.reduce(0) { $0 + ($1.columns[0].viewValues?.buffers[0].byteCount ?? 0) }
let stream = Stream(Schema([Field("value", .bytes)]))
let output = try JSONParse.outputs(config, inputs: [stream])

for _ in 0..<(arguments.count > 3 ? Int(arguments[3]) ?? 3 : 3) {
    let context = OperatorContext(
        pipeline: "bench", node: "parse", inputs: [stream], outputs: output, lineage: "", generation: 0,
        stateDirectory: "", logger: Logger(label: "bench"), clock: WallClock())
    let operation = try JSONParse(config, context)
    let clock = ContinuousClock()
    let start = clock.now
    var rows = 0
    var sum = 0.0
    var errors = 0
    var writing = Duration.zero
    var written = 0
    for batch in input {
        var buffer = OutputBuffer()
        var progress = try operation.process(batch, from: .main, into: &buffer)
        while true {
            for case .batch(let batch, let port) in buffer.drain() {
                if port == .errors {
                    errors += batch.rowCount
                    continue
                }
                rows += batch.rowCount
                let begin = clock.now
                text.removeAll()
                writer.write(batch, into: &text)
                written += text.count
                writing += clock.now - begin
                if let prices = batch["price"]?.float64Values {
                    sum += prices.withUnsafeBufferPointer { $0.reduce(0, +) }
                } else if let elements = batch["categories_tags"]?.listValues?.elements {
                    sum += Double(elements.count)
                }
            }
            guard case .more = progress else { break }
            progress = try operation.resume(into: &buffer)
        }
    }
    let seconds = (clock.now - start - writing) / .seconds(1)
    let documents = input.reduce(0) { $0 + $1.rowCount }
    print(
        "\(arguments[1]): \(documents) documents, \(rows) rows, \(errors) errors, check \(sum), \(seconds) s, "
            + "\(Double(documents) / seconds / 1e6) M documents/s, \(Double(bytes) / seconds / 1e9) GB/s; "
            + "as NDJSON \(written) bytes, \(Double(rows) / (writing / .seconds(1)) / 1e6) M rows/s")
}
