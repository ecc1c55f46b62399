/// Why a request is not understood, and how that is answered (RFC 9112).
struct RequestProblem: Error, Equatable {
    var status: Int
    var reason: String

    init(_ status: Int, _ reason: String) {
        self.status = status
        self.reason = reason
    }
}

/// The request line and the headers of a request.
///
/// Strict where servers that disagree about where a request ends have been exploited: lines end with CR LF, a length stands
/// there once, and never beside a transfer coding.
struct RequestHead: Equatable {
    enum Framing: Equatable {
        case length(Int)
        case chunked
    }

    /// The most bytes of a head, of a chunk's line and of trailers.
    static let maxByteCount = 16 << 10

    var method: String
    /// Without the query.
    var path: String
    var headers: [(name: String, value: String)] = []
    var framing = Framing.length(0)
    var keepsAlive: Bool
    var expectsContinue = false

    static func == (left: RequestHead, right: RequestHead) -> Bool {
        left.method == right.method && left.path == right.path && left.framing == right.framing
            && left.keepsAlive == right.keepsAlive && left.expectsContinue == right.expectsContinue
            && left.headers.elementsEqual(right.headers) { $0 == $1 }
    }

    /// The value of a header, its name in lower case; the first where there are several.
    subscript(name: String) -> String? { headers.first { $0.name == name }?.value }

    /// Where the empty line behind a head ends; nil where it has not come yet. Looks from `start` on.
    static func end(in bytes: UnsafeRawBufferPointer, from start: Int) -> Int? {
        var index = max(0, start - 3)
        while index + 3 < bytes.count {
            if bytes[index] == 13, bytes[index + 1] == 10, bytes[index + 2] == 13, bytes[index + 3] == 10 {
                return index + 4
            }
            index += 1
        }
        return nil
    }

    /// - Parameter bytes: a head with the empty line behind it.
    init(_ bytes: UnsafeRawBufferPointer) throws(RequestProblem) {
        var lines = bytes.dropLast(4).split(separator: 10, omittingEmptySubsequences: false)[...]
        guard var first = lines.popFirst() else { throw RequestProblem(400, "the request is empty") }
        if !lines.isEmpty { first = try RequestHead.withoutReturn(first) }
        let words = first.split(separator: 32, omittingEmptySubsequences: false)
        guard words.count == 3, !words[0].isEmpty, words[0].allSatisfy(RequestHead.isToken), !words[1].isEmpty,
            words[1].allSatisfy({ $0 > 32 && $0 < 127 })
        else { throw RequestProblem(400, "the request line is not `METHOD TARGET HTTP/1.1`") }
        let version = String(decoding: words[2], as: UTF8.self)
        guard version == "HTTP/1.1" || version == "HTTP/1.0" else {
            throw RequestProblem(505, "the version must be HTTP/1.1")
        }
        method = String(decoding: words[0], as: UTF8.self)
        var target = String(decoding: words[1], as: UTF8.self)[...]
        if let scheme = ["http://", "https://"].first(where: { target.hasPrefix($0) }) {
            target = target.dropFirst(scheme.count).drop { $0 != "/" }
        }
        path = String(target.prefix { $0 != "?" })
        keepsAlive = version == "HTTP/1.1"
        while var line = lines.popFirst() {
            if !lines.isEmpty { line = try RequestHead.withoutReturn(line) }
            guard let colon = line.firstIndex(of: 58), colon > line.startIndex,
                line[..<colon].allSatisfy(RequestHead.isToken),
                line.allSatisfy({ $0 == 9 || ($0 >= 32 && $0 != 127) })
            else { throw RequestProblem(400, "a header is not `Name: value`") }
            let value = line[line.index(after: colon)...]
            let isSpace = { (byte: UInt8) in byte == 32 || byte == 9 }
            let trimmed = value.drop(while: isSpace).reversed().drop(while: isSpace).reversed()
            headers.append(
                (
                    String(decoding: line[..<colon], as: UTF8.self).lowercased(),
                    String(decoding: Array(trimmed), as: UTF8.self)
                ))
        }
        try readFraming(version)
    }

    private mutating func readFraming(_ version: String) throws(RequestProblem) {
        func values(_ name: String) -> [String] { headers.filter { $0.name == name }.map(\.value) }
        let hosts = values("host").count
        guard hosts == 1 || (hosts == 0 && version == "HTTP/1.0") else {
            throw RequestProblem(400, "a request needs one Host header")
        }
        let lengths = values("content-length")
        let codings = values("transfer-encoding")
        if !codings.isEmpty {
            guard lengths.isEmpty, version == "HTTP/1.1" else {
                throw RequestProblem(400, "Transfer-Encoding stands beside Content-Length, or in HTTP/1.0")
            }
            guard codings.count == 1, codings[0].lowercased() == "chunked" else {
                throw RequestProblem(501, "the only transfer coding that is understood is chunked")
            }
            framing = .chunked
        } else if !lengths.isEmpty {
            guard lengths.count == 1, !lengths[0].isEmpty, lengths[0].utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }),
                let length = Int(lengths[0])
            else { throw RequestProblem(400, "Content-Length must be one number") }
            framing = .length(length)
        }
        for value in values("connection") {
            for word in value.lowercased().split(separator: ",") {
                let word = word.filter { $0 != " " }
                if word == "close" { keepsAlive = false }
                if word == "keep-alive" { keepsAlive = true }
            }
        }
        if let expectation = self["expect"] {
            guard expectation.lowercased() == "100-continue" else {
                throw RequestProblem(417, "the only expectation that is understood is 100-continue")
            }
            expectsContinue = framing != .length(0)
        }
    }

    private static func withoutReturn(
        _ line: Slice<UnsafeRawBufferPointer>
    ) throws(RequestProblem) -> Slice<UnsafeRawBufferPointer> {
        guard line.last == 13 else { throw RequestProblem(400, "a line does not end with CR LF") }
        return line.dropLast()
    }

    private static func isToken(_ byte: UInt8) -> Bool {
        switch byte {
        case 48...57, 65...90, 97...122: true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }
}
