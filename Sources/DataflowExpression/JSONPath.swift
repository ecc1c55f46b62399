import DataflowColumnar

/// A path into JSON text: `$.a.b[0]['the name']`. Read once, then followed over bytes without building anything.
struct JSONPath: Sendable {
    private enum Step: Sendable {
        case member([UInt8])
        case element(Int)
    }

    private let steps: [Step]

    /// Nil when the text is no such path.
    init?(_ text: String) {
        var steps: [Step] = []
        var rest = Substring(text)
        guard rest.popFirst() == "$" else { return nil }
        while let first = rest.popFirst() {
            if first == "." {
                let name = rest.prefix { $0 != "." && $0 != "[" }
                guard !name.isEmpty else { return nil }
                steps.append(.member(Array(name.utf8)))
                rest = rest.dropFirst(name.count)
            } else if first == "[" {
                if let quote = rest.first, quote == "'" || quote == "\"" {
                    rest = rest.dropFirst()
                    guard let end = rest.firstIndex(of: quote) else { return nil }
                    steps.append(.member(Array(rest[..<end].utf8)))
                    rest = rest[rest.index(after: end)...]
                } else {
                    let digits = rest.prefix { $0 != "]" }
                    guard let index = Int(digits), index >= 0 else { return nil }
                    steps.append(.element(index))
                    rest = rest.dropFirst(digits.count)
                }
                guard rest.popFirst() == "]" else { return nil }
            } else {
                return nil
            }
        }
        self.steps = steps
    }

    /// The bytes of the value that the path leads to; nil when there is none or the text is damaged on the way.
    /// O(bytes in front of and inside the value).
    func find(in text: UnsafeRawBufferPointer) -> Range<Int>? {
        var reader = JSONReader(text: text)
        reader.skipSpace()
        for step in steps {
            switch step {
            case .member(let name):
                guard reader.enterMember(name) else { return nil }
            case .element(let index):
                guard reader.enterElement(index) else { return nil }
            }
        }
        let start = reader.position
        guard reader.skipValue() else { return nil }
        return start..<reader.position
    }
}

/// Steps over JSON text. Checks only what it needs to find its way.
struct JSONReader {
    let text: UnsafeRawBufferPointer
    var position = 0

    init(text: UnsafeRawBufferPointer) {
        self.text = text
    }

    private var peek: UInt8? { position < text.count ? text[position] : nil }

    mutating func skipSpace() {
        while let byte = peek, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
    }

    private mutating func take(_ byte: Unicode.Scalar) -> Bool {
        skipSpace()
        guard peek == UInt8(ascii: byte) else { return false }
        position += 1
        skipSpace()
        return true
    }

    /// Steps over a string, the quotes included; answers what stands between them and whether it has escapes.
    private mutating func string() -> (range: Range<Int>, hasEscapes: Bool)? {
        guard peek == UInt8(ascii: "\"") else { return nil }
        position += 1
        let start = position
        var hasEscapes = false
        while let byte = peek {
            if byte == UInt8(ascii: "\"") {
                position += 1
                return (start..<position - 1, hasEscapes)
            }
            if byte == UInt8(ascii: "\\") {
                hasEscapes = true
                position += 1
            }
            position += 1
        }
        return nil
    }

    /// Moves to the value of a member of the object that starts here.
    mutating func enterMember(_ name: [UInt8]) -> Bool {
        guard take("{") else { return false }
        while let (range, hasEscapes) = string() {
            guard take(":") else { return false }
            let key = UnsafeRawBufferPointer(rebasing: text[range])
            let isSame =
                hasEscapes
                ? JSONReader.unescaped(key) == name : name.withUnsafeBytes { compareBytes($0, key) == 0 }
            if isSame { return true }
            guard skipValue(), take(",") else { return false }
        }
        return false
    }

    /// Moves to an element of the array that starts here.
    mutating func enterElement(_ index: Int) -> Bool {
        guard take("[") else { return false }
        for _ in 0..<index {
            guard skipValue(), take(",") else { return false }
        }
        return peek != UInt8(ascii: "]") && peek != nil
    }

    /// Moves behind the value that starts here.
    mutating func skipValue() -> Bool {
        guard let first = peek else { return false }
        switch Unicode.Scalar(first) {
        case "\"": return string() != nil
        case "{", "[":
            var depth = 0
            while let byte = peek {
                switch Unicode.Scalar(byte) {
                case "\"":
                    guard string() != nil else { return false }
                    continue
                case "{", "[": depth += 1
                case "}", "]": depth -= 1
                default: break
                }
                position += 1
                if depth == 0 { return true }
            }
            return false
        default:
            let start = position
            while let byte = peek, ![0x2C, 0x5D, 0x7D, 0x20, 0x0A, 0x0D, 0x09].contains(byte) { position += 1 }
            return position > start
        }
    }

    /// Goes through the members of the object that starts here; false where it is damaged, or no object.
    ///
    /// - Parameter body: gets what stands between a key's quotes, whether that has escapes, and where its value stands.
    mutating func forEachMember(_ body: (Range<Int>, Bool, Range<Int>) -> Void) -> Bool {
        guard take("{") else { return false }
        if peek == UInt8(ascii: "}") { return true }
        while let (key, hasEscapes) = string() {
            guard take(":") else { return false }
            let start = position
            guard skipValue() else { return false }
            body(key, hasEscapes, start..<position)
            if take(",") { continue }
            return peek == UInt8(ascii: "}")
        }
        return false
    }

    static func unescaped(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        var output = TextOutput(rows: 1)
        unescape(bytes, to: &output)
        output.endRow()
        return output.finish().viewValues?.bytes(at: 0) ?? []
    }

    /// Writes what stands between the quotes of a JSON string; broken escapes become U+FFFD.
    static func unescape(_ bytes: UnsafeRawBufferPointer, to output: inout TextOutput) {
        var position = 0
        func hex(_ start: Int) -> UInt32? {
            guard start + 4 <= bytes.count else { return nil }
            var value: UInt32 = 0
            for i in start..<start + 4 {
                guard let digit = Character(Unicode.Scalar(bytes[i])).hexDigitValue else { return nil }
                value = value * 16 + UInt32(digit)
            }
            return value
        }
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            guard byte == UInt8(ascii: "\\"), position < bytes.count else {
                output.append(byte)
                continue
            }
            let escape = bytes[position]
            position += 1
            switch Unicode.Scalar(escape) {
            case "n": output.append(UInt8(0x0A))
            case "t": output.append(UInt8(0x09))
            case "r": output.append(UInt8(0x0D))
            case "b": output.append(UInt8(0x08))
            case "f": output.append(UInt8(0x0C))
            case "u":
                var code = hex(position)
                if code != nil { position += 4 }
                if let high = code, (0xD800..<0xDC00).contains(high), position + 6 <= bytes.count,
                    bytes[position] == UInt8(ascii: "\\"), bytes[position + 1] == UInt8(ascii: "u"),
                    let low = hex(position + 2), (0xDC00..<0xE000).contains(low)
                {
                    code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)
                    position += 6
                }
                output.append(code.flatMap(Unicode.Scalar.init) ?? "\u{FFFD}")
            default: output.append(escape)
            }
        }
    }
}
