import CEpoll
import DataflowConfig
import DataflowOperator
import Glibc
import Logging

/// The server: one thread, one `epoll`, and one write to the disk for all requests that came in while the last one went on.
///
/// Everything but ``stop()`` runs on the thread. A turn of the loop reads what has come, takes whole requests to the log, has the
/// log made durable, and answers; while the disk works, further requests gather in the kernel, so the more clients there are
/// the more requests share a write.
final class WebhookServer {
    struct Settings: Sendable {
        var paths: [String]
        var format: BodyFormat
        var bearer: Secret?
        var bufferByteCount: Int
        var maxBodyByteCount: Int
        var maxConnections: Int
        var requestTimeout: Duration
        var keepAlive: Duration
        /// Whether headers are wanted downstream.
        var keepsHeaders: Bool
        var segmentByteCount: Int
        var clock: any RuntimeClock
        var logger: Logger
    }

    /// How long a connection stays after its last answer, for the client to read it.
    private static let linger = Duration.seconds(2)
    /// How long requests in flight have when the server stops.
    private static let farewell = Duration.seconds(1)
    /// The rest of a refused request's body is read to keep its connection if it is no longer than this.
    private static let discardLimit = 1 << 18
    private static let retryAfter = ("Retry-After", "1")

    private let settings: Settings
    private let log: RequestLog
    private let listener: Int32
    private let wake: Int32
    private let poll: Int32
    private let writer: LogWriter
    private let door: RequestDoor
    private var connections: [Int32: Connection] = [:]
    /// Requests that are in the log with the next commit.
    private var waiting: [(connection: Connection, rows: Int)] = []
    /// Bodies that are on their way, together: bounded, whatever the number of connections.
    private var bodyByteCount = 0
    private let maxBodyByteCounts: Int
    private var now = ContinuousClock.now
    private var nextSweep = ContinuousClock.now
    private var isListening = true
    private var drainsUntil: ContinuousClock.Instant?
    private var fullness = FullnessReport()
    private var scratch = [UInt8](repeating: 0, count: 1 << 18)

    /// Starts the thread.
    ///
    /// - Parameter listener: a listening socket; the thread closes it.
    /// - Returns: what ``stop(_:)`` takes.
    static func start(_ settings: Settings, _ log: RequestLog, listener: Int32) throws(OperatorError) -> Int32 {
        let wake = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        guard wake >= 0 else {
            close(listener)
            throw OperatorError(
                .external, .withBackoff, "no_descriptor", "no event: \(String(cString: strerror(errno)))")
        }
        do throws(OperatorError) {
            try startThread("http-server-source") {
                if let server = WebhookServer(settings, log, listener: listener, wake: wake) {
                    server.run()
                } else {
                    close(listener)
                    log.fail(OperatorError(.engine, .withBackoff, "out_of_memory", "no memory for a server"))
                }
                log.stop()
            }
        } catch {
            close(listener)
            close(wake)
            throw error
        }
        return wake
    }

    /// Has requests in flight refused, ends the thread and waits for it: a second at the most, mostly less.
    static func stop(_ wake: Int32, _ log: RequestLog) {
        var one: UInt64 = 1
        _ = write(wake, &one, 8)
        log.waitForStop()
        close(wake)
    }

    private init?(_ settings: Settings, _ log: RequestLog, listener: Int32, wake: Int32) {
        guard let door = RequestDoor(settings) else { return nil }
        self.settings = settings
        self.log = log
        self.listener = listener
        self.wake = wake
        self.door = door
        writer = LogWriter(log, segmentByteCount: settings.segmentByteCount)
        poll = epoll_create1(Int32(EPOLL_CLOEXEC))
        maxBodyByteCounts = max(64 << 20, 4 * settings.maxBodyByteCount)
        if poll < 0 { return nil }
    }

    deinit {
        close(poll)
        if isListening { close(listener) }
    }

    // MARK: The loop

    private func run() {
        watch(listener, EPOLLIN.rawValue, EPOLL_CTL_ADD)
        watch(wake, EPOLLIN.rawValue, EPOLL_CTL_ADD)
        var events = [epoll_event](repeating: epoll_event(), count: 512)
        while true {
            let count = epoll_wait(poll, &events, Int32(events.count), connections.isEmpty ? 1000 : 250)
            now = .now
            for event in events.prefix(max(0, Int(count))) {
                switch event.data.fd {
                case listener: accept()
                case wake: drain()
                case let descriptor:
                    guard let connection = connections[descriptor] else { continue }
                    if event.events & ~EPOLLOUT.rawValue != 0 { receive(connection) }
                    if event.events & EPOLLOUT.rawValue != 0 { flush(connection) }
                }
            }
            while !waiting.isEmpty { commit() }
            if now >= nextSweep || drainsUntil != nil { sweep() }
            if let end = drainsUntil, connections.isEmpty || now >= end { return }
        }
    }

