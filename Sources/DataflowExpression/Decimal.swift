import DataflowColumnar

/// Exact decimals: scaled 128-bit integers of at most 38 digits.
enum Decimal {
    /// 10⁰ … 10³⁸.
    static let powers: [Int128] = {
        var powers: [Int128] = [1]
        for _ in 1...38 { powers.append(powers[powers.count - 1] * 10) }
        return powers
    }()

    /// The type with that many digits before and behind the point, at most 38 in all.
    static func type(integerDigits: Int, scale: Int) -> DataType {
        .decimal(precision: max(1, min(38, integerDigits + scale)), scale: scale)
    }

    /// The type that holds a number as it was written; nil for exponents and too many digits.
    static func type(of text: String) -> DataType? {
        let digits = text.drop { $0 == "-" }
        guard digits.allSatisfy({ $0.isNumber || $0 == "." }) else { return nil }
        let parts = digits.split(separator: ".", omittingEmptySubsequences: false)
        let whole = parts[0].drop { $0 == "0" }.count
        let scale = parts.count > 1 ? parts[1].count : 0
        return whole + scale <= 38 ? .decimal(precision: max(1, whole + scale), scale: scale) : nil
    }

    /// The type of an operation's result; nil when its scale alone is more than a decimal has.
    ///
    /// Sums have the larger scale, products the sum of the scales, quotients at least 6 digits behind the point.
    static func resultType(
        _ operation: Expression.BinaryOperator, _ p: Int, _ s: Int, _ q: Int, _ t: Int
    ) -> DataType? {
        switch operation {
        case .multiply: return s + t > 38 ? nil : .decimal(precision: min(38, p + q), scale: s + t)
        case .divide:
            let whole = p - s + t
            let scale = min(max(6, s, t), max(s, 38 - whole))
            return .decimal(precision: min(38, max(1, whole + scale)), scale: scale)
        case .modulo: return type(integerDigits: min(p - s, q - t), scale: max(s, t))
        default: return type(integerDigits: max(p - s, q - t) + 1, scale: max(s, t))
        }
    }

    /// The value in another scale, rounded half away from zero; nil when it does not fit.
    static func rescale(_ value: Int128, from: Int, to: Int) -> Int128? {
        if to >= from {
            let (result, overflow) = value.multipliedReportingOverflow(by: powers[to - from])
            return overflow ? nil : result
        }
        return divideRounding(value, powers[from - to])
    }

    /// The quotient rounded half away from zero; the divisor is positive.
    static func divideRounding(_ value: Int128, _ divisor: Int128) -> Int128 {
        let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
        let half = divisor - remainder.magnitudeAsSigned
        if remainder.magnitudeAsSigned >= half { return value < 0 ? quotient - 1 : quotient + 1 }
        return quotient
    }

    /// `a × 10^shift ÷ b`, rounded half away from zero, exact in between; nil when it does not fit. `b` is not zero.
    static func divide(_ a: Int128, shift: Int, by b: Int128) -> Int128? {
        let product = a.magnitude.multipliedFullWidth(by: powers[shift].magnitude)
        guard product.high < b.magnitude else { return nil }
        var (quotient, remainder) = b.magnitude.dividingFullWidth(product)
        if remainder >= b.magnitude - remainder { quotient += 1 }
        guard quotient <= Int128.max.magnitude else { return nil }
        return (a < 0) == (b < 0) ? Int128(quotient) : -Int128(quotient)
    }

    /// Reads `-12.50`, `1e3`. Nil when it is no number or does not fit.
    ///
    /// - Parameter exactly: whether digits behind the scale are refused (otherwise they are rounded).
    static func parse(
        _ text: UnsafeRawBufferPointer, precision: Int, scale: Int, exactly: Bool = false
    ) -> Int128? {
        var position = 0
        var isNegative = false
        if position < text.count, text[position] == UInt8(ascii: "-") || text[position] == UInt8(ascii: "+") {
            isNegative = text[position] == UInt8(ascii: "-")
            position += 1
        }
        var value: Int128 = 0
        var digits = 0
        var behindPoint = 0
        var seenPoint = false
        var dropped: UInt8?
        var droppedNonZero = false
        while position < text.count {
            let byte = text[position]
            if byte == UInt8(ascii: "."), !seenPoint {
                seenPoint = true
            } else {
                let digit = byte &- UInt8(ascii: "0")
                guard digit <= 9 else { break }
                digits += 1
                if value < powers[37] {
                    value = value * 10 + Int128(digit)
                    if seenPoint { behindPoint += 1 }
                } else {
                    // More digits than fit: only those behind the point may be dropped.
                    guard seenPoint else { return nil }
                    if dropped == nil { dropped = digit } else if digit != 0 { droppedNonZero = true }
                }
            }
            position += 1
        }
        guard digits > 0 else { return nil }
        var exponent = 0
        if position < text.count, text[position] | 0x20 == UInt8(ascii: "e") {
            position += 1
            var isDown = false
            if position < text.count, text[position] == UInt8(ascii: "-") || text[position] == UInt8(ascii: "+") {
                isDown = text[position] == UInt8(ascii: "-")
                position += 1
            }
            guard position < text.count else { return nil }
            while position < text.count {
                let digit = text[position] &- UInt8(ascii: "0")
                guard digit <= 9 else { return nil }
                exponent = min(exponent * 10 + Int(digit), 1000)
                position += 1
            }
            if isDown { exponent = -exponent }
        }
        guard position == text.count else { return nil }
        if let dropped {
            if exactly, dropped != 0 || droppedNonZero { return nil }
            if dropped >= 5 { value += 1 }
        }
        let shift = scale - behindPoint + exponent
        var result: Int128
        if value == 0 {
            result = 0
        } else if shift >= 0 {
            guard shift <= 38, let scaled = rescale(value, from: 0, to: shift) else { return nil }
            result = scaled
        } else if shift < -38 {
            if exactly { return nil }
            result = 0
        } else {
            if exactly, value % powers[-shift] != 0 { return nil }
            result = divideRounding(value, powers[-shift])
        }
        guard result < powers[precision] else { return nil }
        if isNegative { result = -result }
        return result
    }

    static func parse(_ text: String, precision: Int, scale: Int, exactly: Bool = false) -> Int128? {
        var text = text
        return text.withUTF8 {
            parse(UnsafeRawBufferPointer($0), precision: precision, scale: scale, exactly: exactly)
        }
    }

    /// Appends the digits, with exactly `scale` of them behind the point.
    static func append(_ value: Int128, scale: Int, to output: inout TextOutput) {
        if value < 0 { output.append(UInt8(ascii: "-")) }
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 48) { digits in
            var rest = value.magnitude
            var count = 0
            while rest != 0 || count <= scale {
                digits[count] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10)
                rest /= 10
                count += 1
            }
            for i in (0..<count).reversed() {
                output.append(digits[i])
                if i == scale, scale > 0 { output.append(UInt8(ascii: ".")) }
            }
        }
    }

    static func double(_ value: Int128, scale: Int) -> Double {
        // Exact where both parts are (up to 2⁵³ and 10²²), one rounding otherwise.
        Double(value) / Double(powers[scale])
    }
}

extension Int128 {
    fileprivate var magnitudeAsSigned: Int128 { self < 0 ? -self : self }
}
