import DataflowColumnar

/// Finds where a text stops being JSON. simdjson says only that it does; this is slow and runs on refused texts alone.
struct JSONSyntax {
    struct Problem {
        /// Byte offset in the text.
        var offset: Int
        var reason: String
    }

    private let bytes: UnsafeRawBufferPointer
    private var at = 0
    private var problem: Problem?

    /// The first problem of a text; nil where it finds none (a limit of the parser was the reason).
    static func problem(in bytes: UnsafeRawBufferPointer) -> Problem? {
        var syntax = JSONSyntax(bytes: bytes)
        syntax.document()
        return syntax.problem
    }

    private init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    private var byte: UInt8? { at < bytes.count ? bytes[at] : nil }

    private mutating func fail(_ reason: String) {
        if problem == nil { problem = Problem(offset: at, reason: reason) }
    }

    private mutating func skipSpace() {
        while let byte, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { at += 1 }
    }

    private mutating func document() {
        // The containers that are open: true for objects.
        var open: [Bool] = []
        skipSpace()
        if byte == nil { return fail("the text is empty") }
        while problem == nil {
            skipSpace()
            var isOpened = false
            switch byte {
            case UInt8(ascii: "{"):
                at += 1
                open.append(true)
                skipSpace()
                isOpened = byte != UInt8(ascii: "}")
                if isOpened { key() }
            case UInt8(ascii: "["):
                at += 1
                open.append(false)
                skipSpace()
                isOpened = byte != UInt8(ascii: "]")
            case UInt8(ascii: "\""): string()
            case UInt8(ascii: "t"): literal("true")
            case UInt8(ascii: "f"): literal("false")
            case UInt8(ascii: "n"): literal("null")
            case let first? where first == UInt8(ascii: "-") || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first):
                number()
            case nil: fail("a value was expected, but the text ends")
            default: fail("a value was expected")
            }
            if isOpened { continue }
            // Behind a value: close what closes, then the next one.
            while problem == nil {
                skipSpace()
                guard let isObject = open.last else {
                    if byte != nil { fail("nothing was expected behind the document") }
                    return
                }
                if byte == (isObject ? UInt8(ascii: "}") : UInt8(ascii: "]")) {
                    at += 1
                    open.removeLast()
                    continue
                }
                guard byte == UInt8(ascii: ",") else {
                    fail(
                        (isObject ? "',' or '}' was expected" : "',' or ']' was expected")
                            + (byte == nil ? ", but the text ends" : ""))
                    return
                }
                at += 1
                skipSpace()
                if isObject { key() }
                break
            }
        }
    }

    private mutating func key() {
        guard byte == UInt8(ascii: "\"") else { return fail("a quoted field name was expected") }
        string()
        skipSpace()
        guard byte == UInt8(ascii: ":") else { return fail("':' was expected behind the field name") }
        at += 1
    }

    private mutating func literal(_ text: StaticString) {
        let start = at
        text.withUTF8Buffer { expected in
            for wanted in expected {
                guard byte == wanted else {
                    at = start
                    return fail("'\(text)' was expected")
                }
                at += 1
            }
        }
    }

    private mutating func digits() -> Bool {
        let start = at
        while let byte, byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { at += 1 }
        return at > start
    }

    private mutating func number() {
        let start = at
        if byte == UInt8(ascii: "-") { at += 1 }
        let first = at
        guard digits() else { return fail("a digit was expected") }
        if bytes[first] == UInt8(ascii: "0"), at > first + 1 {
            at = start
            return fail("a number has no leading zeros")
        }
        var isInteger = true
        if byte == UInt8(ascii: ".") {
            isInteger = false
            at += 1
            guard digits() else { return fail("a digit was expected behind the point") }
        }
        if byte == UInt8(ascii: "e") || byte == UInt8(ascii: "E") {
            isInteger = false
            at += 1
            if byte == UInt8(ascii: "+") || byte == UInt8(ascii: "-") { at += 1 }
            guard digits() else { return fail("a digit was expected in the exponent") }
        }
        let text = String(decoding: bytes[start..<at], as: UTF8.self)
        let fits = isInteger ? Int64(text) != nil || UInt64(text) != nil : Double(text)?.isFinite ?? false
        if !fits {
            at = start
            fail("the number does not fit 64 bits")
        }
    }

    private mutating func string() {
        let start = at
        at += 1
        while let byte {
            switch byte {
            case UInt8(ascii: "\""):
                at += 1
                return
            case UInt8(ascii: "\\"): escape()
            case 0..<0x20: fail("a control character must be escaped")
            case 0x80...: multibyte()
            default: at += 1
            }
            if problem != nil { return }
        }
        at = start
        fail("the closing quote is missing")
    }

    private mutating func escape() {
        let start = at
        at += 1
        switch byte {
        case UInt8(ascii: "u"):
            at += 1
            guard let unit = hexUnit() else { return fail(at: start, "four hexadecimal digits were expected") }
            if unit & 0xFC00 == 0xD800 {
                guard byte == UInt8(ascii: "\\"), at + 1 < bytes.count, bytes[at + 1] == UInt8(ascii: "u") else {
                    return fail(at: start, "a surrogate stands alone")
                }
                at += 2
                guard let low = hexUnit(), low & 0xFC00 == 0xDC00 else {
                    return fail(at: start, "a surrogate stands alone")
                }
            } else if unit & 0xFC00 == 0xDC00 {
                fail(at: start, "a surrogate stands alone")
            }
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"), UInt8(ascii: "b"), UInt8(ascii: "f"),
            UInt8(ascii: "n"), UInt8(ascii: "r"), UInt8(ascii: "t"):
            at += 1
        default: fail(at: start, "the escape sequence is unknown")
        }
    }

    private mutating func fail(at offset: Int, _ reason: String) {
        at = offset
        fail(reason)
    }

    private mutating func hexUnit() -> UInt16? {
        guard at + 4 <= bytes.count else { return nil }
        let unit = UInt16(String(decoding: bytes[at..<at + 4], as: UTF8.self), radix: 16)
        at += 4
        return unit
    }

    private mutating func multibyte() {
        guard let length = utf8SequenceLength(bytes, at: at) else { return fail("the text is not valid UTF-8") }
        at += length
    }
}
