/// A typed, immutable run of values inside a ``Buffer``: a slice costs no copy.
///
/// Element access keeps the buffer alive; hot loops take ``withUnsafeBufferPointer(_:)``.
public struct Values<Element: BitwiseCopyable & Sendable>: Sendable {
    @usableFromInline package let owner: Buffer
    @usableFromInline package let byteOffset: Int
    /// How many values there are.
    public let count: Int

    /// The `count` values that start `byteOffset` bytes into `buffer`. Traps when they do not lie inside it.
    @inlinable
    public init(buffer: Buffer, byteOffset: Int = 0, count: Int) {
        precondition(
            byteOffset >= 0 && count >= 0 && byteOffset + count * MemoryLayout<Element>.stride <= buffer.byteCount,
            "values lie outside their buffer")
        owner = buffer
        self.byteOffset = byteOffset
        self.count = count
    }

    /// Allocates room for `count` values and lends it to `fill`, which must initialise all of them.
    @inlinable
    public init<E: Error>(
        count: Int, initializingWith fill: (UnsafeMutableBufferPointer<Element>) throws(E) -> Void
    ) throws(E) {
        let buffer = try Buffer(byteCount: count * MemoryLayout<Element>.stride) { (memory) throws(E) in
            try fill(memory.bindMemory(to: Element.self))
        }
        self.init(buffer: buffer, count: count)
    }

    /// A copy of an array. O(n).
    @inlinable
    public init(_ values: [Element]) {
        self.init(count: values.count) { memory in _ = memory.update(fromContentsOf: values) }
    }

    /// `count` times the same value. O(n).
    @inlinable
    public init(repeating value: Element, count: Int) {
        self.init(count: count) { $0.initialize(repeating: value) }
    }

    /// `count` times the same value, in memory that ``take(_:)`` shares instead of copying it: for a column of ones that is
    /// made once and sliced for every batch. O(n).
    public static func uniform(_ value: Element, count: Int) -> Values {
        let buffer = Buffer(byteCount: count * MemoryLayout<Element>.stride, isUniform: true) { memory in
            memory.bindMemory(to: Element.self).initialize(repeating: value)
        }
        return Values(buffer: buffer, count: count)
    }

    /// The value at `index`; traps in debug builds when it is out of range.
    @inlinable
    public subscript(index: Int) -> Element {
        assert(index >= 0 && index < count, "index out of range")
        defer { withExtendedLifetime(owner) {} }
        return (owner.base + byteOffset).assumingMemoryBound(to: Element.self)[index]
    }

    /// Lends the values for reading. O(1).
    @inlinable
    public func withUnsafeBufferPointer<R, E: Error>(
        _ body: (UnsafeBufferPointer<Element>) throws(E) -> R
    ) throws(E) -> R {
        defer { withExtendedLifetime(owner) {} }
        return try body(
            UnsafeBufferPointer(start: (owner.base + byteOffset).assumingMemoryBound(to: Element.self), count: count))
    }

    /// The values of `range`, sharing the buffer. O(1).
    @inlinable
    public func slice(_ range: Range<Int>) -> Values {
        precondition(range.lowerBound >= 0 && range.upperBound <= count, "slice out of range")
        return Values(
            buffer: owner, byteOffset: byteOffset + range.lowerBound * MemoryLayout<Element>.stride, count: range.count)
    }

    /// The values at `indices`, in that order. O(indices); O(1) where all are the same by ``uniform(_:count:)``.
    @inlinable
    public func take(_ indices: Values<Int32>) -> Values {
        if owner.isUniform, indices.count * MemoryLayout<Element>.stride <= owner.byteCount {
            return Values(buffer: owner, count: indices.count)
        }
        return withUnsafeBufferPointer { source in
            indices.withUnsafeBufferPointer { indices in
                Values(count: indices.count) { target in
                    for i in 0..<indices.count { target[i] = source[Int(indices[i])] }
                }
            }
        }
    }

    /// The values as an array. O(n).
    @inlinable
    public var array: [Element] { withUnsafeBufferPointer { Array($0) } }
}
