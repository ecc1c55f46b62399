/// A point in time as microseconds since 1970-01-01T00:00:00Z: what rate limits and retries reckon with, and what a
/// checkpoint can keep.
struct Moment: Sendable, Hashable, Comparable {
    var microseconds: Int64

    static let distantPast = Moment(microseconds: .min)

    static func < (left: Moment, right: Moment) -> Bool { left.microseconds < right.microseconds }

    static func + (moment: Moment, duration: Duration) -> Moment {
        let (sum, overflow) = moment.microseconds.addingReportingOverflow(duration.wholeMicroseconds)
        return Moment(microseconds: overflow ? .max : sum)
    }

    static func - (later: Moment, earlier: Moment) -> Duration {
        let (difference, overflow) = later.microseconds.subtractingReportingOverflow(earlier.microseconds)
        return .microseconds(overflow ? .max : difference)
    }
}

/// A moment ahead of one run, as a later run finds it in what was kept.
///
/// It is never further away than it was when it was kept: a wall clock that was ahead then and has been set back since
/// makes nobody wait for it to get there again.
struct KeptMoment: Sendable, Hashable {
    var moment: Moment
    /// From when it was kept to the moment.
    var ahead: Duration

    init(_ moment: Moment, keptAt now: Moment) {
        self.moment = moment
        ahead = max(.zero, moment - now)
    }

    init(_ moment: Moment, ahead: Duration) {
        self.moment = moment
        self.ahead = ahead
    }

    /// The moment for a run that begins `now`.
    func restored(_ now: Moment) -> Moment { min(moment, now + ahead) }
}

extension Duration {
    /// Rounded up, saturating.
    var wholeMicroseconds: Int64 {
        let (seconds, attoseconds) = components
        let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000)
        guard !overflow else { return seconds < 0 ? .min : .max }
        let (sum, overflow2) = scaled.addingReportingOverflow((attoseconds + 999_999_999_999) / 1_000_000_000_000)
        return overflow2 ? .max : sum
    }
}
