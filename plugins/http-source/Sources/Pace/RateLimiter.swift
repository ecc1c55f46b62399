/// Spaces the requests of a node evenly, with a burst of one: pages, retries and redirects alike.
///
/// Pure: it says when the next request may start and is told when one has started. ``nextStart`` is its whole state.
struct RateLimiter: Sendable, Equatable {
    /// From the start of one request to the start of the next; nil: no limit of its own.
    let interval: Duration?
    /// No request starts before.
    private(set) var nextStart: Moment?

    /// - Parameter nextStart: that of a former run.
    init(interval: Duration?, nextStart: Moment? = nil) {
        self.interval = interval
        self.nextStart = nextStart
    }

    /// When the next request may start: `now` or later.
    func earliestStart(_ now: Moment) -> Moment {
        nextStart.map { max($0, now) } ?? now
    }

    /// A request starts at `now`, which must not be before ``earliestStart(_:)``.
    mutating func start(_ now: Moment) {
        nextStart = interval.map { now + $0 }
    }

    /// The server asked for a pause of the whole node.
    mutating func holdOff(until moment: Moment) {
        nextStart = max(nextStart ?? moment, moment)
    }
}
