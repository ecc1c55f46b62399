import CPostgreSQL
import Glibc

/// One connection to a PostgreSQL server: owns libpq's `PGconn`.
///
/// All calls wait on the calling thread (one of our own, never the cooperative pool) with `poll(2)`, so that each obeys `timeout`
/// and the cancellation of the task. After a failure of kind `connection` the object is useless: make a new one.
/// Not `Sendable`; one transaction, one COPY at a time.
package final class PgConnection {
    /// What the notice callback fills; libpq holds an unretained pointer to it as long as the connection lives.
    private final class Notices {
        var pending: [(severity: String, text: String)] = []
    }

    let handle: OpaquePointer
    private let notices = Notices()
    let timeout: Duration
    private let onNotice: (_ severity: String, _ text: String) -> Void

    /// A moment of a statement's life, for tests that let things fail exactly there.
    package enum Moment: Equatable {
        case willSend(String), didFinish(String)
    }

    /// Called at every moment; nil but in tests.
    package var observe: ((Moment) throws(PgFailure) -> Void)?

    /// Connects; waits at most `connect_timeout` of the settings for each host.
    ///
    /// - Parameters:
    ///   - timeout: how long one statement may take, or one COPY may stand without the server reading.
    ///   - onNotice: is told the server's notices, after the call during which they arrived.
    /// - Throws: `connection` if it may succeed later, `configuration` if not (password, database, TLS), `cancelled` at
    ///   once when the task is.
    package init(
        _ settings: PgSettings, timeout: Duration, onNotice: @escaping (_ severity: String, _ text: String) -> Void
    ) throws(PgFailure) {
        let made = try PgConnecting.connect(settings)
        guard let made else { throw PgFailure(.unexpected, "libpq could not allocate a connection") }
        handle = made
        self.timeout = timeout
        self.onNotice = onNotice
        // From here on `deinit` closes the connection.
        guard PQstatus(handle) == CONNECTION_OK else {
            throw PgConnection.connectFailure(PgResult.oneLine(String(cString: PQerrorMessage(handle))))
        }
        PQsetnonblocking(handle, 1)
        PQsetNoticeReceiver(handle, receiveNotice, Unmanaged.passUnretained(notices).toOpaque())
    }

    deinit {
        PQfinish(handle)
    }

    /// `user@host:port/database`, of the host that answered.
    package var endpoint: String {
        func text(_ value: UnsafeMutablePointer<CChar>?) -> String { value.map { String(cString: $0) } ?? "" }
        return "\(text(PQuser(handle)))@\(text(PQhost(handle))):\(text(PQport(handle)))/\(text(PQdb(handle)))"
    }

    /// For example 150004 for 15.4.
    package var serverVersion: Int { Int(PQserverVersion(handle)) }

    /// The process of the server that serves this connection.
    package var backendPID: Int { Int(PQbackendPID(handle)) }

    // MARK: Statements

    /// Runs one or more statements without parameters; returns the last result.
    ///
    /// - Parameter meanwhile: is called once the statements are sent, while the server works on them.
    @discardableResult
    package func execute(_ sql: String, meanwhile: () -> Void = {}) throws(PgFailure) -> PgResult {
        try observe?(.willSend(sql))
        try send(PQsendQuery(handle, sql))
        meanwhile()
        let result = try finishStatement()
        try observe?(.didFinish(sql))
        return result
    }

    /// Runs one statement with text parameters ($1 …); results are text.
    @discardableResult
    package func query(_ sql: String, _ parameters: [String?]) throws(PgFailure) -> PgResult {
        let texts = parameters.map { $0.flatMap { UnsafePointer(strdup($0)) } }
        defer { for text in texts { free(UnsafeMutablePointer(mutating: text)) } }
        try observe?(.willSend(sql))
        try send(PQsendQueryParams(handle, sql, Int32(texts.count), nil, texts, nil, nil, 0))
        let result = try finishStatement()
        try observe?(.didFinish(sql))
        return result
    }

    /// Runs a statement that was prepared (`prepare name(types) as …`), with binary values.
    ///
    /// - Parameter meanwhile: is called once all is sent, while the server works on it.
    @discardableResult
    package func executePrepared(
        _ name: String, _ values: [UnsafeRawBufferPointer], meanwhile: () -> Void = {}
    ) throws(PgFailure) -> PgResult {
        try observe?(.willSend(name))
        let pointers = values.map { $0.baseAddress?.assumingMemoryBound(to: CChar.self) }
        let lengths = values.map { Int32(clamping: $0.count) }
        let formats = [Int32](repeating: 1, count: values.count)
        try send(PQsendQueryPrepared(handle, name, Int32(values.count), pointers, lengths, formats, 0))
        meanwhile()
        let result = try finishStatement()
        try observe?(.didFinish(name))
        return result
    }

    // MARK: COPY

    /// Starts a `COPY … FROM STDIN`, before which other statements may stand; afterwards only ``copy(_:)`` and
    /// ``endCopy()`` may be called, until the latter has returned or failed.
    package func startCopy(_ sql: String) throws(PgFailure) {
        try observe?(.willSend(sql))
        try send(PQsendQuery(handle, sql))
        while let result = try nextResult() {
            if result.status == PGRES_COPY_IN { return }
            if let failure = result.failure {
                try drain()
                throw located(failure)
            }
        }
        throw PQstatus(handle) == CONNECTION_BAD
            ? connectionFailure()
            : PgFailure(.unexpected, "the server did not answer COPY with the start of a copy")
    }

    /// Sends part of the copied stream; cut anywhere. Returns when libpq's buffer is empty again.
    package func copy(_ bytes: UnsafeRawBufferPointer) throws(PgFailure) {
        var offset = 0
        while offset < bytes.count {
            let count = min(bytes.count - offset, 1 << 18)
            let pointer = bytes.baseAddress?.advanced(by: offset).assumingMemoryBound(to: CChar.self)
            switch PQputCopyData(handle, pointer, Int32(count)) {
            case 1: offset += count
            case 0: break
            default: throw connectionFailure()
            }
            try flush()
        }
    }

    /// Ends the copy and returns how many rows the server has taken.
    ///
    /// - Parameter meanwhile: is called once all is sent, while the server works on it.
    package func endCopy(meanwhile: () -> Void = {}) throws(PgFailure) -> Int {
        try observe?(.willSend("end of copy"))
        guard PQputCopyEnd(handle, nil) == 1 else { throw connectionFailure() }
        try flush()
        meanwhile()
        let rowCount = try finishStatement().affectedRows
        try observe?(.didFinish("end of copy"))
        return rowCount
    }

    // MARK: Waiting

    func send(_ sent: Int32) throws(PgFailure) {
        guard sent == 1 else { throw connectionFailure() }
        try flush()
    }

    /// Waits until everything is sent; reads meanwhile, so that a server which wants to say something is not blocked.
    private func flush() throws(PgFailure) {
        if PQflush(handle) == 0 { return }
        let deadline = ContinuousClock.now + timeout
        while true {
            switch PQflush(handle) {
            case 0: return
            case 1:
                if try wait(for: Int16(POLLIN | POLLOUT), until: deadline) & Int16(POLLIN) != 0,
                    PQconsumeInput(handle) == 0
                {
                    throw connectionFailure()
                }
            default: throw connectionFailure()
            }
        }
    }

    func nextResult() throws(PgFailure) -> PgResult? {
        if PQisBusy(handle) != 0 {
            let deadline = ContinuousClock.now + timeout
            while PQisBusy(handle) != 0 {
                _ = try wait(for: Int16(POLLIN), until: deadline)
                if PQconsumeInput(handle) == 0 { throw connectionFailure() }
            }
        }
        return PQgetResult(handle).map { PgResult(taking: $0) }
    }

    /// Takes all results; throws the first failure after the last result, so that the connection can go on.
    func finishStatement() throws(PgFailure) -> PgResult {
        var last: PgResult?
        var failure: PgFailure?
        while let result = try nextResult() {
            failure = failure ?? result.failure
            last = result
            if PQstatus(handle) == CONNECTION_BAD { break }
        }
        reportNotices()
        if let failure { throw located(failure) }
        guard let last else { throw connectionFailure() }
        return last
    }

    func drain() throws(PgFailure) {
        while let _ = try nextResult() {
            if PQstatus(handle) == CONNECTION_BAD { throw connectionFailure() }
        }
        reportNotices()
    }

    func wait(for events: Int16, until deadline: ContinuousClock.Instant) throws(PgFailure) -> Int16 {
        while true {
            if Task.isCancelled { throw PgFailure(.cancelled, "the pipeline is being stopped") }
            if ContinuousClock.now >= deadline {
                throw PgFailure(.connection, "\(endpoint) did not answer within \(timeout)")
            }
            var descriptor = pollfd(fd: PQsocket(handle), events: events, revents: 0)
            let ready = Glibc.poll(&descriptor, 1, 200)
            if ready > 0 { return descriptor.revents }
            if ready < 0 && errno != EINTR {
                throw PgFailure(.unexpected, "poll: \(String(cString: strerror(errno)))")
            }
        }
    }

    private func reportNotices() {
        for notice in notices.pending { onNotice(notice.severity, notice.text) }
        notices.pending.removeAll()
    }

    // MARK: Failures

    /// A failed statement on a connection that broke is a failure of the connection, whatever else was said.
    func located(_ failure: PgFailure) -> PgFailure {
        guard PQstatus(handle) == CONNECTION_BAD else { return failure }
        var lost = failure
        lost.kind = .connection
        return lost
    }

    func connectionFailure() -> PgFailure {
        reportNotices()
        // What the server said last (an administrator's command, a shutdown) explains more than "connection closed".
        if PQstatus(handle) == CONNECTION_BAD || PQsocket(handle) < 0 {
            while let result = PQgetResult(handle).map({ PgResult(taking: $0) }) {
                if var failure = result.failure {
                    failure.kind = .connection
                    return failure
                }
            }
        }
        let text = PgResult.oneLine(String(cString: PQerrorMessage(handle)))
        return PgFailure(.connection, text.isEmpty ? "the connection to \(endpoint) was lost" : text)
    }

    /// libpq gives no SQLSTATE for a failed connection attempt, only the server's text.
    package static func connectFailure(_ message: String) -> PgFailure {
        let permanent = [
            "password authentication failed", "no password supplied", "authentication failed", "no pg_hba.conf entry",
            "does not exist", "is not permitted to log in", "not currently accepting connections",
            "permission denied for database", "invalid value", "invalid sslmode", "invalid integer value",
            "invalid port number", "certificate verify failed", "does not match host name", "root certificate file",
            "server does not support SSL", "could not load", "unrecognized configuration parameter",
            "definition of service", "service file", "SCRAM", "private key file", "certificate file",
        ]
        // A start-up after a crash may say that a file or the role does not exist yet; it says so with "starting up".
        if !message.contains("starting up"), !message.contains("shutting down"),
            permanent.contains(where: message.contains)
        {
            // A Unix socket that "does not exist" is a server that is not there yet.
            if !(message.contains("No such file or directory") && message.contains("socket")) {
                return PgFailure(.configuration, message)
            }
        }
        return PgFailure(.connection, message)
    }

    private static let maxNotices = 100

    fileprivate static func receive(_ box: UnsafeMutableRawPointer, _ result: OpaquePointer) {
        let notices = Unmanaged<Notices>.fromOpaque(box).takeUnretainedValue()
        guard notices.pending.count < maxNotices else { return }
        // libpq frees the result itself: it is only borrowed here.
        func field(_ code: Unicode.Scalar) -> String? {
            PQresultErrorField(result, Int32(code.value)).map { PgResult.oneLine(String(cString: $0)) }
        }
        notices.pending.append((field("V") ?? field("S") ?? "NOTICE", field("M") ?? ""))
    }
}

/// libpq's callback: appends and returns.
private func receiveNotice(_ box: UnsafeMutableRawPointer?, _ result: OpaquePointer?) {
    guard let box, let result else { return }
    PgConnection.receive(box, result)
}
