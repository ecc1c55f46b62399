/// Finds where a text stops being JSON (RFC 8259). Slow and simple: for messages about texts that the parser has refused.
struct JSONFault {
    private let bytes: UnsafeRawBufferPointer
    private var next = 0

    private init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    /// The offset of the first byte that cannot stand there, or the length of a text that ends too early; nil where the
    /// grammar finds no fault (the parser has other limits, and UTF-8 to look at).
    static func offset(in bytes: UnsafeRawBufferPointer) -> Int? {
        var scanner = JSONFault(bytes)
        return scanner.scanDocument() ? nil : scanner.next
    }

    /// True where the text is well-formed; otherwise ``next`` stands at the fault.
    private mutating func scanDocument() -> Bool {
        // One byte an open container: its closing bracket.
        var open: [UInt8] = []
        while true {
            skipSpace()
            guard next < bytes.count else { return false }
            switch bytes[next] {
            case UInt8(ascii: "{"):
                next += 1
                skipSpace()
                if accept(UInt8(ascii: "}")) { break }
                open.append(UInt8(ascii: "}"))
                guard scanName() else { return false }
                continue
            case UInt8(ascii: "["):
                next += 1
                skipSpace()
                if accept(UInt8(ascii: "]")) { break }
                open.append(UInt8(ascii: "]"))
                continue
            default: guard scanScalar() else { return false }
            }
            // A value is complete: what may follow it?
            while true {
                skipSpace()
                guard let closing = open.last else { return next == bytes.count }
                if accept(closing) {
                    open.removeLast()
                    continue
                }
                guard accept(UInt8(ascii: ",")) else { return false }
                if closing == UInt8(ascii: "}") {
                    skipSpace()
                    guard scanName() else { return false }
                }
                break
            }
        }
    }

    private mutating func skipSpace() {
        while next < bytes.count, [32, 9, 10, 13].contains(bytes[next]) { next += 1 }
    }

    private mutating func accept(_ byte: UInt8) -> Bool {
        guard next < bytes.count, bytes[next] == byte else { return false }
        next += 1
        return true
    }

    private mutating func scanName() -> Bool {
        guard next < bytes.count, bytes[next] == UInt8(ascii: "\""), scanString() else { return false }
        skipSpace()
        return accept(UInt8(ascii: ":"))
    }

    private mutating func scanScalar() -> Bool {
        switch bytes[next] {
        case UInt8(ascii: "\""): scanString()
        case UInt8(ascii: "t"): scanWord("true")
        case UInt8(ascii: "f"): scanWord("false")
        case UInt8(ascii: "n"): scanWord("null")
        default: scanNumber()
        }
    }

    private mutating func scanWord(_ word: StaticString) -> Bool {
        for offset in 0..<word.utf8CodeUnitCount {
            guard accept(word.utf8Start[offset]) else { return false }
        }
        return true
    }

    private mutating func scanString() -> Bool {
        next += 1
        while next < bytes.count {
            switch bytes[next] {
            case UInt8(ascii: "\""):
                next += 1
                return true
            case UInt8(ascii: "\\"):
                next += 1
                guard next < bytes.count else { return false }
                if bytes[next] == UInt8(ascii: "u") {
                    next += 1
                    for _ in 0..<4 {
                        guard next < bytes.count, Character(Unicode.Scalar(bytes[next])).isHexDigit else {
                            return false
                        }
                        next += 1
                    }
                } else {
                    guard "\"\\/bfnrt".utf8.contains(bytes[next]) else { return false }
                    next += 1
                }
            case 0..<32: return false
            default: next += 1
            }
        }
        return false
    }

    private mutating func scanNumber() -> Bool {
        _ = accept(UInt8(ascii: "-"))
        if !accept(UInt8(ascii: "0")) {
            guard scanDigits() else { return false }
        }
        if accept(UInt8(ascii: ".")) {
            guard scanDigits() else { return false }
        }
        if accept(UInt8(ascii: "e")) || accept(UInt8(ascii: "E")) {
            if !accept(UInt8(ascii: "+")) { _ = accept(UInt8(ascii: "-")) }
            guard scanDigits() else { return false }
        }
        return true
    }

    private mutating func scanDigits() -> Bool {
        let start = next
        while next < bytes.count, bytes[next] >= 48, bytes[next] <= 57 { next += 1 }
        return next > start
    }
}
