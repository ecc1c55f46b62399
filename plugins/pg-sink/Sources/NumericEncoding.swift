/// PostgreSQL's binary `numeric`: int16 digit count, weight, sign and display scale, then base-10000 digits
/// (`numeric_recv` in src/backend/utils/adt/numeric.c).
enum NumericEncoding {
    private static let positive: UInt16 = 0x0000
    private static let negative: UInt16 = 0x4000
    private static let nan: UInt16 = 0xC000
    private static let positiveInfinity: UInt16 = 0xD000
    private static let negativeInfinity: UInt16 = 0xF000

    /// 10^0 … 10^38.
    private static let powers: [UInt128] = {
        var powers: [UInt128] = [1]
        for _ in 0..<38 { powers.append(powers[powers.count - 1] * 10) }
        return powers
    }()

    /// Appends `value` / 10^`scale` with its length in front. `scale` is 0...38.
    static func append(_ value: Int128, scale: Int, to bytes: ByteStore) {
        // 38 digits and two partial groups need at most 11 base-10000 digits.
        withUnsafeTemporaryAllocation(of: UInt16.self, capacity: 24) { groups in
            var count = 0
            let magnitude = value.magnitude
            var whole: UInt128
            var fraction: UInt128 = 0
            if scale == 0 {
                whole = magnitude
            } else if let small = UInt64(exactly: magnitude) {
                if scale < 20 {
                    let unit = UInt64(powers[scale])
                    whole = UInt128(small / unit)
                    fraction = UInt128(small % unit)
                } else {
                    whole = 0
                    fraction = magnitude
                }
            } else {
                (whole, fraction) = magnitude.quotientAndRemainder(dividingBy: powers[scale])
            }
            // Whole part: groups come out lowest first and are turned round.
            if let small = UInt64(exactly: whole) {
                var rest = small
                while rest != 0 {
                    groups[count] = UInt16(truncatingIfNeeded: rest % 10000)
                    rest /= 10000
                    count += 1
                }
            } else {
                while whole != 0 {
                    groups[count] = UInt16(truncatingIfNeeded: whole % 10000)
                    whole /= 10000
                    count += 1
                }
            }
            var low = 0
            var high = count - 1
            while low < high {
                groups.swapAt(low, high)
                low += 1
                high -= 1
            }
            let weight = count - 1
            var left = scale
            while left > 0 {
                if left >= 4 {
                    let unit = powers[left - 4]
                    groups[count] = UInt16(truncatingIfNeeded: fraction / unit)
                    fraction %= unit
                } else {
                    groups[count] = UInt16(truncatingIfNeeded: fraction * powers[4 - left])
                }
                left -= 4
                count += 1
            }
            append(
                groups: UnsafeMutableBufferPointer(rebasing: groups[..<count]), weight: weight,
                sign: value < 0 ? negative : positive, scale: scale, to: bytes)
        }
    }

    /// Appends the shortest decimal that reads back as `value`, or NaN or an infinity, with its length in front.
    static func append(_ value: Double, to bytes: ByteStore) {
        guard value.isFinite else {
            append(
                groups: UnsafeMutableBufferPointer(start: nil, count: 0), weight: -1,
                sign: value.isNaN ? nan : value < 0 ? negativeInfinity : positiveInfinity, scale: 0, to: bytes)
            return
        }
        append(decimal: "\(value.magnitude)", negative: value < 0, to: bytes)
    }

    /// Appends the shortest decimal that reads back as `value`.
    static func append(_ value: Float, to bytes: ByteStore) {
        guard value.isFinite else { return append(Double(value), to: bytes) }
        append(decimal: "\(value.magnitude)", negative: value < 0, to: bytes)
    }

    /// `text` is what Swift prints for a finite magnitude: `12.5`, `1e-07`, `1.7976931348623157e+308`.
    private static func append(decimal text: String, negative isNegative: Bool, to bytes: ByteStore) {
        var digits: [UInt8] = []
        var exponent = 0
        var behindPoint = false
        var utf8 = text.utf8[...]
        while let character = utf8.popFirst() {
            switch character {
            case UInt8(ascii: "."): behindPoint = true
            case UInt8(ascii: "e"):
                exponent += Int(String(decoding: utf8, as: UTF8.self)) ?? 0
                utf8 = utf8[utf8.endIndex...]
            default:
                digits.append(character - UInt8(ascii: "0"))
                if behindPoint { exponent -= 1 }
            }
        }
        while exponent < 0, digits.count > 1, digits.last == 0 {
            digits.removeLast()
            exponent += 1
        }
        let scale = max(0, -exponent)
        // Line the digits up so that the point falls between two groups of four.
        let behind = ((exponent % 4) + 4) % 4
        digits.append(contentsOf: repeatElement(0, count: behind))
        exponent -= behind
        let ahead = (4 - digits.count % 4) % 4
        digits.insert(contentsOf: repeatElement(0, count: ahead), at: 0)
        var groups = stride(from: 0, to: digits.count, by: 4).map { start in
            digits[start..<start + 4].reduce(UInt16(0)) { $0 * 10 + UInt16($1) }
        }
        let weight = groups.count - 1 + exponent / 4
        groups.withUnsafeMutableBufferPointer {
            append(groups: $0, weight: weight, sign: isNegative ? negative : positive, scale: scale, to: bytes)
        }
    }

    /// Leading and trailing zero groups are left out, as the server itself stores them.
    private static func append(
        groups: UnsafeMutableBufferPointer<UInt16>, weight: Int, sign: UInt16, scale: Int, to bytes: ByteStore
    ) {
        var start = 0
        var end = groups.count
        while end > start, groups[end - 1] == 0 { end -= 1 }
        while start < end, groups[start] == 0 { start += 1 }
        let isZero = start == end
        let count = end - start
        bytes.append(bigEndian: Int32(8 + 2 * count))
        bytes.append(bigEndian: Int16(count))
        bytes.append(bigEndian: Int16(isZero ? 0 : weight - start))
        bytes.append(bigEndian: isZero && sign == negative ? positive : sign)
        bytes.append(bigEndian: Int16(scale))
        for i in start..<end { bytes.append(bigEndian: groups[i]) }
    }

    /// The decimal text of an encoded value (without its length); for messages about refused rows and for tests.
    static func text(of bytes: UnsafeRawBufferPointer) -> String {
        func word(_ index: Int) -> UInt16 {
            guard bytes.count >= index * 2 + 2 else { return 0 }
            return UInt16(bigEndian: bytes.loadUnaligned(fromByteOffset: index * 2, as: UInt16.self))
        }
        switch word(2) {
        case nan: return "NaN"
        case positiveInfinity: return "Infinity"
        case negativeInfinity: return "-Infinity"
        default: break
        }
        let count = Int(word(0))
        let weight = Int(Int16(bitPattern: word(1)))
        let scale = Int(word(3))
        func group(_ position: Int) -> String {
            let index = weight - position
            let value = index >= 0 && index < count ? word(4 + index) : 0
            let text = String(value)
            return String(repeating: "0", count: 4 - text.count) + text
        }
        var whole = ""
        if weight >= 0 { for position in stride(from: weight, through: 0, by: -1) { whole += group(position) } }
        whole = String(whole.drop { $0 == "0" })
        var fraction = ""
        var position = -1
        while fraction.count < scale {
            fraction += group(position)
            position -= 1
        }
        let number = (whole.isEmpty ? "0" : whole) + (scale > 0 ? "." + fraction.prefix(scale) : "")
        return (word(2) == negative ? "-" : "") + number
    }
}
