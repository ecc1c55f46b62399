import Foundation
import Testing

@testable import HTTPSource

private func at(_ seconds: Double) -> Moment { Moment(microseconds: Int64(seconds * 1e6)) }

@Suite struct RateLimiterTests {
    @Test func `requests are evenly spaced, without a burst after a pause`() {
        var limiter = RateLimiter(interval: .seconds(2))
        #expect(limiter.earliestStart(at(0)) == at(0))
        limiter.start(at(0))
        #expect(limiter.earliestStart(at(0.5)) == at(2))
        limiter.start(at(2))
        #expect(limiter.earliestStart(at(100)) == at(100))
        limiter.start(at(100))
        #expect(limiter.earliestStart(at(100)) == at(102))
    }

    @Test func `without a limit nothing waits, until the server asks for a pause`() {
        var limiter = RateLimiter(interval: nil)
        limiter.start(at(1))
        #expect(limiter.earliestStart(at(1)) == at(1))
        limiter.holdOff(until: at(30))
        #expect(limiter.earliestStart(at(1)) == at(30))
        limiter.start(at(30))
        #expect(limiter.earliestStart(at(30)) == at(30))
    }

    @Test func `the limit holds across a restart, and a wall clock that was set back stops nobody`() {
        let kept = KeptMoment(at(11), keptAt: at(9))
        #expect(RateLimiter(interval: .seconds(2), nextStart: kept.restored(at(10))).earliestStart(at(10)) == at(11))
        #expect(kept.restored(at(12)) == at(11))
        #expect(kept.restored(at(5)) == at(7))
        #expect(KeptMoment(at(11), keptAt: at(20)).restored(at(5)) == at(5))
    }

    @Test func `the file keeps the next start`() throws {
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent("limit-\(UUID())")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        #expect(RateLimitFile(directory: directory.path)?.read() == nil)
        RateLimitFile(directory: directory.path)?.write(at(1_700_000_000), now: at(1_699_999_998))
        #expect(RateLimitFile(directory: directory.path)?.read() == KeptMoment(at(1_700_000_000), ahead: .seconds(2)))
        RateLimitFile(directory: directory.path)?.write(at(5), now: at(6))
        #expect(RateLimitFile(directory: directory.path)?.read() == KeptMoment(at(5), ahead: .zero))
        #expect(RateLimitFile(directory: "/nonexistent") == nil)
    }
}

@Suite struct RetryPolicyTests {
    @Test func `pauses grow exponentially to the maximum, with full jitter`() {
        let policy = RetryPolicy(initialDelay: .seconds(1), maxDelay: .seconds(10))
        func pause(_ attempts: Int, _ random: Double) -> Duration? {
            policy.pause(attempts: attempts, elapsed: .zero, retryAfter: nil, random: random)
        }
        #expect(pause(1, 0) == .zero)
        #expect(pause(1, 0.5) == .milliseconds(500))
        #expect(pause(2, 0.5) == .seconds(1))
        #expect(pause(4, 0.5) == .seconds(4))
        #expect(pause(5, 0.5) == .seconds(5))
        #expect(pause(5000, 0.5) == .seconds(5))
    }

    @Test func `the server's Retry-After goes before, up to the maximum`() {
        let policy = RetryPolicy(maxRetryAfter: .seconds(100))
        #expect(policy.pause(attempts: 9, elapsed: .zero, retryAfter: .seconds(7), random: 0.1) == .seconds(7))
        #expect(policy.pause(attempts: 1, elapsed: .zero, retryAfter: .seconds(7000), random: 0.1) == .seconds(100))
    }

    @Test func `attempts and time run out`() {
        let policy = RetryPolicy(maxAttempts: 3, maxElapsed: .seconds(60))
        #expect(policy.pause(attempts: 2, elapsed: .zero, retryAfter: nil, random: 0) != nil)
        #expect(policy.pause(attempts: 3, elapsed: .zero, retryAfter: nil, random: 0) == nil)
        #expect(policy.pause(attempts: 1, elapsed: .seconds(61), retryAfter: nil, random: 0) == nil)
        #expect(policy.pause(attempts: 1, elapsed: .seconds(50), retryAfter: .seconds(11), random: 0) == nil)
        let patient = RetryPolicy(maxElapsed: nil)
        #expect(patient.pause(attempts: 1, elapsed: .seconds(1_000_000), retryAfter: nil, random: 0) != nil)
    }

    @Test(arguments: [
        (408, true), (425, true), (429, true), (500, true), (502, true), (503, true), (504, true), (599, true),
        (501, false), (400, false), (401, false), (403, false), (404, false), (410, false), (422, false), (200, false),
    ]) func `the defaults know what may pass`(_ status: Int, _ isTransient: Bool) {
        #expect(RetryPolicy().isTransient(status: status, errorCode: nil) == isTransient)
    }

    @Test func `an error code can make a status final`() {
        #expect(!RetryPolicy().isTransient(status: 500, errorCode: "TooBigContentError"))
        #expect(RetryPolicy().isTransient(status: 500, errorCode: "ResponseNotReady"))
    }

    @Test func `statuses are written as numbers or hundreds`() {
        #expect(StatusSet.member("429") == .single(429))
        #expect(StatusSet.member("5xx") == .hundred(5))
        for word in ["", "5x", "6xx", "0xx", "99", "600", "abc", "xxx"] { #expect(StatusSet.member(word) == nil) }
    }
}

@Suite struct HTTPDateTests {
    @Test(
        arguments: [
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777), ("Sunday, 06-Nov-94 08:49:37 GMT", 784_111_777),
            ("Sun Nov  6 08:49:37 1994", 784_111_777), ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Thu, 29 Feb 2024 23:59:60 GMT", 1_709_251_200), ("Fri, 31 Dec 1999 23:59:59 GMT", 946_684_799),
        ] as [(String, Int64)]) func `all three forms are read`(_ text: String, _ seconds: Int64)
    {
        #expect(HTTPDate.parse(text) == seconds)
    }

    @Test(arguments: [
        "", "tomorrow", "Sun, 06 Nov 1994 08:49:37 PST", "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 25:49:37 GMT",
    ])
    func `anything else is no date`(_ text: String) {
        #expect(HTTPDate.parse(text) == nil)
    }

    @Test func `Retry-After is seconds or a date`() {
        let now = at(784_111_777)
        #expect(RetryAfter.delay("120", now: now) == .seconds(120))
        #expect(RetryAfter.delay(" 0 ", now: now) == .zero)
        #expect(RetryAfter.delay("Sun, 06 Nov 1994 08:50:37 GMT", now: now) == .seconds(60))
        #expect(RetryAfter.delay("Sun, 06 Nov 1994 08:40:37 GMT", now: now) == .zero)
        #expect(RetryAfter.delay("99999999999999999999", now: now) == .seconds(1_000_000_000))
        #expect(RetryAfter.delay("-5", now: now) == nil)
        #expect(RetryAfter.delay("soon", now: now) == nil)
        #expect(RetryAfter.delay(nil, now: now) == nil)
    }
}
