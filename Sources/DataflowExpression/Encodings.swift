/// Bytes as text and back.
enum Encodings {
    private static let hexDigits = Array("0123456789abcdef".utf8)
    private static let base64Digits = Array(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
    /// The value of each character in base 64, 255 for others; `-` and `_` of the URL alphabet are read too.
    private static let base64Values: [UInt8] = {
        var values = [UInt8](repeating: 255, count: 256)
        for (value, digit) in base64Digits.enumerated() { values[Int(digit)] = UInt8(value) }
        values[Int(UInt8(ascii: "-"))] = 62
        values[Int(UInt8(ascii: "_"))] = 63
        return values
    }()

    static func toHex(_ bytes: UnsafeRawBufferPointer, to output: inout TextOutput) {
        for byte in bytes {
            output.append(hexDigits[Int(byte >> 4)])
            output.append(hexDigits[Int(byte & 15)])
        }
    }

    /// False, with part of it written, where the text is no pairs of hexadecimal digits.
    static func fromHex(_ text: UnsafeRawBufferPointer, to output: inout TextOutput) -> Bool {
        func digit(_ byte: UInt8) -> UInt8? {
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
            case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
            case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
            default: nil
            }
        }
        guard text.count % 2 == 0 else { return false }
        for i in stride(from: 0, to: text.count, by: 2) {
            guard let high = digit(text[i]), let low = digit(text[i + 1]) else { return false }
            output.append(high << 4 | low)
        }
        return true
    }

    static func toBase64(_ bytes: UnsafeRawBufferPointer, to output: inout TextOutput) {
        for i in stride(from: 0, to: bytes.count, by: 3) {
            let left = min(3, bytes.count - i)
            var group = UInt32(bytes[i]) << 16
            if left > 1 { group |= UInt32(bytes[i + 1]) << 8 }
            if left > 2 { group |= UInt32(bytes[i + 2]) }
            for place in 0..<4 {
                output.append(
                    place <= left
                        ? base64Digits[Int(group >> UInt32(18 - 6 * place) & 63)] : UInt8(ascii: "="))
            }
        }
    }

    /// False, with part of it written, where the text is no base 64.
    static func fromBase64(_ text: UnsafeRawBufferPointer, to output: inout TextOutput) -> Bool {
        var end = text.count
        while end > 0, end > text.count - 2, text[end - 1] == UInt8(ascii: "=") { end -= 1 }
        guard end % 4 != 1, end == text.count || text.count % 4 == 0 else { return false }
        var group: UInt32 = 0
        for i in 0..<end {
            let value = base64Values[Int(text[i])]
            guard value < 64 else { return false }
            group = group << 6 | UInt32(value)
            if i % 4 == 3 {
                output.append(UInt8(truncatingIfNeeded: group >> 16))
                output.append(UInt8(truncatingIfNeeded: group >> 8))
                output.append(UInt8(truncatingIfNeeded: group))
                group = 0
            }
        }
        switch end % 4 {
        case 2: output.append(UInt8(truncatingIfNeeded: group >> 4))
        case 3:
            output.append(UInt8(truncatingIfNeeded: group >> 10))
            output.append(UInt8(truncatingIfNeeded: group >> 2))
        default: break
        }
        return true
    }
}
