import DataflowColumnar
import Glibc

/// Uninitialised memory that grows and ends as a ``Buffer`` without a copy: what columns are written into.
struct Growable<Element: BitwiseCopyable & Sendable>: ~Copyable {
    private(set) var base: UnsafeMutablePointer<Element>
    private(set) var capacity: Int
    var count = 0

    init(capacity: Int = 0) {
        self.capacity = max(capacity, 64)
        base = Growable.allocate(self.capacity)
    }

    deinit {
        UnsafeMutableRawPointer(base).deallocate()
    }

    private static func allocate(_ capacity: Int) -> UnsafeMutablePointer<Element> {
        UnsafeMutableRawPointer.allocate(
            byteCount: capacity * MemoryLayout<Element>.stride + Buffer.padding, alignment: 64
        ).bindMemory(to: Element.self, capacity: capacity)
    }

    /// Makes room for `extra` elements behind `count`. Amortised O(extra).
    @inline(__always)
    mutating func reserve(_ extra: Int) {
        if count + extra > capacity { grow(to: count + extra) }
    }

    private mutating func grow(to needed: Int) {
        let larger = max(capacity * 2, needed)
        let memory = Growable.allocate(larger)
        memory.update(from: base, count: count)
        UnsafeMutableRawPointer(base).deallocate()
        base = memory
        capacity = larger
    }

    @inline(__always)
    mutating func append(_ element: Element) {
        reserve(1)
        base[count] = element
        count &+= 1
    }

    /// What was written, as a buffer; begins anew with room for as much again.
    mutating func take() -> Buffer {
        let buffer = Buffer(
            adopting: UnsafeMutableRawPointer(base), byteCount: count * MemoryLayout<Element>.stride)
        capacity = max(64, count)
        base = Growable.allocate(capacity)
        count = 0
        return buffer
    }

    /// What was written, as values; begins anew with room for as much again.
    mutating func takeValues() -> Values<Element> {
        let count = count
        return Values(buffer: take(), count: count)
    }
}

/// Bits written as bytes 0 and 1, packed at the end; for validity and boolean values.
struct ByteFlags: ~Copyable {
    private var bytes = Growable<UInt8>()
    /// True once a 0 was announced with ``markZero()``.
    private(set) var hasZero = false

    var count: Int { bytes.count }

    /// Adds `n` ones and answers where they stand: clear some with ``clear(_:)``.
    @inline(__always)
    mutating func appendOnes(_ n: Int) -> UnsafeMutablePointer<UInt8> {
        bytes.reserve(n)
        let start = bytes.base + bytes.count
        memset(start, 1, n)
        bytes.count += n
        return start
    }

    mutating func markZero() { hasZero = true }

    /// The bits; nil where no zero was announced and `always` is false. Begins anew.
    mutating func take(always: Bool = false) -> Bitmap? {
        defer {
            bytes.count = 0
            hasZero = false
        }
        guard hasZero || always else { return nil }
        let count = bytes.count
        let source = UnsafeRawPointer(bytes.base)
        let words = Values<UInt64>(count: (count + 63) / 64) { words in
            for w in 0..<words.count {
                var word: UInt64 = 0
                let groups = min(8, (count - w * 64 + 7) / 8)
                for group in 0..<groups {
                    // Eight bytes 0 or 1 to eight bits: the product gathers them in its top byte.
                    let eight = source.loadUnaligned(fromByteOffset: w * 64 + group * 8, as: UInt64.self)
                    let bits = ((eight & 0x0101_0101_0101_0101) &* 0x0102_0408_1020_4080) >> 56
                    word |= bits << UInt64(group * 8)
                }
                words[w] = word
            }
        }
        return Bitmap(words: words, count: count)
    }
}
