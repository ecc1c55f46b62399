import DataflowColumnar
import Foundation
import Glibc
import Testing

@testable import HTTPSource

extension HTTPClient {
    /// Waits for the end of one request.
    fileprivate func finish(_ id: TransferID) throws -> Result<HTTPResponse, HTTPFailure> {
        let deadline = ContinuousClock().now + .seconds(20)
        while ContinuousClock().now < deadline {
            if let end = try wait(for: .seconds(1)).first(where: { $0.id == id }) { return end.result }
        }
        return .failure(HTTPFailure(kind: .transient, message: "the test's patience is at its end"))
    }

    fileprivate func get(_ url: String) throws -> Result<HTTPResponse, HTTPFailure> {
        try finish(start(HTTPRequest(url: url)))
    }
}

extension Buffer {
    fileprivate var text: String { withUnsafeBytes { String(decoding: $0, as: UTF8.self) } }
}

extension Result where Success == HTTPResponse, Failure == HTTPFailure {
    fileprivate var failure: HTTPFailure? { if case .failure(let failure) = self { failure } else { nil } }
}

@Suite struct HTTPClientTests {
    @Test func `a request says who asks and what it takes, and the answer is whole`() throws {
        let server = try TestServer { _, _ in .json("{\"a\":1}", headers: [("X-Revision", "r1")]) }
        let client = try HTTPClient(.init(userAgent: "dataflow/test"))
        let request = HTTPRequest(
            url: server.url + "/rows?a=1",
            headers: [HTTPHeader(name: "X-A", value: "b"), HTTPHeader(name: "X-Empty", value: "")],
            credentials: .bearer("secret"))
        let response = try client.finish(client.start(request)).get()
        #expect(response.status == 200)
        #expect(response.body.text == "{\"a\":1}")
        #expect(response.headers["x-revision"] == "r1")
        let seen = try #require(server.requests.first)
        #expect(seen.headers["user-agent"] == "dataflow/test")
        #expect(seen.headers["authorization"] == "Bearer secret")
        #expect(seen.headers["accept-encoding"] == "gzip, deflate")
        #expect(seen.headers["x-a"] == "b")
        #expect(seen.headers["x-empty"] == "")
        server.stop()
    }

    @Test func `basic credentials are sent, and none where they must not be`() throws {
        let server = try TestServer { _, _ in .text(200, "x") }
        let client = try HTTPClient(.init())
        var request = HTTPRequest(
            url: server.url, headers: [HTTPHeader(name: "X-Key", value: "k", isPrivate: true)],
            credentials: .basic(user: "off", password: "o:ff"))
        _ = try client.finish(client.start(request)).get()
        request.sendsCredentials = false
        _ = try client.finish(client.start(request)).get()
        let seen = server.requests
        #expect(seen[0].headers["authorization"] == "Basic b2ZmOm86ZmY=")
        #expect(seen[0].headers["x-key"] == "k")
        #expect(seen[1].headers["authorization"] == nil)
        #expect(seen[1].headers["x-key"] == nil)
        server.stop()
    }

    @Test func `a packed body is unpacked, and the limit counts what it unpacks to`() throws {
        let body = [UInt8](repeating: 65, count: 200_000)
        let server = try TestServer { _, _ in .answer(200, headers: [("Content-Encoding", "gzip")], body: gzip(body)) }
        let response = try HTTPClient(.init()).get(server.url).get()
        #expect(response.body.byteCount == body.count)
        let failure = try HTTPClient(.init(maxBodyBytes: 199_999)).get(server.url).failure
        #expect(failure?.kind == .final)
        #expect(failure?.message.contains("199999 bytes") == true)
        server.stop()
    }

    @Test func `a body grows in one block that becomes the buffer`() throws {
        let body = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        let server = try TestServer { _, _ in .answer(200, body: body) }
        let client = try HTTPClient(.init())
        for _ in 0..<3 {
            let response = try client.get(server.url).get()
            #expect(response.body.withUnsafeBytes { $0.elementsEqual(body) })
        }
        server.stop()
    }

