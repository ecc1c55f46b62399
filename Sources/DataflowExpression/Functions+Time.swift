import DataflowColumnar

extension Function {
    static let timeFunctions: [Function] = [
        Function(
            "now", "now()", 0...0, "The present time: the same for all rows of a batch.", []
        ) { site throws(ExpressionError) in site.value(.now, nullable: false) },
        Function(
            "to_timestamp", "to_timestamp(text [, format])` or `to_timestamp(seconds)", 1...2,
            "A timestamp from ISO 8601 text (UTC if it has no zone), from text in a format of strptime, or from seconds since 1970. The row fails if it is none.",
            [
                ("to_timestamp('2024-05-01T12:30:00+02:00')", "timestamp '2024-05-01T10:30:00Z'"),
                ("to_timestamp('01.05.2024', '%d.%m.%Y')", "timestamp '2024-05-01T00:00:00Z'"),
                ("to_timestamp(86400)", "timestamp '1970-01-02T00:00:00Z'"),
            ]
        ) { site throws(ExpressionError) in try toTimestamp(site) },
        Function(
            "try_to_timestamp", "try_to_timestamp(text [, format])", 1...2,
            "As `to_timestamp`, but null where it fails.",
            [("try_to_timestamp('soon')", "null")]
        ) { site throws(ExpressionError) in
            let checked = try toTimestamp(site)
            guard let plan = checked.plan else { return checked }
            if plan.constant != nil { return site.value(plan, nullable: true) }
            if case .failing = plan { return site.value(.constant(.nulls(.timestamp, count: 1)), nullable: true) }
            return site.value(.nullOnError(plan), nullable: true)
        },
        Function(
            "from_unixtime", "from_unixtime(seconds)", 1...1,
            "A timestamp from seconds since 1970, fractions included.",
            [("from_unixtime(1.5)", "timestamp '1970-01-01T00:00:01.5Z'")]
        ) { site throws(ExpressionError) in try fromSeconds(site) },
        fromEpoch("timestamp_millis", "milliseconds", 1000, 1, "timestamp '1970-01-01T00:00:01.5Z'", "1500"),
        fromEpoch("timestamp_micros", "microseconds", 1, 1, "timestamp '1970-01-01T00:00:00.0015Z'", "1500"),
        fromEpoch("timestamp_nanos", "nanoseconds", 1, 1000, "timestamp '1970-01-01T00:00:00.000001Z'", "1500"),
        toEpoch("epoch", "seconds", 1_000_000, "1"),
        toEpoch("epoch_ms", "milliseconds", 1000, "1500"),
        toEpoch("epoch_us", "microseconds", 1, "1500000"),
        Function(
            "date_trunc", "date_trunc(unit, time)", 2...2,
            "The beginning of the unit that the time lies in (UTC; weeks begin on Monday). Units: \(TimeKernels.Unit.allCases.map(\.rawValue).joined(separator: ", ")).",
            [("date_trunc('hour', timestamp '2024-05-01T12:34:56Z')", "timestamp '2024-05-01T12:00:00Z'")]
        ) { site throws(ExpressionError) in
            let unit = try unit(site, 0)
            return site.call(.timestamp, [try time(site, 1)], TimeKernels.truncate(unit))
        },
        Function(
            "date_bin", "date_bin(interval, time [, origin])", 2...3,
            "The beginning of the span of that length that the time lies in, spans counted from the origin (1970 if left out).",
            [("date_bin(interval '15 minutes', timestamp '2024-05-01T12:34:56Z')", "timestamp '2024-05-01T12:30:00Z'")]
        ) { site throws(ExpressionError) in
            guard case .interval(let months, let length) = site.arguments[0].content,
                months.constant?.int64Values?[0] == 0
            else {
                throw site.error(0, "date_bin needs an interval without months", hint: "write interval '15 minutes'")
            }
            let origin = site.count > 2 ? try time(site, 2) : .constant(.timestamp([0]))
            return site.call(.timestamp, [length, try time(site, 1), origin], TimeKernels.bin)
        },
        Function(
            "date_part", "date_part(part, time)", 2...2,
            "A part of a time as int64, in UTC; also `extract(part from time)`. Parts: \(TimeKernels.Part.names). `epoch` is float64 seconds and works for the difference of two times too; `dow` is 0 on Sunday, `isodow` 7; `millisecond` and `microsecond` include the seconds.",
            [
                ("extract(year from date '2024-05-01')", "2024"),
                (
                    "extract(epoch from timestamp '2024-05-01T00:00:10Z' - timestamp '2024-05-01T00:00:00Z')",
                    "cast(10 as float64)"
                ),
            ]
        ) { site throws(ExpressionError) in
            let name = try site.constantText(0, "the part of the time")
            guard let part = TimeKernels.Part(name: name) else {
                throw site.error(
                    0, "unknown part of a time '\(name)'",
                    hint: Suggestion.hint(
                        for: name, among: TimeKernels.Part.allCases.map(\.rawValue),
                        otherwise: "parts are \(TimeKernels.Part.names)"))
            }
            if case .interval(let months, let length) = site.arguments[1].content {
                guard part == .epoch, months.constant?.int64Values?[0] == 0 else {
                    throw site.error(
                        nil, "only the epoch of an interval without months can be taken",
                        hint: "write extract(epoch from …)")
                }
                return site.call(.float64, [length], TimeKernels.part(.epoch))
            }
            return site.call(part == .epoch ? .float64 : .int64, [try time(site, 1)], TimeKernels.part(part))
        },
        Function(
            "date_diff", "date_diff(unit, from, to)", 3...3,
            "How many beginnings of the unit lie between two times; negative if `to` is earlier.",
            [("date_diff('day', date '2024-02-28', date '2024-03-01')", "2")]
        ) { site throws(ExpressionError) in
            let unit = try unit(site, 0)
            return site.call(.int64, [try time(site, 1), try time(site, 2)], TimeKernels.difference(unit))
        },
        Function(
            "make_date", "make_date(year, month, day)", 3...3, "A date from its parts.",
            [("make_date(2024, 2, 29)", "date '2024-02-29'")]
        ) { site throws(ExpressionError) in
            site.call(
                .date, [try site.plan(0, .int64), try site.plan(1, .int64), try site.plan(2, .int64)],
                TimeKernels.makeDate)
        },
        Function(
            "strftime", "strftime(time, format)", 2...2,
            "The time as text, in UTC. Fields: `%Y %y %m %b %B %d %e %j %H %I %p %M %S %f` (microseconds) `%L` (milliseconds) `%a %A %u %w %V %G %s %z %F %T %%`.",
            [("strftime(timestamp '2024-05-01T12:30:00Z', '%Y/%m/%d %H:%M')", "'2024/05/01 12:30'")]
        ) { site throws(ExpressionError) in
            let format = try timeFormat(site, 1, reading: false)
            return site.call(.string, [try time(site, 0)]) { arguments, rows, evaluation in
                let times = arguments[0].operand(Int64.self).values
                return writeText(rows) { row, output in
                    let time = times[row]
                    if Calendar.timestampRange.contains(time) {
                        format.write(time, to: &output)
                    } else {
                        evaluation.fail(row, TimeKernels.outOfRange("strftime"))
                    }
                }
            }
        },
        Function(
            "strptime", "strptime(text, format)", 2...2,
            "A timestamp from text in a format; without a zone it is UTC. The row fails if the text does not follow it. Fields: `%Y %y %m %b %B %d %e %j %H %I %p %M %S %f %L %s %z %F %T %%`.",
            [("strptime('May 1 2024, 3:05 PM', '%b %d %Y, %I:%M %p')", "timestamp '2024-05-01T15:05:00Z'")]
        ) { site throws(ExpressionError) in try readTime(site) },
    ]

