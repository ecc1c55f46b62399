/// Reads decimal numbers exactly.
enum DecimalText {
    enum Result {
        case value(Int128)
        /// Not a number.
        case malformed
        /// More digits in front of the point than the type has.
        case outOfRange
    }

    /// The largest magnitude of a decimal with `precision` digits, plus one.
    static func limit(precision: Int) -> Int128 {
        var limit: Int128 = 1
        for _ in 0..<precision { limit *= 10 }
        return limit
    }

    /// The scaled integer of a text such as `-12.50` or `1.5e3`. Digits behind `scale` are rounded, half away from zero.
    static func scaled(_ text: UnsafeRawBufferPointer, precision: Int, scale: Int) -> Result {
        var at = 0
        var isNegative = false
        if at < text.count, text[at] == UInt8(ascii: "-") || text[at] == UInt8(ascii: "+") {
            isNegative = text[at] == UInt8(ascii: "-")
            at += 1
        }
        var mantissa: UInt128 = 0
        // 10^38 < 2^127, so 38 digits fit; further ones only move the point.
        var digitsKept = 0
        var exponent = 0
        var firstDropped: UInt8?
        var digitsSeen = 0
        var behindPoint = false
        while at < text.count {
            let byte = text[at]
            if byte == UInt8(ascii: "."), !behindPoint {
                behindPoint = true
            } else if byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") {
                let digit = byte - UInt8(ascii: "0")
                digitsSeen += 1
                if digitsKept < 38 {
                    mantissa = mantissa * 10 + UInt128(digit)
                    if mantissa > 0 { digitsKept += 1 }
                    if behindPoint { exponent -= 1 }
                } else {
                    if firstDropped == nil { firstDropped = digit }
                    if !behindPoint { exponent += 1 }
                }
            } else {
                break
            }
            at += 1
        }
        guard digitsSeen > 0 else { return .malformed }
        if at < text.count, text[at] | 0x20 == UInt8(ascii: "e") {
            at += 1
            var negativeExponent = false
            if at < text.count, text[at] == UInt8(ascii: "-") || text[at] == UInt8(ascii: "+") {
                negativeExponent = text[at] == UInt8(ascii: "-")
                at += 1
            }
            var written = 0
            let first = at
            while at < text.count, text[at] >= UInt8(ascii: "0"), text[at] <= UInt8(ascii: "9") {
                written = min(written * 10 + Int(text[at] - UInt8(ascii: "0")), 1_000_000)
                at += 1
            }
            guard at > first else { return .malformed }
            exponent += negativeExponent ? -written : written
        }
        guard at == text.count else { return .malformed }
        if mantissa == 0 { return .value(0) }
        var shift = exponent + scale
        // A dropped digit behind 38 kept ones: only its own rounding can still matter.
        if shift == 0, let firstDropped, firstDropped >= 5 { mantissa += 1 }
        if shift < -39 { return .value(0) }
        if shift < 0 {
            while shift < -1 {
                mantissa /= 10
                shift += 1
            }
            let last = mantissa % 10
            mantissa = mantissa / 10 + (last >= 5 ? 1 : 0)
        }
        let limit = UInt128(limit(precision: precision))
        while shift > 0 {
            guard mantissa < limit else { return .outOfRange }
            mantissa *= 10
            shift -= 1
        }
        guard mantissa < limit else { return .outOfRange }
        return .value(isNegative ? -Int128(mantissa) : Int128(mantissa))
    }
}
