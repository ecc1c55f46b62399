import DataflowColumnar

/// Kernels over timestamps and dates.
enum TimeKernels {
    static func outOfRange(_ sql: String) -> RowError {
        RowError(.overflow, "the time of \(sql) lies outside of the years 0001 to 9999")
    }

    /// timestamp ± (months, microseconds).
    static func moveTimestamp(_ sign: Int64, _ sql: String) -> Kernel {
        { arguments, rows, evaluation in
            let times = arguments[0].operand(Int64.self)
            let months = arguments[1].operand(Int64.self)
            let spans = arguments[2].operand(Int64.self)
            let values = Values<Int64>(count: rows) { out in
                for row in 0..<rows {
                    let time = times.values[times.isConstant ? 0 : row]
                    let month = months.values[months.isConstant ? 0 : row]
                    let span = spans.values[spans.isConstant ? 0 : row]
                    out[row] = 0
                    // The smallest numbers have no opposite.
                    if month != .min, span != .min, Calendar.timestampRange.contains(time),
                        let moved = Calendar.add(time, months: month * sign, microseconds: span * sign)
                    {
                        out[row] = moved
                    } else {
                        evaluation.fail(row, outOfRange(sql))
                    }
                }
            }
            return Column(.timestamp, .int64(values))
        }
    }

    /// date ± days.
    static func moveDate(_ sign: Int64, _ sql: String) -> Kernel {
        { arguments, rows, evaluation in
            let values = Values<Int32>(count: rows) { out in
                forEach(arguments[0].operand(Int32.self), arguments[1].operand(Int64.self), rows) { row, date, days in
                    out[row] = 0
                    let (sum, overflow) = Int64(date).addingReportingOverflow(days == .min ? .max : days * sign)
                    if !overflow, let day = Int32(exactly: sum), Calendar.dateRange.contains(day) {
                        out[row] = day
                    } else {
                        evaluation.fail(row, outOfRange(sql))
                    }
                }
            }
            return Column(.date, .int32(values))
        }
    }

    // MARK: Units

    enum Unit: String, CaseIterable, Sendable {
        case microsecond, millisecond, second, minute, hour, day, week, month, quarter, year

        init?(name: String) {
            let name = name.lowercased()
            guard let unit = Unit.allCases.first(where: { $0.rawValue == name || $0.rawValue + "s" == name }) else {
                return nil
            }
            self = unit
        }

        static var names: String { allCases.map { "'\($0.rawValue)'" }.joined(separator: ", ") }

        /// The length where all units are equally long.
        var microseconds: Int64? {
            switch self {
            case .microsecond: 1
            case .millisecond: 1000
            case .second: 1_000_000
            case .minute: 60_000_000
            case .hour: 3_600_000_000
            case .day: Calendar.microsecondsPerDay
            case .week: 7 * Calendar.microsecondsPerDay
            case .month, .quarter, .year: nil
            }
        }

        /// The number of the unit that a time lies in, counted from some fixed one.
        @inline(__always)
        func number(_ time: Int64) -> Int64 {
            switch self {
            case .week:
                return Calendar.floorDivide(time &+ 3 * Calendar.microsecondsPerDay, 7 * Calendar.microsecondsPerDay)
            case .month, .quarter, .year:
                let day = Calendar.day(Calendar.split(time).days)
                let months = Int64(day.year * 12 + day.month - 1)
                return self == .month ? months : self == .quarter ? months / 3 : Int64(day.year)
            default: return Calendar.floorDivide(time, microseconds ?? 1)
            }
        }
    }

