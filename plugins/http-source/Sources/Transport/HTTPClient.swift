import CCurl
import DataflowColumnar
import DataflowHTTP

/// HTTP over libcurl's multi interface: several requests at once on one thread, which waits in ``wait(for:)``.
///
/// Not `Sendable`: made and used on the source's own thread. Only ``waker`` may be used from elsewhere. Redirects are
/// not followed here; the caller sees the 3xx answer and decides (see ``Redirect``).
final class HTTPClient {
    /// What holds for every request of a client.
    struct Settings: Sendable {
        var connectTimeout: Duration = .seconds(10)
        /// From the start of the request to the last byte of the body.
        var totalTimeout: Duration = .seconds(120)
        /// A transfer that moves no byte for this long is given up.
        var stallTimeout: Duration = .seconds(30)
        var maxBodyBytes = 64 << 20
        var userAgent = "dataflow"
        /// Ask for gzip or deflate and undo it.
        var compression = true
        /// A PEM file with the certificates to trust instead of the system's.
        var certificateAuthorities: String?
        var maxConnections = 4
    }

    /// Names a running transfer. Never used twice by one client.
    struct TransferID: Hashable, Sendable {
        var number: UInt64
    }

    /// How a transfer ended.
    struct Completion: Sendable {
        var id: TransferID
        var result: Result<HTTPResponse, HTTPFailure>
    }

    private let settings: Settings
    private let multi: MultiHandle
    private var transfers: [UnsafeMutableRawPointer: Transfer] = [:]
    private var spare: [EasyHandle] = []
    private var lastNumber: UInt64 = 0
    private var expectedBytes = 64 * 1024

    init(_ settings: Settings) throws(CurlError) {
        self.settings = settings
        multi = try MultiHandle(maxConnections: settings.maxConnections)
    }

    deinit {
        for transfer in transfers.values {
            multi.remove(transfer.handle)
            transfer.handle.reset()
        }
    }

    /// Ends a ``wait(for:)`` from any thread: `waker.wake()`.
    var waker: MultiHandle { multi }

    /// How many transfers are running.
    var runningCount: Int { transfers.count }

    /// Starts a request; its end is reported by ``wait(for:)``.
    ///
    /// - Throws: ``CurlError`` when libcurl refuses an option, for example a header with a line end.
    func start(_ request: HTTPRequest) throws(CurlError) -> TransferID {
        let handle: EasyHandle
        if let used = spare.popLast() { handle = used } else { handle = try EasyHandle() }
        lastNumber += 1
        let transfer = Transfer(
            id: TransferID(number: lastNumber), handle: handle, expectedBytes: expectedBytes,
            maxBytes: settings.maxBodyBytes)
        do throws(CurlError) {
            try configure(transfer, request)
            try multi.add(handle)
        } catch {
            handle.reset()
            throw error
        }
        transfers[handle.pointer] = transfer
        return transfer.id
    }

    /// Gives a transfer up. Nothing is reported for it. An id that has ended is ignored.
    func cancel(_ id: TransferID) {
        guard let (key, transfer) = transfers.first(where: { $0.value.id == id }) else { return }
        multi.remove(transfer.handle)
        transfers[key] = nil
        recycle(transfer.handle)
    }

    /// Moves the transfers on; waits until one has ended, `timeout` has passed or ``waker`` is used.
    ///
    /// - Returns: the transfers that have ended, in the order of their end; empty when the time was up.
    func wait(for timeout: Duration) throws(CurlError) -> [Completion] {
        let clock = ContinuousClock()
        let deadline = clock.now + timeout
        while true {
            try multi.perform()
            let ended = collectFinished()
            let rest = clock.now.duration(to: deadline)
            if !ended.isEmpty || rest <= .zero { return ended }
            try multi.poll(timeout: rest)
            if Task.isCancelled { return [] }
        }
    }

    private func collectFinished() -> [Completion] {
        var ended: [Completion] = []
        while let (easy, result) = multi.nextFinished() {
            guard let transfer = transfers.removeValue(forKey: easy) else { continue }
            let status = transfer.handle.status
            multi.remove(transfer.handle)
            let completion = transfer.complete(result: result, status: status, settings: settings)
            if case .success(let response) = completion.result, response.body.byteCount > 0 {
                expectedBytes = response.body.byteCount + response.body.byteCount / 8
            }
            ended.append(completion)
            recycle(transfer.handle)
        }
        return ended
    }

    private func recycle(_ handle: EasyHandle) {
        handle.reset()
        guard spare.count < settings.maxConnections else { return }
        spare.append(handle)
    }

