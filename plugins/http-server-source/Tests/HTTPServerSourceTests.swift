import CZlib
import DataflowColumnar
import DataflowConfig
import DataflowOperator
import DataflowTesting
import Glibc
@testable import HTTPServerSource
import Testing

private func gzip(_ text: String) -> [UInt8] {
    var stream = z_stream()
    deflateInit2_(
        &stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    defer { deflateEnd(&stream) }
    var input = Array(text.utf8)
    var output = [UInt8](repeating: 0, count: input.count + 1000)
    let count = input.withUnsafeMutableBufferPointer { input in
        output.withUnsafeMutableBufferPointer { output in
            stream.next_in = input.baseAddress
            stream.avail_in = UInt32(input.count)
            stream.next_out = output.baseAddress
            stream.avail_out = UInt32(output.count)
            deflate(&stream, Z_FINISH)
            return output.count - Int(stream.avail_out)
        }
    }
    return Array(output[..<count])
}

@Suite struct HTTPServerSourceTests {
    private let lines = ["Content-Type: application/x-ndjson; charset=utf-8"]

    @Test func `a document is a row, lines are rows, and both are answered with their number`() async throws {
        let server = try await TestServer()
        let client = try server.client()
        #expect(try client.post("{\"a\":\n1}").body == #"{"accepted":1}"#)
        let answer = try client.post("{\"b\":1}\r\n\n[2]\n3", headers: lines)
        #expect(answer.status == 202)
        #expect(answer.body == #"{"accepted":3}"#)
        #expect(try await server.values(4) == ["{\"a\":\n1}", "{\"b\":1}", "[2]", "3"])
        #expect(try client.post("\n\n", headers: lines).body == #"{"accepted":0}"#)
        #expect(try await server.isQuiet())
        #expect(server.harness.take().splitEvents == [.idle(0)])
    }

    @Test func `a row has the request's path, time, address, key and headers, but no secret`() async throws {
        let server = try await TestServer {
            $0.path = OneOrMany(["/hooks/*"])
            $0.auth = ServerAuthConfig()
            $0.auth?.bearer = Secret("s3cret")
        }
        let answer = try server.client().post(
            "1", to: "/hooks/a?b",
            headers: ["Authorization: bearer s3cret", "Idempotency-Key: k1", "X-Trace: t", "Cookie: c"])
        #expect(answer.status == 202)
        let row = try #require(try await server.rows(1).first)
        #expect(row[1] == "/hooks/a")
        #expect(row[2] == .timestamp(server.harness.context.clock.wallMicroseconds))
        #expect(row[3] == "127.0.0.1")
        #expect(row[4] == "k1")
        #expect("\(row[5])".contains("x-trace"))
        #expect(!"\(row)".contains("s3cret"))
        #expect(!"\(row)".contains("cookie"))
    }

    @Test func `headers that nobody uses are not kept`() async throws {
        let server = try await TestServer(used: .some(["value"]))
        _ = try server.client().post("1", headers: ["X-Trace: t"])
        #expect(try await server.rows(1).first?[5] == .list([]))
    }

    @Test func `what is refused is told why, and the connection goes on`() async throws {
        let server = try await TestServer {
            $0.path = OneOrMany(["/rows"])
            $0.auth = ServerAuthConfig()
            $0.auth?.bearer = Secret("token")
            $0.maxBody = ByteSize(bytes: 100)
        }
        let client = try server.client()
        let token = "Authorization: Bearer token"
        #expect(try client.post("1", to: "/rows").status == 401)
        #expect(try client.post("1", to: "/rows", headers: ["Authorization: Bearer tokem"]).status == 401)
        #expect(try client.post("1", to: "/rows", headers: ["Authorization: Bearer tokentoken"]).status == 401)
        #expect(
            try client.post("1", to: "/rows", headers: ["Authorization: Basic token"]).headers["www-authenticate"]
                == "Bearer")
        #expect(try client.post("1", to: "/other", headers: [token]).status == 404)
        #expect(try client.post("", to: "/rows", method: "GET", headers: [token]).headers["allow"] == "POST")
        #expect(try client.post("1", to: "/rows", headers: [token, "Content-Encoding: br"]).status == 415)
        #expect(try client.post(String(repeating: "1", count: 101), to: "/rows", headers: [token]).status == 413)
        #expect(try client.post("", to: "/rows", headers: [token]).status == 400)
        #expect(try client.post("1", to: "/rows", headers: [token]).status == 202)
        #expect(try await server.values(1) == ["1"])
    }

    @Test func `a body that is not JSON is refused with its place, raw ones are not looked at`() async throws {
        let server = try await TestServer()
        let client = try server.client()
        let wrong = try client.post(#"{"a":1,}"#)
        #expect(wrong.status == 400)
        #expect(wrong.body.contains("the body is not JSON at byte 7"))
        #expect(try client.post("{}\n\n[1\n", headers: lines).body.contains("line 3 is not JSON at byte 2"))
        #expect(try client.post("\"\u{1}\"").body.contains("at byte 1"))
        #expect(try await server.isQuiet())
        let raw = try await TestServer { $0.format = .raw }
        #expect(try raw.client().post("{\"a\n", headers: lines).body == #"{"accepted":1}"#)
        #expect(try await raw.values(1) == ["{\"a\n"])
    }

    @Test func `bodies may be compressed, to no more than the limit`() async throws {
        let server = try await TestServer { $0.maxBody = ByteSize(bytes: 20_000) }
        let client = try server.client()
        let text = (0..<1000).map { "{\"n\":\($0)}" }.joined(separator: "\n")
        let packed = lines + ["Content-Encoding: gzip"]
        client.sendRequest(gzip(text) + gzip("\n{}"), headers: packed)
        #expect(client.answer()?.body == #"{"accepted":1001}"#)
        #expect(try await server.rows(1001).count == 1001)
        client.sendRequest(gzip(String(repeating: "1", count: 20_001)), headers: packed)
        #expect(client.answer()?.status == 413)
        client.sendRequest(Array(gzip(text).dropLast(5)), headers: packed)
        #expect(client.answer()?.status == 400)
    }

    @Test func `requests may be chunked, pipelined, cut anywhere, and wait to be wanted`() async throws {
        let server = try await TestServer()
        let client = try server.client()
        let text = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n1\r\n]\r\n0\r\n\r\n"
        for byte in text.utf8 { client.send([byte]) }
        #expect(client.answer()?.status == 202)
        client.send(text + text + "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n5")
        for _ in 0..<3 { #expect(client.answer()?.status == 202) }
        client.sendRequest([], headers: ["Expect: 100-continue"], length: 3)
        #expect(client.answer()?.status == 100)
        client.send("[7]")
        #expect(client.answer()?.status == 202)
        #expect(try await server.values(5) == ["[1]", "[1]", "[1]", "5", "[7]"])
    }

    @Test func `a client that goes away or is too slow leaves nothing`() async throws {
        let server = try await TestServer { $0.requestTimeout = .milliseconds(300) }
        do {
            let client = try server.client()
            client.sendRequest(Array("[1".utf8), length: 100)
        }
        let slow = try server.client()
        slow.sendRequest(Array("[1".utf8), length: 100)
        #expect(slow.answer()?.status == 408)
        #expect(slow.isClosed())
        let endless = try server.client()
        endless.send("POST / HTTP/1.1\r\nHost: x\r\nA: " + String(repeating: "a", count: 20_000))
        #expect(endless.answer()?.status == 431)
        #expect(try server.client().post("1").status == 202)
        #expect(try await server.values(1) == ["1"])
    }

    @Test func `connections above the limit are refused, and taken again when others have gone`() async throws {
        let server = try await TestServer { $0.maxConnections = 2 }
        var clients = [try server.client(), try server.client()]
        for client in clients { #expect(try client.post("1").status == 202) }
        #expect(try server.client().answer()?.status == 503)
        clients.removeLast()
        var status = 0
        for _ in 0..<100 where status != 202 { status = try server.client().post("2").status }
        #expect(status == 202)
    }

    @Test func `requests are refused while the buffer is full, and taken when a checkpoint is complete`() async throws {
        let server = try await TestServer {
            $0.buffer = ByteSize.mebibytes(1)
            $0.maxBody = ByteSize(bytes: 400_000)
        }
        let client = try server.client()
        let body = "\"" + String(repeating: "x", count: 300_000) + "\""
        for _ in 0..<3 { #expect(try client.post(body).status == 202) }
        let refused = try client.post(body)
        #expect(refused.status == 429)
        #expect(refused.headers["retry-after"] == "1")
        // Reading does not make room: only a complete checkpoint does.
        #expect(try await server.rows(3).count == 3)
        #expect(try client.post(body).status == 429)
        try await server.complete()
        #expect(try client.post(body).status == 202)
        #expect(try await server.rows(1).count == 1)
    }

    @Test func `each acknowledged row comes once, wherever the process is killed`() async throws {
        let server = try await TestServer()
        for number in 0..<3 { #expect(try server.client().post("\(number)").status == 202) }
        // Killed before the first checkpoint: all of them come again.
        #expect(try await server.values(3) == ["0", "1", "2"])
        try await server.restart([])
        #expect(try await server.values(3) == ["0", "1", "2"])
        for number in 3..<6 { #expect(try server.client().post("\(number)").status == 202) }
        #expect(try await server.values(3) == ["3", "4", "5"])
        let state = try await server.complete()
        #expect(try server.client().post("6").status == 202)
        try await server.restart(state)
        #expect(try await server.values(1) == ["6"])
        #expect(try await server.isQuiet())
    }

    @Test func `a limit of rows is kept to by whole requests`() async throws {
        let server = try await TestServer()
        let client = try server.client()
        for number in 0..<5 { #expect(try client.post("\(number)\n\(number)", headers: lines).status == 202) }
        try await server.harness.poll(rowLimit: 3)
        #expect(server.harness.take().rows().count == 4)
        try await server.restart(try server.harness.checkpoint())
        #expect(try await server.values(6) == ["2", "2", "3", "3", "4", "4"])
    }

    @Test func `a request in flight when the source is closed is refused, and no answer is lost`() async throws {
        let server = try await TestServer()
        let idle = try server.client()
        #expect(try idle.post("1").status == 202)
        let half = try server.client()
        half.sendRequest(Array("[1".utf8), length: 3)
        // Answered behind the half request, so that this one has come to the server.
        #expect(try idle.post("2").status == 202)
        await server.harness.close()
        #expect(half.answer()?.status == 503)
        #expect(idle.isClosed())
        #expect(throws: (any Error).self) { try server.client() }
    }

    @Test func `healthz answers without a token`() async throws {
        let server = try await TestServer {
            $0.auth = ServerAuthConfig()
            $0.auth?.bearer = Secret("token")
        }
        let client = try server.client()
        #expect(try client.post("", to: "/healthz", method: "GET").body == #"{"status":"ok"}"#)
        client.send("HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        client.send("")
        #expect(!client.isClosed())
    }

    @Test func `a port that is taken is a clear error`() async throws {
        let server = try await TestServer()
        let port = server.port
        await #expect { _ = try await TestServer { $0.listen = "127.0.0.1:\(port)" } } throws: {
            "\($0)".contains("cannot listen on 127.0.0.1:\(port): another process does already")
        }
        await #expect { _ = try await TestServer { $0.listen = "192.0.2.1:0" } } throws: {
            "\($0)".contains("this machine has no such address")
        }
    }

    @Test func `many clients at once all get their answers, and their rows come once`() async throws {
        let server = try await TestServer()
        let port = server.port
        let answers = try await withThrowingTaskGroup(of: Int.self) { group in
            for client in 0..<8 {
                group.addTask {
                    let connection = try TestClient(port: port)
                    var accepted = 0
                    for number in 0..<50 {
                        let status = try connection.post("\(client * 1000 + number)").status
                        if status == 202 { accepted += 1 }
                    }
                    return accepted
                }
            }
            return try await group.reduce(0, +)
        }
        #expect(answers == 400)
        let values = try await server.values(400)
        #expect(values.count == 400)
        #expect(Set(values).count == 400)
    }

    @Test func `settings are checked`() throws {
        var config = HTTPServerSourceConfig()
        #expect(config.validate().isEmpty)
        config.path = OneOrMany(["rows"])
        config.buffer = ByteSize.mebibytes(1)
        #expect(
            config.validate().map(\.message) == [
                "`rows` is not a path", "`buffer` (1MiB) is smaller than `max_body` (10MiB)",
            ])
        #expect(throws: ConfigError.self) {
            try HTTPServerSourceConfig(decoding: .mapping([("listen", .text("localhost:80"))]))
        }
        #expect(ListenAddress("[::1]:80")?.host == "::1")
    }
}