    private func watch(_ descriptor: Int32, _ events: UInt32, _ operation: Int32) {
        var event = epoll_event()
        event.events = events
        event.data.fd = descriptor
        epoll_ctl(poll, operation, descriptor, &event)
    }

    private func accept() {
        while isListening {
            var address = sockaddr_storage()
            var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
            let descriptor = withUnsafeMutableBytes(of: &address) { bytes in
                bytes.withMemoryRebound(to: sockaddr.self) { Glibc.accept(listener, $0.baseAddress, &length) }
            }
            if descriptor < 0 {
                if errno == EINTR || errno == ECONNABORTED { continue }
                if errno != EAGAIN {
                    settings.logger.warning(
                        "no further connection can be taken: \(String(cString: strerror(errno))); lower `max_connections`, or raise the limit of open files (ulimit -n)"
                    )
                    // Until the next sweep: it would be reported again at once.
                    watch(listener, 0, EPOLL_CTL_MOD)
                    nextSweep = now + .milliseconds(250)
                }
                return
            }
            _ = fcntl(descriptor, F_SETFL, O_NONBLOCK)
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
            var on: Int32 = 1
            setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
            let connection = Connection(descriptor, remote: remoteAddress(address), deadline: now + settings.keepAlive)
            connections[descriptor] = connection
            watch(descriptor, EPOLLIN.rawValue | EPOLLRDHUP.rawValue, EPOLL_CTL_ADD)
            if connections.count > settings.maxConnections {
                answer(
                    connection, .problem(503, "there are too many connections", [WebhookServer.retryAfter]),
                    closes: true)
            }
        }
    }

    private func receive(_ connection: Connection) {
        let count = scratch.withUnsafeMutableBytes { recv(connection.descriptor, $0.baseAddress, $0.count, 0) }
        if count > 0 {
            if !connection.isInRequest { connection.deadline = now + settings.requestTimeout }
            scratch.withUnsafeBytes { connection.receive(UnsafeRawBufferPointer(rebasing: $0[..<count])) }
            proceed(connection)
        } else if count == 0 || (errno != EAGAIN && errno != EINTR) {
            // What was sent whole has been taken; an answer that is still on its way is given up.
            drop(connection)
        }
    }

    private func drop(_ connection: Connection) {
        bodyByteCount -= connection.body.count
        connection.body = []
        connection.phase = .closing
        watch(connection.descriptor, 0, EPOLL_CTL_DEL)
        connections[connection.descriptor] = nil
    }

    /// Closes what took too long.
    private func sweep() {
        nextSweep = now + .milliseconds(250)
        if isListening { watch(listener, EPOLLIN.rawValue, EPOLL_CTL_MOD) }
        for connection in connections.values {
            if drainsUntil != nil, !connection.isInRequest, !connection.hasOutput {
                drop(connection)
            } else if connection.deadline <= now {
                if connection.phase == .body || (connection.phase == .head && connection.isInRequest) {
                    answer(connection, .problem(408, "the request did not come whole in time"), closes: true)
                } else {
                    drop(connection)
                }
            }
        }
    }

    /// The source is being closed: nothing new is taken.
    private func drain() {
        guard drainsUntil == nil else { return }
        drainsUntil = now + WebhookServer.farewell
        watch(listener, 0, EPOLL_CTL_DEL)
        close(listener)
        isListening = false
        for connection in connections.values where connection.phase == .body {
            answer(connection, stopping, closes: true)
        }
    }

    private var stopping: Response { .problem(503, "the pipeline is stopping", [WebhookServer.retryAfter]) }

    // MARK: Requests

    /// Takes what has come as far as it goes.
    private func proceed(_ connection: Connection) {
        do throws(RequestProblem) {
            while true {
                switch connection.phase {
                case .head:
                    guard let head = try connection.takeHead() else { return }
                    begin(head, connection)
                case .body:
                    var isTooLarge = false
                    let before = connection.body.count
                    try connection.takeBody { bytes in
                        if connection.body.count + bytes.count > settings.maxBodyByteCount { isTooLarge = true }
                        if !isTooLarge { connection.body.append(contentsOf: bytes) }
                    }
                    bodyByteCount += connection.body.count - before
                    if isTooLarge {
                        answer(connection, door.tooLarge, closes: true)
                    } else if connection.decoder.isDone {
                        finish(connection)
                    } else if bodyByteCount > maxBodyByteCounts {
                        answer(
                            connection, .problem(429, "too many bodies are on their way", [WebhookServer.retryAfter]),
                            closes: true)
                    } else {
                        return
                    }
                case .discarding:
                    try connection.takeBody { _ in }
                    guard connection.decoder.isDone else { return }
                    rest(connection)
                case .waiting, .closing: return
                }
            }
        } catch {
            answer(connection, .problem(error), closes: true)
        }
    }

