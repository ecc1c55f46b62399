/// Dates as HTTP writes them (RFC 9110 §5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`, and the two obsolete forms
/// `Sunday, 06-Nov-94 08:49:37 GMT` and `Sun Nov  6 08:49:37 1994`.
enum HTTPDate {
    /// Seconds since 1970-01-01T00:00:00Z, or nil for a text of no such form.
    ///
    /// - Parameter currentYear: a two-digit year that would lie more than 50 years ahead is of the century before.
    static func parse(_ text: String, currentYear: Int = 2025) -> Int64? {
        let words = text.split(whereSeparator: { $0 == " " || $0 == "," || $0 == "-" }).map(String.init)
        let fields: (day: String, month: String, year: String, time: String)
        if words.count == 6, words[5] == "GMT" {
            fields = (words[1], words[2], words[3], words[4])
        } else if words.count == 5 {
            fields = (words[2], words[1], words[4], words[3])
        } else {
            return nil
        }
        guard let day = Int(fields.day), let month = months.firstIndex(of: fields.month), var year = Int(fields.year),
            let seconds = secondsOfDay(fields.time), (1...31).contains(day), (0...9999).contains(year)
        else { return nil }
        if fields.year.count == 2 {
            year += currentYear / 100 * 100
            if year > currentYear + 50 { year -= 100 }
        }
        return daysSinceEpoch(year: year, month: month + 1, day: day) * 86400 + seconds
    }

    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    private static func secondsOfDay(_ text: String) -> Int64? {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).compactMap { Int64($0) }
        guard parts.count == 3, (0..<24).contains(parts[0]), (0..<60).contains(parts[1]), (0...60).contains(parts[2])
        else { return nil }
        return parts[0] * 3600 + parts[1] * 60 + parts[2]
    }

    /// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
    private static func daysSinceEpoch(year: Int, month: Int, day: Int) -> Int64 {
        let shifted = month <= 2 ? year - 1 : year
        let era = (shifted >= 0 ? shifted : shifted - 399) / 400
        let yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1
        return Int64(era * 146097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719468)
    }
}

/// The `Retry-After` header in both its forms: seconds, or a date.
enum RetryAfter {
    /// How long to wait from `now`; nil when the header is missing or unreadable, zero for a date that has passed.
    static func delay(_ header: String?, now: Moment) -> Duration? {
        guard let text = header?.trimmed(), !text.isEmpty else { return nil }
        if text.utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }) {
            return .seconds(Int64(text) ?? 1_000_000_000)
        }
        guard let seconds = HTTPDate.parse(String(text)) else { return nil }
        return max(.zero, Moment(microseconds: seconds * 1_000_000) - now)
    }
}
