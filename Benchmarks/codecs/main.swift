// The same rows as JSON, Avro and Protobuf, on one core: bench-codecs [ROWS] [ROUNDS]
//
// Encodes seeded rows with each codec, reads them back, and compares what was read with what was written.
import Avro
import DataflowCodec
import DataflowColumnar
import DataflowConfig
import DataflowOperator
import DataflowSchemaRegistry
import DataflowText
import Glibc
import JSONEncode
import JSONParse
import Logging
import Protobuf

struct WallClock: RuntimeClock {
    var now: ContinuousClock.Instant { .now }
    var wallMicroseconds: Int64 { 0 }
}

let schema = Schema([
    Field("id", .int64, nullable: false), Field("user", .string, nullable: false),
    Field("country", .string, nullable: false), Field("amount", .float64, nullable: false),
    Field("at", .timestamp, nullable: false), Field("quantity", .int32, nullable: false),
    Field("paid", .bool, nullable: false), Field("note", .string),
])

/// Rows from one seed.
func rows(_ count: Int) -> RecordBatch {
    var state: UInt64 = 42
    func next(_ bound: Int) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int(truncatingIfNeeded: state >> 33) % bound
    }
    let countries = ["DE", "FR", "NL", "PT", "SE"]
    var rows: [[Value]] = []
    rows.reserveCapacity(count)
    for number in 0..<count {
        let user = Value.string("user number \(next(100_000))")
        let amount = Value.float(Double(next(1_000_000)) / 100)
        let at = Value.timestamp(1_700_000_000_000_000 + Int64(next(1 << 30)))
        let note = next(3) == 0 ? Value.null : Value.string("a note of some length")
        let row: [Value] = [
            .int(Int64(number)), user, .string(countries[next(5)]), amount, at, .int(Int64(next(100))),
            .bool(next(2) == 0), note,
        ]
        rows.append(row)
    }
    return RecordBatch(schema, rows: rows)
}

func context(_ input: Stream, _ output: [Stream]) -> OperatorContext {
    OperatorContext(
        pipeline: "bench", node: "codec", inputs: [input], outputs: output, lineage: "", generation: 0,
        stateDirectory: "", logger: Logger(label: "bench"), clock: WallClock())
}

/// Runs an operator over batches; what it emitted and the processor time it took.
func run<T: Transform>(_ type: T.Type, _ config: T.Config, _ input: Stream, _ batches: [RecordBatch]) throws -> (
    batches: [RecordBatch], seconds: Double
) {
    let operation = try T(config, context(input, T.outputs(config, inputs: [input])))
    try operation.open(restoring: [])
    var emitted: [RecordBatch] = []
    let start = clock()
    for batch in batches {
        var buffer = OutputBuffer()
        var progress = try operation.process(batch, from: .main, into: &buffer)
        while true {
            for case .batch(let batch, let port) in buffer.drain() {
                guard port == .main else { throw OperatorError(.engine, .never, "errors", "\(batch.rows[0])") }
                emitted.append(batch)
            }
            guard case .more = progress else { break }
            progress = try operation.resume(into: &buffer)
        }
    }
    return (emitted, Double(clock() - start) / Double(CLOCKS_PER_SEC))
}

/// The rows as text, to compare what was read.
func text(_ batches: [RecordBatch]) -> [UInt8] {
    var text = TextBuffer()
    let writer = JSONRows(schema)
    for batch in batches { writer.write(batch, into: &text) }
    return text.withUnsafeBytes { Array($0) }
}

let count = CommandLine.arguments.count > 1 ? Int(CommandLine.arguments[1]) ?? 200_000 : 200_000
let rounds = CommandLine.arguments.count > 2 ? Int(CommandLine.arguments[2]) ?? 3 : 3
let all = rows(count)
let input = stride(from: 0, to: count, by: 8192).map { all.slice($0..<min($0 + 8192, count)) }
let expected = text(input)
let source = Stream(schema)
let raw = Stream(Schema([Field("value", .bytes, nullable: false)]))
let file = "/tmp/bench-codecs-\(getpid()).proto"
let proto = """
    syntax = "proto3";
    import "google/protobuf/timestamp.proto";
    message Row {
      int64 id = 1; string user = 2; string country = 3; double amount = 4; google.protobuf.Timestamp at = 5; int32 quantity = 6;
      bool paid = 7; optional string note = 8;
    }
    """
guard let target = fopen(file, "w") else { exit(73) }
fputs(proto, target)
fclose(target)
defer { unlink(file) }
let avroFile = "/tmp/bench-codecs-\(getpid()).avsc"
let avro = """
    {"type":"record","name":"Row","fields":[{"name":"id","type":"long"},{"name":"user","type":"string"},
    {"name":"country","type":"string"},{"name":"amount","type":"double"},
    {"name":"at","type":{"type":"long","logicalType":"timestamp-micros"}},{"name":"quantity","type":"int"},
    {"name":"paid","type":"boolean"},{"name":"note","type":["null","string"]}]}
    """
guard let avroTarget = fopen(avroFile, "w") else { exit(73) }
fputs(avro, avroTarget)
fclose(avroTarget)
defer { unlink(avroFile) }

func report(_ name: String, _ seconds: Double, _ bytes: Int, _ same: Bool) {
    let rate = Double(count) / seconds / 1e6
    print("\(name): \(rate) M rows/s, \(Double(bytes) / Double(count)) bytes a row, \(same ? "right" : "WRONG")")
}

func measure<E: Transform, P: Transform>(
    _ name: String, _ encoder: E.Type, _ encoding: E.Config, _ parser: P.Type, _ parsing: P.Config
) throws {
    let (messages, writing) = try run(encoder, encoding, source, input)
    let bytes = messages.reduce(0) { $0 + $1.columns[0].byteCount - $1.rowCount * 16 }
    let (read, reading) = try run(parser, parsing, raw, messages)
    report("\(name)-encode", writing, bytes, true)
    report("\(name)-parse", reading, bytes, text(read) == expected)
}

var jsonParsing = JSONParseConfig()
jsonParsing.columns = ConfigMap(
    schema.fields.map { field in
        var column = JSONColumnConfig()
        column.type = ColumnType(field.type)
        column.required = !field.nullable
        return .init(field.name, column)
    })
var avroParsing = AvroParseConfig()
avroParsing.schemaFile = avroFile
avroParsing.columns = ConfigMap(
    schema.fields.map { field in
        var column = MessageColumnConfig()
        column.type = ColumnType(field.type)
        column.required = !field.nullable
        return .init(field.name, column)
    })
var avroEncoding = AvroEncodeConfig()
avroEncoding.schemaFile = avroFile
var protobufParsing = ProtobufParseConfig()
protobufParsing.schemaFile = file
protobufParsing.message = "Row"
protobufParsing.columns = ConfigMap(
    schema.fields.map { field in
        var column = MessageColumnConfig()
        column.type = ColumnType(field.type)
        column.required = !field.nullable
        return .init(field.name, column)
    })
var protobufEncoding = ProtobufEncodeConfig()
protobufEncoding.schemaFile = file
protobufEncoding.message = "Row"

for _ in 0..<rounds {
    try measure("json", JSONEncode.self, JSONEncodeConfig(), JSONParse.self, jsonParsing)
    try measure("avro", AvroEncode.self, avroEncoding, AvroParse.self, avroParsing)
    try measure("protobuf", ProtobufEncode.self, protobufEncoding, ProtobufParse.self, protobufParsing)
}
