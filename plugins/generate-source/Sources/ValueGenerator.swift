import DataflowOperator
import Glibc

/// When rows are due: microseconds since 1970, evenly apart.
struct DueTimes {
    var first: Int64
    /// Microseconds from row to row.
    var step: Double
}

/// Makes a column's values from the row's number: the same row always has the same value, whoever makes it; when it is due
/// apart, which is another time in every run.
struct ValueGenerator: Sendable {
    let type: DataType
    private let config: GeneratorConfig
    private let seed: UInt64
    /// Where each key's share of 0..<1 ends, for `zipf`.
    private let shares: [Double]
    private let start: Int64

    init(_ config: GeneratorConfig, seed: UInt64) {
        self.config = config
        self.seed = seed
        start = config.timestamp.flatMap { epochMicroseconds($0.start) } ?? 0
        if config.sequence != nil || config.integer != nil {
            type = .int64
        } else if config.number != nil {
            type = .float64
        } else {
            type = config.timestamp != nil || config.due != nil ? .timestamp : .string
        }
        var shares: [Double] = []
        if let zipf = config.zipf {
            var total = 0.0
            for key in 1...zipf.keys {
                total += 1 / pow(Double(key), zipf.exponent)
                shares.append(total)
            }
            for i in shares.indices { shares[i] /= total }
        }
        self.shares = shares
    }

    /// About how many bytes a value takes in memory.
    var valueByteCount: Int {
        guard type == .string else { return 8 }
        let text = config.text?.length ?? config.choice?.map(\.utf8.count).max() ?? 16
        return MemoryLayout<StringView>.size + text
    }

    /// 64 random bits for a row (SplitMix64's finaliser; Steele, Lea and Flood 2014). `stream` tells uses apart.
    private func bits(_ row: Int64, _ stream: UInt64 = 0) -> UInt64 {
        var z = seed &+ UInt64(bitPattern: row) &* 0x9E37_79B9_7F4A_7C15 &+ stream &* 0xD1B5_4A32_D192_ED03
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// A number in 0..<1 for a row.
    private func unit(_ row: Int64, _ stream: UInt64 = 0) -> Double { Double(bits(row, stream) >> 11) * 0x1p-53 }

    /// The values of `rows`, which are due at `due`. O(rows).
    func column(_ rows: Range<Int64>, due: DueTimes) -> Column {
        let count = rows.count
        let first = rows.lowerBound
        var validity: Bitmap?
        if config.nulls > 0 {
            validity = Bitmap(count: count) { unit(first + Int64($0), 1) >= config.nulls }
            if validity?.setCount == count { validity = nil }
        }
        if let sequence = config.sequence {
            return int64(count, validity) { Int64(sequence.start) &+ (first + Int64($0)) &* Int64(sequence.step) }
        }
        if let integer = config.integer {
            let low = Int64(integer.min)
            let span = UInt64(bitPattern: Int64(integer.max) &- low)
            return int64(count, validity) {
                let random = bits(first + Int64($0))
                let drawn = span == .max ? random : random.multipliedFullWidth(by: span + 1).high
                return low &+ Int64(bitPattern: drawn)
            }
        }
        if let number = config.number {
            let scale = number.decimals.map { pow(10, Double($0)) }
            return Column(
                .float64,
                .float64(
                    Values(count: count) { target in
                        for i in 0..<count {
                            let value = number.min + (number.max - number.min) * unit(first + Int64(i))
                            target[i] = scale.map { (value * $0).rounded() / $0 } ?? value
                        }
                    }), validity: validity)
        }
        if let timestamp = config.timestamp {
            let step = timestamp.step.nanoseconds
            let jitter = timestamp.jitter.nanoseconds / 1000
            return int64(count, validity) {
                let row = first + Int64($0)
                return start &+ row &* step / 1000 &- (jitter == 0 ? 0 : Int64(Double(jitter) * unit(row)))
            }.reinterpreted(as: .timestamp)
        }
        if config.due != nil {
            return int64(count, validity) { due.first &+ Int64(Double($0) * due.step) }.reinterpreted(as: .timestamp)
        }
        return texts(count, first, validity)
    }

    private func int64(_ count: Int, _ validity: Bitmap?, _ value: (Int) -> Int64) -> Column {
        Column(
            .int64, .int64(Values(count: count) { target in for i in 0..<count { target[i] = value(i) } }),
            validity: validity)
    }

    private func texts(_ count: Int, _ first: Int64, _ validity: Bitmap?) -> Column {
        var builder = ViewBuilder(capacity: count)
        for i in 0..<count {
            let row = first + Int64(i)
            if let choice = config.choice {
                builder.append(choice[Int(bits(row).multipliedFullWidth(by: UInt64(choice.count)).high)])
            } else if let zipf = config.zipf {
                builder.append(zipf.prefix + String(key(for: unit(row))))
            } else {
                let length = config.text?.length ?? 0
                withUnsafeTemporaryAllocation(byteCount: max(length, 1), alignment: 1) { memory in
                    for j in 0..<length {
                        let letter = bits(row, UInt64(j) + 2).multipliedFullWidth(by: 26).high
                        memory[j] = 97 + UInt8(truncatingIfNeeded: letter)
                    }
                    builder.append(UnsafeRawBufferPointer(rebasing: memory[..<length]))
                }
            }
        }
        return builder.finish().withValidity(validity)
    }

    /// The key whose share holds `point`: binary search.
    private func key(for point: Double) -> Int {
        var low = 0
        var high = shares.count - 1
        while low < high {
            let middle = (low + high) / 2
            if shares[middle] > point { high = middle } else { low = middle + 1 }
        }
        return low + 1
    }
}