    private func begin(_ head: RequestHead, _ connection: Connection) {
        connection.head = head
        connection.decoder = BodyDecoder(head.framing)
        if head.path == "/healthz", head.method == "GET" || head.method == "HEAD" {
            let health = drainsUntil == nil ? Response(status: 200, body: #"{"status":"ok"}"#) : stopping
            return answer(connection, health)
        }
        if drainsUntil != nil { return answer(connection, stopping, closes: true) }
        if let refusal = door.refusal(head) { return answer(connection, refusal) }
        if isFull(0) { return answer(connection, full) }
        connection.phase = .body
        if head.expectsContinue { connection.send(Array("HTTP/1.1 100 Continue\r\n\r\n".utf8)) }
        flush(connection)
    }

    private func isFull(_ byteCount: Int) -> Bool {
        let isFull =
            log.pendingByteCount + Int64(writer.pendingByteCount + byteCount) > Int64(settings.bufferByteCount)
        switch fullness.note(isFull: isFull, at: settings.clock.now) {
        case .full:
            settings.logger.warning(
                "`buffer` is full of requests that no checkpoint covers yet: further ones are answered with 429")
        case .roomAgain: settings.logger.info("requests are taken again")
        case nil: break
        }
        return isFull
    }

    private var full: Response {
        .problem(429, "the pipeline is behind; send the request again", [WebhookServer.retryAfter])
    }

    /// Takes a whole request to the log.
    private func finish(_ connection: Connection) {
        guard let head = connection.head else { return }
        let sent = connection.body
        bodyByteCount -= sent.count
        connection.body = []
        let (body, isLines, rows): ([UInt8], Bool, Int)
        do throws(RequestProblem) {
            (body, isLines, rows) = try door.admit(head, sent)
        } catch {
            return answer(connection, .problem(error))
        }
        if rows == 0 { return answer(connection, .accepted(0)) }
        if isFull(body.count) { return answer(connection, full) }
        var request = LogRecord.Request(
            isLines: isLines, receivedAt: settings.clock.wallMicroseconds, path: head.path,
            remoteAddress: connection.remote, idempotencyKey: head["idempotency-key"])
        if settings.keepsHeaders {
            request.headers = head.headers.filter {
                !["authorization", "proxy-authorization", "cookie"].contains($0.name)
            }
        }
        writer.append(request, body: body)
        connection.phase = .waiting
        waiting.append((connection, rows))
    }

    /// Makes all that waits durable and answers; then goes on with what has come behind it.
    private func commit() {
        let group = waiting
        waiting = []
        let outcome = writer.commit()
        now = .now
        for (connection, rows) in group where connections[connection.descriptor] === connection {
            switch outcome {
            case .durable: answer(connection, .accepted(rows))
            case .refused:
                answer(
                    connection,
                    .problem(503, "the request could not be kept; send it again", [WebhookServer.retryAfter]))
            }
        }
        if case .refused(let error) = outcome { settings.logger.warning("\(error.message)") }
        for (connection, _) in group where connections[connection.descriptor] === connection { proceed(connection) }
    }

    // MARK: Answers

    /// Sends an answer. What is left of the request is read and dropped, or the connection closed.
    private func answer(_ connection: Connection, _ response: Response, closes: Bool = false) {
        bodyByteCount -= connection.body.count
        connection.body = []
        let head = connection.head
        var keepsAlive = !closes && drainsUntil == nil && head?.keepsAlive == true
        if !connection.decoder.isDone {
            if case .length(let count)? = head?.framing, count <= WebhookServer.discardLimit,
                head?.expectsContinue == false
            {
            } else {
                keepsAlive = false
            }
        }
        connection.send(response.bytes(keepsAlive: keepsAlive, withBody: head?.method != "HEAD"))
        if !keepsAlive {
            connection.phase = .closing
            connection.deadline = now + WebhookServer.linger
        } else if connection.decoder.isDone {
            rest(connection)
        } else {
            connection.phase = .discarding
        }
        flush(connection)
    }

    /// The connection is ready for the next request.
    private func rest(_ connection: Connection) {
        connection.phase = .head
        connection.head = nil
        connection.deadline = now + (connection.isInRequest ? settings.requestTimeout : settings.keepAlive)
    }

    private func flush(_ connection: Connection) {
        guard connections[connection.descriptor] === connection else { return }
        guard connection.flush() else { return drop(connection) }
        let awaitsRoom = connection.hasOutput
        guard awaitsRoom != connection.awaitsRoom else { return }
        connection.awaitsRoom = awaitsRoom
        // A client that does not read its answers is not read from either.
        watch(
            connection.descriptor, awaitsRoom ? EPOLLOUT.rawValue : EPOLLIN.rawValue | EPOLLRDHUP.rawValue,
            EPOLL_CTL_MOD)
    }
}
