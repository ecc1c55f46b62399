/// Which failures are tried again, and after how long: exponential backoff with full jitter (Brooker, "Exponential
/// Backoff and Jitter", 2015), overridden by the server's `Retry-After`.
struct RetryPolicy: Sendable, Equatable {
    /// The longest pause after the first failure; doubles with each further one.
    var initialDelay: Duration = .seconds(1)
    /// No pause of our own is longer.
    var maxDelay: Duration = .seconds(60)
    /// A longer `Retry-After` is cut to this.
    var maxRetryAfter: Duration = .seconds(900)
    /// Requests for one page, the first included; nil: as many as `maxElapsed` allows.
    var maxAttempts: Int?
    /// From the first request for a page; nil: for ever.
    var maxElapsed: Duration? = .seconds(3600)
    /// Statuses that are tried again.
    var statuses = StatusSet([.single(408), .single(425), .single(429), .hundred(5)])
    /// Statuses that are final although `statuses` has them.
    var finalStatuses = StatusSet([.single(501)])
    /// The header that names the server's own error code.
    var errorCodeHeader = "X-Error-Code"
    /// Error codes that are final whatever the status.
    var finalErrorCodes = ["TooBigContentError"]

    /// Whether an answer with this status may turn out well another time.
    func isTransient(status: Int, errorCode: String?) -> Bool {
        if let errorCode, finalErrorCodes.contains(errorCode) { return false }
        return statuses.contains(status) && !finalStatuses.contains(status)
    }

    /// The pause before the next request for a page; nil when attempts or time are used up.
    ///
    /// - Parameters:
    ///   - attempts: requests made so far for the page, at least 1.
    ///   - elapsed: since the first of them started.
    ///   - retryAfter: what the server asked for.
    ///   - random: evenly distributed in 0 ..< 1.
    func pause(attempts: Int, elapsed: Duration, retryAfter: Duration?, random: Double) -> Duration? {
        if let maxAttempts, attempts >= maxAttempts { return nil }
        let pause = retryAfter.map { min($0, maxRetryAfter) } ?? longestPause(attempts: attempts) * random
        if let maxElapsed, elapsed + pause > maxElapsed { return nil }
        return pause
    }

    private func longestPause(attempts: Int) -> Duration {
        var pause = initialDelay
        for _ in 1..<max(1, attempts) where pause < maxDelay { pause = pause * 2 }
        return min(pause, maxDelay)
    }
}

/// HTTP statuses as a pipeline file lists them: `429`, `5xx`.
struct StatusSet: Sendable, Equatable, CustomStringConvertible {
    enum Member: Sendable, Hashable {
        case single(Int)
        /// `.hundred(5)`: 500 to 599.
        case hundred(Int)
    }

    var members: [Member]

    init(_ members: [Member]) {
        self.members = members
    }

    func contains(_ status: Int) -> Bool {
        members.contains { member in
            switch member {
            case .single(let one): one == status
            case .hundred(let hundred): status / 100 == hundred
            }
        }
    }

    /// Reads one word, `429` or `5xx`; nil when it is neither.
    static func member(_ word: String) -> Member? {
        if let status = Int(word), (100...599).contains(status) { return .single(status) }
        guard word.count == 3, word.hasSuffix("xx"), let hundred = word.first?.wholeNumberValue,
            (1...5).contains(hundred)
        else { return nil }
        return .hundred(hundred)
    }

    var description: String {
        members.map { member in
            switch member {
            case .single(let status): "\(status)"
            case .hundred(let hundred): "\(hundred)xx"
            }
        }.joined(separator: ", ")
    }
}