    @Test func `a cut body, a closed connection and a refused one may be tried again`() throws {
        let server = try TestServer { _, number in number == 0 ? .cut(after: 5, body: Array("0123456789".utf8)) : .close
        }
        let client = try HTTPClient(.init())
        #expect(try client.get(server.url).failure?.kind == .transient)
        #expect(try client.get(server.url).failure?.kind == .transient)
        server.stop()
        #expect(try client.get(server.url).failure?.kind == .transient)
    }

    @Test func `a wrong URL is final`() throws {
        #expect(try HTTPClient(.init()).get("gopher://x/").failure?.kind == .final)
    }

    @Test func `the total time and a stalled body end a request`() throws {
        let server = try TestServer { request, _ in request.path == "/hang" ? .hang : .stall(body: [1, 2, 3]) }
        let hang = try HTTPClient(.init(totalTimeout: .milliseconds(50))).get(server.url + "/hang").failure
        #expect(hang?.kind == .transient)
        #expect(hang?.message.contains("Timeout") == true)
        let stall = try HTTPClient(.init(stallTimeout: .seconds(1))).get(server.url + "/stall").failure
        #expect(stall?.kind == .transient)
        server.stop()
    }

    @Test func `waiting ends at its deadline while a transfer hangs, and a wake ends it at once`() throws {
        let server = try TestServer { _, _ in .hang }
        let client = try HTTPClient(.init())
        let id = try client.start(HTTPRequest(url: server.url))
        let clock = ContinuousClock()
        let start = clock.now
        #expect(try client.wait(for: .milliseconds(30)).isEmpty)
        #expect(clock.now - start >= .milliseconds(30))
        #expect(clock.now - start < .seconds(5))
        client.cancel(id)
        #expect(client.runningCount == 0)
        server.stop()
    }

    @Test func `several transfers run at once and connections are used again`() throws {
        let server = try TestServer { request, _ in .text(200, request.path) }
        let client = try HTTPClient(.init())
        for _ in 0..<5 {
            var open = Set(try (0..<4).map { try client.start(HTTPRequest(url: server.url + "/\($0)")) })
            while !open.isEmpty {
                for end in try client.wait(for: .seconds(5)) {
                    _ = try end.result.get()
                    open.remove(end.id)
                }
            }
        }
        #expect(server.requests.count == 20)
        server.stop()
    }

    @Test(.enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/openssl")))
    func `a certificate nobody signed is refused, and accepted when its file is given`() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("tls-\(UUID())")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let certificate = folder.appendingPathComponent("cert.pem").path
        let key = folder.appendingPathComponent("key.pem").path
        func openssl(_ arguments: [String]) throws -> Process {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/openssl")
            process.arguments = arguments
            process.standardOutput = FileHandle.nullDevice
            process.standardError = FileHandle.nullDevice
            process.standardInput = Pipe()
            try process.run()
            return process
        }
        try openssl([
            "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "1", "-subj",
            "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
        ]).waitUntilExit()
        let probe = try TestServer { _, _ in .close }
        let port = probe.port
        probe.stop()
        let server = try openssl([
            "s_server", "-accept", "\(port)", "-cert", certificate, "-key", key, "-www", "-quiet",
        ])
        // Not `terminate()`: the child inherits a mask that blocks SIGTERM.
        defer {
            kill(server.processIdentifier, SIGKILL)
            server.waitUntilExit()
        }
        let url = "https://localhost:\(port)/"
        let trusting = try HTTPClient(.init(certificateAuthorities: certificate))
        var answer = try trusting.get(url)
        let deadline = ContinuousClock().now + .seconds(10)
        while answer.failure != nil, ContinuousClock().now < deadline { answer = try trusting.get(url) }
        #expect(try answer.get().status == 200)
        let refused = try HTTPClient(.init()).get(url).failure
        #expect(refused?.kind == .final)
        #expect(refused?.message.contains("certificate") == true)
    }
}
