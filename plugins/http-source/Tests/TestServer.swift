import Foundation
import Glibc
import Synchronization

/// A small HTTP/1.1 server on 127.0.0.1 that can misbehave: a thread a connection, blocking sockets.
final class TestServer: Sendable {
    struct Request: Sendable {
        var path: String
        var query: [String: String]
        var headers: [String: String]
    }

    enum Reply: Sendable {
        case answer(Int, headers: [(String, String)] = [], body: [UInt8])
        /// Promises all of the body, sends only so many bytes of it and closes.
        case cut(after: Int, body: [UInt8])
        /// Sends nothing until the client goes away.
        case hang
        /// Sends the head and a part of the body, then nothing.
        case stall(body: [UInt8])
        /// Closes without a byte.
        case close

        static func json(_ text: String, headers: [(String, String)] = []) -> Reply {
            .answer(200, headers: [("Content-Type", "application/json")] + headers, body: Array(text.utf8))
        }
        static func text(_ status: Int, _ text: String, headers: [(String, String)] = []) -> Reply {
            .answer(status, headers: headers, body: Array(text.utf8))
        }
    }

    let port: Int
    private let listener: Int32
    private let handler: @Sendable (Request, Int) -> Reply
    private let state = Mutex(State())

    private struct State {
        var requests: [Request] = []
        var connections: Set<Int32> = []
        var isStopped = false
    }

    /// - Parameter handler: gets each request and its number from 0.
    init(_ handler: @escaping @Sendable (Request, Int) -> Reply) throws {
        self.handler = handler
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        self.listener = listener
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { generic in
                bind(listener, generic, length) == 0 && listen(listener, 16) == 0
                    && getsockname(listener, generic, &length) == 0
            }
        }
        guard bound else { throw POSIXError(.EADDRNOTAVAIL) }
        port = Int(UInt16(bigEndian: address.sin_port))
        Thread.detachNewThread { [weak self] in
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0, let self else { return }
                Thread.detachNewThread { self.serve(connection) }
            }
        }
    }

    deinit { stop() }

    var url: String { "http://127.0.0.1:\(port)" }
    var requests: [Request] { state.withLock { $0.requests } }

    func stop() {
        let connections = state.withLock { state -> Set<Int32>? in
            guard !state.isStopped else { return nil }
            state.isStopped = true
            return state.connections
        }
        guard let connections else { return }
        shutdown(listener, Int32(SHUT_RDWR))
        Glibc.close(listener)
        for connection in connections { shutdown(connection, Int32(SHUT_RDWR)) }
    }

    private func serve(_ connection: Int32) {
        state.withLock { _ = $0.connections.insert(connection) }
        defer {
            state.withLock { _ = $0.connections.remove(connection) }
            Glibc.close(connection)
        }
        // Head and body are sent apart: without this the second waits for the client's delayed acknowledgement.
        var on: Int32 = 1
        setsockopt(connection, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
        while let head = readHead(connection) {
            guard let request = parse(head) else { return }
            let number = state.withLock { state -> Int in
                state.requests.append(request)
                return state.requests.count - 1
            }
            switch handler(request, number) {
            case .answer(let status, let headers, let body):
                guard send(connection, head: status, headers, body.count), send(connection, body[...]) else { return }
            case .cut(let count, let body):
                _ = send(connection, head: 200, [], body.count) && send(connection, body.prefix(count))
                return
            case .stall(let body):
                _ = send(connection, head: 200, [], body.count + 1) && send(connection, body[...])
                waitForClient(connection)
                return
            case .hang:
                waitForClient(connection)
                return
            case .close: return
            }
        }
    }

    private func waitForClient(_ connection: Int32) {
        var byte: UInt8 = 0
        while recv(connection, &byte, 1, 0) > 0 {}
    }

    private func readHead(_ connection: Int32) -> String? {
        var bytes: [UInt8] = []
        var byte: UInt8 = 0
        while recv(connection, &byte, 1, 0) == 1 {
            bytes.append(byte)
            if bytes.suffix(4) == [13, 10, 13, 10] { return String(decoding: bytes, as: UTF8.self) }
        }
        return nil
    }

    private func parse(_ head: String) -> Request? {
        let lines = head.split(separator: "\r\n").map(String.init)
        guard let target = lines.first?.split(separator: " ").dropFirst().first else { return nil }
        let parts = target.split(separator: "?", maxSplits: 1).map(String.init)
        var query: [String: String] = [:]
        for pair in (parts.count > 1 ? parts[1] : "").split(separator: "&") {
            let sides = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            query[sides[0]] = (sides.count > 1 ? sides[1] : "").removingPercentEncoding
        }
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            let sides = line.split(separator: ":", maxSplits: 1)
            headers[sides[0].lowercased()] = sides.count > 1 ? sides[1].trimmingCharacters(in: .whitespaces) : ""
        }
        return Request(path: parts[0], query: query, headers: headers)
    }

    private func send(_ connection: Int32, head status: Int, _ headers: [(String, String)], _ length: Int) -> Bool {
        var text = "HTTP/1.1 \(status) Status\r\n"
        if status != 304 && status != 204 { text += "Content-Length: \(length)\r\n" }
        for (name, value) in headers { text += "\(name): \(value)\r\n" }
        return send(connection, Array((text + "\r\n").utf8)[...])
    }

    private func send(_ connection: Int32, _ bytes: ArraySlice<UInt8>) -> Bool {
        var rest = bytes
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes { Glibc.send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            guard sent > 0 else { return false }
            rest = rest.dropFirst(sent)
        }
        return true
    }
}

/// gzip with stored blocks: enough for a client to unpack.
func gzip(_ bytes: [UInt8]) -> [UInt8] {
    var crc: UInt32 = 0xFFFF_FFFF
    for byte in bytes {
        crc ^= UInt32(byte)
        for _ in 0..<8 { crc = crc & 1 == 1 ? (crc >> 1) ^ 0xEDB8_8320 : crc >> 1 }
    }
    crc = ~crc
    func little(_ value: UInt32, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
    var out: [UInt8] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3]
    var rest = bytes[...]
    repeat {
        let block = rest.prefix(65535)
        rest = rest.dropFirst(block.count)
        out += [rest.isEmpty ? 1 : 0] + little(UInt32(block.count), 2) + little(~UInt32(block.count), 2) + block
    } while !rest.isEmpty
    return out + little(crc, 4) + little(UInt32(bytes.count), 4)
}

/// `{"rows":[{"n":0},…],"num_rows_total":…}` for a data set of `total` rows.
func rowsPage(_ request: TestServer.Request, total: Int, cap: Int = 100) -> String {
    let offset = Int(request.query["offset"] ?? "0") ?? 0
    let length = min(cap, Int(request.query["length"] ?? "100") ?? 100)
    let rows = (offset..<max(offset, min(total, offset + length))).map { "{\"n\":\($0)}" }
    return "{\"rows\":[\(rows.joined(separator: ","))],\"num_rows_total\":\(total)}"
}
