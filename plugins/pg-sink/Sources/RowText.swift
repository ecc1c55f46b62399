import DataflowColumnar

/// Turns an encoded row back into JSON: what the errors port shows of a row that the server refused. Not fast.
struct RowText {
    let columns: [PgColumn]

    /// One JSON object with the row's columns in the order of the COPY; the mark of a delete is added as `_delete`.
    func json(_ row: UnsafeRawBufferPointer) -> [UInt8] {
        var output = "{"
        var offset = 2
        var isFirst = true
        func next() -> UnsafeRawBufferPointer? {
            let length = Int(Int32(bigEndian: row.loadUnaligned(fromByteOffset: offset, as: Int32.self)))
            offset += 4
            guard length >= 0 else { return nil }
            defer { offset += length }
            return UnsafeRawBufferPointer(rebasing: row[offset..<offset + length])
        }
        for column in columns {
            output += isFirst ? "" : ","
            isFirst = false
            RowText.quote(column.name, &output)
            output += ":"
            if let value = next() {
                RowText.append(value, column.format, column.type, &output)
            } else {
                output += "null"
            }
        }
        if offset < row.count, let mark = next(), mark.first == 1 {
            output += isFirst ? "\"_delete\":true" : ",\"_delete\":true"
        }
        return Array((output + "}").utf8)
    }

    private static func append(
        _ value: UnsafeRawBufferPointer, _ format: PgFormat, _ type: DataType, _ output: inout String
    ) {
        func integer<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type) -> T {
            T(bigEndian: value.loadUnaligned(as: T.self))
        }
        func number(_ text: String, isFinite: Bool) { output += isFinite ? text : "\"\(text)\"" }
        switch format {
        case .bool: output += value.first == 1 ? "true" : "false"
        case .int2: output += "\(integer(Int16.self))"
        case .int4: output += "\(integer(Int32.self))"
        case .int8: output += "\(integer(Int64.self))"
        case .float4:
            let float = Float(bitPattern: integer(UInt32.self))
            number("\(float)", isFinite: float.isFinite)
        case .float8:
            let double = Double(bitPattern: integer(UInt64.self))
            number("\(double)", isFinite: double.isFinite)
        case .numeric:
            let text = NumericEncoding.text(of: value)
            number(text, isFinite: text.last?.isNumber == true)
        case .text: quote(String(decoding: value, as: UTF8.self), &output)
        case .bytea: output += "\"\\\\x" + value.map(hex).joined() + "\""
        case .timestamp: output += "\"\(timestamp(integer(Int64.self) &+ PreparedColumn.epochMicroseconds))\""
        case .date: output += "\"\(date(Int64(integer(Int32.self)) + Int64(PreparedColumn.epochDays)))\""
        case .uuid: output += "\"" + value.map(hex).joined() + "\""
        // JSON text from a string column may be the very thing that was refused.
        case .json, .jsonb:
            let text = String(decoding: format == .jsonb ? value.dropFirst() : value[...], as: UTF8.self)
            if type == .string { quote(text, &output) } else { output += text }
        case .array(let element, _):
            guard case .list(let elementType) = type else { return }
            output += "["
            if value.count >= 20 {
                var offset = 20
                while offset < value.count {
                    if offset > 20 { output += "," }
                    let length = Int(Int32(bigEndian: value.loadUnaligned(fromByteOffset: offset, as: Int32.self)))
                    offset += 4
                    guard length >= 0 else {
                        output += "null"
                        continue
                    }
                    append(
                        UnsafeRawBufferPointer(rebasing: value[offset..<offset + length]), element, elementType, &output
                    )
                    offset += length
                }
            }
            output += "]"
        }
    }

    private static func hex(_ byte: UInt8) -> String {
        let text = String(byte, radix: 16)
        return byte < 16 ? "0" + text : text
    }

    /// A JSON string: quotes, backslashes and control characters escaped.
    static func quote(_ text: String, _ output: inout String) {
        output += "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": output += "\\\""
            case "\\": output += "\\\\"
            case "\n": output += "\\n"
            case "\t": output += "\\t"
            case "\r": output += "\\r"
            case _ where scalar.value < 0x20: output += "\\u00" + hex(UInt8(scalar.value))
            default: output.unicodeScalars.append(scalar)
            }
        }
        output += "\""
    }

    private static func padded(_ number: Int64, _ width: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, width - text.count)) + text
    }

    /// `2024-02-29` from days since 1970 (H. Hinnant, "chrono-compatible low-level date algorithms").
    static func date(_ days: Int64) -> String {
        let shifted = days + 719_468
        let era = (shifted >= 0 ? shifted : shifted - 146_096) / 146_097
        let dayOfEra = shifted - era * 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shiftedMonth = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * shiftedMonth + 2) / 5 + 1
        let month = shiftedMonth < 10 ? shiftedMonth + 3 : shiftedMonth - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
        return "\(year < 0 ? "-" : "")\(padded(abs(year), 4))-\(padded(month, 2))-\(padded(day, 2))"
    }

    /// `2024-02-29T12:00:00.5Z` from microseconds since 1970.
    static func timestamp(_ microseconds: Int64) -> String {
        let day: Int64 = 86_400_000_000
        let days = microseconds >= 0 ? microseconds / day : (microseconds + 1) / day - 1
        let rest = microseconds - days * day
        let seconds = rest / 1_000_000
        var text =
            date(days) + "T" + padded(seconds / 3600, 2) + ":" + padded(seconds / 60 % 60, 2) + ":"
            + padded(seconds % 60, 2)
        if rest % 1_000_000 != 0 {
            var fraction = padded(rest % 1_000_000, 6)
            while fraction.last == "0" { fraction.removeLast() }
            text += "." + fraction
        }
        return text + "Z"
    }
}
