// kafka-source with json-parse beside librdkafka alone: bench-kafka-source BROKERS [MESSAGES [ROUNDS]]
//
// Writes MESSAGES (1,000,000) JSON events of about 200 bytes into a topic of two partitions, then reads them by turns: with
// librdkafka's queue interface and nothing else, with kafka-source alone, and with kafka-source and json-parse (4 of 9 fields).
// Every turn must see every message; the parsed rows' sum must be right. Prints each turn's wall and CPU seconds (of the process,
// librdkafka's threads included), and the medians.
import CKafka
import DataflowCodec
import DataflowConfig
import DataflowKafka
import DataflowKafkaTesting
import DataflowOperator
import Glibc
import JSONParse
import KafkaSource
import Logging

struct WallClock: RuntimeClock {
    var now: ContinuousClock.Instant { .now }
    var wallMicroseconds: Int64 { 0 }
}

let arguments = CommandLine.arguments
guard arguments.count >= 2 else {
    print("usage: bench-kafka-source BROKERS [MESSAGES [ROUNDS]]")
    exit(64)
}
let brokers = arguments[1]
let messageCount = arguments.count > 2 ? Int(arguments[2]) ?? 1_000_000 : 1_000_000
let rounds = arguments.count > 3 ? Int(arguments[3]) ?? 5 : 5
let logger = Logger(label: "bench")
let topic = KafkaTestBroker.uniqueName("bench")
let admin = try KafkaTestAdmin(brokers)
try admin.createTopic(topic, partitions: 2)
let producer = try KafkaTestProducer(brokers, ["linger.ms": "20", "queue.buffering.max.messages": "500000"])
for index in 0..<messageCount {
    let event =
        #"{"event_id":\#(index),"event_time":"2026-01-01T00:00:\#(10 + index % 50)Z","country":"C\#(index % 40)","user_id":\#(index % 9973),"item":"item-\#(index % 10000)","price":\#(index % 1000).25,"quantity":\#(index % 7),"status":"paid","note":"some text that nobody reads"}"#
    try producer.send(topic, partition: Int32(index % 2), event)
}
try producer.flush()
let expectedSum = (0..<messageCount).reduce(0.0) { $0 + Double($1 % 1000) + 0.25 }

func cpuSeconds() -> Double {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return Double(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
        + Double(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
}

/// What anybody who uses librdkafka's fastest interface must spend.
func readRaw() throws -> Int {
    let settings = KafkaSettings(
        brokers: brokers,
        [
            "group.id": topic, "enable.auto.commit": "false", "queued.min.messages": "1000000",
            "queued.max.messages.kbytes": "32768", "fetch.message.max.bytes": "8388608",
        ])
    let client = try KafkaClient(.consumer, settings, logger: logger)
    guard let queue = rd_kafka_queue_get_consumer(client.handle) else { return 0 }
    defer { rd_kafka_queue_destroy(queue) }
    let list = KafkaPartitionList([(KafkaPartition(topic, 0), 0), (KafkaPartition(topic, 1), 0)])
    try KafkaFailure.check(list.withHandle { rd_kafka_assign(client.handle, $0) })
    let capacity = 8192
    let messages = UnsafeMutablePointer<UnsafeMutablePointer<rd_kafka_message_t>?>.allocate(capacity: capacity)
    defer { messages.deallocate() }
    var seen = 0
    var bytes = 0
    while seen < messageCount {
        var count = rd_kafka_consume_batch_queue(queue, 0, messages, capacity)
        if count == 0 { count = rd_kafka_consume_batch_queue(queue, 200, messages, 1) }
        for index in 0..<max(0, count) {
            guard let message = messages[index] else { continue }
            if message.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR {
                seen += 1
                bytes += message.pointee.len
            }
            rd_kafka_message_destroy(message)
        }
    }
    return bytes > 0 ? seen : 0
}

func column(_ type: DataType) -> JSONColumnConfig {
    var column = JSONColumnConfig()
    column.type = ColumnType(type)
    return column
}

/// The source, and behind it the parser if there is one.
func readSource(parsing: Bool) async throws -> Int {
    var config = KafkaSourceConfig()
    config.connection.brokers = OneOrMany([brokers])
    config.topic = topic
    config.stop = .latest
    var parse = JSONParseConfig()
    parse.columns = [
        "event_time": column(.timestamp), "country": column(.string), "price": column(.float64),
        "item": column(.string),
    ]
    let stream = try KafkaSource.outputs(config, inputs: [])[0]
    func context(_ node: String, _ inputs: [Stream], _ outputs: [Stream], _ used: ColumnSet) -> OperatorContext {
        OperatorContext(
            pipeline: "bench", node: node, inputs: inputs, outputs: outputs, usedColumns: used, lineage: "",
            generation: 0, stateDirectory: "", logger: logger, clock: WallClock())
    }
    let source = try KafkaSource(config, context("source", [], [stream], .some(["value"])))
    let parser = try JSONParse(
        parse, context("parse", [stream], try JSONParse.outputs(parse, inputs: [stream]), .all))
    try await source.open(restoring: [])
    var seen = 0
    var sum = 0.0
    func add(_ output: inout OutputBuffer) {
        for case .batch(let batch, .main) in output.drain() {
            seen += batch.rowCount
            if let prices = batch["price"]?.float64Values {
                sum += prices.withUnsafeBufferPointer { $0.reduce(0, +) }
            }
        }
    }
    while true {
        var output = OutputBuffer()
        let result = try await source.poll(until: .now.advanced(by: .milliseconds(25)), into: &output)
        if parsing {
            for case .batch(let batch, .main) in output.drain() {
                var parsed = OutputBuffer()
                var progress = try parser.process(batch, from: .main, into: &parsed)
                add(&parsed)
                while case .more = progress {
                    progress = try parser.resume(into: &parsed)
                    add(&parsed)
                }
            }
        } else {
            add(&output)
        }
        if case .endOfInput = result { break }
    }
    await source.close()
    guard !parsing || sum == expectedSum else {
        print("wrong: the sum is \(sum), expected \(expectedSum)")
        exit(1)
    }
    return seen
}

var times: [String: [(wall: Double, cpu: Double)]] = [:]
for _ in 0..<rounds {
    for name in ["librdkafka", "kafka-source", "kafka-source and json-parse"] {
        let (start, cpu) = (ContinuousClock.now, cpuSeconds())
        let seen =
            name == "librdkafka" ? try readRaw() : try await readSource(parsing: name == "kafka-source and json-parse")
        let turn = (wall: (ContinuousClock.now - start) / .seconds(1), cpu: cpuSeconds() - cpu)
        guard seen == messageCount else {
            print("wrong: \(name) saw \(seen) messages of \(messageCount)")
            exit(1)
        }
        print("\(name): \(turn.wall) s, \(turn.cpu) s CPU")
        times[name, default: []].append(turn)
    }
}
func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
let raw = times["librdkafka"] ?? []
for (name, turns) in times.sorted(by: { $0.key > $1.key }) {
    let (wall, cpu) = (median(turns.map(\.wall)), median(turns.map(\.cpu)))
    print(
        "median \(name): \(wall) s, \(cpu) s CPU, \(Double(messageCount) / wall / 1e6) M messages/s, "
            + "\(100 * median(raw.map(\.wall)) / wall) % of librdkafka's rate")
}
try admin.deleteTopic(topic)
