import DataflowColumnar
import DataflowConfig
import DataflowOperator
import DataflowTesting
import Glibc
@testable import HTTPServerSource
import Testing

/// A client on a blocking socket that sends bytes as it is told, also wrong ones.
final class TestClient {
    struct Answer: Equatable {
        var status: Int
        var headers: [String: String]
        var body: String
    }

    struct Refused: Error {}

    private let descriptor: Int32
    private var input: [UInt8] = []

    init(port: UInt16) throws {
        descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        let connected = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
        // A test that waits for an answer that does not come fails instead of hanging.
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        if connected != 0 { throw Refused() }
    }

    deinit { Glibc.close(descriptor) }

    func send(_ bytes: [UInt8]) {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard count > 0 else { return }
            rest = rest.dropFirst(count)
        }
    }

    func send(_ text: String) { send(Array(text.utf8)) }

    func sendRequest(
        _ body: [UInt8], to path: String = "/", method: String = "POST", headers: [String] = [], length: Int? = nil
    ) {
        let lines = ["\(method) \(path) HTTP/1.1", "Host: test", "Content-Length: \(length ?? body.count)"] + headers
        send(Array((lines.joined(separator: "\r\n") + "\r\n\r\n").utf8) + body)
    }

    private func receive() -> Bool {
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        let count = recv(descriptor, &chunk, chunk.count, 0)
        guard count > 0 else { return false }
        input += chunk[..<count]
        return true
    }

    /// The next answer; nil when the server closes first.
    func answer() -> Answer? {
        var end: Int?
        repeat {
            end = input.withUnsafeBytes { RequestHead.end(in: $0, from: 0) }
        } while end == nil && receive()
        guard let end else { return nil }
        let lines = String(decoding: input[..<end], as: UTF8.self).split(separator: "\r\n")
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            headers[parts[0].lowercased()] = String(parts[1].drop { $0 == " " })
        }
        let status = Int(lines[0].split(separator: " ")[1]) ?? 0
        let length = Int(headers["content-length"] ?? "0") ?? 0
        while input.count < end + length, receive() {}
        guard input.count >= end + length else { return nil }
        let body = String(decoding: input[end..<end + length], as: UTF8.self)
        input.removeFirst(end + length)
        return Answer(status: status, headers: headers, body: body)
    }

    /// Sends a request and waits for its answer.
    func post(
        _ body: String, to path: String = "/", method: String = "POST", headers: [String] = []
    ) throws -> Answer {
        sendRequest(Array(body.utf8), to: path, method: method, headers: headers)
        return try #require(answer())
    }

    /// Whether the server has closed the connection, with nothing more to read.
    func isClosed() -> Bool { !receive() && input.isEmpty }
}

/// A source with its server on a free port, and a folder for its log.
final class TestServer {
    let folder: TemporaryDirectory
    private(set) var harness: SourceHarness<HTTPServerSource>
    private let config: HTTPServerSourceConfig
    private var completed: UInt64 = 0

    init(
        _ folder: TemporaryDirectory? = nil, restoring state: StateSnapshot = [], used: ColumnSet = .all,
        _ change: (inout HTTPServerSourceConfig) -> Void = { _ in }
    ) async throws {
        self.folder = try folder ?? TemporaryDirectory()
        var config = HTTPServerSourceConfig()
        config.listen = "127.0.0.1:0"
        change(&config)
        self.config = config
        harness = try await SourceHarness(
            HTTPServerSource.self, config, restoring: state, usedColumns: used, stateDirectory: self.folder.path)
    }

    var port: UInt16 { harness.source.port ?? 0 }

    func client() throws -> TestClient { try TestClient(port: port) }

    /// Polls until so many rows have come.
    func rows(_ count: Int) async throws -> [[Value]] {
        for _ in 0..<200 where harness.output.rows().count < count { try await harness.poll() }
        return harness.take().rows()
    }

    func values(_ count: Int) async throws -> [String] {
        try await rows(count).map {
            if case .bytes(let bytes) = $0[0] { String(decoding: bytes, as: UTF8.self) } else { "?" }
        }
    }

    /// Whether nothing more comes.
    func isQuiet() async throws -> Bool {
        try await harness.poll()
        return harness.output.rows().isEmpty
    }

    /// A checkpoint that is completed everywhere.
    @discardableResult
    func complete() async throws -> StateSnapshot {
        let state = try harness.checkpoint()
        completed += 1
        try await harness.checkpointCompleted(CheckpointID(completed))
        return state
    }

    /// Goes on with a new instance, as a new process would.
    func restart(_ state: StateSnapshot) async throws {
        await harness.close()
        completed = 0
        harness = try await SourceHarness(
            HTTPServerSource.self, config, restoring: state, stateDirectory: folder.path)
    }
}
