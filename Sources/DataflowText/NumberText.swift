// Numbers as text: integers, floats (shortest text that reads back the same), decimals (exact).

/// "00" to "99": two digits a division.
private let digitPairs: [UInt8] = (0..<100).flatMap {
    [UInt8(ascii: "0") + UInt8($0 / 10), UInt8(ascii: "0") + UInt8($0 % 10)]
}

extension TextBuffer {
    /// Writes the digits of `value` so that they end in front of `end`; answers where they begin.
    @inline(__always)
    private static func digits(_ value: UInt64, before end: UnsafeMutablePointer<UInt8>) -> UnsafeMutablePointer<UInt8>
    {
        var value = value
        var at = end
        digitPairs.withUnsafeBufferPointer { pairs in
            while value >= 100 {
                let pair = Int(truncatingIfNeeded: value % 100) &* 2
                value /= 100
                at -= 2
                at[0] = pairs[pair]
                at[1] = pairs[pair &+ 1]
            }
            if value >= 10 {
                at -= 2
                at[0] = pairs[Int(truncatingIfNeeded: value) &* 2]
                at[1] = pairs[Int(truncatingIfNeeded: value) &* 2 &+ 1]
            } else {
                at -= 1
                at[0] = UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: value)
            }
        }
        return at
    }

    /// Appends an integer.
    @inline(__always)
    public mutating func append(integer value: Int64) {
        if value < 0 { append(UInt8(ascii: "-")) }
        append(unsigned: value.magnitude)
    }

    /// Appends an integer without a sign.
    @inline(__always)
    public mutating func append(unsigned value: UInt64) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 20) { scratch in
            let end = scratch.baseAddress.unsafelyUnwrapped + 20
            let start = TextBuffer.digits(value, before: end)
            append(UnsafeRawBufferPointer(start: start, count: end - start))
        }
    }

    /// Appends exactly `count` digits, zeros in front.
    @inline(__always)
    mutating func append(_ value: Int, digits count: Int) {
        let target = tail(count)
        var rest = value
        for i in stride(from: count - 1, through: 0, by: -1) {
            target[i] = UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        }
        commit(count)
    }

    /// Appends the shortest text that reads back as `value`: `0.1`, `3.0`, `1e+16`; `NaN`, `Infinity`, `-Infinity`.
    public mutating func append(float value: Double) {
        guard value.isFinite else { return append(value.isNaN ? "NaN" : value < 0 ? "-Infinity" : "Infinity") }
        // Up to two decimals and fifteen digits, the shortest text is the only one of that length: no search needed.
        let scaled = value * 100
        let cents = abs(scaled) < 1e14 ? Int64(scaled + (scaled < 0 ? -0.5 : 0.5)) : 0
        if Double(cents) / 100 == value, cents != 0 || value.sign == .plus {
            if cents < 0 { append(UInt8(ascii: "-")) }
            let magnitude = cents.magnitude
            append(unsigned: magnitude / 100)
            append(UInt8(ascii: "."))
            let decimals = Int(magnitude % 100)
            if decimals % 10 == 0 { append(decimals / 10, digits: 1) } else { append(decimals, digits: 2) }
            return
        }
        append(shortest: value)
    }

    /// Appends the shortest text that reads back as `value`.
    public mutating func append(float value: Float) {
        guard value.isFinite else { return append(value.isNaN ? "NaN" : value < 0 ? "-Infinity" : "Infinity") }
        append(shortest: value)
    }

    /// Appends what the `description` of a finite number is, without making a string of it.
    @inline(__always)
    private mutating func append(shortest value: some TextOutputStreamable) {
        var target = FloatText(target: tail(FloatText.capacity))
        value.write(to: &target)
        commit(target.count)
    }

    /// Appends a scaled integer with its point: `(-1250, 2)` is `-12.50`. Exact.
    public mutating func append(decimal value: Int128, scale: Int) {
        withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 42) { scratch in
            let end = scratch.baseAddress.unsafelyUnwrapped + 42
            var at = end
            var rest = value.magnitude
            var written = 0
            // Eighteen digits at a time: 128-bit division is slow.
            while rest > 0 || written <= scale {
                let quotient = rest / 1_000_000_000_000_000_000
                var part = UInt64(truncatingIfNeeded: rest - quotient * 1_000_000_000_000_000_000)
                rest = quotient
                for _ in 0..<18 {
                    if written == scale, scale > 0 {
                        at -= 1
                        at[0] = UInt8(ascii: ".")
                    }
                    if part == 0, rest == 0, written > scale { break }
                    at -= 1
                    at[0] = UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: part % 10)
                    part /= 10
                    written += 1
                }
            }
            if value < 0 { append(UInt8(ascii: "-")) }
            append(UnsafeRawBufferPointer(start: at, count: end - at))
        }
    }
}

/// Takes the text of one number. The standard library hands it over as bytes where the stream can take those, else as a
/// string, which is allocated from sixteen bytes on.
private struct FloatText: TextOutputStream {
    /// The longest text is that of a small negative `Double`, 24 bytes.
    static let capacity = 32

    /// Room for ``capacity`` bytes.
    let target: UnsafeMutablePointer<UInt8>
    private(set) var count = 0

    init(target: UnsafeMutablePointer<UInt8>) { self.target = target }

    mutating func write(_ text: String) {
        var text = text
        text.withUTF8 { _writeASCII($0) }
    }

    mutating func _writeASCII(_ bytes: UnsafeBufferPointer<UInt8>) {
        precondition(count + bytes.count <= FloatText.capacity, "a number of more than \(FloatText.capacity) bytes")
        guard let source = bytes.baseAddress else { return }
        (target + count).update(from: source, count: bytes.count)
        count += bytes.count
    }
}
