import Glibc

/// SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014): small, and good from the
/// first draw on, whatever the seed.
struct RandomBits: RandomNumberGenerator {
    private var state: UInt64

    /// A generator of its own for each `stream` of a `seed`.
    init(seed: UInt64, stream: UInt64) {
        state = Self.mix(seed &* 0x9E37_79B9_7F4A_7C15 ^ Self.mix(stream &+ 0x9E37_79B9_7F4A_7C15))
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        return Self.mix(state)
    }

    private static func mix(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// Evenly in 0..<1.
    mutating func unit() -> Double {
        Double(next() >> 11) * 0x1p-53
    }

    /// Evenly in 0..<count; 0 where `count` is 0.
    mutating func index(_ count: Int) -> Int {
        Int(next().multipliedFullWidth(by: UInt64(max(count, 0))).high)
    }

    /// True with this probability.
    mutating func chance(_ probability: Double) -> Bool {
        unit() < probability
    }

    /// A rank from 1 to `count` with probability ~ rank^-exponent (continuous inverse; `exponent` is not 1).
    mutating func zipf(_ count: Int, exponent: Double) -> Int {
        let power = 1 - exponent
        let rank = pow(1 + unit() * (pow(Double(count) + 1, power) - 1), 1 / power)
        return min(max(Int(rank), 1), count)
    }

    /// Normally distributed around 0 with standard deviation 1 (Box–Muller).
    mutating func normal() -> Double {
        sqrt(-2 * log(1 - unit())) * cos(2 * .pi * unit())
    }

    /// A draw from a distribution given by its quantiles, linear in between.
    mutating func quantile(_ values: [Double], at shares: [Double] = quantileShares) -> Double {
        let draw = unit()
        var upper = 1
        while upper < shares.count - 1, shares[upper] < draw { upper += 1 }
        let width = shares[upper] - shares[upper - 1]
        let within = (draw - shares[upper - 1]) / width
        return values[upper - 1] + (values[upper] - values[upper - 1]) * within
    }

    /// As `quantile`, rounded to a whole number.
    mutating func count(_ values: [Double]) -> Int {
        Int(quantile(values).rounded())
    }
}

/// min / 5% / 25% / 50% / 75% / 95% / 99% / max, as the published figures are written.
let quantileShares = [0, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1]
