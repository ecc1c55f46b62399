import CRE2
import Glibc

/// A compiled regular expression in RE2's syntax: matching takes time linear in the text, whatever the pattern.
///
/// `@unchecked Sendable`: the handle is made in `init`, freed in `deinit` and never changed; RE2 objects may be matched
/// from several threads at once.
final class RegularExpression: @unchecked Sendable {
    struct Failure: Error {
        var message: String
    }

    /// A part of a text.
    typealias Group = cre2_group

    static let maxGroups = 32

    private let handle: OpaquePointer
    let groupCount: Int
    /// A hand-made matcher for simple patterns at the beginning of the text.
    let prefix: PrefixPattern?

    /// - Parameter flags: `i` ignores case, `s` lets `.` match line breaks, `m` lets `^` and `$` match at lines;
    ///   `g` is for replacing and ignored here.
    init(_ pattern: String, flags: String = "") throws(Failure) {
        for flag in flags where !"gims".contains(flag) {
            throw Failure(message: "unknown flag '\(flag)' (g, i, m, s are known)")
        }
        var text = pattern
        let compiled = text.withUTF8 { bytes in
            bytes.withMemoryRebound(to: CChar.self) {
                cre2_compile($0.baseAddress, $0.count, flags.contains("i"), flags.contains("s"), flags.contains("m"))
            }
        }
        guard let compiled else { throw Failure(message: "out of memory") }
        if let error = cre2_error(compiled) {
            let message = String(cString: error)
            cre2_free(compiled)
            throw Failure(message: message)
        }
        handle = compiled
        groupCount = Int(cre2_group_count(compiled))
        let isPlain = flags.allSatisfy { $0 == "g" }
        prefix = isPlain ? PrefixPattern(pattern) : nil
    }

    deinit {
        cre2_free(handle)
    }

    /// Whether the pattern matches anywhere. O(bytes).
    @inline(__always)
    func matches(_ text: UnsafeRawBufferPointer) -> Bool {
        if let prefix { return prefix.match(text) != nil }
        return cre2_match(handle, start(text), text.count, 0, nil, 0)
    }

    /// Finds the first match at or behind `from` and fills `groups`. O(bytes).
    @inline(__always)
    func match(_ text: UnsafeRawBufferPointer, from: Int, _ groups: UnsafeMutableBufferPointer<Group>) -> Bool {
        cre2_match(handle, start(text), text.count, from, groups.baseAddress, Int32(truncatingIfNeeded: groups.count))
    }

    /// Where the pattern matches first. For single texts; loops over rows use ``match(_:from:_:)``.
    func firstMatch(_ text: UnsafeRawBufferPointer) -> Range<Int>? {
        withUnsafeTemporaryAllocation(of: Group.self, capacity: 1) { groups in
            match(text, from: 0, groups) ? groups[0].start..<groups[0].start + groups[0].length : nil
        }
    }

    @inline(__always)
    private func start(_ text: UnsafeRawBufferPointer) -> UnsafePointer<CChar>? {
        text.baseAddress?.assumingMemoryBound(to: CChar.self)
    }
}

/// Patterns like `^[a-z]{2,3}:` that a loop over bytes can match: anchored at the beginning, ASCII characters and
/// classes with counts, no choice that would need to be taken back. About ten times as fast as RE2 on short texts.
struct PrefixPattern: Sendable {
    private struct Step {
        var low: UInt64 = 0
        var high: UInt64 = 0
        var minCount = 1
        var maxCount = 1

        func contains(_ byte: UInt8) -> Bool {
            byte < 64 ? low >> UInt64(byte) & 1 != 0 : byte < 128 && high >> UInt64(byte - 64) & 1 != 0
        }
        mutating func insert(_ byte: UInt8) {
            if byte < 64 { low |= 1 << UInt64(byte) } else { high |= 1 << UInt64(byte - 64) }
        }
        func overlaps(_ other: Step) -> Bool { low & other.low != 0 || high & other.high != 0 }
    }

    private let steps: [Step]

    /// Nil for any pattern that is not simple enough.
    init?(_ pattern: String) {
        var bytes = ArraySlice(pattern.utf8)
        guard bytes.popFirst() == UInt8(ascii: "^") else { return nil }
        var steps: [Step] = []
        while !bytes.isEmpty {
            guard var step = PrefixPattern.step(&bytes), PrefixPattern.count(&bytes, &step) else { return nil }
            steps.append(step)
        }
        guard !steps.isEmpty else { return nil }
        // A step of variable length must end where the next one begins, else matching would have to go back.
        for (index, step) in steps.enumerated() where step.minCount != step.maxCount {
            for next in steps[(index + 1)...] {
                if step.overlaps(next) { return nil }
                if next.minCount > 0 { break }
            }
        }
        self.steps = steps
    }

