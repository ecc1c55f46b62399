import DataflowCodec
internal import DataflowConfig
import DataflowOperator
import Glibc

/// A schema registry on 127.0.0.1, in memory: enough of Confluent's interface for clients, and faults on demand.
package final class StandInRegistry: Sendable {
    /// A schema to begin with.
    package struct Entry: Sendable {
        package var subject: String
        package var type: String
        package var text: String
        /// Name, subject and version of each.
        package var references: [(String, String, Int)]

        package init(
            _ subject: String, type: String = "AVRO", _ text: String, references: [(String, String, Int)] = []
        ) {
            self.subject = subject
            self.type = type
            self.text = text
            self.references = references
        }
    }

    private struct State {
        var entries: [Entry]
        var requests: [String] = []
        /// Statuses to answer with, one a request, before anything else.
        var faults: [Int] = []
        var isStopped = false
    }

    package let port: Int
    private let listener: Int32
    private let state: Lock<State>
    /// `Basic …` or `Bearer …`, if that is asked for.
    private let authorization: String?

    /// - Parameter entries: schemas, whose numbers are 1, 2 … in this order.
    package init(_ entries: [Entry] = [], authorization: String? = nil) throws(OperatorError) {
        state = Lock(State(entries: entries))
        self.authorization = authorization
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
        guard bound else { throw OperatorError(.external, .never, "no_port", "no port is free on 127.0.0.1") }
        port = Int(UInt16(bigEndian: address.sin_port))
        try startThread("the stand-in registry") { [weak self] in
            while true {
                let connection = accept(listener, nil, nil)
                guard connection >= 0, let self else { return }
                self.serve(connection)
                Glibc.close(connection)
            }
        }
    }

    deinit { stop() }

    package var url: String { "http://127.0.0.1:\(port)" }
    /// Method and path of each request so far.
    package var requests: [String] { state.withLock { $0.requests } }
    /// The schemas, those that were registered included.
    package var entries: [Entry] { state.withLock { $0.entries } }

    /// The next requests are answered with these statuses; 0 closes the connection without a word.
    package func fail(_ statuses: [Int]) { state.withLock { $0.faults = statuses } }

    package func stop() {
        let wasStopped = state.withLock { state in
            defer { state.isStopped = true }
            return state.isStopped
        }
        guard !wasStopped else { return }
        shutdown(listener, Int32(SHUT_RDWR))
        Glibc.close(listener)
    }

    /// One request a connection: registries are asked rarely.
    private func serve(_ connection: Int32) {
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        var head: String?
        var bodyStart = 0
        var wanted = 0
        while head == nil || bytes.count < bodyStart + wanted {
            let count = recv(connection, &chunk, chunk.count, 0)
            guard count > 0 else { return }
            bytes += chunk[..<count]
            guard head == nil else { continue }
            guard
                let end = bytes.indices.first(where: { bytes[$0...].prefix(4).elementsEqual([13, 10, 13, 10]) })
            else { continue }
            let text = String(decoding: bytes[..<end], as: UTF8.self)
            head = text
            bodyStart = end + 4
            for line in text.split(separator: "\r\n") where line.lowercased().hasPrefix("content-length:") {
                wanted = Int(line.dropFirst(15).drop { $0 == " " }) ?? 0
            }
        }
        let lines = (head ?? "").split(separator: "\r\n")
        let words = (lines.first ?? "").split(separator: " ").map(String.init)
        guard words.count > 1 else { return }
        let fault = state.withLock { state -> Int? in
            state.requests.append("\(words[0]) \(words[1])")
            return state.faults.isEmpty ? nil : state.faults.removeFirst()
        }
        if fault == 0 { return }
        var (status, body) = (fault ?? 200, #"{"error_code":50001,"message":"out of order"}"#)
        if fault == nil {
            let isAllowed = authorization.map { lines.contains(Substring("Authorization: \($0)")) } ?? true
            (status, body) =
                isAllowed
                ? answer(words[0], words[1], Array(bytes[bodyStart...]))
                : (401, #"{"error_code":401,"message":"who are you?"}"#)
        }
        let reply = Array(
            "HTTP/1.1 \(status) Status\r\nContent-Length: \(body.utf8.count)\r\nConnection: close\r\n\r\n\(body)".utf8)
        var sent = 0
        while sent < reply.count {
            let count = reply[sent...].withUnsafeBytes {
                send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return }
            sent += count
        }
    }

    private func answer(_ method: String, _ path: String, _ body: [UInt8]) -> (Int, String) {
        let parts = path.split(separator: "/").map(String.init)
        let missing = (404, #"{"error_code":40403,"message":"not found"}"#)
        return state.withLock { state in
            func shown(_ number: Int) -> (Int, String) {
                let entry = state.entries[number]
                var object: [(String, JSONValue)] = [
                    ("subject", .string(entry.subject)), ("id", .int(number + 1)), ("schema", .string(entry.text)),
                ]
                if entry.type != "AVRO" { object.append(("schemaType", .string(entry.type))) }
                if !entry.references.isEmpty {
                    let references = entry.references.map { name, subject, version in
                        JSONValue.object([
                            ("name", .string(name)), ("subject", .string(subject)), ("version", .int(version)),
                        ])
                    }
                    object.append(("references", .array(references)))
                }
                return (200, JSONValue.object(object).serialized(indent: 0))
            }
            if method == "GET", parts.count == 3, parts[0] == "schemas", let id = Int(parts[2]) {
                return state.entries.indices.contains(id - 1) ? shown(id - 1) : missing
            }
            guard parts.count >= 3, parts[0] == "subjects", parts[2] == "versions" else { return missing }
            let versions = state.entries.indices.filter { state.entries[$0].subject == parts[1] }
            if method == "GET", parts.count == 4 {
                let place =
                    parts[3] == "latest" ? versions.last : Int(parts[3]).flatMap { versions.dropFirst($0 - 1).first }
                return place.map(shown) ?? missing
            }
            guard method == "POST", let json = try? JSONValue(parsing: body), let text = json["schema"]?.text else {
                return (422, #"{"error_code":42201,"message":"no schema"}"#)
            }
            if let known = versions.first(where: { state.entries[$0].text == text }) {
                return (200, "{\"id\":\(known + 1)}")
            }
            state.entries.append(Entry(parts[1], type: json["schemaType"]?.text ?? "AVRO", text))
            return (200, "{\"id\":\(state.entries.count)}")
        }
    }
}