    private func configure(_ transfer: Transfer, _ request: HTTPRequest) throws(CurlError) {
        let handle = transfer.handle
        let address = Unmanaged.passUnretained(transfer).toOpaque()
        try handle.set(CURLOPT_URL, request.url)
        try handle.set(CURLOPT_PROTOCOLS_STR, "http,https")
        try handle.set(CURLOPT_NOSIGNAL, 1)
        try handle.set(CURLOPT_FOLLOWLOCATION, 0)
        try handle.set(CURLOPT_SSL_VERIFYPEER, 1)
        try handle.set(CURLOPT_SSL_VERIFYHOST, 2)
        if let file = settings.certificateAuthorities { try handle.set(CURLOPT_CAINFO, file) }
        try handle.set(CURLOPT_CONNECTTIMEOUT_MS, settings.connectTimeout.wholeMilliseconds)
        try handle.set(CURLOPT_TIMEOUT_MS, settings.totalTimeout.wholeMilliseconds)
        try handle.set(CURLOPT_LOW_SPEED_LIMIT, 1)
        try handle.set(CURLOPT_LOW_SPEED_TIME, max(1, (settings.stallTimeout.wholeMilliseconds + 999) / 1000))
        try handle.set(CURLOPT_USERAGENT, settings.userAgent)
        if settings.compression { try handle.set(CURLOPT_ACCEPT_ENCODING, "gzip, deflate") }
        if request.sendsCredentials {
            switch request.credentials {
            case .basic(let user, let password):
                try handle.set(CURLOPT_USERNAME, user)
                try handle.set(CURLOPT_PASSWORD, password)
            case .bearer, nil: break
            }
        }
        try handle.setHeaders(request.headerLines)
        try handle.set(CURLOPT_WRITEDATA, address)
        try handle.set(CURLOPT_WRITEFUNCTION, receiveBody)
        try handle.set(CURLOPT_HEADERDATA, address)
        try handle.set(CURLOPT_HEADERFUNCTION, receiveHeader)
        try handle.set(CURLOPT_ERRORBUFFER, UnsafeMutableRawPointer(transfer.errorText))
    }
}

extension HTTPRequest {
    /// The header lines to send, without those that may not leave for another origin.
    fileprivate var headerLines: [String] {
        var lines = headers.filter { sendsCredentials || !$0.isPrivate }.map {
            // libcurl reads `Name;` as a header without a value and `Name:` as one to leave out.
            $0.value.isEmpty ? "\($0.name);" : "\($0.name): \($0.value)"
        }
        if sendsCredentials, case .bearer(let token) = credentials { lines.append("Authorization: Bearer \(token)") }
        return lines
    }
}

/// A request under way: what has been received so far. libcurl's callbacks get its address, so the client keeps it until
/// the handle has left the multi handle.
private final class Transfer {
    let id: HTTPClient.TransferID
    let handle: EasyHandle
    let errorText: UnsafeMutablePointer<CChar>
    let started = ContinuousClock().now
    var headers = HTTPHeaders()
    var body: BodyAccumulator
    var isTooLong = false

    init(id: HTTPClient.TransferID, handle: EasyHandle, expectedBytes: Int, maxBytes: Int) {
        self.id = id
        self.handle = handle
        body = BodyAccumulator(expectedBytes: expectedBytes, maxBytes: maxBytes)
        errorText = .allocate(capacity: Int(CURL_ERROR_SIZE))
        errorText.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
    }

    deinit {
        errorText.deallocate()
    }

    func complete(result: CURLcode, status: Int, settings: HTTPClient.Settings) -> HTTPClient.Completion {
        guard result == CURLE_OK else {
            return HTTPClient.Completion(id: id, result: .failure(failure(result, settings)))
        }
        let response = HTTPResponse(
            status: status, headers: headers, body: body.finish(), elapsed: started.duration(to: ContinuousClock().now))
        return HTTPClient.Completion(id: id, result: .success(response))
    }

    private func failure(_ code: CURLcode, _ settings: HTTPClient.Settings) -> HTTPFailure {
        if isTooLong {
            return HTTPFailure(
                kind: .final, message: "the body is longer than `max_body` allows (\(settings.maxBodyBytes) bytes)")
        }
        let error = CurlError(code: code, detail: String(cString: errorText))
        return HTTPFailure(kind: code.isFinal ? .final : .transient, message: error.message)
    }
}

extension CURLcode {
    /// True for what another attempt cannot change.
    fileprivate var isFinal: Bool {
        switch self {
        case CURLE_UNSUPPORTED_PROTOCOL, CURLE_URL_MALFORMAT, CURLE_NOT_BUILT_IN, CURLE_FAILED_INIT,
            CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CERTPROBLEM, CURLE_SSL_CIPHER,
            CURLE_SSL_ISSUER_ERROR, CURLE_SSL_ENGINE_NOTFOUND, CURLE_BAD_FUNCTION_ARGUMENT, CURLE_UNKNOWN_OPTION:
            true
        default: false
        }
    }
}

/// libcurl's write callback: appends a piece of the body; anything but the full size stops the transfer.
private func receiveBody(
    _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ address: UnsafeMutableRawPointer?
) -> Int {
    guard let bytes, let address else { return 0 }
    let transfer = Unmanaged<Transfer>.fromOpaque(address).takeUnretainedValue()
    guard transfer.body.append(UnsafeRawBufferPointer(start: bytes, count: size * count)) else {
        transfer.isTooLong = true
        return 0
    }
    return size * count
}

/// libcurl's header callback: one line a call.
private func receiveHeader(
    _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ address: UnsafeMutableRawPointer?
) -> Int {
    guard let bytes, let address else { return 0 }
    let transfer = Unmanaged<Transfer>.fromOpaque(address).takeUnretainedValue()
    transfer.headers.receive(String(decoding: UnsafeRawBufferPointer(start: bytes, count: size * count), as: UTF8.self))
    return size * count
}
