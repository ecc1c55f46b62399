import DataflowColumnar

/// Collects the pieces of a body in one aligned block that becomes a ``Buffer`` without another copy.
struct BodyAccumulator: ~Copyable {
    private var memory: UnsafeMutableRawPointer
    private var capacity: Int
    private(set) var byteCount = 0
    private let maxBytes: Int

    /// - Parameters:
    ///   - expectedBytes: how much room to take at first; the body of the page before is a good guess.
    ///   - maxBytes: ``append(_:)`` refuses what would go beyond.
    init(expectedBytes: Int, maxBytes: Int) {
        self.maxBytes = maxBytes
        capacity = max(4096, min(expectedBytes, maxBytes))
        memory = .allocate(byteCount: capacity + Buffer.padding, alignment: 64)
    }

    deinit {
        memory.deallocate()
    }

    /// Adds a piece; false, and nothing added, when the body would become longer than allowed. Amortised O(bytes).
    mutating func append(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let source = bytes.baseAddress, bytes.count > 0 else { return true }
        guard bytes.count <= maxBytes - byteCount else { return false }
        if byteCount + bytes.count > capacity { grow(to: max(byteCount + bytes.count, min(capacity * 2, maxBytes))) }
        (memory + byteCount).copyMemory(from: source, byteCount: bytes.count)
        byteCount += bytes.count
        return true
    }

    /// The body. Memory that is much too large is given back by one copy.
    mutating func finish() -> Buffer {
        if capacity - byteCount > 64 * 1024 && capacity > byteCount + byteCount / 4 { grow(to: byteCount) }
        let buffer = Buffer(adopting: memory, byteCount: byteCount)
        capacity = 0
        byteCount = 0
        memory = .allocate(byteCount: Buffer.padding, alignment: 64)
        return buffer
    }

    private mutating func grow(to newCapacity: Int) {
        let larger = UnsafeMutableRawPointer.allocate(byteCount: newCapacity + Buffer.padding, alignment: 64)
        larger.copyMemory(from: memory, byteCount: byteCount)
        memory.deallocate()
        memory = larger
        capacity = newCapacity
    }
}