    /// How many bytes at the beginning match, or nil.
    @inline(__always)
    func match(_ text: UnsafeRawBufferPointer) -> Int? {
        steps.withUnsafeBufferPointer { steps in
            var position = 0
            for step in steps {
                var count = 0
                while count < step.maxCount, position < text.count, step.contains(text[position]) {
                    count &+= 1
                    position &+= 1
                }
                if count < step.minCount { return nil }
            }
            return position
        }
    }

    /// One character or class; nil for anything else.
    private static func step(_ bytes: inout ArraySlice<UInt8>) -> Step? {
        var step = Step()
        guard let byte = bytes.popFirst(), byte < 128 else { return nil }
        switch Unicode.Scalar(byte) {
        case "[":
            var first = true
            while let byte = bytes.popFirst() {
                if byte == UInt8(ascii: "]"), !first { return step.low | step.high == 0 ? nil : step }
                // Negation, escapes, named classes and a bracket in front are for RE2.
                guard byte < 128, byte != UInt8(ascii: "\\"), byte != UInt8(ascii: "["),
                    !(first && byte == UInt8(ascii: "^")),
                    !(first && byte == UInt8(ascii: "]"))
                else { return nil }
                first = false
                if bytes.first == UInt8(ascii: "-"), let last = bytes.dropFirst().first, last != UInt8(ascii: "]") {
                    guard last < 128, last >= byte, last != UInt8(ascii: "\\"), last != UInt8(ascii: "[") else {
                        return nil
                    }
                    bytes = bytes.dropFirst(2)
                    for member in byte...last { step.insert(member) }
                } else {
                    step.insert(byte)
                }
            }
            return nil
        case "\\":
            guard let escaped = bytes.popFirst() else { return nil }
            switch Unicode.Scalar(escaped) {
            case "d": for member in UInt8(ascii: "0")...UInt8(ascii: "9") { step.insert(member) }
            case "w":
                for member in UInt8(ascii: "0")...UInt8(ascii: "9") { step.insert(member) }
                for member in UInt8(ascii: "a")...UInt8(ascii: "z") { step.insert(member) }
                for member in UInt8(ascii: "A")...UInt8(ascii: "Z") { step.insert(member) }
                step.insert(UInt8(ascii: "_"))
            case ".", "-", "/", "*", "+", "?", "(", ")", "[", "]", "{", "}", "|", "^", "$", "\\", ":":
                step.insert(escaped)
            default: return nil
            }
            return step
        case ".", "*", "+", "?", "(", ")", "{", "|", "^", "$": return nil
        default:
            step.insert(byte)
            return step
        }
    }

    /// `?`, `*`, `+`, `{n}`, `{n,m}`, `{n,}` or nothing; false for lazy and odd ones.
    private static func count(_ bytes: inout ArraySlice<UInt8>, _ step: inout Step) -> Bool {
        switch bytes.first {
        case UInt8(ascii: "?"): (step.minCount, step.maxCount) = (0, 1)
        case UInt8(ascii: "*"): (step.minCount, step.maxCount) = (0, .max)
        case UInt8(ascii: "+"): (step.minCount, step.maxCount) = (1, .max)
        case UInt8(ascii: "{"):
            guard let end = bytes.firstIndex(of: UInt8(ascii: "}")) else { return false }
            let body = String(decoding: bytes[(bytes.startIndex + 1)..<end], as: UTF8.self)
            let parts = body.split(separator: ",", omittingEmptySubsequences: false)
            guard parts.count <= 2, let low = Int(parts[0]), low >= 0, low <= 1000 else { return false }
            step.minCount = low
            step.maxCount = low
            if parts.count == 2 {
                if parts[1].isEmpty {
                    step.maxCount = .max
                } else {
                    guard let high = Int(parts[1]), high >= low, high <= 1000 else { return false }
                    step.maxCount = high
                }
            }
            bytes = bytes[end...]
        default: return true
        }
        bytes = bytes.dropFirst()
        return bytes.first != UInt8(ascii: "?") && bytes.first != UInt8(ascii: "+") && bytes.first != UInt8(ascii: "*")
            && bytes.first != UInt8(ascii: "{")
    }
}

/// Patterns that come from columns: the last ones used stay compiled.
struct PatternCache {
    private static let maxCount = 64
    private var compiled: [String: Result<RegularExpression, RegularExpression.Failure>] = [:]

    /// The compiled pattern. O(1) when it was used lately.
    mutating func pattern(_ text: String, flags: String) -> Result<RegularExpression, RegularExpression.Failure> {
        let key = flags + "\u{0}" + text
        if let known = compiled[key] { return known }
        if compiled.count >= PatternCache.maxCount { compiled.removeAll(keepingCapacity: true) }
        let result: Result<RegularExpression, RegularExpression.Failure>
        do throws(RegularExpression.Failure) { result = .success(try RegularExpression(text, flags: flags)) } catch {
            result = .failure(error)
        }
        compiled[key] = result
        return result
    }
}
