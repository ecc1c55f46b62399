import DataflowColumnar

/// Writes the values of a column as JSON, for `json` and `jsonb` columns and for rows on the errors port.
///
/// Structs become objects, lists arrays, timestamps and dates ISO 8601 texts, bytes base64, decimals numbers; NaN and
/// the infinities, which JSON does not have, the texts "NaN", "Infinity" and "-Infinity".
struct JSONText {
    private indirect enum Node {
        case bool(Bitmap)
        case integer32(Values<Int32>)
        case integer64(Values<Int64>)
        case float(Values<Float>)
        case double(Values<Double>)
        case decimal(Values<Int128>, scale: Int)
        case text(ViewStorage)
        case bytes(ViewStorage)
        case timestamp(Values<Int64>)
        case date(Values<Int32>)
        case list(Values<Int32>, JSONText)
        /// Each member with `"name":` in front, and a comma before all but the first.
        case object([(prefix: [UInt8], value: JSONText)])
    }

    private let node: Node
    private let validity: Bitmap?

    init(_ column: Column) {
        validity = column.validity
        switch (column.type, column.storage) {
        case (_, .bool(let bits)): node = .bool(bits)
        case (.date, .int32(let days)): node = .date(days)
        case (_, .int32(let values)): node = .integer32(values)
        case (.timestamp, .int64(let times)): node = .timestamp(times)
        case (_, .int64(let values)): node = .integer64(values)
        case (_, .float32(let values)): node = .float(values)
        case (_, .float64(let values)): node = .double(values)
        case (.decimal(_, let scale), .decimal(let values)): node = .decimal(values, scale: scale)
        case (_, .decimal(let values)): node = .decimal(values, scale: 0)
        case (.bytes, .view(let storage)): node = .bytes(storage)
        case (_, .view(let storage)): node = .text(storage)
        case (_, .list(let offsets, let elements)): node = .list(offsets, JSONText(elements))
        case (.structure(let fields), .structure(let columns)):
            node = .object(
                zip(fields, columns).enumerated().map { index, member in
                    var prefix = index == 0 ? "" : ","
                    RowText.quote(member.0.name, &prefix)
                    return (Array((prefix + ":").utf8), JSONText(member.1))
                })
        case (_, .structure(let columns)): preconditionFailure("a struct of \(columns.count) members has no fields")
        }
    }

    /// All columns of a batch as one object a row.
    init(_ batch: RecordBatch) {
        self.init(
            Column(.structure(batch.schema.fields), .structure(batch.columns), count: batch.rowCount))
    }

    /// Appends the value of one row. Returns false if a text in it holds U+0000, which PostgreSQL cannot store.
    func append(_ row: Int, to output: ByteStore) -> Bool {
        if validity?[row] == false {
            JSONText.write("null", output)
            return true
        }
        switch node {
        case .bool(let bits): JSONText.write(bits[row] ? "true" : "false", output)
        case .integer32(let values): JSONText.write(String(values[row]), output)
        case .integer64(let values): JSONText.write(String(values[row]), output)
        case .float(let values): JSONText.number("\(values[row])", isFinite: values[row].isFinite, output)
        case .double(let values): JSONText.number("\(values[row])", isFinite: values[row].isFinite, output)
        case .decimal(let values, let scale): JSONText.decimal(values[row], scale, output)
        case .timestamp(let times): JSONText.write("\"\(RowText.timestamp(times[row]))\"", output)
        case .date(let days): JSONText.write("\"\(RowText.date(Int64(days[row])))\"", output)
        case .text(let storage): return storage.withUnsafeViews { JSONText.quote($0.bytes(row), output) }
        case .bytes(let storage): storage.withUnsafeViews { JSONText.base64($0.bytes(row), output) }
        case .list(let offsets, let elements):
            var isClean = true
            output.append(bigEndian: UInt8(ascii: "["))
            for element in Int(offsets[row])..<Int(offsets[row + 1]) {
                if element > Int(offsets[row]) { output.append(bigEndian: UInt8(ascii: ",")) }
                isClean = elements.append(element, to: output) && isClean
            }
            output.append(bigEndian: UInt8(ascii: "]"))
            return isClean
        case .object(let members):
            var isClean = true
            output.append(bigEndian: UInt8(ascii: "{"))
            for (prefix, value) in members {
                prefix.withUnsafeBytes { output.append($0) }
                isClean = value.append(row, to: output) && isClean
            }
            output.append(bigEndian: UInt8(ascii: "}"))
            return isClean
        }
        return true
    }

    private static func write(_ text: String, _ output: ByteStore) {
        var text = text
        text.withUTF8 { output.append(UnsafeRawBufferPointer($0)) }
    }

    private static func number(_ text: String, isFinite: Bool, _ output: ByteStore) {
        if isFinite { return write(text, output) }
        write(text == "inf" ? "\"Infinity\"" : text == "-inf" ? "\"-Infinity\"" : "\"NaN\"", output)
    }

    private static func decimal(_ value: Int128, _ scale: Int, _ output: ByteStore) {
        var digits = String(value.magnitude)
        if scale > 0 {
            if digits.count <= scale { digits = String(repeating: "0", count: scale + 1 - digits.count) + digits }
            digits.insert(".", at: digits.index(digits.endIndex, offsetBy: -scale))
        }
        write((value < 0 ? "-" : "") + digits, output)
    }

    /// Copies runs of bytes that need no escape. UTF-8 stays as it is.
    private static func quote(_ bytes: UnsafeRawBufferPointer, _ output: ByteStore) -> Bool {
        var isClean = true
        output.append(bigEndian: UInt8(ascii: "\""))
        var start = 0
        for (index, byte) in bytes.enumerated()
        where byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\") {
            output.append(UnsafeRawBufferPointer(rebasing: bytes[start..<index]))
            start = index + 1
            switch byte {
            case UInt8(ascii: "\""): write("\\\"", output)
            case UInt8(ascii: "\\"): write("\\\\", output)
            case UInt8(ascii: "\n"): write("\\n", output)
            case UInt8(ascii: "\r"): write("\\r", output)
            case UInt8(ascii: "\t"): write("\\t", output)
            default:
                let hex = String(byte, radix: 16)
                write("\\u00" + (byte < 16 ? "0" : "") + hex, output)
                if byte == 0 { isClean = false }
            }
        }
        output.append(UnsafeRawBufferPointer(rebasing: bytes[start...]))
        output.append(bigEndian: UInt8(ascii: "\""))
        return isClean
    }

    private static func base64(_ bytes: UnsafeRawBufferPointer, _ output: ByteStore) {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        output.append(bigEndian: UInt8(ascii: "\""))
        var index = 0
        while index < bytes.count {
            let left = bytes.count - index
            let word =
                UInt32(bytes[index]) << 16 | (left > 1 ? UInt32(bytes[index + 1]) << 8 : 0)
                | (left > 2 ? UInt32(bytes[index + 2]) : 0)
            for position in 0..<4 {
                let digit = alphabet[Int(word >> UInt32(18 - 6 * position) & 63)]
                output.append(bigEndian: position <= left ? digit : UInt8(ascii: "="))
            }
            index += 3
        }
        output.append(bigEndian: UInt8(ascii: "\""))
    }
}
