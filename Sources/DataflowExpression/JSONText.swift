import DataflowColumnar

/// Writes values as JSON: the switch over types happens once a column.
enum JSONText {
    typealias Writer = (Int, inout TextOutput) -> Void

    static func writer(_ column: Column) -> Writer {
        let write = values(column)
        guard let validity = column.validity else { return write }
        return { row, output in
            if validity[row] { write(row, &output) } else { output.append("null" as StaticString) }
        }
    }

    private static func values(_ column: Column) -> Writer {
        switch column.storage {
        case .bool(let bits):
            return { row, output in
                if bits[row] { output.append("true" as StaticString) } else { output.append("false" as StaticString) }
            }
        case .int64(let values) where column.type == .int64: return { row, output in output.append(values[row]) }
        case .int32(let values) where column.type == .int32: return { row, output in output.append(Int64(values[row])) }
        case .float32(let values):
            return { row, output in number(values[row], &output) }
        case .float64(let values):
            return { row, output in number(values[row], &output) }
        case .decimal(let values):
            guard case .decimal(_, let scale) = column.type else { return { _, _ in } }
            return { row, output in Decimal.append(values[row], scale: scale, to: &output) }
        case .int32(let values):
            return { row, output in
                var text: [UInt8] = []
                guard Calendar.dateRange.contains(values[row]) else { return output.append("null" as StaticString) }
                Calendar.appendDate(Int(values[row]), to: &text)
                text.withUnsafeBytes { quoted($0, to: &output) }
            }
        case .int64(let values):
            return { row, output in
                var text: [UInt8] = []
                guard Calendar.timestampRange.contains(values[row]) else {
                    return output.append("null" as StaticString)
                }
                Calendar.appendTimestamp(values[row], to: &text)
                text.withUnsafeBytes { quoted($0, to: &output) }
            }
        case .view(let storage):
            return { row, output in storage.withUnsafeViews { quoted($0.bytes(row), to: &output) } }
        case .list(let offsets, let elements):
            let element = writer(elements)
            return { row, output in
                output.append(UInt8(ascii: "["))
                for i in Int(offsets[row])..<Int(offsets[row + 1]) {
                    if i > Int(offsets[row]) { output.append(UInt8(ascii: ",")) }
                    element(i, &output)
                }
                output.append(UInt8(ascii: "]"))
            }
        case .structure(let columns):
            guard case .structure(let fields) = column.type else { return { _, _ in } }
            let members = zip(fields, columns).map { (name: Array($0.name.utf8), write: writer($1)) }
            return { row, output in
                output.append(UInt8(ascii: "{"))
                for (index, member) in members.enumerated() {
                    if index > 0 { output.append(UInt8(ascii: ",")) }
                    member.name.withUnsafeBytes { quoted($0, to: &output) }
                    output.append(UInt8(ascii: ":"))
                    member.write(row, &output)
                }
                output.append(UInt8(ascii: "}"))
            }
        }
    }

    /// JSON has no NaN and no infinity: they are null.
    private static func number<T: BinaryFloatingPoint & CustomStringConvertible>(_ value: T, _ output: inout TextOutput)
    {
        if value.isFinite { Casts.append(value, to: &output) } else { output.append("null" as StaticString) }
    }

    static func quoted(_ bytes: UnsafeRawBufferPointer, to output: inout TextOutput) {
        output.append(UInt8(ascii: "\""))
        var start = 0
        for (index, byte) in bytes.enumerated()
        where byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
            output.append(UnsafeRawBufferPointer(rebasing: bytes[start..<index]))
            start = index + 1
            output.append(UInt8(ascii: "\\"))
            switch byte {
            case 0x0A: output.append(UInt8(ascii: "n"))
            case 0x0D: output.append(UInt8(ascii: "r"))
            case 0x09: output.append(UInt8(ascii: "t"))
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): output.append(byte)
            default:
                output.append("u00" as StaticString)
                output.append(byte >> 4 == 0 ? UInt8(ascii: "0") : UInt8(ascii: "1"))
                output.append("0123456789abcdef".utf8.map { $0 }[Int(byte & 15)])
            }
        }
        output.append(UnsafeRawBufferPointer(rebasing: bytes[start...]))
        output.append(UInt8(ascii: "\""))
    }
}
