import DataflowEndToEnd
import DataflowOperator
import Foundation
import Glibc
import Testing

/// Sources that never end, while the program is killed again and again: what comes out is what went in.
@Suite(.serialized) struct LiveSourceTests {
    private static let kills = Repository.isSoak ? 100 : 6
    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    private func write(_ nodes: String) throws {
        let indented = nodes.split(separator: "\n").map { "  \($0)" }.joined(separator: "\n")
        try """
        pipeline: p
        checkpoint: { interval: 100ms, directory: \(folder.path)/state }
        nodes:
        \(indented)

        """.write(toFile: folder.path + "/p.yaml", atomically: true, encoding: .utf8)
    }

    private func start(_ arguments: String...) throws -> ChildProcess {
        try ChildProcess(
            Repository.program("dataflow"), ["run", folder.path + "/p.yaml", "--parallelism", "2"] + arguments)
    }

    private var partCount: Int {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path + "/out")) ?? []
        return names.count { $0.hasPrefix("part-") }
    }

    /// Kills the program at moments that a seed gives, and lets it come to its end once.
    ///
    /// - Parameter hasWritten: called once in each run that lives to publish rows, when it has.
    private func runKilled(_ seed: UInt64, hasWritten: () -> Void = {}, _ stop: () -> Void) throws {
        var random = RandomMoments(state: seed)
        for _ in 0..<Self.kills {
            let partCount = partCount
            var isTold = false
            let run = try start()
            let end = ContinuousClock.now + .milliseconds(random.next(200...900))
            while ContinuousClock.now < end {
                #expect(run.wait(timeout: .milliseconds(20)) == nil, "\(run.errors)")
                if !isTold, self.partCount > partCount {
                    isTold = true
                    hasWritten()
                }
            }
            run.send(SIGKILL)
            #expect(run.wait(timeout: .seconds(10)) == .signal(SIGKILL))
        }
        stop()
        let last = try start("--until-idle", "--idle-time", "1500ms")
        #expect(last.wait(timeout: .seconds(120)) == .code(0), "\(last.errors)")
    }

    /// The value of a text column in all parts of the sink, with how often it is there.
    private func counts(_ column: String) throws -> [String: Int] {
        var counts: [String: Int] = [:]
        let names = try FileManager.default.contentsOfDirectory(atPath: folder.path + "/out")
        for name in names where name.hasPrefix("part-") {
            for line in folder.text("out/" + name).split(separator: "\n") {
                let row = try JSONDecoder().decode([String: String?].self, from: Data(line.utf8))
                if let value = row[column] ?? nil { counts[value, default: 0] += 1 }
            }
        }
        return counts
    }

    @Test(arguments: ["app.log", "app.log*"])
    func `each line of a log that is rotated is there once, however often the program is killed`(
        _ pattern: String
    ) throws {
        try write(
            """
            lines: { type: file-source, path: \(folder.path)/\(pattern), format: text, follow: true, scan_interval: 20ms }
            texts: { type: select, from: lines, columns: { text: value } }
            out: { type: file-sink, from: texts, path: \(folder.path)/out }
            """)
        // A file that is made and renamed out of the pattern while no program runs was never there for it: then the file is
        // renamed only when a run has seen the present one.
        let isAsked = pattern == "app.log"
        let writer = RotatingWriter(folder.path + "/app.log", isAsked: isAsked)
        try runKilled(7, hasWritten: { writer.askToRotate() }, { writer.finish() })
        let counts = try counts("text")
        #expect(writer.lineCount > 1000)
        #expect(writer.rotationCount > 1)
        #expect(Set(counts.keys) == Set((0..<writer.lineCount).map { "line \($0)" }))
        #expect(counts.values.allSatisfy { $0 == 1 })
    }

    @Test func `each row that was acknowledged is there once, and no row twice`() throws {
        let port = try freePort()
        try write(
            """
            posts: { type: http-server-source, listen: "127.0.0.1:\(port)" }
            rows: { type: json-parse, from: posts, columns: { k: string } }
            out: { type: file-sink, from: rows, path: \(folder.path)/out }
            """)
        let clients = (0..<4).map { PostingClient("\($0)", port: port) }
        try runKilled(11) { for client in clients { client.finish() } }
        let counts = try counts("k")
        let acknowledged = Set(clients.flatMap(\.acknowledged))
        let sent = clients.reduce(0) { $0 + $1.sentCount }
        #expect(acknowledged.count > 100)
        #expect(acknowledged.isSubset(of: counts.keys))
        #expect(counts.values.allSatisfy { $0 == 1 })
        #expect(counts.count <= sent)
    }

    private func freePort() throws -> UInt16 {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = loopback(port: 0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, length) == 0 && getsockname(descriptor, $0, &length) == 0
            }
        }
        try #require(isBound)
        return UInt16(bigEndian: address.sin_port)
    }
}