    /// A timestamp; dates are their midnight.
    private static func time(_ site: CallSite, _ index: Int) throws(ExpressionError) -> Plan {
        try site.plan(index, .timestamp)
    }

    private static func unit(_ site: CallSite, _ index: Int) throws(ExpressionError) -> TimeKernels.Unit {
        let name = try site.constantText(index, "the unit")
        guard let unit = TimeKernels.Unit(name: name) else {
            throw site.error(
                index, "unknown unit of time '\(name)'",
                hint: Suggestion.hint(
                    for: name, among: TimeKernels.Unit.allCases.map(\.rawValue),
                    otherwise: "units are \(TimeKernels.Unit.names)"))
        }
        return unit
    }

    private static func timeFormat(_ site: CallSite, _ index: Int, reading: Bool) throws(ExpressionError) -> TimeFormat
    {
        let text = try site.constantText(index, "the format")
        do throws(TimeFormat.UnknownField) { return try TimeFormat(text, reading: reading) } catch {
            let known = (reading ? TimeFormat.read : TimeFormat.written).map { "%\($0)" }.joined(separator: " ")
            throw site.error(index, "unknown field \(error.field) in the format", hint: "fields are \(known)")
        }
    }

    private static func readTime(_ site: CallSite) throws(ExpressionError) -> Checked {
        let format = try timeFormat(site, 1, reading: true)
        let formatText = try site.constantText(1, "the format")
        return site.call(.timestamp, [try site.plan(0, .string)]) { arguments, rows, evaluation in
            let texts = arguments[0].text
            return texts.withUnsafeViews { views in
                Column(
                    .timestamp,
                    .int64(
                        Values(count: rows) { out in
                            for row in 0..<rows {
                                if let time = format.read(views.bytes(row)) {
                                    out[row] = time
                                } else {
                                    out[row] = 0
                                    evaluation.fail(
                                        row,
                                        RowError(
                                            .invalidCast,
                                            "\(Casts.excerpt(texts.string(at: row))) is no time in the format '\(formatText)'"
                                        ))
                                }
                            }
                        }))
            }
        }
    }

