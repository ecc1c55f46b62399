// Timestamps and dates as ISO 8601 text.

extension TextBuffer {
    /// Year, month and day of a number of days since 1970-01-01. Source: Howard Hinnant, "chrono-compatible low-level
    /// date algorithms", civil_from_days.
    private static func civil(_ days: Int) -> (year: Int, month: Int, day: Int) {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        return (yearOfEra + era * 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * shiftedMonth + 2) / 5 + 1)
    }

    /// Appends `YYYY-MM-DD`; years beyond four digits get a sign and six, as ISO 8601 has it.
    public mutating func append(date days: Int) {
        let (year, month, day) = TextBuffer.civil(days)
        if 0...9999 ~= year {
            append(year, digits: 4)
        } else {
            append(UInt8(ascii: year < 0 ? "-" : "+"))
            append(abs(year), digits: 6)
        }
        append(UInt8(ascii: "-"))
        append(month, digits: 2)
        append(UInt8(ascii: "-"))
        append(day, digits: 2)
    }

    /// Appends `YYYY-MM-DDThh:mm:ss.ffffffZ` of microseconds since the epoch.
    public mutating func append(timestamp microseconds: Int64) {
        let day = Int64(86_400_000_000)
        var days = microseconds / day
        var rest = microseconds % day
        if rest < 0 {
            days -= 1
            rest += day
        }
        append(date: Int(days))
        appendTime(Int(rest))
    }

    @inline(__always)
    mutating func appendTime(_ microsecondsOfDay: Int) {
        let seconds = microsecondsOfDay / 1_000_000
        append(UInt8(ascii: "T"))
        append(seconds / 3600, digits: 2)
        append(UInt8(ascii: ":"))
        append(seconds / 60 % 60, digits: 2)
        append(UInt8(ascii: ":"))
        append(seconds % 60, digits: 2)
        append(UInt8(ascii: "."))
        append(microsecondsOfDay % 1_000_000, digits: 6)
        append(UInt8(ascii: "Z"))
    }
}
