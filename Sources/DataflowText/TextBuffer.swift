import Glibc

/// Bytes that grow: what rows are written into before they go to a file or a server.
public struct TextBuffer: ~Copyable {
    @usableFromInline var base: UnsafeMutablePointer<UInt8>
    @usableFromInline var capacity: Int
    /// Bytes written so far.
    public private(set) var count = 0

    public init(capacity: Int = 4096) {
        self.capacity = max(capacity, 64)
        base = .allocate(capacity: self.capacity)
    }

    deinit {
        base.deallocate()
    }

    public var isEmpty: Bool { count == 0 }

    /// Makes room for `extra` bytes behind those written. Amortised O(extra).
    @inline(__always)
    mutating func reserve(_ extra: Int) {
        if count &+ extra > capacity { grow(to: count + extra) }
    }

    private mutating func grow(to needed: Int) {
        let larger = max(capacity * 2, needed)
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: larger)
        memory.update(from: base, count: count)
        base.deallocate()
        base = memory
        capacity = larger
    }

    /// Where the next byte goes, with room for `extra` of them; ``commit(_:)`` says how many were written.
    @inline(__always)
    mutating func tail(_ extra: Int) -> UnsafeMutablePointer<UInt8> {
        reserve(extra)
        return base + count
    }

    @inline(__always)
    mutating func commit(_ written: Int) { count &+= written }

    /// Appends a byte. Amortised O(1).
    @inline(__always)
    public mutating func append(_ byte: UInt8) {
        reserve(1)
        base[count] = byte
        count &+= 1
    }

    /// Appends bytes. Amortised O(bytes).
    @inline(__always)
    public mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress else { return }
        reserve(bytes.count)
        memcpy(base + count, source, bytes.count)
        count &+= bytes.count
    }

    /// Appends bytes that are readable up to a multiple of sixteen. Amortised O(bytes).
    @inline(__always)
    mutating func append(padded bytes: UnsafePointer<UInt8>, _ count: Int) {
        let source = UnsafeRawPointer(bytes)
        let target = UnsafeMutableRawPointer(tail(count &+ 16))
        var at = 0
        while at < count {
            let block = source.loadUnaligned(fromByteOffset: at, as: SIMD16<UInt8>.self)
            target.storeBytes(of: block, toByteOffset: at, as: SIMD16<UInt8>.self)
            at &+= 16
        }
        commit(count)
    }

    /// Appends bytes. Amortised O(bytes).
    @inline(__always)
    public mutating func append(_ bytes: [UInt8]) { bytes.withUnsafeBytes { append($0) } }

    /// Appends a text's UTF-8. Amortised O(bytes).
    public mutating func append(_ text: String) {
        var text = text
        text.withUTF8 { append(UnsafeRawBufferPointer($0)) }
    }

    /// Takes back what was written behind the first `count` bytes. O(1).
    public mutating func truncate(to count: Int) { self.count = min(self.count, max(0, count)) }

    /// Takes everything back; the memory stays. O(1).
    public mutating func removeAll() { count = 0 }

    /// Lends what was written. O(1).
    public func withUnsafeBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        try body(UnsafeRawBufferPointer(start: base, count: count))
    }

    /// A copy of what was written, as text; damaged UTF-8 is repaired. For tests and messages.
    public var text: String { withUnsafeBytes { String(decoding: $0, as: UTF8.self) } }
}
