// http-server-source under load: bench-http-server-source FOLDER [CLIENTS] [SECONDS] [ROWS]
//
// CLIENTS connections post ROWS lines a request, one request after the other, to a server in this process whose log is in
// FOLDER (the disk that is measured). Each answer waits for the disk. Checks that every acknowledged row came out once.
import DataflowConfig
import DataflowOperator
import Glibc
import HTTPServerSource
import Logging

struct WallClock: RuntimeClock {
    var now: ContinuousClock.Instant { .now }
    var wallMicroseconds: Int64 { 0 }
}

/// Posts the same request again and again; the number of answers, and the time that each took.
func post(port: UInt16, _ request: [UInt8], until end: ContinuousClock.Instant) -> [Duration] {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    let isConnected = withUnsafePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
        }
    }
    var on: Int32 = 1
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    var times: [Duration] = []
    var answer = [UInt8](repeating: 0, count: 4096)
    var last = ContinuousClock.now
    while isConnected, last < end {
        var sent = 0
        while sent < request.count {
            let count = request.withUnsafeBytes {
                send(descriptor, $0.baseAddress.map { $0 + sent }, request.count - sent, 0)
            }
            guard count > 0 else { return times }
            sent += count
        }
        // An answer is one packet.
        guard recv(descriptor, &answer, answer.count, 0) > 0 else { return times }
        guard answer.starts(with: Array("HTTP/1.1 202".utf8)) else {
            print(String(decoding: answer.prefix(200), as: UTF8.self))
            return times
        }
        let now = ContinuousClock.now
        times.append(last.duration(to: now))
        last = now
    }
    return times
}

let arguments = CommandLine.arguments
guard arguments.count >= 2 else {
    print("usage: bench-http-server-source FOLDER [CLIENTS] [SECONDS] [ROWS]")
    exit(64)
}
func number(_ index: Int, or value: Int) -> Int { arguments.count > index ? Int(arguments[index]) ?? value : value }
let clients = number(2, or: 64)
let seconds = number(3, or: 5)
let rows = number(4, or: 1)

var config = HTTPServerSourceConfig()
config.listen = "127.0.0.1:0"
config.buffer = ByteSize(bytes: 1 << 34)
config.format = .ndjson
let source = try HTTPServerSource(
    config,
    OperatorContext(
        pipeline: "bench", node: "requests", outputs: try HTTPServerSource.outputs(config, inputs: []),
        usedColumns: .some(["value"]), lineage: "", generation: 0, stateDirectory: arguments[1],
        logger: Logger(label: "bench"), clock: WallClock()))
try await source.open(restoring: [])
let port = source.port ?? 0

let line =
    #"{"event_id":12345678,"user_id":"u-000123","country":"DE","amount":12.34,"at":"2025-01-02T03:04:05Z","note":"\#(String(repeating: "x", count: 90))"}"#
let body = Array(repeating: line, count: rows).joined(separator: "\n")
let request = Array("POST / HTTP/1.1\r\nHost: bench\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)".utf8)
let start = ContinuousClock.now
let end = start + .seconds(seconds)
let done = Lock([[Duration]]())
for _ in 0..<clients {
    try startThread("client") {
        let times = post(port: port, request, until: end)
        done.signal { $0.append(times) }
    }
}
var received = 0
while true {
    var output = OutputBuffer()
    let result = try await source.poll(until: .now + .milliseconds(25), into: &output)
    for case .batch(let batch, .main) in output.drain() { received += batch.rowCount }
    if case .idle = result, done.withLock({ $0.count }) == clients { break }
}
let times = done.withLock { $0.flatMap { $0 } }.sorted()
await source.close()
guard received == times.count * rows else {
    print("\(times.count * rows) rows were acknowledged and \(received) came out")
    exit(1)
}
guard !times.isEmpty else { exit(1) }
let rate = Double(times.count) / Double(seconds)
print(
    "\(clients) clients, \(rows) rows a request: \(Int(rate)) requests/s, \(Int(rate) * rows) rows/s, "
        + "p50 \(times[times.count / 2]), p99 \(times[times.count * 99 / 100])")
