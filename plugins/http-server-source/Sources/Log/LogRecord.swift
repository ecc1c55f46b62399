import DataflowColumnar

/// A request as it stands in the log: a header of 40 bytes with checksums, the request's own facts, the body.
struct LogRecord {
    static let headerByteCount = 40
    private static let magic: UInt32 = 0x4446_5748  // "DFWH"

    /// The facts of a request besides its body.
    struct Request {
        /// The body is lines, a row each; otherwise it is one row.
        var isLines = false
        /// Microseconds since the epoch.
        var receivedAt: Int64 = 0
        var path = ""
        var remoteAddress = ""
        var idempotencyKey: String?
        var headers: [(name: String, value: String)] = []
    }

    /// Where the parts of a record stand in the memory that it was found in.
    struct Layout {
        var isLines: Bool
        var receivedAt: Int64
        /// Offset of the facts.
        var facts: Range<Int>
        var body: Range<Int>
        /// Offset behind the record.
        var end: Int { body.upperBound }
    }

    /// What stands at a place of the log.
    enum Found {
        case record(Layout)
        /// The header is whole, its record takes so many bytes, and not all of them are there.
        case incomplete(byteCount: Int)
        /// No header, or one whose checksum does not fit.
        case damaged
    }

    // MARK: Writing

    /// Adds a record to `bytes`.
    static func append(_ request: Request, body: [UInt8], to bytes: inout [UInt8]) {
        var facts: [UInt8] = []
        func add(_ text: String) {
            withUnsafeBytes(of: UInt32(clamping: text.utf8.count).littleEndian) { facts.append(contentsOf: $0) }
            facts.append(contentsOf: text.utf8)
        }
        add(request.path)
        add(request.remoteAddress)
        facts.append(request.idempotencyKey == nil ? 0 : 1)
        add(request.idempotencyKey ?? "")
        for header in request.headers {
            add(header.name)
            add(header.value)
        }
        let payloadHash = facts.withUnsafeBytes { RowHash.hash($0) } ^ body.withUnsafeBytes { RowHash.hash($0) }
        var words: [UInt64] = [
            UInt64(magic) | (request.isLines ? 1 << 32 : 0),
            UInt64(UInt32(clamping: facts.count)) | UInt64(UInt32(clamping: body.count)) << 32,
            UInt64(bitPattern: request.receivedAt), payloadHash,
        ]
        words.append(words.withUnsafeBytes { RowHash.hash($0) })
        words.withUnsafeBytes { bytes.append(contentsOf: $0) }
        bytes.append(contentsOf: facts)
        bytes.append(contentsOf: body)
    }

    // MARK: Reading

    /// What stands at `offset`. O(bytes of the record).
    static func find(in bytes: UnsafeRawBufferPointer, at offset: Int) -> Found {
        guard bytes.count - offset >= headerByteCount else { return .incomplete(byteCount: headerByteCount) }
        func word(_ index: Int) -> UInt64 { bytes.loadUnaligned(fromByteOffset: offset + index * 8, as: UInt64.self) }
        guard UInt32(truncatingIfNeeded: word(0)) == magic,
            RowHash.hash(UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + 32])) == word(4)
        else { return .damaged }
        let factCount = Int(UInt32(truncatingIfNeeded: word(1)))
        let bodyCount = Int(word(1) >> 32)
        let start = offset + headerByteCount
        guard bytes.count - start >= factCount + bodyCount else {
            return .incomplete(byteCount: headerByteCount + factCount + bodyCount)
        }
        let layout = Layout(
            isLines: word(0) >> 32 & 1 == 1, receivedAt: Int64(bitPattern: word(2)), facts: start..<start + factCount,
            body: start + factCount..<start + factCount + bodyCount)
        let hash =
            RowHash.hash(UnsafeRawBufferPointer(rebasing: bytes[layout.facts]))
            ^ RowHash.hash(UnsafeRawBufferPointer(rebasing: bytes[layout.body]))
        return hash == word(3) ? .record(layout) : .damaged
    }

    /// The texts among the facts as places in `bytes`: path, remote address, idempotency key (nil for none), then names and
    /// values of headers in turn. Nil where they do not fit together, which the checksum rules out.
    static func facts(
        _ layout: Layout, in bytes: UnsafeRawBufferPointer
    ) -> (path: Range<Int>, remote: Range<Int>, key: Range<Int>?, headers: [Range<Int>])? {
        var next = layout.facts.lowerBound
        func text() -> Range<Int>? {
            guard layout.facts.upperBound - next >= 4 else { return nil }
            let count = Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: next, as: UInt32.self)))
            guard count <= layout.facts.upperBound - next - 4 else { return nil }
            defer { next += 4 + count }
            return next + 4..<next + 4 + count
        }
        guard let path = text(), let remote = text(), next < layout.facts.upperBound else { return nil }
        let hasKey = bytes[next] == 1
        next += 1
        guard let key = text() else { return nil }
        var headers: [Range<Int>] = []
        while next < layout.facts.upperBound {
            guard let part = text() else { return nil }
            headers.append(part)
        }
        return (path, remote, hasKey ? key : nil, headers)
    }
}
