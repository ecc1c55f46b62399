/// A number as the unevaluated sum of two doubles, about 106 bits.
///
/// Sources: T. J. Dekker, "A Floating-Point Technique for Extending the Available Precision" (1971); D. Knuth, The Art of
/// Computer Programming, vol. 2, 4.2.2. Right for magnitudes from about 2^-480 to 2^500, where products neither overflow
/// nor lose their low half.
struct DoubleDouble: BitwiseCopyable {
    var high: Double
    var low: Double

    @inline(__always)
    init(_ high: Double, _ low: Double = 0) {
        self.high = high
        self.low = low
    }

    var value: Double { high + low }

    /// `a + b` without error.
    @inline(__always)
    static func sum(_ a: Double, _ b: Double) -> DoubleDouble {
        let total = a + b
        let part = total - a
        return DoubleDouble(total, (a - (total - part)) + (b - part))
    }

    /// `a * b` without error.
    @inline(__always)
    static func product(_ a: Double, _ b: Double) -> DoubleDouble {
        // Dekker's halves: a call for a fused multiply-add would cost more on machines where it is no instruction.
        let splitter = 134_217_729.0
        let ca = splitter * a
        let cb = splitter * b
        let aHigh = ca - (ca - a)
        let bHigh = cb - (cb - b)
        let aLow = a - aHigh
        let bLow = b - bHigh
        let high = a * b
        return DoubleDouble(high, ((aHigh * bHigh - high) + aHigh * bLow + aLow * bHigh) + aLow * bLow)
    }

    @inline(__always)
    static func + (a: DoubleDouble, b: DoubleDouble) -> DoubleDouble {
        let sum = sum(a.high, b.high)
        let low = sum.low + (a.low + b.low)
        let high = sum.high + low
        return DoubleDouble(high, low - (high - sum.high))
    }

    @inline(__always)
    static prefix func - (a: DoubleDouble) -> DoubleDouble { DoubleDouble(-a.high, -a.low) }

    @inline(__always)
    static func * (a: DoubleDouble, b: DoubleDouble) -> DoubleDouble {
        let product = product(a.high, b.high)
        let low = product.low + (a.high * b.low + a.low * b.high)
        let high = product.high + low
        return DoubleDouble(high, low - (high - product.high))
    }

    static func / (a: DoubleDouble, b: Double) -> DoubleDouble {
        let first = a.high / b
        let rest = a + -product(first, b)
        let second = rest.value / b
        let high = first + second
        return DoubleDouble(high, second - (high - first))
    }
}

extension Double {
    /// The double nearest to a scaled integer.
    init(scaled value: Int128, by unit: Double) {
        if let small = Int64(exactly: value) { self = Double(small) / unit } else { self = Double(value) / unit }
    }

    /// 10 to the power of a decimal's scale.
    static func unit(ofScale scale: Int) -> Double { (0..<scale).reduce(1) { power, _ in power * 10 } }
}