    /// The beginning of the unit that a timestamp lies in.
    static func truncate(_ unit: Unit) -> Kernel {
        { arguments, rows, _ in
            let times = arguments[0].operand(Int64.self)
            let values: Values<Int64>
            switch unit {
            case .week:
                // Weeks begin on Monday; the epoch was a Thursday.
                let week = 7 * Calendar.microsecondsPerDay
                let shift = 3 * Calendar.microsecondsPerDay
                values = map(times, rows) { Calendar.floorDivide($0 &+ shift, week) &* week &- shift }
            case .month, .quarter, .year:
                values = map(times, rows) { time in
                    let day = Calendar.day(Calendar.split(time).days)
                    let month = unit == .month ? day.month : unit == .quarter ? (day.month - 1) / 3 * 3 + 1 : 1
                    return Int64(Calendar.days(year: day.year, month: month, day: 1)) &* Calendar.microsecondsPerDay
                }
            default:
                let length = unit.microseconds ?? 1
                values = map(times, rows) { Calendar.floorDivide($0, length) &* length }
            }
            return Column(.timestamp, .int64(values))
        }
    }

    /// The beginning of the span that a timestamp lies in, spans counted from an origin.
    static let bin: Kernel = { arguments, rows, evaluation in
        let lengths = arguments[0].operand(Int64.self)
        let times = arguments[1].operand(Int64.self)
        let origins = arguments[2].operand(Int64.self)
        let values = Values<Int64>(count: rows) { out in
            for row in 0..<rows {
                let length = lengths.values[lengths.isConstant ? 0 : row]
                let time = times.values[times.isConstant ? 0 : row]
                let origin = origins.values[origins.isConstant ? 0 : row]
                out[row] = 0
                if length <= 0 {
                    evaluation.fail(row, RowError(.invalidArgument, "date_bin needs an interval longer than zero"))
                    continue
                }
                let start = Calendar.floorDivide(time &- origin, length).multipliedReportingOverflow(by: length)
                out[row] = start.partialValue &+ origin
                if start.overflow || !Calendar.timestampRange.contains(out[row]) {
                    evaluation.fail(row, outOfRange("date_bin"))
                }
            }
        }
        return Column(.timestamp, .int64(values))
    }

    /// How many boundaries of the unit lie between two times.
    static func difference(_ unit: Unit) -> Kernel {
        { arguments, rows, _ in
            Column(
                .int64,
                .int64(
                    map(arguments[0].operand(Int64.self), arguments[1].operand(Int64.self), rows) {
                        unit.number($1) &- unit.number($0)
                    }))
        }
    }

    // MARK: Parts

    enum Part: String, CaseIterable, Sendable {
        case year, quarter, month, week, day, hour, minute, second, millisecond, microsecond, dow, isodow, doy, isoyear,
            epoch

        init?(name: String) {
            let name = name.lowercased()
            guard let part = Part.allCases.first(where: { $0.rawValue == name || $0.rawValue + "s" == name }) else {
                return nil
            }
            self = part
        }

        static var names: String { allCases.map(\.rawValue).joined(separator: ", ") }
    }

    static func part(_ part: Part) -> Kernel {
        func kernel(_ compute: @escaping @Sendable (Int64) -> Int64) -> Kernel {
            { arguments, rows, _ in Column(.int64, .int64(map(arguments[0].operand(Int64.self), rows, compute))) }
        }
        func day(_ compute: @escaping @Sendable (Calendar.Day, Int) -> Int) -> Kernel {
            { arguments, rows, _ in
                Column(
                    .int64,
                    .int64(
                        map(arguments[0].operand(Int64.self), rows) { time in
                            let days = Calendar.split(time).days
                            return Int64(compute(Calendar.day(days), days))
                        }))
            }
        }
        switch part {
        case .year: return day { day, _ in day.year }
        case .quarter: return day { day, _ in (day.month - 1) / 3 + 1 }
        case .month: return day { day, _ in day.month }
        case .day: return day { day, _ in day.day }
        case .doy: return day { day, days in days - Calendar.days(year: day.year, month: 1, day: 1) + 1 }
        case .dow: return day { _, days in weekday(days) % 7 }
        case .isodow: return day { _, days in weekday(days) }
        case .week: return day { _, days in isoWeek(days).week }
        case .isoyear: return day { _, days in isoWeek(days).year }
        case .hour: return kernel { Calendar.split($0).microseconds / 3_600_000_000 }
        case .minute: return kernel { Calendar.split($0).microseconds / 60_000_000 % 60 }
        case .second: return kernel { Calendar.split($0).microseconds / 1_000_000 % 60 }
        case .millisecond: return kernel { Calendar.split($0).microseconds % 60_000_000 / 1000 }
        case .microsecond: return kernel { Calendar.split($0).microseconds % 60_000_000 }
        case .epoch:
            return { arguments, rows, _ in
                Column(.float64, .float64(map(arguments[0].operand(Int64.self), rows) { Double($0) / 1e6 }))
            }
        }
    }

