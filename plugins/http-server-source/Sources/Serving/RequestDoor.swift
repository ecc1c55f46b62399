import CSimdJSON
import CZlib
import DataflowColumnar
import DataflowConfig
import Glibc

/// Decides what is let in: paths, tokens, sizes, and whether a body is what it says it is. Owned by the server's thread.
///
/// JSON is checked here although json-parse will read it again: only the sender can mend it, and a sender that was told 202
/// does not come back.
final class RequestDoor {
    private let settings: WebhookServer.Settings
    private let token: [UInt8]?
    private let exact: Set<String>
    private let prefixes: [String]
    private let parser: OpaquePointer

    /// - Returns: nil when there is no memory.
    init?(_ settings: WebhookServer.Settings) {
        guard let parser = csimdjson_create(settings.maxBodyByteCount, 1024) else { return nil }
        self.parser = parser
        self.settings = settings
        token = settings.bearer.map { Array($0.revealed.utf8) }
        exact = Set(settings.paths.filter { !$0.hasSuffix("/*") })
        prefixes = settings.paths.filter { $0.hasSuffix("/*") }.map { String($0.dropLast()) }
    }

    deinit { csimdjson_destroy(parser) }

    // MARK: Heads

    /// The answer to a request that is refused for its head alone; nil where its body is wanted.
    func refusal(_ head: RequestHead) -> Response? {
        guard isAuthorized(head) else {
            return .problem(401, "a bearer token is needed", [("WWW-Authenticate", "Bearer")])
        }
        guard exact.contains(head.path) || prefixes.contains(where: head.path.hasPrefix) else {
            return .problem(404, "there is nothing at this path")
        }
        guard head.method == "POST" else { return .problem(405, "rows are sent by POST", [("Allow", "POST")]) }
        if case .length(let count) = head.framing, count > settings.maxBodyByteCount { return tooLarge }
        guard ["identity", "gzip"].contains(encoding(head)) else {
            return .problem(415, "a body may be compressed with gzip only", [("Accept-Encoding", "gzip")])
        }
        return nil
    }

    var tooLarge: Response { .problem(413, "a body may have \(settings.maxBodyByteCount) bytes") }

    private func encoding(_ head: RequestHead) -> String { (head["content-encoding"] ?? "identity").lowercased() }

    /// Takes as long for a wrong token as for the right one.
    private func isAuthorized(_ head: RequestHead) -> Bool {
        guard let token else { return true }
        let scheme = "bearer "
        guard let value = head["authorization"], value.lowercased().hasPrefix(scheme) else { return false }
        let given = Array(value.utf8.dropFirst(scheme.utf8.count))
        var difference = given.count ^ token.count
        for index in given.indices { difference |= Int(given[index] ^ token[index % token.count]) }
        return difference == 0
    }

    // MARK: Bodies

    /// The body as it goes into the log, and how many rows it has.
    func admit(_ head: RequestHead, _ sent: [UInt8]) throws(RequestProblem) -> (body: [UInt8], isLines: Bool, rows: Int)
    {
        let body = encoding(head) == "gzip" ? try unpacked(sent) : sent
        let isLines =
            switch settings.format {
            case .ndjson: true
            case .json, .raw: false
            case .auto: RequestDoor.meansLines(head["content-type"] ?? "")
            }
        var texts: [csimdjson_text] = []
        if isLines {
            body.withUnsafeBytes { bytes in
                forEachLine(bytes, in: 0..<bytes.count) {
                    texts.append(csimdjson_text(offset: UInt64($0.lowerBound), length: UInt64($0.count)))
                }
            }
        } else {
            guard !body.isEmpty else { throw RequestProblem(400, "the body is empty") }
            texts = [csimdjson_text(offset: 0, length: UInt64(body.count))]
        }
        if settings.format != .raw { try check(body, texts, isLines: isLines) }
        return (body, isLines, texts.count)
    }

    static func meansLines(_ contentType: String) -> Bool {
        let type = contentType.prefix { $0 != ";" }.lowercased().filter { $0 != " " }
        return ["application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"].contains(
            type)
    }

