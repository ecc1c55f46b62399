import Glibc

/// Immutable bytes, aligned to 64 as Arrow asks, shared by reference.
///
/// Behind the last byte there are always ``Buffer/padding`` readable zero bytes, so that parsers and SIMD kernels may
/// read past the end. A buffer is filled once, by the closure given to its initialiser, and never changes afterwards:
/// that is why sharing it between tasks is safe.
public final class Buffer: Sendable {
    /// Readable zero bytes behind the end of every buffer (simdjson wants 64).
    public static let padding = 64

    /// The first byte. Valid as long as the buffer lives; use it through ``withUnsafeBytes(_:)`` where possible.
    ///
    /// `nonisolated(unsafe)`: the memory is written before `init` returns and is read-only from then on.
    @usableFromInline nonisolated(unsafe) package let base: UnsafeMutableRawPointer
    /// Bytes in use, without the padding.
    public let byteCount: Int
    /// Whether it holds one value again and again, so that rows taken out of it are its own first ones.
    @usableFromInline package let isUniform: Bool

    /// Allocates `byteCount` bytes, lends them to `fill` and freezes them. O(byteCount).
    ///
    /// - Parameter fill: must initialise every byte that will be read; the memory is zeroed only when `zeroed` is true.
    public convenience init<E: Error>(
        byteCount: Int, zeroed: Bool = false, initializingWith fill: (UnsafeMutableRawBufferPointer) throws(E) -> Void
    ) throws(E) {
        try self.init(byteCount: byteCount, zeroed: zeroed, isUniform: false, initializingWith: fill)
    }

    /// - Parameter isUniform: promises that `fill` writes one value again and again.
    package init<E: Error>(
        byteCount: Int, zeroed: Bool = false, isUniform: Bool,
        initializingWith fill: (UnsafeMutableRawBufferPointer) throws(E) -> Void
    ) throws(E) {
        precondition(byteCount >= 0, "a buffer cannot have \(byteCount) bytes")
        let memory = UnsafeMutableRawPointer.allocate(byteCount: byteCount + Buffer.padding, alignment: 64)
        memset(zeroed ? memory : memory + byteCount, 0, zeroed ? byteCount + Buffer.padding : Buffer.padding)
        base = memory
        self.byteCount = byteCount
        self.isUniform = isUniform
        try fill(UnsafeMutableRawBufferPointer(start: memory, count: byteCount))
    }

    /// Takes over memory from `UnsafeMutableRawPointer.allocate(byteCount:alignment:)` that has at least
    /// `byteCount + Buffer.padding` bytes. The padding is zeroed here. O(1).
    package init(adopting memory: UnsafeMutableRawPointer, byteCount: Int) {
        memset(memory + byteCount, 0, Buffer.padding)
        base = memory
        self.byteCount = byteCount
        isUniform = false
    }

    /// A copy of the bytes. O(n).
    public convenience init(copying bytes: UnsafeRawBufferPointer) {
        self.init(byteCount: bytes.count) { memory in
            if let source = bytes.baseAddress { memory.baseAddress?.copyMemory(from: source, byteCount: bytes.count) }
        }
    }

    /// A copy of the bytes. O(n).
    public convenience init(_ bytes: [UInt8]) {
        self.init(byteCount: bytes.count) { $0.copyBytes(from: bytes) }
    }

    deinit {
        base.deallocate()
    }

    /// Lends the bytes for reading. O(1).
    @inlinable
    public func withUnsafeBytes<R, E: Error>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
        defer { withExtendedLifetime(self) {} }
        return try body(UnsafeRawBufferPointer(start: base, count: byteCount))
    }

    /// The buffer without bytes.
    public static let empty = Buffer([])
}
