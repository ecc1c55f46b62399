import DataflowColumnar

/// A format of `strftime` and `strptime`, read once: `%Y-%m-%d %H:%M:%S`.
struct TimeFormat: Sendable {
    private enum Part: Sendable {
        case literal(UInt8)
        case field(Unicode.Scalar)
    }

    private let parts: [Part]

    static let months = [
        "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
        "December",
    ]
    static let days = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]

    /// The fields that are written, and those of them that are read.
    static let written = "YymbBdejHIpMSfLaAuwVGsz%FT"
    static let read = "YymbBdejHIpMSfLsz%FT"

    /// - Throws: the field that is not known.
    init(_ format: String, reading: Bool) throws(UnknownField) {
        let known = reading ? TimeFormat.read : TimeFormat.written
        var parts: [Part] = []
        var bytes = format.utf8.makeIterator()
        while let byte = bytes.next() {
            guard byte == UInt8(ascii: "%") else {
                parts.append(.literal(byte))
                continue
            }
            guard let field = bytes.next() else { throw UnknownField(field: "%") }
            let scalar = Unicode.Scalar(field)
            switch scalar {
            case "%": parts.append(.literal(field))
            case "F": parts += TimeFormat.expanded("Y-m-d")
            case "T": parts += TimeFormat.expanded("H:M:S")
            default:
                guard known.unicodeScalars.contains(scalar) else { throw UnknownField(field: "%\(Character(scalar))") }
                parts.append(.field(scalar))
            }
        }
        self.parts = parts
    }

    struct UnknownField: Error {
        var field: String
    }

    private static func expanded(_ text: String) -> [Part] {
        text.unicodeScalars.map { "YmdHMS".unicodeScalars.contains($0) ? .field($0) : .literal(UInt8(ascii: $0)) }
    }

    // MARK: Writing

    func write(_ time: Int64, to output: inout TextOutput) {
        let (days, rest) = Calendar.split(time)
        let day = Calendar.day(days)
        let seconds = Int(rest / 1_000_000)
        let fraction = Int(rest % 1_000_000)
        let hour = seconds / 3600
        for part in parts {
            switch part {
            case .literal(let byte): output.append(byte)
            case .field(let field):
                switch field {
                case "Y": output.append(day.year, digits: 4)
                case "y": output.append(day.year % 100, digits: 2)
                case "m": output.append(day.month, digits: 2)
                case "b": output.append(String(TimeFormat.months[day.month - 1].prefix(3)))
                case "B": output.append(TimeFormat.months[day.month - 1])
                case "d": output.append(day.day, digits: 2)
                case "e": output.append(Int64(day.day))
                case "j": output.append(days - Calendar.days(year: day.year, month: 1, day: 1) + 1, digits: 3)
                case "H": output.append(hour, digits: 2)
                case "I": output.append((hour + 11) % 12 + 1, digits: 2)
                case "p": output.append(hour < 12 ? "AM" as StaticString : "PM" as StaticString)
                case "M": output.append(seconds / 60 % 60, digits: 2)
                case "S": output.append(seconds % 60, digits: 2)
                case "f": output.append(fraction, digits: 6)
                case "L": output.append(fraction / 1000, digits: 3)
                case "a": output.append(String(TimeFormat.days[TimeKernels.weekday(days) - 1].prefix(3)))
                case "A": output.append(TimeFormat.days[TimeKernels.weekday(days) - 1])
                case "u": output.append(Int64(TimeKernels.weekday(days)))
                case "w": output.append(Int64(TimeKernels.weekday(days) % 7))
                case "V": output.append(TimeKernels.isoWeek(days).week, digits: 2)
                case "G": output.append(TimeKernels.isoWeek(days).year, digits: 4)
                case "s": output.append(Calendar.floorDivide(time, 1_000_000))
                default: output.append("+0000" as StaticString)
                }
            }
        }
    }

    // MARK: Reading

    private struct Fields {
        var year = 1970
        var month = 1
        var day = 1
        var dayOfYear: Int?
        var hour = 0
        var isAfternoon: Bool?
        var minute = 0
        var second = 0
        var fraction: Int64 = 0
        var zone: Int64 = 0
        var epoch: Int64?

        var timestamp: Int64? {
            if let epoch { return epoch }
            guard (1...9999).contains(year), (1...12).contains(month), day >= 1,
                day <= Calendar.daysInMonth(year, month), minute <= 59, second <= 60
            else { return nil }
            var hour = hour
            if let isAfternoon {
                guard (1...12).contains(hour) else { return nil }
                hour = hour % 12 + (isAfternoon ? 12 : 0)
            }
            guard hour <= 23 else { return nil }
            var days = Calendar.days(year: year, month: month, day: day)
            if let dayOfYear {
                guard (1...(Calendar.isLeap(year) ? 366 : 365)).contains(dayOfYear) else { return nil }
                days = Calendar.days(year: year, month: 1, day: 1) + dayOfYear - 1
            }
            let seconds = Int64(hour * 3600 + minute * 60 + second)
            let time = Int64(days) * Calendar.microsecondsPerDay + seconds * 1_000_000 + fraction - zone
            return Calendar.timestampRange.contains(time) ? time : nil
        }
    }

    /// Microseconds since the epoch, or nil when the text does not follow the format.
    func read(_ bytes: UnsafeRawBufferPointer) -> Int64? {
        var fields = Fields()
        var position = 0
        for part in parts {
            switch part {
            case .literal(let byte):
                if byte == 0x20 {
                    // A space stands for any white space, as in strptime.
                    while position < bytes.count, bytes[position] == 0x20 || bytes[position] == 0x09 { position += 1 }
                } else {
                    guard position < bytes.count, bytes[position] == byte else { return nil }
                    position += 1
                }
            case .field(let field):
                guard read(field, bytes, &position, &fields) else { return nil }
            }
        }
        return position == bytes.count ? fields.timestamp : nil
    }

    private func digits(_ bytes: UnsafeRawBufferPointer, _ position: inout Int, upTo count: Int) -> Int? {
        var value = 0
        let start = position
        while position < bytes.count, position - start < count {
            let digit = bytes[position] &- UInt8(ascii: "0")
            guard digit <= 9 else { break }
            value = value * 10 + Int(digit)
            position += 1
        }
        return position > start ? value : nil
    }

    private func name(
        _ bytes: UnsafeRawBufferPointer, _ position: inout Int, _ names: [String]
    ) -> Int? {
        let rest = String(decoding: bytes[position..<min(position + 12, bytes.count)], as: UTF8.self).lowercased()
        for (index, name) in names.enumerated() {
            for candidate in [name.lowercased(), String(name.prefix(3)).lowercased()] where rest.hasPrefix(candidate) {
                position += candidate.utf8.count
                return index
            }
        }
        return nil
    }

    private func read(
        _ field: Unicode.Scalar, _ bytes: UnsafeRawBufferPointer, _ position: inout Int, _ fields: inout Fields
    ) -> Bool {
        func number(_ count: Int, _ set: (Int) -> Void) -> Bool {
            guard let value = digits(bytes, &position, upTo: count) else { return false }
            set(value)
            return true
        }
        switch field {
        case "Y": return number(4) { fields.year = $0 }
        case "y": return number(2) { fields.year = $0 < 69 ? 2000 + $0 : 1900 + $0 }
        case "m": return number(2) { fields.month = $0 }
        case "d", "e":
            if field == "e", position < bytes.count, bytes[position] == 0x20 { position += 1 }
            return number(2) { fields.day = $0 }
        case "j": return number(3) { fields.dayOfYear = $0 }
        case "H", "I": return number(2) { fields.hour = $0 }
        case "M": return number(2) { fields.minute = $0 }
        case "S": return number(2) { fields.second = $0 }
        case "b", "B":
            guard let index = name(bytes, &position, TimeFormat.months) else { return false }
            fields.month = index + 1
            return true
        case "p":
            guard let index = name(bytes, &position, ["AM", "PM"]) else { return false }
            fields.isAfternoon = index == 1
            return true
        case "f", "L":
            let start = position
            guard var value = digits(bytes, &position, upTo: field == "f" ? 9 : 3) else { return false }
            var count = position - start
            while count > 6 {
                value /= 10
                count -= 1
            }
            while count < 6 {
                value *= 10
                count += 1
            }
            fields.fraction = Int64(value)
            return true
        case "s":
            var isNegative = false
            if position < bytes.count, bytes[position] == UInt8(ascii: "-") {
                isNegative = true
                position += 1
            }
            return number(12) { fields.epoch = Int64(isNegative ? -$0 : $0) * 1_000_000 }
        case "z": return readZone(bytes, &position, &fields)
        default: return false
        }
    }

    private func readZone(_ bytes: UnsafeRawBufferPointer, _ position: inout Int, _ fields: inout Fields) -> Bool {
        guard position < bytes.count else { return false }
        if bytes[position] == UInt8(ascii: "Z") || bytes[position] == UInt8(ascii: "z") {
            position += 1
            return true
        }
        let isWest = bytes[position] == UInt8(ascii: "-")
        guard isWest || bytes[position] == UInt8(ascii: "+") else { return false }
        position += 1
        guard let hours = digits(bytes, &position, upTo: 2), hours <= 15 else { return false }
        if position < bytes.count, bytes[position] == UInt8(ascii: ":") { position += 1 }
        let minutes = digits(bytes, &position, upTo: 2) ?? 0
        guard minutes <= 59 else { return false }
        let offset = Int64(hours * 60 + minutes) * 60_000_000
        fields.zone = isWest ? -offset : offset
        return true
    }
}