    /// 1 is Monday, 7 is Sunday.
    static func weekday(_ days: Int) -> Int {
        let shifted = (days + 3) % 7
        return (shifted < 0 ? shifted + 7 : shifted) + 1
    }

    /// The week by ISO 8601: the one with the year's first Thursday is number 1.
    static func isoWeek(_ days: Int) -> (year: Int, week: Int) {
        let thursday = days - weekday(days) + 4
        let year = Calendar.day(thursday).year
        return (year, (thursday - Calendar.days(year: year, month: 1, day: 1)) / 7 + 1)
    }

    // MARK: Epochs

    /// A whole number of units of `scale` microseconds since the epoch as a timestamp.
    static func fromEpoch(multiply: Int64, divide: Int64, _ name: String) -> Kernel {
        { arguments, rows, evaluation in
            let values = arguments[0].operand(Int64.self)
            return Column(
                .timestamp,
                .int64(
                    Values(count: rows) { out in
                        for row in 0..<rows {
                            let value = values.values[row]
                            let (scaled, overflow) = Calendar.floorDivide(value, divide)
                                .multipliedReportingOverflow(by: multiply)
                            out[row] = scaled
                            if overflow || !Calendar.timestampRange.contains(scaled) {
                                out[row] = 0
                                evaluation.fail(row, outOfRange("\(name)(\(value))"))
                            }
                        }
                    }))
        }
    }

    /// Seconds with a fraction since the epoch.
    static let fromSeconds: Kernel = { arguments, rows, evaluation in
        let values = arguments[0].operand(Double.self)
        return Column(
            .timestamp,
            .int64(
                Values(count: rows) { out in
                    for row in 0..<rows {
                        let value = values.values[row]
                        if let time = Int64(exactly: (value * 1e6).rounded(.toNearestOrEven)),
                            Calendar.timestampRange.contains(time)
                        {
                            out[row] = time
                        } else {
                            out[row] = 0
                            evaluation.fail(row, outOfRange("from_unixtime(\(value))"))
                        }
                    }
                }))
    }

    /// Whole units of `length` microseconds since the epoch, rounded down.
    static func toEpoch(_ length: Int64) -> Kernel {
        { arguments, rows, _ in
            Column(.int64, .int64(map(arguments[0].operand(Int64.self), rows) { Calendar.floorDivide($0, length) }))
        }
    }

    static let makeDate: Kernel = { arguments, rows, evaluation in
        let parts = arguments.map { $0.operand(Int64.self) }
        return Column(
            .date,
            .int32(
                Values(count: rows) { out in
                    for row in 0..<rows {
                        let (y, m, d) = (
                            parts[0].values[parts[0].isConstant ? 0 : row],
                            parts[1].values[parts[1].isConstant ? 0 : row],
                            parts[2].values[parts[2].isConstant ? 0 : row]
                        )
                        out[row] = 0
                        if (1...9999).contains(y), (1...12).contains(m), d >= 1,
                            d <= Int64(Calendar.daysInMonth(Int(y), Int(m)))
                        {
                            out[row] = Int32(Calendar.days(year: Int(y), month: Int(m), day: Int(d)))
                        } else {
                            evaluation.fail(row, RowError(.invalidArgument, "there is no day \(y)-\(m)-\(d)"))
                        }
                    }
                }))
    }
}
