import CCurl
internal import DataflowConfig
import DataflowHTTP

/// One connection to a registry: requests one after the other, on the thread that asks.
///
/// Not `Sendable`: it belongs to one operator instance, which has a thread of its own (`OperatorInfo.blocks`).
final class RegistryConnection {
    /// An answer, whatever its status.
    struct Answer {
        var status: Int
        var body: [UInt8]
    }

    /// Longest body: schemas are text that people write.
    private static let maxBodyByteCount = 16 << 20

    private let config: SchemaRegistryConfig
    private var handle: EasyHandle?

    init(_ config: SchemaRegistryConfig) { self.config = config }

    /// Sends a request and waits for its answer.
    ///
    /// - Parameter body: JSON to post; nil for a GET.
    /// - Throws: ``CurlError`` where there is no answer.
    func send(_ url: String, body: String?) throws(CurlError) -> Answer {
        let handle: EasyHandle
        if let used = self.handle { handle = used } else { handle = try EasyHandle() }
        self.handle = handle
        handle.reset()
        let received = Received()
        let address = Unmanaged.passUnretained(received).toOpaque()
        try handle.set(CURLOPT_URL, url)
        try handle.set(CURLOPT_PROTOCOLS_STR, "http,https")
        try handle.set(CURLOPT_NOSIGNAL, 1)
        try handle.set(CURLOPT_FOLLOWLOCATION, 0)
        try handle.set(CURLOPT_SSL_VERIFYPEER, 1)
        try handle.set(CURLOPT_SSL_VERIFYHOST, 2)
        if let file = config.caFile { try handle.set(CURLOPT_CAINFO, file) }
        if let file = config.certificate { try handle.set(CURLOPT_SSLCERT, file) }
        if let file = config.key { try handle.set(CURLOPT_SSLKEY, file) }
        try handle.set(CURLOPT_CONNECTTIMEOUT_MS, config.timeout.wholeMilliseconds)
        try handle.set(CURLOPT_TIMEOUT_MS, config.timeout.wholeMilliseconds)
        try handle.observeCancellation()
        try handle.set(CURLOPT_USERAGENT, "dataflow")
        try handle.set(CURLOPT_ACCEPT_ENCODING, "gzip, deflate")
        var headers = ["Accept: application/vnd.schemaregistry.v1+json, application/json"]
        if let user = config.user, let password = config.password {
            try handle.set(CURLOPT_USERNAME, user)
            try handle.set(CURLOPT_PASSWORD, password.revealed)
        }
        if let token = config.token { headers.append("Authorization: Bearer \(token.revealed)") }
        if let body {
            headers.append("Content-Type: application/vnd.schemaregistry.v1+json")
            try handle.set(CURLOPT_POSTFIELDSIZE, body.utf8.count)
            try handle.set(CURLOPT_COPYPOSTFIELDS, body)
        }
        try handle.setHeaders(headers)
        try handle.set(CURLOPT_WRITEDATA, address)
        try handle.set(CURLOPT_WRITEFUNCTION, receiveBody)
        let code = curl_easy_perform(handle.pointer)
        withExtendedLifetime(received) {}
        guard code == CURLE_OK else {
            throw CurlError(
                code: code,
                detail: received.isTooLong
                    ? "the answer has more than \(RegistryConnection.maxBodyByteCount) bytes" : nil)
        }
        return Answer(status: handle.status, body: received.bytes)
    }

    fileprivate final class Received {
        var bytes: [UInt8] = []
        var isTooLong = false

        func append(_ more: UnsafeRawBufferPointer) -> Bool {
            isTooLong = bytes.count + more.count > RegistryConnection.maxBodyByteCount
            if !isTooLong { bytes.append(contentsOf: more) }
            return !isTooLong
        }
    }
}

/// libcurl's write callback: appends a piece of the body; anything but the full size stops the transfer.
private func receiveBody(
    _ bytes: UnsafeMutablePointer<CChar>?, _ size: Int, _ count: Int, _ address: UnsafeMutableRawPointer?
) -> Int {
    guard let bytes, let address else { return 0 }
    let received = Unmanaged<RegistryConnection.Received>.fromOpaque(address).takeUnretainedValue()
    return received.append(UnsafeRawBufferPointer(start: bytes, count: size * count)) ? size * count : 0
}
