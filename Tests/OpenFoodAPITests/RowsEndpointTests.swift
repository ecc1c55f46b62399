import FlyingFox
import FlyingSocks
import Foundation
import Testing

@testable import openfood_api

/// Answers and faults, without a socket.
struct RowsEndpointTests {
    private let source = ProductGenerator(seed: 1, rowCount: 250)

    private func endpoint(_ faults: [FaultRate] = [], limit: Int = .max) -> RowsEndpoint {
        RowsEndpoint(
            source: source, faults: FaultPlan(rates: faults, seed: 1, limit: limit),
            options: RowsEndpoint.Options(hang: .zero, slow: .zero))
    }

    private func get(
        _ endpoint: RowsEndpoint, _ offset: Int = 0, path: String = "/rows", headers: HTTPHeaders = [:]
    ) async throws -> HTTPResponse {
        let query = ["dataset": RowsRequest.dataset, "config": "default", "split": "food", "offset": "\(offset)"]
        return try await endpoint.handleRequest(
            HTTPRequest(
                method: .GET, version: .http11, path: path,
                query: query.map { HTTPRequest.QueryItem(name: $0.key, value: $0.value) }, headers: headers,
                body: HTTPBodySequence()))
    }

    @Test func `a page comes with the headers of the real service`() async throws {
        let answer = try await get(endpoint(), 100)
        #expect(answer.statusCode == .ok)
        #expect(answer.headers[.contentType] == "application/json")
        #expect(answer.headers[.cacheControl] == "max-age=120")
        #expect(answer.headers[HTTPHeader("X-Revision")]?.utf8.count == 40)
        #expect(answer.headers[.eTag] == nil)
        #expect(try await answer.bodyData == Data(source.page(offset: 100, length: 100)))
    }

    @Test func `an offset past the end is answered with an empty list`() async throws {
        let answer = try await get(endpoint(), 250)
        #expect(answer.statusCode == .ok)
        #expect(String(decoding: try await answer.bodyData, as: UTF8.self).contains(#""rows":[],"num_rows_total":250"#))
    }

    @Test func `an answer is compressed when the client accepts it`() async throws {
        let answer = try await get(endpoint(), headers: [HTTPHeader("Accept-Encoding"): "deflate, gzip"])
        #expect(answer.headers[.contentEncoding] == "gzip")
        let compressed = try await answer.bodyData
        #expect(compressed.starts(with: [0x1F, 0x8B]))
        #expect(compressed.count < 600_000)
    }

    @Test(
        arguments: [
            (.tooManyRequests, 429, nil), (.tooManyRequestsRetryAfter, 429, nil),
            (.serverError, 500, "ResponseNotReady"),
            (.unavailable, 503, nil), (.hang, 500, "UnexpectedApiError"),
        ] as [(FaultKind, Int, String?)])
    func `a fault is answered as the real service would`(_ kind: FaultKind, _ status: Int, _ code: String?) async throws
    {
        let endpoint = endpoint([FaultRate(kind: kind, rate: 1)])
        let answer = try await get(endpoint)
        #expect(answer.statusCode.code == status)
        #expect(answer.headers[HTTPHeader("X-Error-Code")] == code)
        if kind == .unavailable {
            #expect(answer.headers[.contentType] == "text/html")
        }
        if kind == .tooManyRequestsRetryAfter {
            #expect(answer.headers[HTTPHeader("Retry-After")] == "1")
            #expect(try await get(endpoint).headers[HTTPHeader("Retry-After")]?.hasSuffix(" GMT") == true)
        }
        #expect(endpoint.statistics.count(of: .init(offset: 0, length: 100)).successes == 0)
    }

    @Test func `a cut answer ends before its declared length`() async throws {
        let endpoint = endpoint([FaultRate(kind: .cut, rate: 1)])
        let answer = try await get(endpoint)
        let expected = try source.page(offset: 0, length: 100).count
        guard case let body? = answer.bodySequenceForTests else {
            return #expect(Bool(false), "the answer has no body")
        }
        #expect(body.count == expected)
        var received = 0
        await #expect(throws: SocketError.self) {
            for try await chunk in body { received += chunk.count }
        }
        #expect(received == expected / 2)
        #expect(endpoint.statistics.count(of: .init(offset: 0, length: 100)) == .init(requests: 1, successes: 0))
    }

    @Test func `a slow answer is complete`() async throws {
        let answer = try await get(endpoint([FaultRate(kind: .slow, rate: 1)]))
        #expect(try await answer.bodyData == Data(source.page(offset: 0, length: 100)))
    }

    @Test func `a revision stays changed`() async throws {
        let endpoint = endpoint([FaultRate(kind: .revision, rate: 1)], limit: 1)
        let first = try await get(endpoint).headers[HTTPHeader("X-Revision")]
        let second = try await get(endpoint).headers[HTTPHeader("X-Revision")]
        #expect(first == second)
        #expect(try await get(self.endpoint()).headers[HTTPHeader("X-Revision")] != first)
    }

    @Test func `requests, successes and faults are counted by page`() async throws {
        let endpoint = endpoint([FaultRate(kind: .serverError, rate: 1)], limit: 2)
        for offset in [0, 0, 0, 100] { _ = try await get(endpoint, offset) }
        #expect(endpoint.statistics.count(of: .init(offset: 0, length: 100)) == .init(requests: 3, successes: 1))
        let json = String(decoding: try await get(endpoint, path: "/stats").bodyData, as: UTF8.self)
        #expect(json.hasPrefix(#"{"requests":4,"successes":2,"refused":0,"bytes":"#))
        #expect(json.contains(#""faults":{"500":2}"#))
        #expect(json.contains(#"{"offset":0,"length":100,"requests":3,"successes":1}"#))
    }

    @Test func `the same seed gives the same faults in about the right share`() {
        let rates = [FaultRate(kind: .hang, rate: 0.1), FaultRate(kind: .cut, rate: 0.2)]
        let plans = (0..<2).map { _ in FaultPlan(rates: rates, seed: 9) }
        let draws = plans.map { plan in (0..<10_000).map { _ in plan.next() } }
        #expect(draws[0] == draws[1])
        #expect(abs(draws[0].count { $0 == .hang } - 1000) < 100)
        #expect(abs(draws[0].count { $0 == .cut } - 2000) < 150)
        let limited = FaultPlan(rates: rates, seed: 9, limit: 3)
        #expect((0..<10_000).count { _ in limited.next() != nil } == 3)
    }

    @Test(arguments: ["hang", "hang:", "hang:2", "hang:-1", "nothing:0.1", ":0.1"])
    func `a fault that is no kind with a rate is refused`(_ argument: String) {
        #expect(FaultRate(argument: argument) == nil)
    }

    @Test func `a date is written as HTTP wants it`() {
        #expect(httpDate(Date(timeIntervalSince1970: 784_111_777)) == "Sun, 06 Nov 1994 08:49:37 GMT")
    }
}

extension HTTPResponse {
    /// The body as it is sent.
    fileprivate var bodySequenceForTests: HTTPBodySequence? {
        guard case .httpBody(let sequence) = payload else { return nil }
        return sequence
    }
}
