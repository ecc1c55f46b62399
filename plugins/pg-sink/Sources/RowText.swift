import DataflowColumnar
import DataflowText

/// Turns an encoded row back into JSON: what the errors port shows of a row that the server refused. Not fast.
struct RowText {
    let columns: [PgColumn]

    /// Appends one JSON object with the row's columns in the order of the COPY; of a delete, `"_delete":true` follows.
    func write(_ row: UnsafeRawBufferPointer, into text: inout TextBuffer) {
        var offset = 2
        func next() -> UnsafeRawBufferPointer? {
            let length = Int(Int32(bigEndian: row.loadUnaligned(fromByteOffset: offset, as: Int32.self)))
            offset += 4
            guard length >= 0 else { return nil }
            defer { offset += length }
            return UnsafeRawBufferPointer(rebasing: row[offset..<offset + length])
        }
        text.append("{")
        for (index, column) in columns.enumerated() {
            if index > 0 { text.append(",") }
            text.append(jsonString: column.name)
            text.append(":")
            if let value = next() {
                RowText.write(value, column.format, column.type, into: &text)
            } else {
                text.append("null")
            }
        }
        if offset < row.count, let mark = next(), mark.first == 1 {
            text.append(columns.isEmpty ? "\"_delete\":true" : ",\"_delete\":true")
        }
        text.append("}")
    }

    private static func write(
        _ value: UnsafeRawBufferPointer, _ format: PgFormat, _ type: DataType, into text: inout TextBuffer
    ) {
        func integer<T: FixedWidthInteger & BitwiseCopyable>(_ type: T.Type) -> T {
            T(bigEndian: value.loadUnaligned(as: T.self))
        }
        switch format {
        case .bool: text.append(value.first == 1 ? "true" : "false")
        case .int2: text.append(integer: Int64(integer(Int16.self)))
        case .int4: text.append(integer: Int64(integer(Int32.self)))
        case .int8: text.append(integer: integer(Int64.self))
        case .float4:
            let float = Float(bitPattern: integer(UInt32.self))
            quoted(!float.isFinite, &text) { $0.append(float: float) }
        case .float8:
            let double = Double(bitPattern: integer(UInt64.self))
            quoted(!double.isFinite, &text) { $0.append(float: double) }
        case .numeric:
            let number = NumericEncoding.text(of: value)
            quoted(number.last?.isNumber != true, &text) { $0.append(number) }
        case .text: text.append(jsonString: value)
        case .bytea: text.append(jsonBytes: value)
        case .timestamp:
            quoted(true, &text) { $0.append(timestamp: integer(Int64.self) &+ PreparedColumn.epochMicroseconds) }
        case .date:
            quoted(true, &text) { $0.append(date: Int(integer(Int32.self)) + Int(PreparedColumn.epochDays)) }
        case .uuid: quoted(true, &text) { $0.append(value.map(hex).joined()) }
        // JSON text from a string column may be the very thing that was refused.
        case .json, .jsonb:
            let json = UnsafeRawBufferPointer(rebasing: value.dropFirst(format == .jsonb ? 1 : 0))
            if type == .string { text.append(jsonString: json) } else { text.append(json) }
        case .array(let element, _):
            guard case .list(let elementType) = type else { return }
            text.append("[")
            // Behind the header of a non-empty array: `encodeArrays`.
            var offset = 20
            while offset < value.count {
                if offset > 20 { text.append(",") }
                let length = Int(Int32(bigEndian: value.loadUnaligned(fromByteOffset: offset, as: Int32.self)))
                offset += 4
                guard length >= 0 else {
                    text.append("null")
                    continue
                }
                write(
                    UnsafeRawBufferPointer(rebasing: value[offset..<offset + length]), element, elementType, into: &text
                )
                offset += length
            }
            text.append("]")
        }
    }

    private static func quoted(_ isQuoted: Bool, _ text: inout TextBuffer, _ body: (inout TextBuffer) -> Void) {
        if isQuoted { text.append("\"") }
        body(&text)
        if isQuoted { text.append("\"") }
    }

    private static func hex(_ byte: UInt8) -> String {
        let text = String(byte, radix: 16)
        return byte < 16 ? "0" + text : text
    }
}
