import DataflowColumnar

/// Boxed values as JSON text: for dead letters, never for a row loop.
enum JSONText {
    static func append(_ text: String, to result: inout String) {
        result += "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case _ where scalar.value < 0x20:
                let hex = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            default: result.unicodeScalars.append(scalar)
            }
        }
        result += "\""
    }

    static func append(_ value: Value, _ type: DataType, to result: inout String) {
        switch (value, type) {
        case (.null, _): result += "null"
        case (.bool(let value), _): result += value ? "true" : "false"
        case (.int(let value), _): result += String(value)
        case (.float(let value), _): result += value.isFinite ? "\(value)" : "null"
        case (.decimal(let value, let scale), _): result += decimal(value, scale)
        case (.string(let value), _): append(value, to: &result)
        case (.bytes(let value), _): append(String(decoding: value, as: UTF8.self), to: &result)
        case (.timestamp(let value), _): append(timestamp(value), to: &result)
        case (.date(let value), _): append(date(Int(value)), to: &result)
        case (.list(let values), .list(let element)):
            result += "["
            for (index, value) in values.enumerated() {
                if index > 0 { result += "," }
                append(value, element, to: &result)
            }
            result += "]"
        case (.structure(let values), .structure(let fields)):
            result += "{"
            for (index, (value, field)) in zip(values, fields).enumerated() {
                if index > 0 { result += "," }
                append(field.name, to: &result)
                result += ":"
                append(value, field.type, to: &result)
            }
            result += "}"
        case (.list, _), (.structure, _): result += "null"
        }
    }

    private static func decimal(_ value: Int128, _ scale: Int) -> String {
        guard scale > 0 else { return String(value) }
        var digits = String(value.magnitude)
        if digits.count <= scale { digits = String(repeating: "0", count: scale + 1 - digits.count) + digits }
        return (value < 0 ? "-" : "") + digits.dropLast(scale) + "." + digits.suffix(scale)
    }

    private static func timestamp(_ microseconds: Int64) -> String {
        let day: Int64 = 86_400_000_000
        let days = microseconds >= 0 ? microseconds / day : (microseconds + 1) / day - 1
        let rest = microseconds - days * day
        func two(_ value: Int64) -> String { padded(Int(value), 2) }
        let seconds = rest / 1_000_000
        return date(Int(days)) + "T" + two(seconds / 3600) + ":" + two(seconds / 60 % 60) + ":" + two(seconds % 60)
            + "."
            + padded(Int(rest % 1_000_000), 6) + "Z"
    }

    /// Days since 1970 to a civil date (Howard Hinnant, "chrono-compatible low-level date algorithms").
    private static func date(_ days: Int) -> String {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let month = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * month + 2) / 5 + 1
        let civilMonth = month < 10 ? month + 3 : month - 9
        let year = yearOfEra + era * 400 + (civilMonth <= 2 ? 1 : 0)
        return padded(year, 4) + "-" + padded(civilMonth, 2) + "-" + padded(day, 2)
    }

    private static func padded(_ value: Int, _ width: Int) -> String {
        let digits = String(abs(value))
        return (value < 0 ? "-" : "") + String(repeating: "0", count: max(0, width - digits.count)) + digits
    }
}