    private static func toTimestamp(_ site: CallSite) throws(ExpressionError) -> Checked {
        if site.count > 1 { return try readTime(site) }
        if site.arguments[0].type?.isNumeric ?? false { return try fromSeconds(site) }
        if site.arguments[0].type == .date || site.arguments[0].type == .timestamp {
            return site.value(try time(site, 0))
        }
        let plan = try site.plan(0, .string)
        guard let kernel = Casts.kernel(from: .string, to: .timestamp) else { return site.value(plan) }
        return site.call(.timestamp, [plan], kernel)
    }

    private static func fromSeconds(_ site: CallSite) throws(ExpressionError) -> Checked {
        let plan = try number(site, 0)
        switch plan.type {
        case .int32, .int64:
            return site.call(
                .timestamp, [try site.plan(0, .int64)],
                TimeKernels.fromEpoch(multiply: 1_000_000, divide: 1, site.function.name))
        default:
            guard let kernel = Casts.kernel(from: plan.type, to: .float64), plan.type != .float64 else {
                return site.call(.timestamp, [plan], TimeKernels.fromSeconds)
            }
            let seconds = Checker.fold(PlannedCall(type: .float64, arguments: [plan], kernel: kernel))
            return site.call(.timestamp, [seconds], TimeKernels.fromSeconds)
        }
    }

    private static func fromEpoch(
        _ name: String, _ unit: String, _ multiply: Int64, _ divide: Int64, _ value: String, _ argument: String
    ) -> Function {
        Function(
            name, "\(name)(x)", 1...1, "A timestamp from whole \(unit) since 1970.", [("\(name)(\(argument))", value)]
        ) { site throws(ExpressionError) in
            site.call(
                .timestamp, [try site.plan(0, .int64)], TimeKernels.fromEpoch(multiply: multiply, divide: divide, name))
        }
    }

    private static func toEpoch(_ name: String, _ unit: String, _ length: Int64, _ value: String) -> Function {
        Function(
            name, "\(name)(time)", 1...1, "Whole \(unit) since 1970, rounded down.",
            [("\(name)(timestamp '1970-01-01T00:00:01.5Z')", value)]
        ) { site throws(ExpressionError) in site.call(.int64, [try time(site, 0)], TimeKernels.toEpoch(length)) }
    }
}
