import DataflowOperator
import DataflowTesting
import Foundation
import Synchronization
import Testing

@testable import HTTPSource

/// The real time.
private struct RealClock: RuntimeClock {
    var now: ContinuousClock.Instant { ContinuousClock().now }
    var wallMicroseconds: Int64 { Int64(Date().timeIntervalSince1970 * 1e6) }
}

private func config(_ server: TestServer, _ change: (inout HTTPSourceConfig) -> Void = { _ in }) -> HTTPSourceConfig {
    var config = HTTPSourceConfig()
    config.url = server.url + "/rows"
    config.retry.initialDelay = .milliseconds(2)
    config.retry.maxDelay = .milliseconds(5)
    change(&config)
    return config
}

/// `offset`/`length` with `items` and `total`.
private func offsets(_ config: inout HTTPSourceConfig, limit: Int = 10, until: Int? = nil, total: Bool = true) {
    var offset = OffsetConfig()
    offset.limitParam = "length"
    offset.limit = limit
    offset.until = until
    offset.items = BodyPathSetting("$.rows")
    if total { offset.total = BodyPathSetting("$.num_rows_total") }
    config.paginate = PaginateConfig()
    config.paginate?.offset = offset
}

/// The `n` of every row of every page, in order.
private func numbers(_ emitted: Emitted) throws -> [Int] {
    try emitted.batches().flatMap { batch in
        try batch.rows.flatMap { row -> [Int] in
            guard case .bytes(let bytes) = row[0] else { return [] }
            let page = try JSONSerialization.jsonObject(with: Data(bytes)) as? [String: Any]
            return (page?["rows"] as? [[String: Int]])?.compactMap { $0["n"] } ?? []
        }
    }
}

private func harness(_ config: HTTPSourceConfig, restoring state: StateSnapshot = []) async throws -> SourceHarness<
    HTTPSource
> {
    try await SourceHarness(HTTPSource.self, config, restoring: state, clock: RealClock())
}

/// Reads to the end and gives the error that ended it.
private func error(_ config: HTTPSourceConfig) async throws -> OperatorError? {
    let source = try await harness(config)
    do { try await source.readAll() } catch { return error as? OperatorError }
    return nil
}

@Suite struct HTTPSourceTests {
    @Test func `pages are rows in order, up to the total`() async throws {
        let server = try TestServer { request, _ in
            .json(rowsPage(request, total: 25), headers: [("X-Revision", "abc")])
        }
        let source = try await harness(config(server) { offsets(&$0) })
        try await source.readAll()
        #expect(source.hasEnded)
        #expect(try numbers(source.output) == Array(0..<25))
        let rows = source.output.rows()
        #expect(rows.map { $0[2] } == [.int(0), .int(10), .int(20)])
        #expect(rows[1][1] == .string("\(server.url)/rows?offset=10&length=10"))
        #expect(rows[0][3] == .int(200))
        #expect(rows[0][5] == "abc")
        #expect(source.output.splitEvents == [.assigned([0]), .ended(0)])
        #expect(source.output.batches().allSatisfy { $0.split == 0 })
        #expect(server.requests.count == 3)
        await source.close()
        server.stop()
    }

    @Test func `without a total the empty list ends the run and is no row`() async throws {
        let server = try TestServer { request, _ in .json(rowsPage(request, total: 20)) }
        let source = try await harness(config(server) { offsets(&$0, total: false) })
        try await source.readAll()
        #expect(try numbers(source.output) == Array(0..<20))
        #expect(source.output.rows().count == 2)
        #expect(server.requests.count == 3)
        server.stop()
    }

    @Test func `every kind of trouble is retried and no page is lost, doubled or out of order`() async throws {
        let server = try TestServer { request, number in
            let page = rowsPage(request, total: 100)
            switch number {
            case 1: return .text(429, "{\"error\":\"too many requests\"}")
            case 2: return .text(429, "", headers: [("Retry-After", "0")])
            case 3: return .text(429, "", headers: [("Retry-After", "Sun, 06 Nov 1994 08:49:37 GMT")])
            case 5: return .text(500, "{\"error\":\"busy\"}", headers: [("X-Error-Code", "ResponseNotReady")])
            case 7: return .text(503, "<html><h1>503</h1></html>", headers: [("Content-Type", "text/html")])
            case 9: return .text(200, "<html>maintenance</html>", headers: [("Content-Type", "text/html")])
            case 11: return .cut(after: 30, body: Array(page.utf8))
            case 12: return .close
            case 14: return .json("{\"error\":\"no rows here\"}")
            case 15: return .json("{\"rows\":[{\"n\":1}")
            case 17: return .hang
            case 19: return .stall(body: Array(page.utf8))
            case 20: return .answer(200, headers: [("Content-Encoding", "gzip")], body: Array("not gzip".utf8))
            default: return .answer(200, headers: [("Content-Encoding", "gzip")], body: gzip(Array(page.utf8)))
            }
        }
        let source = try await harness(
            config(server) {
                offsets(&$0)
                $0.timeout = .milliseconds(150)
                $0.concurrency = 3
            })
        try await source.readAll()
        #expect(source.hasEnded)
        #expect(try numbers(source.output) == Array(0..<100))
        server.stop()
    }

