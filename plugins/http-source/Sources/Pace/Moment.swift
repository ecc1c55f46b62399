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
