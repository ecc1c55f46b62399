import FlyingFox
import FlyingSocks
import Foundation
import Synchronization

/// Answers `/rows` and `/stats`.
final class RowsEndpoint: HTTPHandler {
    struct Options: Sendable {
        var compresses = true
        var hang: Duration = .seconds(120)
        var slow: Duration = .seconds(3)
        var seed: UInt64 = 1
    }

    let statistics = RequestStatistics()
    private let source: any RowSource
    private let faults: FaultPlan
    private let options: Options
    /// How often the data set has been replaced.
    private let revisions = Atomic(0)
    /// How many `429-retry-after` have been given.
    private let delays = Atomic(0)

    init(source: any RowSource, faults: FaultPlan, options: Options = Options()) {
        self.source = source
        self.faults = faults
        self.options = options
    }

    func handleRequest(_ request: HTTPRequest) async throws -> HTTPResponse {
        guard request.method == .GET else {
            return response(.methodNotAllowed, type: "text/plain; charset=utf-8", Data("Method Not Allowed".utf8))
        }
        switch request.path {
        case "/rows": return try await rows(request)
        case "/stats": return response(.ok, type: "application/json", Data(statistics.json.utf8))
        default: return response(.notFound, type: "text/plain; charset=utf-8", Data("Not Found".utf8))
        }
    }

    private func rows(_ request: HTTPRequest) async throws -> HTTPResponse {
        let asked: RowsRequest
        do {
            asked = try RowsRequest(query: request.query.map { (name: $0.name, value: $0.value) })
        } catch {
            statistics.recordRefusal()
            return answer(error)
        }
        let page = RequestStatistics.Page(offset: asked.offset, length: asked.length)
        let fault = faults.next()
        statistics.record(page, fault: fault)

        switch fault {
        case .tooManyRequests:
            return answer(RowsError(status: 429, code: nil, message: "too many requests"))
        case .tooManyRequestsRetryAfter:
            var refusal = answer(RowsError(status: 429, code: nil, message: "too many requests"))
            let isDate = delays.wrappingAdd(1, ordering: .relaxed).oldValue % 2 == 1
            refusal.headers[HTTPHeader("Retry-After")] = isDate ? httpDate(Date(timeIntervalSinceNow: 1)) : "1"
            return refusal
        case .serverError:
            return answer(
                RowsError(
                    status: 500, code: "ResponseNotReady",
                    message: "The server is busier than usual and the response is not ready yet. Please retry later."))
        case .unavailable:
            var refusal = response(
                .serviceUnavailable, type: "text/html",
                Data(
                    """
                    <html>\r
                    <head><title>503 Service Temporarily Unavailable</title></head>\r
                    <body>\r
                    <center><h1>503 Service Temporarily Unavailable</h1></center>\r
                    </body>\r
                    </html>\r\n
                    """.utf8))
            refusal.headers[HTTPHeader("Server")] = "awselb/2.0"
            return refusal
        case .hang:
            try await Task.sleep(for: options.hang)
            return answer(RowsError(status: 500, code: "UnexpectedApiError", message: "Unexpected error."))
        case .revision:
            revisions.wrappingAdd(1, ordering: .relaxed)
        case .cut, .slow, nil:
            break
        }

        let body = try source.page(offset: asked.offset, length: asked.length)
        var data = Data(body)
        var headers: HTTPHeaders = [
            .contentType: "application/json",
            .cacheControl: "max-age=120",
            HTTPHeader("X-Revision"): revision,
            HTTPHeader("Access-Control-Allow-Origin"): "*",
            HTTPHeader("Access-Control-Expose-Headers"): "X-Error-Code, X-Revision",
        ]
        if options.compresses {
            headers[HTTPHeader("Vary")] = "Accept-Encoding"
            if request.headers[HTTPHeader("Accept-Encoding")]?.contains("gzip") == true,
                let compressed = gzipCompressed(body)
            {
                data = Data(compressed)
                headers[.contentEncoding] = "gzip"
            }
        }

        switch fault {
        case .cut:
            let sequence = PacedBody(data: data, pieces: 4, pause: .zero, endsAfter: data.count / 2)
            return HTTPResponse(
                statusCode: .ok, headers: headers, body: HTTPBodySequence(from: sequence, count: data.count))
        case .slow:
            statistics.recordSuccess(page, bytes: body.count)
            let pieces = 20
            let sequence = PacedBody(data: data, pieces: pieces, pause: options.slow / pieces, endsAfter: nil)
            return HTTPResponse(
                statusCode: .ok, headers: headers, body: HTTPBodySequence(from: sequence, count: data.count))
        default:
            statistics.recordSuccess(page, bytes: body.count)
            return HTTPResponse(
                statusCode: .ok, headers: headers, body: HTTPBodySequence(data: data, suggestedBufferSize: 1 << 18))
        }
    }

    /// A git revision: forty hexadecimal digits.
    private var revision: String {
        var random = RandomBits(seed: options.seed, stream: 0x5E7 &+ UInt64(revisions.load(ordering: .relaxed)))
        let digits = (0..<3).map { _ in
            let part = String(random.next(), radix: 16)
            return String(repeating: "0", count: 16 - part.count) + part
        }
        return String(digits.joined().prefix(40))
    }

    private func answer(_ error: RowsError) -> HTTPResponse {
        let phrases = [
            401: "Unauthorized", 404: "Not Found", 422: "Unprocessable Entity", 429: "Too Many Requests",
            500: "Internal Server Error",
        ]
        var response = response(
            HTTPStatusCode(error.status, phrase: phrases[error.status] ?? "Error"), type: "application/json",
            Data(error.body.utf8))
        response.headers[.cacheControl] = "max-age=10"
        response.headers[HTTPHeader("X-Error-Code")] = error.code
        return response
    }

    private func response(_ status: HTTPStatusCode, type: String, _ body: Data) -> HTTPResponse {
        HTTPResponse(statusCode: status, headers: [.contentType: type], body: body)
    }
}

/// The date format of HTTP headers (RFC 9110 §5.6.7), to the next full second.
func httpDate(_ date: Date) -> String {
    var seconds = time_t(date.timeIntervalSince1970.rounded(.up))
    var parts = tm()
    gmtime_r(&seconds, &parts)
    let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
    return "\(days[Int(parts.tm_wday)]), \(two(parts.tm_mday)) \(months[Int(parts.tm_mon)]) \(1900 + parts.tm_year) "
        + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec)) GMT"
}

/// A body that comes in pieces, with pauses, and may end before its declared length.
private struct PacedBody: AsyncBufferedSequence {
    typealias Element = UInt8

    var data: Data
    var pieces: Int
    var pause: Duration
    /// The connection is closed after this many bytes.
    var endsAfter: Int?

    func makeAsyncIterator() -> Iterator {
        Iterator(body: self)
    }

    struct Iterator: AsyncBufferedIteratorProtocol {
        let body: PacedBody
        var position = 0

        mutating func next() async throws -> UInt8? {
            try await nextBuffer(suggested: 1)?.first
        }

        mutating func nextBuffer(suggested count: Int) async throws -> Data? {
            let limit = body.endsAfter ?? body.data.count
            guard position < limit else {
                // An error while the body is sent makes the server close the connection.
                if body.endsAfter != nil { throw SocketError.disconnected }
                return nil
            }
            if position > 0 { try await Task.sleep(for: body.pause) }
            let size = count == 1 ? 1 : Swift.max(body.data.count / body.pieces, 1)
            let end = Swift.min(position + size, limit)
            defer { position = end }
            return body.data[position..<end]
        }
    }
}