    @Test func `a server that caps the limit is read completely, also with pages ahead`() async throws {
        let server = try TestServer { request, _ in .json(rowsPage(request, total: 23, cap: 4)) }
        let source = try await harness(
            config(server) {
                offsets(&$0)
                $0.concurrency = 3
            })
        try await source.readAll()
        #expect(try numbers(source.output) == Array(0..<23))
        server.stop()
    }

    @Test func `a total that shrinks while it is read ends the run there`() async throws {
        let server = try TestServer { request, number in .json(rowsPage(request, total: number == 0 ? 1000 : 20)) }
        let source = try await harness(config(server) { offsets(&$0) })
        try await source.readAll()
        #expect(try numbers(source.output) == Array(0..<20))
        #expect(server.requests.count == 2)
        server.stop()
    }

    @Test(arguments: [1, 4]) func `a run restored after any page continues with the next one`(_ concurrency: Int)
        async throws
    {
        let server = try TestServer { request, _ in .json(rowsPage(request, total: 95)) }
        let settings = config(server) {
            offsets(&$0)
            $0.concurrency = concurrency
        }
        var state: StateSnapshot = []
        var all: [Int] = []
        for _ in 0..<30 {
            let source = try await harness(settings, restoring: state)
            var pages = 0
            while !source.hasEnded, pages < 2 {
                if case .emitted = try await source.poll() { pages += 1 }
            }
            state = try source.checkpoint()
            all += try numbers(source.output)
            await source.close()
            if source.hasEnded { break }
        }
        #expect(all == Array(0..<95))
        server.stop()
    }

    @Test func `a finished run started again reads nothing, and goes on when until is raised or rows were added`()
        async throws
    {
        let total = Mutex(30)
        let server = try TestServer { request, _ in .json(rowsPage(request, total: total.withLock { $0 })) }
        func run(_ until: Int?, _ state: StateSnapshot) async throws -> ([Int], StateSnapshot) {
            let source = try await harness(config(server) { offsets(&$0, until: until) }, restoring: state)
            try await source.readAll()
            #expect(source.hasEnded)
            return (try numbers(source.output), try source.checkpoint())
        }
        var (rows, state) = try await run(20, [])
        #expect(rows == Array(0..<20))
        let before = server.requests.count
        (rows, state) = try await run(20, state)
        #expect(rows == [])
        #expect(server.requests.count == before)
        (rows, state) = try await run(nil, state)
        #expect(rows == Array(20..<30))
        (rows, state) = try await run(nil, state)
        #expect(rows == [])
        total.withLock { $0 = 35 }
        (rows, state) = try await run(nil, state)
        #expect(rows == Array(30..<35))
        server.stop()
    }

