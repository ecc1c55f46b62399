import DataflowColumnar
import Testing

@testable import HTTPSource

private func at(_ seconds: Double) -> Moment { Moment(microseconds: Int64(seconds * 1e6)) }

/// Drives a fetcher by hand; actions become short words.
private struct Driver {
    var fetcher: PageFetcher
    var now = 0.0
    var running: [String: PageFetcher.RequestID] = [:]

    init(_ pagination: Pagination, _ settings: PageFetcher.Settings = .init(), interval: Duration? = nil) {
        fetcher = PageFetcher(settings, paginator: Paginator(pagination), limiter: RateLimiter(interval: interval))
    }

    static func word(_ position: Paginator.Position) -> String {
        switch position {
        case .start: "start"
        case .offset(let offset): "\(offset)"
        case .page(let page): "p\(page)"
        case .cursor(let cursor): cursor
        case .link(let link): link
        }
    }

    /// Actions up to the next `wait`, which is included.
    mutating func run() -> [String] {
        var words: [String] = []
        while true {
            switch fetcher.next(at(now)) {
            case .start(let order):
                let word = Driver.word(order.page.position)
                running[word] = order.id
                words.append("start \(word)\(order.redirectURL.map { " via \($0)" } ?? "")")
            case .cancel(let id):
                let word = running.first { $0.value == id }?.key ?? "?"
                words.append("cancel \(word)")
            case .emit(let page): words.append("emit \(Driver.word(page.position))")
            case .wait(let moment):
                words.append(moment.map { "wait \(($0 - at(0)).components.seconds)" } ?? "wait")
                return words
            case .finished: return words + ["finished"]
            case .fail(let problem): return words + ["fail \(problem.message)"]
            }
        }
    }

    mutating func page(
        _ word: String, items: Int64? = nil, total: Int64? = nil, cursor: String? = nil, tag: String? = nil
    ) {
        guard let id = running[word] else { return }
        let position: Paginator.Position = Int64(word).map { .offset($0) } ?? .start
        let page = FetchedPage(
            position: position, shownURL: "http://x/\(word)", status: 200, body: .empty,
            facts: PageFacts(items: items, total: total, cursor: cursor), fetchedAt: at(now),
            validators: Validators(entityTag: tag))
        _ = fetcher.completed(id, .page(page), now: at(now), random: 0.5)
    }

    mutating func answer(_ word: String, _ answer: PageAnswer) -> PageFetcher.Note? {
        guard let id = running[word] else { return nil }
        return fetcher.completed(id, answer, now: at(now), random: 0.5)
    }

    mutating func fail(_ word: String, retryAfter: Duration? = nil, overload: Bool = false) {
        _ = answer(word, .transient(FetchProblem(message: "503", retryAfter: retryAfter, isOverload: overload)))
    }
}

@Suite struct PageFetcherTests {
    private let offsets = Pagination.offset(OffsetPagination(param: "offset", limit: 10, until: 50))

    @Test func `one page after the other without concurrency`() {
        var driver = Driver(offsets)
        #expect(driver.run() == ["start 0", "wait"])
        driver.page("0", items: 10)
        #expect(driver.run() == ["emit 0", "start 10", "wait"])
        driver.page("10", items: 10, total: 20)
        #expect(driver.run() == ["emit 10", "finished"])
        #expect(driver.fetcher.paginator.position == .offset(20))
    }

    @Test func `pages ahead are emitted in order`() {
        var driver = Driver(offsets, .init(concurrency: 3))
        #expect(driver.run() == ["start 0", "start 10", "start 20", "wait"])
        driver.page("20", items: 10)
        driver.page("10", items: 10)
        #expect(driver.run() == ["wait"])
        driver.page("0", items: 10)
        #expect(driver.run() == ["emit 0", "emit 10", "emit 20", "start 30", "start 40", "wait"])
        #expect(driver.fetcher.paginator.position == .offset(30))
    }

    @Test func `after a short page the pages ahead are asked for again from the right place`() {
        var driver = Driver(offsets, .init(concurrency: 2))
        _ = driver.run()
        driver.page("0", items: 7)
        #expect(driver.run() == ["emit 0", "cancel 10", "start 7", "start 17", "wait"])
    }

    @Test func `a failure of a page ahead matters when its turn comes`() {
        var driver = Driver(offsets, .init(concurrency: 2))
        _ = driver.run()
        _ = driver.answer("10", .final(FetchProblem(message: "404", status: 404)))
        #expect(driver.run() == ["wait"])
        driver.page("0", items: 10, total: 10)
        #expect(driver.run() == ["emit 0", "finished"])
    }

    @Test func `a final failure stops behind the pages before it`() {
        var driver = Driver(offsets, .init(concurrency: 2))
        _ = driver.run()
        _ = driver.answer("10", .final(FetchProblem(message: "404", status: 404)))
        driver.page("0", items: 10)
        #expect(driver.run() == ["emit 0", "fail 404"])
        #expect(driver.fetcher.paginator.position == .offset(10))
    }

    @Test func `a failed page is asked for again after its pause, never skipped`() {
        var driver = Driver(offsets, .init(retry: RetryPolicy(initialDelay: .seconds(4))))
        _ = driver.run()
        driver.fail("0")
        #expect(driver.run() == ["wait 2"])
        driver.now = 2
        #expect(driver.run() == ["start 0", "wait"])
        driver.fail("0")
        #expect(driver.run() == ["wait 6"])
    }

