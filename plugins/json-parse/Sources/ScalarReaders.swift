import DataflowColumnar

/// What became of one value.
enum ReadResult: UInt8 {
    case value, null, wrongType, outOfRange, malformed
}

/// Turns one value of the tape into one value of a fixed-width column.
protocol ScalarReader {
    associatedtype Element: BitwiseCopyable & Sendable
    static var zero: Element { get }
    /// Reads `slot`; `out` is written only for `.value`.
    mutating func read(_ slot: Slot, _ chunk: ParsedChunk, _ tape: Tape, into out: UnsafeMutablePointer<Element>)
        -> ReadResult
}

extension ScalarReader where Element: BinaryInteger {
    static var zero: Element { 0 }
}

extension ScalarReader where Element: BinaryFloatingPoint {
    static var zero: Element { 0 }
}

/// Integers; doubles without a fraction are accepted (`3.0`, `1e3`).
struct IntegerReader<Element: FixedWidthInteger & BitwiseCopyable & Sendable>: ScalarReader {
    @inline(__always)
    mutating func read(
        _ slot: Slot, _ chunk: ParsedChunk, _ tape: Tape, into out: UnsafeMutablePointer<Element>
    ) -> ReadResult {
        switch slot.tag {
        case Tag.int64:
            guard let value = Element(exactly: Int64(bitPattern: tape.words[slot.index &+ 1])) else {
                return .outOfRange
            }
            out.pointee = value
            return .value
        case Tag.uint64: return .outOfRange
        case Tag.double:
            let double = Double(bitPattern: tape.words[slot.index &+ 1])
            guard let value = Element(exactly: double) else {
                return double.rounded(.towardZero) == double ? .outOfRange : .wrongType
            }
            out.pointee = value
            return .value
        case Tag.null, Tag.missing: return .null
        default: return .wrongType
        }
    }
}

/// Floats from any number.
struct FloatReader<Element: BinaryFloatingPoint & BitwiseCopyable & Sendable>: ScalarReader {
    @inline(__always)
    mutating func read(
        _ slot: Slot, _ chunk: ParsedChunk, _ tape: Tape, into out: UnsafeMutablePointer<Element>
    ) -> ReadResult {
        switch slot.tag {
        case Tag.double:
            let value = Element(Double(bitPattern: tape.words[slot.index &+ 1]))
            guard value.isFinite else { return .outOfRange }
            out.pointee = value
            return .value
        case Tag.int64:
            out.pointee = Element(Int64(bitPattern: tape.words[slot.index &+ 1]))
            return .value
        case Tag.uint64:
            out.pointee = Element(tape.words[slot.index &+ 1])
            return .value
        case Tag.null, Tag.missing: return .null
        default: return .wrongType
        }
    }
}

/// Timestamps from ISO 8601 text, and from numbers where a unit was declared.
struct TimestampReader: ScalarReader {
    /// What a number counts; nil where numbers are not accepted.
    let unit: EpochUnit?
    private var text = TimestampText()

    init(unit: EpochUnit?) { self.unit = unit }

    @inline(__always)
    mutating func read(
        _ slot: Slot, _ chunk: ParsedChunk, _ tape: Tape, into out: UnsafeMutablePointer<Int64>
    ) -> ReadResult {
        switch slot.tag {
        case Tag.string:
            guard let value = text.microseconds(tape.string(slot)) else { return .malformed }
            out.pointee = value
            return .value
        case Tag.int64:
            guard let unit else { return .wrongType }
            guard let value = unit.microseconds(Int64(bitPattern: tape.words[slot.index &+ 1])) else {
                return .outOfRange
            }
            out.pointee = value
            return .value
        case Tag.double:
            guard let unit else { return .wrongType }
            guard let value = unit.microseconds(Double(bitPattern: tape.words[slot.index &+ 1])) else {
                return .outOfRange
            }
            out.pointee = value
            return .value
        case Tag.uint64: return unit == nil ? .wrongType : .outOfRange
        case Tag.null, Tag.missing: return .null
        default: return .wrongType
        }
    }
}

/// What a number in a timestamp column counts, since 1970-01-01T00:00:00Z.
public enum EpochUnit: String, CaseIterable, Sendable {
    case seconds = "s"
    case milliseconds = "ms"
    case microseconds = "us"
    case nanoseconds = "ns"

    /// Nil out of range.
    func microseconds(_ count: Int64) -> Int64? {
        let product: (partialValue: Int64, overflow: Bool)
        switch self {
        case .seconds: product = count.multipliedReportingOverflow(by: 1_000_000)
        case .milliseconds: product = count.multipliedReportingOverflow(by: 1000)
        case .microseconds: return count
        // Rounded down, so that order is kept on both sides of the epoch.
        case .nanoseconds: return count >= 0 || count % 1000 == 0 ? count / 1000 : count / 1000 - 1
        }
        return product.overflow ? nil : product.partialValue
    }

    /// Nil out of range.
    func microseconds(_ count: Double) -> Int64? {
        let factor: Double
        switch self {
        case .seconds: factor = 1_000_000
        case .milliseconds: factor = 1000
        case .microseconds: factor = 1
        case .nanoseconds: factor = 0.001
        }
        return Int64(exactly: (count * factor).rounded(self == .nanoseconds ? .down : .toNearestOrAwayFromZero))
    }
}

/// Dates from `YYYY-MM-DD`.
struct DateReader: ScalarReader {
    @inline(__always)
    mutating func read(
        _ slot: Slot, _ chunk: ParsedChunk, _ tape: Tape, into out: UnsafeMutablePointer<Int32>
    ) -> ReadResult {
        switch slot.tag {
        case Tag.string:
            let text = tape.string(slot)
            guard text.count == 10, let start = text.baseAddress,
                let days = TimestampText.date(start.assumingMemoryBound(to: UInt8.self))
            else { return .malformed }
            out.pointee = Int32(truncatingIfNeeded: days)
            return .value
        case Tag.null, Tag.missing: return .null
        default: return .wrongType
        }
    }
}

/// Decimals from numbers and from text that holds one; always exact, but for digits behind the scale, which are rounded.
struct DecimalReader: ScalarReader {
    let precision: Int
    let scale: Int
    private let factor: Int128
    private let limit: Int128

    init(precision: Int, scale: Int) {
        self.precision = precision
        self.scale = scale
        factor = DecimalText.limit(precision: scale)
        limit = DecimalText.limit(precision: precision)
    }

    @inline(__always)
    mutating func read(
        _ slot: Slot, _ chunk: ParsedChunk, _ tape: Tape, into out: UnsafeMutablePointer<Int128>
    ) -> ReadResult {
        let result: DecimalText.Result
        switch slot.tag {
        case Tag.string: result = DecimalText.scaled(tape.string(slot), precision: precision, scale: scale)
        case Tag.int64:
            let integer = Int128(Int64(bitPattern: tape.words[slot.index &+ 1]))
            let product = integer.multipliedReportingOverflow(by: factor)
            guard !product.overflow, product.partialValue.magnitude < limit.magnitude else { return .outOfRange }
            out.pointee = product.partialValue
            return .value
        case Tag.uint64, Tag.double:
            // The tape holds a double, which has lost digits: read the source text.
            guard let text = chunk.source.text(of: slot, tape: tape) else { return .malformed }
            result = DecimalText.scaled(text, precision: precision, scale: scale)
        case Tag.null, Tag.missing: return .null
        default: return .wrongType
        }
        switch result {
        case .value(let value):
            out.pointee = value
            return .value
        case .malformed: return .malformed
        case .outOfRange: return .outOfRange
        }
    }
}
