import Glibc

/// Reads ISO 8601 timestamps and dates.
///
/// Accepted: `YYYY-MM-DD`, then `T` or a space and `hh:mm`, optionally `:ss` with 1 to 9 decimals (cut to microseconds),
/// then `Z`, an offset (`+02`, `+0200`, `+02:00`) or nothing, which means UTC. The minute of the last text is remembered:
/// neighbouring events mostly share it, and then only seconds are read.
struct TimestampText {
    private var minuteLow: UInt64 = 0
    private var minuteHigh: UInt64 = 0
    private var minuteMicroseconds: Int64 = 0

    @inline(__always)
    private static func digits(_ bytes: UnsafePointer<UInt8>, _ at: Int, _ count: Int, _ bad: inout UInt8) -> Int {
        var value = 0
        for i in 0..<count {
            let digit = bytes[at &+ i] &- UInt8(ascii: "0")
            bad |= digit > 9 ? 1 : 0
            value = value &* 10 &+ Int(digit)
        }
        return value
    }

    /// Days since 1970-01-01 of a date of the proleptic Gregorian calendar. Source: Howard Hinnant, "chrono-compatible
    /// low-level date algorithms", days_from_civil.
    @inline(__always)
    static func days(year: Int, month: Int, day: Int) -> Int {
        let y = month <= 2 ? year - 1 : year
        let era = (y >= 0 ? y : y - 399) / 400
        let yearOfEra = y - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let dayOfEra = yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear
        return era * 146_097 + dayOfEra - 719_468
    }

    /// Days since 1970-01-01 of the ten bytes `YYYY-MM-DD`; nil where they are no date.
    static func date(_ bytes: UnsafePointer<UInt8>) -> Int? {
        var bad: UInt8 = 0
        let year = digits(bytes, 0, 4, &bad)
        let month = digits(bytes, 5, 2, &bad)
        let day = digits(bytes, 8, 2, &bad)
        guard bad == 0, bytes[4] == UInt8(ascii: "-"), bytes[7] == UInt8(ascii: "-"), 1...12 ~= month, day >= 1 else {
            return nil
        }
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        let length = month == 2 ? (isLeap ? 29 : 28) : (month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31)
        return day <= length ? days(year: year, month: month, day: day) : nil
    }

    /// Microseconds since the epoch; nil where the text is no timestamp. Reads up to 16 bytes from the start, so those
    /// must be readable.
    @inline(__always)
    mutating func microseconds(_ text: UnsafeRawBufferPointer) -> Int64? {
        guard text.count > 16, let start = text.baseAddress else { return shortText(text) }
        let low = start.loadUnaligned(as: UInt64.self)
        let high = start.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
        if low != minuteLow || high != minuteHigh {
            guard let minute = TimestampText.minute(start.assumingMemoryBound(to: UInt8.self)) else { return nil }
            minuteLow = low
            minuteHigh = high
            minuteMicroseconds = minute
        }
        guard let rest = TimestampText.rest(start.assumingMemoryBound(to: UInt8.self), text.count) else { return nil }
        return minuteMicroseconds &+ rest
    }

    private func shortText(_ text: UnsafeRawBufferPointer) -> Int64? {
        guard let start = text.baseAddress?.assumingMemoryBound(to: UInt8.self) else { return nil }
        if text.count == 16 { return TimestampText.minute(start) }
        guard text.count == 10, let day = TimestampText.date(start) else { return nil }
        return Int64(day) * 86_400_000_000
    }

    /// Microseconds of the sixteen bytes `YYYY-MM-DDThh:mm`.
    private static func minute(_ bytes: UnsafePointer<UInt8>) -> Int64? {
        guard let day = date(bytes) else { return nil }
        var bad: UInt8 = 0
        let hour = digits(bytes, 11, 2, &bad)
        let minute = digits(bytes, 14, 2, &bad)
        let separator = bytes[10]
        guard bad == 0, hour < 24, minute < 60, bytes[13] == UInt8(ascii: ":"),
            separator == UInt8(ascii: "T") || separator == UInt8(ascii: " ") || separator == UInt8(ascii: "t")
        else { return nil }
        return Int64((day * 1440 + hour * 60 + minute) * 60) * 1_000_000
    }

    /// Microseconds of what follows the minute: seconds, decimals, offset.
    @inline(__always)
    private static func rest(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> Int64? {
        var at = 16
        var bad: UInt8 = 0
        var micro = 0
        if bytes[16] == UInt8(ascii: ":") {
            guard count >= 19 else { return nil }
            let second = digits(bytes, 17, 2, &bad)
            // 60: a leap second, the first of the next minute.
            guard bad == 0, second <= 60 else { return nil }
            micro = second &* 1_000_000
            at = 19
            if at < count, bytes[at] == UInt8(ascii: ".") || bytes[at] == UInt8(ascii: ",") {
                at &+= 1
                let first = at
                var unit = 100_000
                while at < count {
                    let digit = Int(bytes[at]) &- Int(UInt8(ascii: "0"))
                    guard digit >= 0, digit <= 9 else { break }
                    micro &+= digit &* unit
                    unit = unit == 1 ? 0 : unit / 10
                    at &+= 1
                }
                guard at > first, at &- first <= 9 else { return nil }
            }
        }
        if at == count { return Int64(micro) }
        let zone = bytes[at]
        if zone == UInt8(ascii: "Z") || zone == UInt8(ascii: "z") { return at + 1 == count ? Int64(micro) : nil }
        guard zone == UInt8(ascii: "+") || zone == UInt8(ascii: "-") else { return nil }
        let left = count - at - 1
        guard left == 2 || left == 4 || left == 5 else { return nil }
        let hours = digits(bytes, at + 1, 2, &bad)
        var minutes = 0
        if left == 4 { minutes = digits(bytes, at + 3, 2, &bad) }
        if left == 5 {
            guard bytes[at + 3] == UInt8(ascii: ":") else { return nil }
            minutes = digits(bytes, at + 4, 2, &bad)
        }
        guard bad == 0, hours < 24, minutes < 60 else { return nil }
        let offset = (hours * 60 + minutes) * 60_000_000
        return Int64(zone == UInt8(ascii: "+") ? micro - offset : micro + offset)
    }
}
