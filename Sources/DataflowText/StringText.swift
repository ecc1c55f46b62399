import DataflowColumnar

// Strings and bytes as JSON strings, and base64.

private let hexDigits = [UInt8]("0123456789abcdef".utf8)
private let base64Digits = [UInt8]("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)

extension TextBuffer {
    /// Appends UTF-8 text as a JSON string, quotes included. Only quotes, backslashes and control characters are escaped.
    public mutating func append(jsonString bytes: UnsafeRawBufferPointer) {
        // At worst each byte becomes six.
        let length = bytes.count
        append(UInt8(ascii: "\""))
        var at = 0
        while at < length {
            // Copy sixteen bytes at a time while none of them is special.
            var target = tail(length - at + 16)
            while at &+ 16 <= length {
                let block = bytes.loadUnaligned(fromByteOffset: at, as: SIMD16<UInt8>.self)
                UnsafeMutableRawPointer(target).storeBytes(of: block, as: SIMD16<UInt8>.self)
                let special = (block .< 0x20) .| (block .== 0x22) .| (block .== 0x5C)
                if any(special) { break }
                at &+= 16
                target += 16
            }
            let end = min(length, at &+ 16)
            while at < end, bytes[at] >= 0x20, bytes[at] != 0x22, bytes[at] != 0x5C {
                target.pointee = bytes[at]
                target += 1
                at &+= 1
            }
            commit(target - (base + count))
            if at < end {
                appendEscaped(bytes[at])
                at &+= 1
            }
        }
        append(UInt8(ascii: "\""))
    }

    private mutating func appendEscaped(_ byte: UInt8) {
        append(UInt8(ascii: "\\"))
        switch byte {
        case 0x22, 0x5C: append(byte)
        case 0x0A: append(UInt8(ascii: "n"))
        case 0x0D: append(UInt8(ascii: "r"))
        case 0x09: append(UInt8(ascii: "t"))
        case 0x08: append(UInt8(ascii: "b"))
        case 0x0C: append(UInt8(ascii: "f"))
        default:
            append("u00")
            append(hexDigits[Int(byte >> 4)])
            append(hexDigits[Int(byte & 15)])
        }
    }

    /// Appends text as a JSON string.
    public mutating func append(jsonString text: String) {
        var text = text
        text.withUTF8 { append(jsonString: UnsafeRawBufferPointer($0)) }
    }

    /// Appends bytes as a JSON string: as they are where they are valid UTF-8, else as base64.
    public mutating func append(jsonBytes bytes: UnsafeRawBufferPointer) {
        if isValidUTF8(bytes) {
            append(jsonString: bytes)
        } else {
            append(UInt8(ascii: "\""))
            append(base64: bytes)
            append(UInt8(ascii: "\""))
        }
    }

    /// Appends bytes in base64 (RFC 4648, padded).
    public mutating func append(base64 bytes: UnsafeRawBufferPointer) {
        let target = tail((bytes.count + 2) / 3 * 4)
        var out = 0
        var at = 0
        while at < bytes.count {
            let first = bytes[at]
            let second = at + 1 < bytes.count ? bytes[at + 1] : 0
            let third = at + 2 < bytes.count ? bytes[at + 2] : 0
            target[out] = base64Digits[Int(first >> 2)]
            target[out + 1] = base64Digits[Int((first & 3) << 4 | second >> 4)]
            target[out + 2] =
                at + 1 < bytes.count ? base64Digits[Int((second & 15) << 2 | third >> 6)] : UInt8(ascii: "=")
            target[out + 3] = at + 2 < bytes.count ? base64Digits[Int(third & 63)] : UInt8(ascii: "=")
            at += 3
            out += 4
        }
        commit(out)
    }
}