private func loopback(port: UInt16) -> sockaddr_in {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = inet_addr("127.0.0.1")
    return address
}

private struct RandomMoments {
    var state: UInt64

    mutating func next(_ range: ClosedRange<Int>) -> Int {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return range.lowerBound + Int(state >> 33) % range.count
    }
}

/// A thread that works until it is told to finish.
private final class Worker<Result: Sendable>: Sendable {
    private enum State {
        case running, finishing
        case finished(Result)
    }

    private let state = Lock(State.running)

    init(_ body: @escaping @Sendable (_ goesOn: () -> Bool) -> Result) {
        Thread.detachNewThread { [state] in
            let result = body {
                state.withLock { if case .running = $0 { true } else { false } }
            }
            state.signal { $0 = .finished(result) }
        }
    }

    func finish() -> Result {
        state.withLock { if case .running = $0 { $0 = .finishing } }
        return state.wait { if case .finished(let result) = $0 { .take(result) } else { .wait(until: nil) } }
    }
}

/// Writes numbered lines, each in two pieces, and renames the file now and then.
private final class RotatingWriter {
    private let worker: Worker<(lines: Int, rotations: Int)>
    private let request = Lock(false)
    private(set) var lineCount = 0
    private(set) var rotationCount = 0

    /// - Parameter isAsked: whether it renames when asked to; otherwise it does so every 600 lines.
    init(_ path: String, isAsked: Bool) {
        worker = Worker { [request] goesOn in
            var lines = 0
            var rotations = 0
            var file = fopen(path, "ab")
            while goesOn() {
                for _ in 0..<20 {
                    fputs("line ", file)
                    fflush(file)
                    fputs("\(lines)\n", file)
                    fflush(file)
                    lines += 1
                }
                usleep(5000)
                let isWanted = request.withLock { isRequested in
                    defer { isRequested = false }
                    return isRequested
                }
                if isAsked ? isWanted : lines % 600 == 0 {
                    rotations += 1
                    rename(path, "\(path).\(rotations)")
                    fclose(file)
                    file = fopen(path, "ab")
                }
            }
            fclose(file)
            return (lines, rotations)
        }
    }

    func askToRotate() { request.withLock { $0 = true } }

    func finish() { (lineCount, rotationCount) = worker.finish() }
}

/// Posts rows with keys of its own, one request after the other, and notes those that were acknowledged.
private final class PostingClient {
    private let worker: Worker<(acknowledged: [String], sent: Int)>
    private(set) var acknowledged: [String] = []
    private(set) var sentCount = 0

    init(_ name: String, port: UInt16) {
        worker = Worker { goesOn in
            var acknowledged: [String] = []
            var sent = 0
            var descriptor: Int32 = -1
            while goesOn() {
                if descriptor < 0 {
                    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
                    var address = loopback(port: port)
                    let isConnected = withUnsafePointer(to: &address) {
                        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                            connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
                        }
                    }
                    if !isConnected {
                        close(descriptor)
                        descriptor = -1
                        usleep(10_000)
                        continue
                    }
                }
                let keys = (sent..<sent + 1 + sent % 50).map { "\(name)-\($0)" }
                sent += keys.count
                let body = keys.map { "{\"k\":\"\($0)\"}" }.joined(separator: "\n")
                let request =
                    "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\nContent-Length: \(body.utf8.count)\r\n\r\n"
                    + body
                let count = request.withCString { Glibc.send(descriptor, $0, strlen($0), Int32(MSG_NOSIGNAL)) }
                var answer = [UInt8](repeating: 0, count: 4096)
                let got = count == request.utf8.count ? recv(descriptor, &answer, answer.count, 0) : 0
                if got > 0, answer.starts(with: Array("HTTP/1.1 202".utf8)) { acknowledged += keys }
                if got <= 0 {
                    close(descriptor)
                    descriptor = -1
                }
            }
            if descriptor >= 0 { close(descriptor) }
            return (acknowledged, sent)
        }
    }

    func finish() { (acknowledged, sentCount) = worker.finish() }
}
