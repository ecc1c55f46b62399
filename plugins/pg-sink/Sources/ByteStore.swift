import Glibc

/// A growing run of raw bytes, written in place: what the encoder fills and the connection and the log read.
///
/// Not `Sendable`; used on the sink's task only.
final class ByteStore {
    private var base: UnsafeMutableRawPointer
    private var capacity: Int
    private(set) var count = 0

    init(capacity: Int = 1 << 12) {
        self.capacity = max(capacity, 64)
        base = .allocate(byteCount: self.capacity, alignment: 64)
    }

    deinit {
        base.deallocate()
    }

    /// Makes room for `additional` bytes behind the end and returns where they start. The pointer is valid until the
    /// next call of a mutating function. Amortised O(additional).
    func extend(by additional: Int) -> UnsafeMutableRawPointer {
        let needed = count + additional
        if needed > capacity {
            let grown = max(needed, capacity * 2)
            let memory = UnsafeMutableRawPointer.allocate(byteCount: grown, alignment: 64)
            memory.copyMemory(from: base, byteCount: count)
            base.deallocate()
            base = memory
            capacity = grown
        }
        defer { count = needed }
        return base + count
    }

    func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress else { return }
        extend(by: bytes.count).copyMemory(from: source, byteCount: bytes.count)
    }

    @inline(__always)
    func append<T: FixedWidthInteger & BitwiseCopyable>(bigEndian value: T) {
        extend(by: MemoryLayout<T>.size).storeBytes(of: value.bigEndian, as: T.self)
    }

    /// Forgets the bytes behind `count`; keeps the memory.
    func truncate(to count: Int) {
        precondition(count <= self.count, "truncation to \(count) of \(self.count) bytes")
        self.count = count
    }

    /// The bytes of `range`, valid until the next mutation.
    subscript(range: Range<Int>) -> UnsafeRawBufferPointer {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "bytes \(range) of \(count)")
        return UnsafeRawBufferPointer(start: base + range.lowerBound, count: range.count)
    }

    /// All bytes, writable, valid until the next mutation.
    var mutableBytes: UnsafeMutableRawBufferPointer { UnsafeMutableRawBufferPointer(start: base, count: count) }
}