    @Test func `retries count against the rate limit`() {
        var driver = Driver(offsets, .init(retry: RetryPolicy(initialDelay: .milliseconds(2))), interval: .seconds(10))
        #expect(driver.run() == ["start 0", "wait"])
        driver.fail("0")
        #expect(driver.run() == ["wait 10"])
        driver.now = 10
        #expect(driver.run() == ["start 0", "wait"])
        driver.page("0", items: 10)
        #expect(driver.run() == ["emit 0", "wait 20"])
    }

    @Test func `requests ahead are spaced by the rate limit`() {
        var driver = Driver(offsets, .init(concurrency: 3), interval: .seconds(10))
        #expect(driver.run() == ["start 0", "wait 10"])
        driver.now = 10
        #expect(driver.run() == ["start 10", "wait 20"])
    }

    @Test func `an overloaded server pauses all pages, not only one`() {
        var driver = Driver(offsets, .init(concurrency: 2))
        _ = driver.run()
        driver.fail("10", retryAfter: .seconds(30), overload: true)
        driver.page("0", items: 10)
        #expect(driver.run() == ["emit 0", "wait 30"])
        driver.now = 30
        #expect(driver.run() == ["start 10", "start 20", "wait"])
    }

    @Test func `attempts that run out fail with a sentence, to be tried again later`() {
        var driver = Driver(offsets, .init(retry: RetryPolicy(maxAttempts: 2)))
        _ = driver.run()
        driver.fail("0")
        driver.now = 3
        _ = driver.run()
        driver.fail("0")
        #expect(driver.run() == ["fail 503; given up after 2 requests in 3 s"])
    }

    @Test func `redirects are followed so many times, and a retry begins at the page's own URL`() {
        var driver = Driver(offsets, .init(retry: RetryPolicy(initialDelay: .seconds(2)), maxRedirects: 2))
        _ = driver.run()
        _ = driver.answer("0", .redirect(to: "http://b", sendsCredentials: true))
        #expect(driver.run() == ["start 0 via http://b", "wait"])
        driver.fail("0")
        driver.now = 1
        #expect(driver.run() == ["start 0", "wait"])
        for target in ["http://b", "http://c"] {
            _ = driver.answer("0", .redirect(to: target, sendsCredentials: true))
            #expect(driver.run() == ["start 0 via \(target)", "wait"])
        }
        _ = driver.answer("0", .redirect(to: "http://d", sendsCredentials: true))
        #expect(driver.run() == ["fail more than 2 redirects in a row"])
    }

    @Test func `credentials stay away behind a redirect to another origin`() {
        var driver = Driver(offsets)
        _ = driver.run()
        _ = driver.answer("0", .redirect(to: "http://b", sendsCredentials: false))
        guard case .start(let order) = driver.fetcher.next(at(0)) else {
            Issue.record("no request")
            return
        }
        #expect(!order.sendsCredentials)
    }

    @Test func `a status can mean the end, and behind a former end 404 does`() throws {
        var driver = Driver(offsets, .init(endStatuses: StatusSet([.single(404)])))
        _ = driver.run()
        _ = driver.answer("0", .final(FetchProblem(message: "404", status: 404)))
        #expect(driver.run() == ["finished"])

        let again = Paginator(offsets, restoring: .offset(20), end: .total, pageCount: 2)
        var resumed = Driver(offsets, .init(concurrency: 3))
        resumed.fetcher = PageFetcher(.init(concurrency: 3), paginator: again, limiter: RateLimiter(interval: nil))
        #expect(resumed.run() == ["start 20", "wait"])
        _ = resumed.answer("20", .final(FetchProblem(message: "404", status: 404)))
        #expect(resumed.run() == ["finished"])
        #expect(resumed.fetcher.paginator.position == .offset(20))
    }

    @Test func `a polled document is asked for with what it gave before, and 304 emits nothing`() {
        var driver = Driver(.none, .init(pollInterval: .seconds(60)))
        #expect(driver.run() == ["start start", "wait"])
        driver.now = 1
        driver.page("start", tag: "v1")
        #expect(driver.run() == ["emit start", "wait 60"])
        driver.now = 60
        guard case .start(let order) = driver.fetcher.next(at(60)) else {
            Issue.record("no request")
            return
        }
        #expect(order.validators.entityTag == "v1")
        #expect(driver.fetcher.completed(order.id, .notModified, now: at(61), random: 0) == nil)
        driver.now = 61
        #expect(driver.run() == ["wait 120"])
    }

    @Test func `polling offsets goes on behind the end`() {
        var driver = Driver(.offset(OffsetPagination(param: "o", limit: 10)), .init(pollInterval: .seconds(5)))
        _ = driver.run()
        driver.page("0", items: 3)
        _ = driver.run()
        driver.page("3", items: 0)
        #expect(driver.run() == ["wait 5"])
        driver.now = 5
        #expect(driver.run() == ["start 3", "wait"])
    }

    @Test func `polling behind until waits and does not spin`() {
        var driver = Driver(offsets, .init(pollInterval: .seconds(5)))
        driver.fetcher = PageFetcher(
            .init(pollInterval: .seconds(5)),
            paginator: Paginator(offsets, restoring: .offset(50), end: .until, pageCount: 5),
            limiter: RateLimiter(interval: nil))
        #expect(driver.run() == ["wait 5"])
        driver.now = 5
        #expect(driver.run() == ["wait 10"])
    }

    @Test func `an answer to a cancelled request is ignored`() {
        var driver = Driver(offsets, .init(concurrency: 2))
        _ = driver.run()
        driver.page("0", items: 7)
        #expect(driver.run().contains("cancel 10"))
        driver.page("10", items: 10)
        driver.running["10"] = nil
        #expect(driver.run() == ["wait"])
    }
}
