/// The proleptic Gregorian calendar in UTC: days and microseconds since 1970-01-01, to and from fields and text.
///
/// Day arithmetic after Howard Hinnant, "chrono-compatible low-level date algorithms".
package enum Calendar {
    static let microsecondsPerSecond: Int64 = 1_000_000
    static let microsecondsPerDay: Int64 = 86_400_000_000
    /// 0001-01-01T00:00:00Z and the last microsecond of the year 9999: what timestamps of this language may hold.
    static let timestampRange: ClosedRange<Int64> = -62_135_596_800_000_000...253_402_300_799_999_999
    /// 0001-01-01 and 9999-12-31.
    static let dateRange: ClosedRange<Int32> = -719_162...2_932_896

    struct Day: Hashable {
        var year: Int
        var month: Int
        var day: Int
    }

    /// Days since the epoch of a calendar day. Fields must be valid.
    static func days(year: Int, month: Int, day: Int) -> Int {
        let y = month <= 2 ? year - 1 : year
        let era = (y >= 0 ? y : y - 399) / 400
        let yearOfEra = y - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    /// The calendar day of days since the epoch.
    static func day(_ days: Int) -> Day {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthIndex = (5 * dayOfYear + 2) / 153
        let month = monthIndex < 10 ? monthIndex + 3 : monthIndex - 9
        return Day(
            year: yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month: month,
            day: dayOfYear - (153 * monthIndex + 2) / 5 + 1)
    }

    static func isLeap(_ year: Int) -> Bool { year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) }

    static func daysInMonth(_ year: Int, _ month: Int) -> Int {
        switch month {
        case 2: isLeap(year) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    /// The quotient rounded towards minus infinity.
    @inline(__always)
    static func floorDivide(_ value: Int64, _ divisor: Int64) -> Int64 {
        let quotient = value / divisor
        return value % divisor < 0 ? quotient - 1 : quotient
    }

    /// The day (since the epoch) and the microseconds into it.
    @inline(__always)
    static func split(_ timestamp: Int64) -> (days: Int, microseconds: Int64) {
        let days = floorDivide(timestamp, microsecondsPerDay)
        // Wrapping: what stands under a null, or comes from a source, may be any number.
        return (Int(days), timestamp &- days &* microsecondsPerDay)
    }

    /// A timestamp moved by an interval: months first (a day that the month does not have becomes its last), then
    /// the rest. Nil when the result lies outside ``timestampRange``.
    static func add(_ timestamp: Int64, months: Int64, microseconds: Int64) -> Int64? {
        var result = timestamp
        if months != 0 {
            let (days, rest) = split(timestamp)
            let from = day(days)
            let (index, overflow) = Int64(from.year * 12 + from.month - 1).addingReportingOverflow(months)
            guard !overflow, index >= 12, index < 120_000 else { return nil }
            let year = Int(index / 12)
            let month = Int(index % 12) + 1
            let target = Calendar.days(year: year, month: month, day: min(from.day, daysInMonth(year, month)))
            result = Int64(target) * microsecondsPerDay + rest
        }
        let (sum, overflow) = result.addingReportingOverflow(microseconds)
        return overflow || !timestampRange.contains(sum) ? nil : sum
    }
}

// Text.
extension Calendar {
    /// Reads bytes from the left.
    private struct Reader {
        let bytes: UnsafeRawBufferPointer
        var position = 0

        var isAtEnd: Bool { position == bytes.count }
        var peek: UInt8? { position < bytes.count ? bytes[position] : nil }

        mutating func take(_ character: Unicode.Scalar) -> Bool {
            guard peek == UInt8(ascii: character) else { return false }
            position += 1
            return true
        }

        /// Exactly `count` digits.
        mutating func digits(_ count: Int) -> Int? {
            guard position + count <= bytes.count else { return nil }
            var value = 0
            for i in 0..<count {
                let digit = bytes[position + i] &- UInt8(ascii: "0")
                guard digit <= 9 else { return nil }
                value = value * 10 + Int(digit)
            }
            position += count
            return value
        }

        mutating func date() -> Int? {
            guard let year = digits(4), take("-"), let month = digits(2), take("-"), let day = digits(2),
                year >= 1, (1...12).contains(month), day >= 1, day <= daysInMonth(year, month)
            else { return nil }
            return days(year: year, month: month, day: day)
        }

        /// Microseconds of a fraction of a second; digits behind the sixth are cut off.
        mutating func fraction() -> Int64? {
            var value: Int64 = 0
            var count = 0
            while let byte = peek, byte &- UInt8(ascii: "0") <= 9 {
                if count < 6 { value = value * 10 + Int64(byte &- UInt8(ascii: "0")) }
                count += 1
                position += 1
            }
            guard count > 0 else { return nil }
            for _ in min(count, 6)..<6 { value *= 10 }
            return value
        }

        /// `Z`, `+02`, `+0200`, `+02:00` in microseconds east of UTC; none is UTC.
        mutating func zone() -> Int64? {
            if isAtEnd || take("Z") || take("z") { return 0 }
            let isWest = peek == UInt8(ascii: "-")
            guard take("+") || take("-"), let hours = digits(2), hours <= 15 else { return nil }
            var minutes = 0
            if !isAtEnd {
                _ = take(":")
                guard let m = digits(2), m <= 59 else { return nil }
                minutes = m
            }
            let offset = Int64(hours * 60 + minutes) * 60 * microsecondsPerSecond
            return isWest ? -offset : offset
        }
    }

    private static func trimmed(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        var range = 0..<bytes.count
        while let first = range.first, bytes[first] == 0x20 { range = first + 1..<range.upperBound }
        while let last = range.last, bytes[last] == 0x20 { range = range.lowerBound..<last }
        return UnsafeRawBufferPointer(rebasing: bytes[range])
    }

    /// Days since the epoch of `YYYY-MM-DD`, nil when it is none.
    static func parseDate(_ bytes: UnsafeRawBufferPointer) -> Int32? {
        var reader = Reader(bytes: trimmed(bytes))
        guard let days = reader.date(), reader.isAtEnd else { return nil }
        return Int32(days)
    }

    /// Microseconds since the epoch of an ISO 8601 time (`T` or a space in the middle, any zone, UTC without one; the
    /// time of day may be missing), nil when it is none.
    package static func parseTimestamp(_ bytes: UnsafeRawBufferPointer) -> Int64? {
        var reader = Reader(bytes: trimmed(bytes))
        guard let days = reader.date() else { return nil }
        var time = Int64(days) * microsecondsPerDay
        if !reader.isAtEnd {
            guard reader.take("T") || reader.take(" ") || reader.take("t"), let hour = reader.digits(2), hour <= 23,
                reader.take(":"), let minute = reader.digits(2), minute <= 59
            else { return nil }
            var seconds = Int64(hour * 3600 + minute * 60)
            var fraction: Int64 = 0
            if reader.take(":") {
                guard let second = reader.digits(2), second <= 60 else { return nil }
                seconds += Int64(second)
                if reader.take(".") || reader.take(",") {
                    guard let part = reader.fraction() else { return nil }
                    fraction = part
                }
            }
            if reader.peek == 0x20 { reader.position += 1 }
            guard let zone = reader.zone(), reader.isAtEnd else { return nil }
            time += seconds * microsecondsPerSecond + fraction - zone
        }
        return timestampRange.contains(time) ? time : nil
    }

    private static func append(_ value: Int, digits: Int, to text: inout [UInt8]) {
        var divisor = 1
        for _ in 1..<digits { divisor *= 10 }
        while divisor > 0 {
            text.append(UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: value / divisor % 10))
            divisor /= 10
        }
    }

    /// Appends `YYYY-MM-DD`.
    static func appendDate(_ days: Int, to text: inout [UInt8]) {
        let day = day(days)
        append(day.year, digits: day.year > 9999 ? 6 : 4, to: &text)
        text.append(UInt8(ascii: "-"))
        append(day.month, digits: 2, to: &text)
        text.append(UInt8(ascii: "-"))
        append(day.day, digits: 2, to: &text)
    }

    /// Appends `YYYY-MM-DDTHH:MM:SS[.ffffff]Z`, the fraction without trailing zeros.
    static func appendTimestamp(_ timestamp: Int64, to text: inout [UInt8]) {
        let (days, microseconds) = split(timestamp)
        appendDate(days, to: &text)
        text.append(UInt8(ascii: "T"))
        let seconds = Int(microseconds / microsecondsPerSecond)
        append(seconds / 3600, digits: 2, to: &text)
        text.append(UInt8(ascii: ":"))
        append(seconds / 60 % 60, digits: 2, to: &text)
        text.append(UInt8(ascii: ":"))
        append(seconds % 60, digits: 2, to: &text)
        let fraction = Int(microseconds % microsecondsPerSecond)
        if fraction != 0 {
            text.append(UInt8(ascii: "."))
            append(fraction, digits: 6, to: &text)
            while text.last == UInt8(ascii: "0") { text.removeLast() }
        }
        text.append(UInt8(ascii: "Z"))
    }

    static func timestampText(_ timestamp: Int64) -> String {
        var text: [UInt8] = []
        appendTimestamp(timestamp, to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    static func dateText(_ days: Int32) -> String {
        var text: [UInt8] = []
        appendDate(Int(days), to: &text)
        return String(decoding: text, as: UTF8.self)
    }
}

extension Interval {
    private static let units: [(names: [String], months: Int64, microseconds: Int64)] = [
        (["microsecond", "us"], 0, 1), (["millisecond", "ms"], 0, 1000), (["second", "sec", "s"], 0, 1_000_000),
        (["minute", "min"], 0, 60_000_000), (["hour", "hr", "h"], 0, 3_600_000_000),
        (["day", "d"], 0, Calendar.microsecondsPerDay), (["week", "w"], 0, 7 * Calendar.microsecondsPerDay),
        (["month", "mon"], 1, 0), (["quarter"], 3, 0), (["year", "y"], 12, 0),
    ]

    /// The unit of that name, singular or plural.
    static func unit(_ name: String) -> Interval? {
        let name = name.lowercased()
        let found = units.first { unit in unit.names.contains { $0 == name || $0 + "s" == name } }
        return found.map { Interval(months: $0.months, microseconds: $0.microseconds) }
    }

    /// Reads `10 seconds`, `1 day 2 hours`, `-1.5 hours`, `500ms`. Nil when the text is none, or too long a span.
    init?(_ text: String) {
        self.init()
        var rest = Substring(text)
        var found = false
        while true {
            rest = rest.drop { $0 == " " }
            if rest.isEmpty { break }
            let number = rest.prefix { $0.isNumber || $0 == "-" || $0 == "+" || $0 == "." }
            rest = rest.dropFirst(number.count).drop { $0 == " " }
            let name = rest.prefix { $0.isLetter }
            rest = rest.dropFirst(name.count)
            guard let unit = Interval.unit(String(name)), add(String(number), unit) else { return nil }
            found = true
        }
        if !found { return nil }
    }

    private mutating func add(_ number: String, _ unit: Interval) -> Bool {
        if let count = Int64(number) {
            let (m, o1) = unit.months.multipliedReportingOverflow(by: count)
            let (u, o2) = unit.microseconds.multipliedReportingOverflow(by: count)
            let (months, o3) = months.addingReportingOverflow(m)
            let (microseconds, o4) = microseconds.addingReportingOverflow(u)
            self.months = months
            self.microseconds = microseconds
            return !(o1 || o2 || o3 || o4)
        }
        // Fractions of seconds, hours, days; a fraction of a month has no length.
        guard unit.months == 0, let count = Double(number), count.isFinite else { return false }
        let value = (count * Double(unit.microseconds)).rounded()
        guard let exact = Int64(exactly: value) else { return false }
        let (sum, overflow) = microseconds.addingReportingOverflow(exact)
        microseconds = sum
        return !overflow
    }

    /// What ``init(_:)`` reads, e.g. `1 month 10 seconds`.
    var text: String {
        var parts: [String] = []
        if months != 0 { parts.append("\(months) month\(abs(months) == 1 ? "" : "s")") }
        var left = microseconds
        for (name, length) in [
            ("day", Calendar.microsecondsPerDay), ("hour", 3_600_000_000), ("minute", 60_000_000),
            ("second", 1_000_000), ("millisecond", 1000), ("microsecond", 1),
        ] {
            let count = left / length
            left %= length
            if count != 0 { parts.append("\(count) \(name)\(count == 1 || count == -1 ? "" : "s")") }
        }
        return parts.isEmpty ? "0 seconds" : parts.joined(separator: " ")
    }
}
