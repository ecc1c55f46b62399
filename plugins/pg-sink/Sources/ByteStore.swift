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

/// A 64-bit hash of bytes: folded 64×64-bit multiplications over 16 bytes a step, the construction of wyhash
/// (Wang Yi, public domain). Not cryptographic: for hash tables, and as the checksum of frames of the epoch log.
func hash64(_ bytes: UnsafeRawBufferPointer, seed: UInt64 = 0) -> UInt64 {
    @inline(__always)
    func mix(_ left: UInt64, _ right: UInt64) -> UInt64 {
        let product = left.multipliedFullWidth(by: right)
        return product.high ^ product.low
    }
    let secret0: UInt64 = 0xa076_1d64_78bd_642f
    let secret1: UInt64 = 0xe703_7ed1_a0b4_28db
    guard let base = bytes.baseAddress else { return mix(seed ^ secret0, secret1) }
    var hash = seed ^ secret0
    var offset = 0
    while bytes.count - offset >= 16 {
        let low = base.loadUnaligned(fromByteOffset: offset, as: UInt64.self)
        let high = base.loadUnaligned(fromByteOffset: offset + 8, as: UInt64.self)
        hash = mix(low ^ secret1, high ^ hash)
        offset += 16
    }
    var tail: (UInt64, UInt64) = (0, 0)
    withUnsafeMutableBytes(of: &tail) { memory in
        if bytes.count > offset, let target = memory.baseAddress {
            target.copyMemory(from: base + offset, byteCount: bytes.count - offset)
        }
    }
    hash = mix(tail.0 ^ secret1, tail.1 ^ hash)
    return mix(hash ^ secret0, UInt64(bytes.count) ^ secret1)
}