    private func check(_ body: [UInt8], _ texts: [csimdjson_text], isLines: Bool) throws(RequestProblem) {
        guard !texts.isEmpty else { return }
        var documents = [csimdjson_document](repeating: csimdjson_document(), count: texts.count)
        let failure = body.withUnsafeBytes { bytes -> Int32 in
            guard let base = bytes.baseAddress else { return csimdjson_error_empty }
            return withUnsafeTemporaryAllocation(of: csimdjson_output.self, capacity: 1) { output in
                guard let output = output.baseAddress else { return csimdjson_error_memory }
                return csimdjson_parse(
                    parser, base.assumingMemoryBound(to: UInt8.self), bytes.count, texts, texts.count, &documents,
                    output)
            }
        }
        guard failure == 0 else { throw RequestProblem(500, "no memory to check the body") }
        guard let index = documents.firstIndex(where: { $0.error != 0 }) else { return }
        let text = texts[index]
        let start = Int(text.offset)
        let reason = String(cString: csimdjson_error_message(documents[index].error)).filter {
            $0 != "\"" && $0 != "\\"
        }
        let offset = body.withUnsafeBytes {
            JSONFault.offset(in: UnsafeRawBufferPointer(rebasing: $0[start..<start + Int(text.length)]))
        }
        let place = isLines ? "line \(line(of: start, in: body))" : "the body"
        let position = offset.map { " at byte \($0)" } ?? ""
        throw RequestProblem(400, "\(place) is not JSON\(position): \(reason)")
    }

    /// The number of a line, from 1, empty ones counted.
    private func line(of offset: Int, in body: [UInt8]) -> Int { body[..<offset].count { $0 == 10 } + 1 }

    private func unpacked(_ sent: [UInt8]) throws(RequestProblem) -> [UInt8] {
        var stream = z_stream()
        // 15 + 16: the largest window, a gzip header.
        guard inflateInit2_(&stream, 15 + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
            throw RequestProblem(500, "no memory to decompress the body")
        }
        defer { inflateEnd(&stream) }
        var input = sent
        var result: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        let limit = settings.maxBodyByteCount
        let status = input.withUnsafeMutableBufferPointer { input -> Int32 in
            stream.next_in = input.baseAddress
            stream.avail_in = UInt32(clamping: input.count)
            while true {
                let (code, count) = chunk.withUnsafeMutableBufferPointer { output -> (Int32, Int) in
                    stream.next_out = output.baseAddress
                    stream.avail_out = UInt32(output.count)
                    let code = inflate(&stream, Z_NO_FLUSH)
                    return (code, output.count - Int(stream.avail_out))
                }
                result.append(contentsOf: chunk[..<count])
                if result.count > limit { return Z_BUF_ERROR }
                if code == Z_STREAM_END, stream.avail_in > 0 {
                    // Several gzip members, one behind the other, are one text.
                    guard inflateReset(&stream) == Z_OK else { return Z_DATA_ERROR }
                    continue
                }
                if code != Z_OK || (stream.avail_in == 0 && count == 0) { return code }
            }
        }
        if result.count > limit { throw RequestProblem(413, "a body may have \(limit) bytes when decompressed") }
        guard status == Z_STREAM_END else { throw RequestProblem(400, "the body is not gzip, or cut off") }
        return result
    }
}

/// Calls `body` with each line that is not empty, without its line end. O(bytes).
func forEachLine(_ bytes: UnsafeRawBufferPointer, in range: Range<Int>, _ body: (Range<Int>) -> Void) {
    guard let base = bytes.baseAddress else { return }
    var start = range.lowerBound
    while start < range.upperBound {
        let found = memchr(base + start, 10, range.upperBound - start)
        let end = found.map { UnsafeRawPointer($0) - base } ?? range.upperBound
        var last = end
        if last > start, bytes[last - 1] == 13 { last -= 1 }
        if last > start { body(start..<last) }
        start = end + 1
    }
}