    @Test func `cursors are followed, and restored in the middle`() async throws {
        let server = try TestServer { request, _ in
            let n = Int(request.query["after"] ?? "0") ?? 0
            return .json("{\"rows\":[{\"n\":\(n)}],\"next\":\(n < 4 ? "\"\(n + 1)\"" : "null")}")
        }
        let settings = config(server) {
            var cursor = CursorConfig()
            cursor.param = "after"
            cursor.path = BodyPathSetting("$.next")
            cursor.items = BodyPathSetting("$.rows")
            $0.paginate = PaginateConfig()
            $0.paginate?.cursor = cursor
        }
        let first = try await harness(settings)
        while first.output.rows().count < 2 { try await first.poll() }
        let second = try await harness(settings, restoring: try first.checkpoint())
        try await second.readAll()
        #expect(try numbers(first.output) + numbers(second.output) == Array(0..<5))
        #expect(second.output.rows().map { $0[2] } == [.int(2), .int(3), .int(4)])
        let third = try await harness(settings, restoring: try second.checkpoint())
        try await third.readAll()
        #expect(third.hasEnded && third.output.rows().isEmpty)
        server.stop()
    }

    @Test(arguments: [true, false]) func `links are followed from the header and from the body`(_ header: Bool)
        async throws
    {
        let server = try TestServer { request, _ in
            let page = Int(request.query["page"] ?? "0") ?? 0
            let next = page < 3 ? "?page=\(page + 1)" : nil
            let body =
                "{\"rows\":[{\"n\":\(page)}],\"links\":{\"next\":\(!header && next != nil ? "\"\(next ?? "")\"" : "null")}}"
            return .json(body, headers: header && next != nil ? [("Link", "<\(next ?? "")>; rel=\"next\"")] : [])
        }
        let source = try await harness(
            config(server) {
                var link = NextLinkConfig()
                if !header { link.path = BodyPathSetting("$.links.next") }
                $0.paginate = PaginateConfig()
                $0.paginate?.nextLink = link
                $0.auth = HTTPAuthConfig()
                $0.auth?.bearer = Secret("token")
            })
        try await source.readAll()
        #expect(try numbers(source.output) == [0, 1, 2, 3])
        #expect(server.requests.allSatisfy { $0.headers["authorization"] == "Bearer token" })
        server.stop()
    }

    @Test func `redirects are followed, and what identifies the user stays with its host`() async throws {
        let other = try TestServer { _, _ in .json("{\"rows\":[{\"n\":1}]}") }
        let otherURL = other.url
        let server = try TestServer { request, _ in
            request.path == "/rows"
                ? .text(302, "", headers: [("Location", "/moved?x=1")])
                : .text(307, "", headers: [("Location", otherURL + "/final")])
        }
        let source = try await harness(
            config(server) {
                $0.auth = HTTPAuthConfig()
                $0.auth?.bearer = Secret("token")
                $0.headers = ["X-Key": "k"]
            })
        try await source.readAll()
        #expect(try numbers(source.output) == [1])
        #expect(server.requests.map(\.path) == ["/rows", "/moved"])
        #expect(
            server.requests.allSatisfy { $0.headers["authorization"] == "Bearer token" && $0.headers["x-key"] == "k" })
        #expect(other.requests.first?.headers["authorization"] == nil)
        #expect(other.requests.first?.headers["x-key"] == nil)
        server.stop()
        other.stop()
    }

    @Test func `endless redirects end with an error`() async throws {
        let server = try TestServer { _, _ in .text(302, "", headers: [("Location", "/rows")]) }
        let found = try await error(config(server))
        #expect(found?.message.contains("more than 5 redirects") == true)
        #expect(server.requests.count == 6)
        server.stop()
    }

    @Test func `404 ends the run with a sentence that names the URL without its secrets`() async throws {
        let server = try TestServer { _, _ in
            .text(404, "{\"error\":\"Not found, mr. hunter22\"}", headers: [("X-Error-Code", "ResponseNotFound")])
        }
        let found = try await error(
            config(server) {
                offsets(&$0)
                $0.secretQuery = ["who": Secret("hunter22")]
                $0.query = ["api_key": "visible-by-mistake"]
            })
        let message = try #require(found?.message)
        #expect(found?.domain == .user)
        #expect(message.contains("404 Not Found"))
        #expect(message.contains("ResponseNotFound"))
        #expect(message.contains("/rows?api_key=***&who=***&offset=0"))
        #expect(!message.contains("hunter22") && !message.contains("visible"))
        #expect(server.requests.count == 1)
        server.stop()
    }

    @Test func `an answer too big to be repeated is final, a server that stays broken is given up for now`()
        async throws
    {
        let server = try TestServer { request, _ in
            .text(500, "{}", headers: request.query["big"] == nil ? [] : [("X-Error-Code", "TooBigContentError")])
        }
        let big = try await error(config(server) { $0.query = ["big": "1"] })
        #expect(big?.code == "http_final")
        #expect(server.requests.count == 1)
        let broken = try await error(config(server) { $0.retry.maxAttempts = 4 })
        #expect(broken?.code == "http_retries")
        if case .withBackoff = broken?.retry {} else { Issue.record("the run should be started again") }
        #expect(broken?.message.contains("given up after 4 requests") == true)
        #expect(server.requests.count == 5)
        server.stop()
    }

    @Test func `a polled document is emitted when it has changed`() async throws {
        let server = try TestServer { request, number in
            let version = number < 3 ? "v1" : "v2"
            if request.headers["if-none-match"] == "\"\(version)\"" { return .answer(304, body: []) }
            return .json(
                "{\"v\":\"\(version)\"}",
                headers: [("ETag", "\"\(version)\""), ("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT")])
        }
        let clock = ManualClock()
        let settings = config(server) { $0.poll = .seconds(60) }
        var source = try await SourceHarness(HTTPSource.self, settings, clock: clock)
        while source.output.rows().isEmpty { try await source.poll() }
        for round in 1...2 {
            #expect(try await source.poll(for: .milliseconds(5)) == .idle)
            clock.advance(by: .seconds(60))
            while server.requests.count <= round { try await source.poll(for: .milliseconds(5)) }
        }
        #expect(source.output.rows().count == 1)
        #expect(server.requests[1].headers["if-modified-since"] == "Sun, 06 Nov 1994 08:49:37 GMT")
        let answered = server.requests.count
        try await source.poll(for: .milliseconds(20))
        // What was seen is in the checkpoint: a restart asks with it, and not before the round is due.
        source = try await SourceHarness(HTTPSource.self, settings, restoring: try source.checkpoint(), clock: clock)
        #expect(try await source.poll(for: .milliseconds(5)) == .idle)
        #expect(server.requests.count == answered)
        clock.advance(by: .seconds(60))
        while source.output.rows().isEmpty { try await source.poll() }
        #expect(source.output.rows()[0][0] == .bytes(Array("{\"v\":\"v2\"}".utf8)))
        server.stop()
    }

    @Test func `the rate limit spaces requests, retries included, and survives a restart`() async throws {
        let server = try TestServer { request, number in
            number == 1 ? .text(500, "") : .json(rowsPage(request, total: 100))
        }
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("http-\(UUID())").path
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let clock = ManualClock()
        let settings = config(server) {
            offsets(&$0)
            $0.rateLimit = Rate(30, per: .seconds(60))
        }
        func open() async throws -> SourceHarness<HTTPSource> {
            try await SourceHarness(HTTPSource.self, settings, clock: clock, stateDirectory: folder)
        }
        var source = try await open()
        while source.output.rows().count < 1 { try await source.poll() }
        try await source.poll(for: .milliseconds(5))
        #expect(server.requests.count == 1)
        clock.advance(by: .seconds(2))
        while server.requests.count < 2 { try await source.poll(for: .milliseconds(5)) }
        try await source.poll(for: .milliseconds(20))
        clock.advance(by: .milliseconds(1999))
        try await source.poll(for: .milliseconds(5))
        #expect(server.requests.count == 2)
        // A crash: no checkpoint, but the limit is remembered.
        source = try await open()
        try await source.poll(for: .milliseconds(5))
        #expect(server.requests.count == 2)
        clock.advance(by: .milliseconds(2))
        while source.output.rows().count < 1 { try await source.poll() }
        #expect(server.requests.count == 3)
        server.stop()
    }

    @Test func `poll returns by its deadline while a request hangs, and at once when the task is cancelled`()
        async throws
    {
        let server = try TestServer { _, _ in .hang }
        let settings = config(server)
        let source = try await harness(settings)
        #expect(try await source.poll(for: .milliseconds(20)) == .idle)
        await source.close()
        let task = Task {
            let source = try await harness(settings)
            let result = try await source.poll(for: .seconds(900))
            await source.close()
            return result
        }
        while server.requests.count < 2 { await Task.yield() }
        // Far below the deadline of the poll, and far above what a busy machine needs.
        let cancelled = ContinuousClock.now
        task.cancel()
        #expect(try await task.value == .idle)
        #expect(ContinuousClock.now - cancelled < .seconds(300))
        server.stop()
    }

    @Test func `a position of another kind of pagination is refused with what to do`() async throws {
        let server = try TestServer { request, _ in .json(rowsPage(request, total: 100)) }
        let source = try await harness(config(server) { offsets(&$0) })
        try await source.poll()
        let state = try source.checkpoint()
        await #expect {
            _ = try await harness(config(server), restoring: state)
        } throws: { error in
            (error as? OperatorError)?.message.contains("does not fit `paginate` (none)") == true
        }
        server.stop()
    }

    @Test func `the state is read as it was written`() throws {
        let states = [Paginator.Position.start, .offset(7), .page(3), .cursor("ü"), .link("http://x/?a=1")].map {
            HTTPSourceState(
                position: $0, end: .total, pageCount: 9,
                nextRequest: KeptMoment(Moment(microseconds: 5), ahead: .seconds(3)), nextRound: nil, revision: "r",
                validators: Validators(entityTag: "t", lastModified: nil))
        }
        for state in states { #expect(try HTTPSourceState([state.table].throughCheckpoint()) == state) }
        #expect(try HTTPSourceState([]) == nil)
    }
}
