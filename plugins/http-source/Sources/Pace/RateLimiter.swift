/// Spaces the requests of a node evenly, with a burst of one: pages, retries and redirects alike.
///
/// Pure: it says when the next request may start and is told when one has started. ``nextStart`` is its whole state.
struct RateLimiter: Sendable, Equatable {
    /// From the start of one request to the start of the next; nil: no limit of its own.
    let interval: Duration?
    /// No request starts before.
    private(set) var nextStart: Moment?

    init(interval: Duration?) {
        self.interval = interval
    }

    /// Goes on from a former run. A `nextStart` further away than the limit itself or `longestHoldOff` explain (the
    /// wall clock was set back) is drawn nearer.
    init(interval: Duration?, restoring nextStart: Moment?, now: Moment, longestHoldOff: Duration) {
        self.interval = interval
        self.nextStart = nextStart.map { min($0, now + max(interval ?? .zero, longestHoldOff)) }
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
