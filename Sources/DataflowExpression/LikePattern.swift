import DataflowColumnar
import Glibc

/// A pattern of `like`: `%` stands for any text, `_` for one character.
struct LikePattern: Sendable {
    private enum Element: Sendable {
        case text([UInt8])
        case one
        case many
    }

    private enum Shape: Sendable {
        case exactly([UInt8])
        case prefix([UInt8])
        case suffix([UInt8])
        case contains([UInt8])
        case anything
        case general([Element])
    }

    private let shape: Shape
    private let ignoresCase: Bool

    /// Nil when the pattern ends with the escape character.
    init?(_ pattern: String, escape: Unicode.Scalar?, ignoresCase: Bool) {
        self.ignoresCase = ignoresCase
        var elements: [Element] = []
        var text: [UInt8] = []
        func flush() {
            if !text.isEmpty { elements.append(.text(text)) }
            text = []
        }
        var scalars = pattern.unicodeScalars.makeIterator()
        while let scalar = scalars.next() {
            if scalar == escape {
                guard let next = scalars.next() else { return nil }
                text += LikePattern.folded(next, ignoresCase)
            } else if scalar == "%" {
                flush()
                if case .many = elements.last {} else { elements.append(.many) }
            } else if scalar == "_" {
                flush()
                elements.append(.one)
            } else {
                text += LikePattern.folded(scalar, ignoresCase)
            }
        }
        flush()
        switch elements.count {
        case 0: shape = .exactly([])
        case 1:
            switch elements[0] {
            case .text(let text): shape = .exactly(text)
            case .many: shape = .anything
            case .one: shape = .general(elements)
            }
        case 2:
            switch (elements[0], elements[1]) {
            case (.text(let text), .many): shape = .prefix(text)
            case (.many, .text(let text)): shape = .suffix(text)
            default: shape = .general(elements)
            }
        case 3:
            if case .many = elements[0], case .text(let text) = elements[1], case .many = elements[2] {
                shape = .contains(text)
            } else {
                shape = .general(elements)
            }
        default: shape = .general(elements)
        }
    }

    private static func folded(_ scalar: Unicode.Scalar, _ ignoresCase: Bool) -> [UInt8] {
        ignoresCase ? Array(scalar.properties.lowercaseMapping.utf8) : Array(String(scalar).utf8)
    }

    /// One bit a row.
    func matches(_ vector: Vector, _ rows: Int) -> Column {
        let vector = ignoresCase ? Vector(TextKernels.lower(vector, rows), isConstant: vector.isConstant) : vector
        let step = vector.stride
        let bits = vector.text.withUnsafeViews { views in
            switch shape {
            case .anything: Bitmap(repeating: true, count: rows)
            case .exactly(let text):
                text.withUnsafeBytes { text in packBits(rows) { compareBytes(views.bytes($0 * step), text) == 0 } }
            case .prefix(let text):
                text.withUnsafeBytes { text in
                    packBits(rows) { LikePattern.hasPrefix(views.bytes($0 * step), text) }
                }
            case .suffix(let text):
                text.withUnsafeBytes { text in
                    packBits(rows) { LikePattern.hasSuffix(views.bytes($0 * step), text) }
                }
            case .contains(let text):
                text.withUnsafeBytes { text in
                    packBits(rows) { LikePattern.find(text, in: views.bytes($0 * step), from: 0) != nil }
                }
            case .general(let elements): packBits(rows) { LikePattern.general(views.bytes($0 * step), elements) }
            }
        }
        return Column(.bool, .bool(bits))
    }

    /// With a pattern a row; equal neighbours are compiled once.
    static func matches(
        _ arguments: [Vector], _ rows: Int, _ evaluation: Evaluation, escape: Unicode.Scalar?, ignoresCase: Bool
    ) -> Column {
        let text =
            ignoresCase
            ? Vector(TextKernels.lower(arguments[0], rows), isConstant: arguments[0].isConstant) : arguments[0]
        let (s, t) = (text.stride, arguments[1].stride)
        let patterns = arguments[1].text
        var last: (text: String, pattern: LikePattern?)?
        let bits = text.text.withUnsafeViews { views in
            packBits(rows) { row in
                guard evaluation.isWanted(row) else { return false }
                let source = patterns.string(at: row * t)
                if last?.text != source {
                    last = (source, LikePattern(source, escape: escape, ignoresCase: ignoresCase))
                }
                guard let pattern = last?.pattern else {
                    evaluation.fail(
                        row, RowError(.invalidArgument, "the like pattern '\(source)' ends with its escape character"))
                    return false
                }
                return pattern.matches(views.bytes(row * s))
            }
        }
        return Column(.bool, .bool(bits))
    }

