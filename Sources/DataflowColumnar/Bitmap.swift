/// An immutable run of bits, least significant first as in Arrow; a slice shares the words.
///
/// Used as validity (1 = the value is there), as boolean values and as selections.
public struct Bitmap: Sendable {
    @usableFromInline let words: Values<UInt64>
    @usableFromInline let offset: Int
    /// How many bits there are.
    public let count: Int

    @usableFromInline
    init(words: Values<UInt64>, offset: Int, count: Int) {
        precondition(offset >= 0 && count >= 0 && offset + count <= words.count * 64, "bits lie outside their words")
        self.words = words
        self.offset = offset
        self.count = count
    }

    /// Bits held in 64-bit words, least significant first. Bits behind `count` are ignored.
    public init(words: Values<UInt64>, count: Int) {
        self.init(words: words, offset: 0, count: count)
    }

    /// `count` times the same bit. O(count / 64).
    public init(repeating bit: Bool, count: Int) {
        self.init(words: Values(repeating: bit ? .max : 0, count: (count + 63) / 64), count: count)
    }

    /// One bit for each element. O(n).
    public init(_ bits: [Bool]) {
        self.init(count: bits.count) { bits[$0] }
    }

    /// One bit for each index, from a predicate that is called once an index, in order. O(n).
    @inlinable
    public init<E: Error>(count: Int, _ bit: (Int) throws(E) -> Bool) throws(E) {
        let words = try Values<UInt64>(count: (count + 63) / 64) { (words) throws(E) in
            var index = 0
            for w in 0..<words.count {
                var word: UInt64 = 0
                let end = Swift.min(64, count - index)
                for b in 0..<end {
                    word |= (try bit(index + b) ? 1 : 0) << UInt64(b)
                }
                words[w] = word
                index += end
            }
        }
        self.init(words: words, offset: 0, count: count)
    }

    /// The bit at `index`.
    @inlinable
    public subscript(index: Int) -> Bool {
        assert(index >= 0 && index < count, "index out of range")
        let position = index + offset
        return words[position >> 6] >> UInt64(position & 63) & 1 != 0
    }

    /// 64 bits from `index * 64` on, the bits behind `count` zero. O(1).
    @inlinable
    public func word(_ index: Int) -> UInt64 {
        let start = index * 64
        let position = start + offset
        let shift = UInt64(position & 63)
        var word = words[position >> 6] >> shift
        if shift != 0, (position >> 6) + 1 < words.count { word |= words[(position >> 6) + 1] << (64 - shift) }
        let left = count - start
        return left >= 64 ? word : word & (left <= 0 ? 0 : (1 << UInt64(left)) - 1)
    }

    /// How many 64-bit words ``word(_:)`` answers.
    @inlinable public var wordCount: Int { (count + 63) / 64 }

    /// How many bits are 1. O(count / 64).
    public var setCount: Int {
        var total = 0
        for w in 0..<wordCount { total += word(w).nonzeroBitCount }
        return total
    }

    /// The bits of `range`, sharing the words. O(1).
    public func slice(_ range: Range<Int>) -> Bitmap {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "slice out of range")
        return Bitmap(words: words, offset: offset + range.lowerBound, count: range.count)
    }

    /// The bits at `indices`, in that order. O(indices).
    public func take(_ indices: Values<Int32>) -> Bitmap {
        indices.withUnsafeBufferPointer { indices in
            Bitmap(count: indices.count) { self[Int(indices[$0])] }
        }
    }

    private func combine(_ other: Bitmap, _ operation: (UInt64, UInt64) -> UInt64) -> Bitmap {
        precondition(count == other.count, "bitmaps of \(count) and \(other.count) bits")
        return Bitmap(
            words: Values(count: wordCount) { words in
                for w in 0..<words.count { words[w] = operation(word(w), other.word(w)) }
            }, count: count)
    }

    /// Bitwise and of two bitmaps of the same length. O(count / 64).
    public static func & (left: Bitmap, right: Bitmap) -> Bitmap { left.combine(right, &) }
    /// Bitwise or of two bitmaps of the same length. O(count / 64).
    public static func | (left: Bitmap, right: Bitmap) -> Bitmap { left.combine(right, |) }
    /// Every bit turned round. O(count / 64).
    public static prefix func ~ (bitmap: Bitmap) -> Bitmap { bitmap.combine(bitmap) { word, _ in ~word } }

    /// The indices of the bits that are 1, ascending. O(count / 64 + set bits).
    public var setIndices: Values<Int32> {
        Values(count: setCount) { target in
            var next = 0
            for w in 0..<wordCount {
                var word = word(w)
                while word != 0 {
                    target[next] = Int32(truncatingIfNeeded: w * 64 + word.trailingZeroBitCount)
                    next += 1
                    word &= word - 1
                }
            }
        }
    }

    /// The bits as an array. O(n).
    public var array: [Bool] { (0..<count).map { self[$0] } }

    /// Both validities at once: `nil` means that nothing is null.
    public static func bothValid(_ left: Bitmap?, _ right: Bitmap?) -> Bitmap? {
        switch (left, right) {
        case (nil, nil): nil
        case (let bitmap?, nil), (nil, let bitmap?): bitmap
        case (let left?, let right?): left & right
        }
    }

    /// Several bitmaps one behind the other. O(n).
    public static func concatenate(_ parts: [Bitmap]) -> Bitmap {
        var builder = BitmapBuilder()
        for part in parts { builder.append(contentsOf: part) }
        return builder.finish()
    }
}

extension Bitmap: Equatable {
    public static func == (left: Bitmap, right: Bitmap) -> Bool {
        left.count == right.count && (0..<left.wordCount).allSatisfy { left.word($0) == right.word($0) }
    }
}

/// Builds a ``Bitmap`` bit by bit.
public struct BitmapBuilder: Sendable {
    @usableFromInline var words: [UInt64] = []
    /// Bits appended so far.
    public private(set) var count = 0

    /// A builder without bits.
    public init() {}

    /// Appends one bit. Amortised O(1).
    @inlinable
    public mutating func append(_ bit: Bool) {
        if count & 63 == 0 { words.append(0) }
        if bit { words[words.count - 1] |= 1 << UInt64(count & 63) }
        advance(1)
    }

    @usableFromInline mutating func advance(_ bits: Int) { count += bits }

    /// Appends the same bit `times` times. O(times / 64).
    public mutating func append(repeating bit: Bool, count times: Int) {
        var left = times
        while left > 0 && count & 63 != 0 {
            append(bit)
            left -= 1
        }
        while left >= 64 {
            words.append(bit ? .max : 0)
            count += 64
            left -= 64
        }
        for _ in 0..<left { append(bit) }
    }

    /// Appends all bits of a bitmap. O(count / 64) where this builder stands on a word, else O(count).
    public mutating func append(contentsOf bitmap: Bitmap) {
        if count & 63 == 0 {
            for w in 0..<bitmap.wordCount { words.append(bitmap.word(w)) }
            count += bitmap.count
        } else {
            for i in 0..<bitmap.count { append(bitmap[i]) }
        }
    }

    /// The bits appended so far; the builder starts again from none.
    public mutating func finish() -> Bitmap {
        defer {
            words.removeAll(keepingCapacity: true)
            count = 0
        }
        return Bitmap(words: Values(words), count: count)
    }
}
