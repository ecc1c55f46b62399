/// Whether the bytes are valid UTF-8 (RFC 3629). ASCII is checked sixteen bytes at a time. O(bytes), no allocation.
public func isValidUTF8(_ bytes: UnsafeRawBufferPointer) -> Bool {
    var at = 0
    let count = bytes.count
    while at < count {
        if at &+ 16 <= count {
            let block = bytes.loadUnaligned(fromByteOffset: at, as: SIMD16<UInt8>.self)
            if !any(block .>= 0x80) {
                at &+= 16
                continue
            }
        }
        if bytes[at] < 0x80 {
            at &+= 1
        } else {
            guard let length = utf8SequenceLength(bytes, at: at) else { return false }
            at &+= length
        }
    }
    return true
}

/// The length of the well-formed sequence of two to four bytes that begins at `at`, or nil where none does (RFC 3629: no
/// overlong forms, no surrogates, nothing above U+10FFFF).
///
/// - Precondition: `at` lies within `bytes`.
public func utf8SequenceLength(_ bytes: UnsafeRawBufferPointer, at: Int) -> Int? {
    let length: Int
    var second: ClosedRange<UInt8> = 0x80...0xBF
    switch bytes[at] {
    case 0xC2...0xDF: length = 2
    case 0xE0:
        length = 3
        second = 0xA0...0xBF
    case 0xED:
        length = 3
        second = 0x80...0x9F
    case 0xE1...0xEF: length = 3
    case 0xF0:
        length = 4
        second = 0x90...0xBF
    case 0xF4:
        length = 4
        second = 0x80...0x8F
    case 0xF1...0xF3: length = 4
    default: return nil
    }
    guard length <= bytes.count - at, second.contains(bytes[at + 1]) else { return nil }
    for i in 2..<max(length, 2) where bytes[at + i] & 0xC0 != 0x80 { return nil }
    return length
}