    private func matches(_ bytes: UnsafeRawBufferPointer) -> Bool {
        switch shape {
        case .anything: true
        case .exactly(let text): text.withUnsafeBytes { compareBytes(bytes, $0) == 0 }
        case .prefix(let text): text.withUnsafeBytes { LikePattern.hasPrefix(bytes, $0) }
        case .suffix(let text): text.withUnsafeBytes { LikePattern.hasSuffix(bytes, $0) }
        case .contains(let text): text.withUnsafeBytes { LikePattern.find($0, in: bytes, from: 0) != nil }
        case .general(let elements): LikePattern.general(bytes, elements)
        }
    }

    // MARK: Bytes

    @inline(__always)
    static func hasPrefix(_ bytes: UnsafeRawBufferPointer, _ prefix: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count >= prefix.count else { return false }
        guard prefix.count > 0, let a = bytes.baseAddress, let b = prefix.baseAddress else { return true }
        return memcmp(a, b, prefix.count) == 0
    }

    @inline(__always)
    static func hasSuffix(_ bytes: UnsafeRawBufferPointer, _ suffix: UnsafeRawBufferPointer) -> Bool {
        guard bytes.count >= suffix.count else { return false }
        guard suffix.count > 0, let a = bytes.baseAddress, let b = suffix.baseAddress else { return true }
        return memcmp(a + (bytes.count - suffix.count), b, suffix.count) == 0
    }

    /// Where `part` first stands in `bytes` at or behind `from`.
    @inline(__always)
    static func find(_ part: UnsafeRawBufferPointer, in bytes: UnsafeRawBufferPointer, from: Int) -> Int? {
        guard from <= bytes.count else { return nil }
        guard part.count > 0, let needle = part.baseAddress else { return from }
        guard let start = bytes.baseAddress, bytes.count - from >= part.count else { return nil }
        let first = Int32(part[0])
        let end = bytes.count - part.count
        var position = from
        while position <= end, let found = memchr(start + position, first, end - position + 1) {
            let candidate = UnsafeRawPointer(found)
            if memcmp(candidate, needle, part.count) == 0 { return candidate - start }
            position = candidate - start + 1
        }
        return nil
    }

    /// Goes back to the last `%` only, as that is always enough.
    private static func general(_ bytes: UnsafeRawBufferPointer, _ elements: [Element]) -> Bool {
        var position = 0
        var index = 0
        var retry: (position: Int, index: Int)?
        func fits(_ element: Element, at position: Int) -> Int? {
            switch element {
            case .many: return position
            case .one: return position < bytes.count ? nextCharacter(bytes, position) : nil
            case .text(let text):
                guard bytes.count - position >= text.count else { return nil }
                let equal = text.withUnsafeBytes {
                    memcmp(bytes.baseAddress.unsafelyUnwrapped + position, $0.baseAddress.unsafelyUnwrapped, text.count)
                        == 0
                }
                return equal ? position + text.count : nil
            }
        }
        while true {
            if index < elements.count {
                if case .many = elements[index] {
                    retry = (position, index + 1)
                    index += 1
                    continue
                }
                if let next = fits(elements[index], at: position) {
                    position = next
                    index += 1
                    continue
                }
            } else if position == bytes.count {
                return true
            }
            guard let last = retry, last.position < bytes.count else { return false }
            position = nextCharacter(bytes, last.position)
            retry = (position, last.index)
            index = last.index
        }
    }

    /// The position behind the UTF-8 character that starts at `position`.
    @inline(__always)
    static func nextCharacter(_ bytes: UnsafeRawBufferPointer, _ position: Int) -> Int {
        var next = position + 1
        while next < bytes.count, bytes[next] & 0xC0 == 0x80 { next += 1 }
        return next
    }
}
