import Glibc

/// Arrow's 16-byte view of a string or byte string: up to 12 bytes stand inside the view, longer ones in a buffer.
///
/// Layout: `length: Int32`, then either 12 inline bytes (unused ones zero), or 4 prefix bytes, the index of the buffer
/// and the offset in it. Source: Arrow columnar format, "Variable-size Binary View Layout".
@frozen
public struct StringView: BitwiseCopyable, Sendable {
    public var length: Int32
    public var word1: UInt32
    public var word2: UInt32
    public var word3: UInt32

    /// The empty string.
    @inlinable
    public init() {
        length = 0
        word1 = 0
        word2 = 0
        word3 = 0
    }

    /// A view of `bytes`, which stand at `offset` in buffer number `buffer` when they are more than 12.
    @inlinable
    public init(_ bytes: UnsafeRawBufferPointer, buffer: Int32, offset: Int) {
        self.init()
        length = Int32(truncatingIfNeeded: bytes.count)
        guard let base = bytes.baseAddress else { return }
        if bytes.count <= 12 {
            withUnsafeMutableBytes(of: &self) { memory in
                memory.baseAddress.unsafelyUnwrapped.advanced(by: 4).copyMemory(from: base, byteCount: bytes.count)
            }
        } else {
            word1 = base.loadUnaligned(as: UInt32.self)
            word2 = UInt32(bitPattern: buffer)
            word3 = UInt32(truncatingIfNeeded: offset)
        }
    }

    /// True when the bytes stand inside the view.
    @inlinable public var isInline: Bool { length <= 12 }
    /// Which buffer holds the bytes of a view that is not inline.
    @inlinable public var bufferIndex: Int { Int(word2) }
    /// Where in its buffer a view that is not inline starts.
    @inlinable public var offset: Int { Int(word3) }

    /// The same bytes after the buffers have been renumbered by `shift`.
    @inlinable
    public func movingBuffer(by shift: Int) -> StringView {
        guard !isInline else { return self }
        var copy = self
        copy.word2 = UInt32(truncatingIfNeeded: bufferIndex + shift)
        return copy
    }
}

/// The values of a string or bytes column: views, and the buffers that the long ones point into.
public struct ViewStorage: Sendable {
    public let views: Values<StringView>
    public let buffers: [Buffer]

    /// Views must point inside `buffers`; decoders of outside data check that before they come here.
    public init(views: Values<StringView>, buffers: [Buffer]) {
        self.views = views
        self.buffers = buffers
    }

    /// Pointers for hot loops, valid inside `body`. O(buffers).
    @inlinable
    public func withUnsafeViews<R, E: Error>(_ body: (UnsafeViews) throws(E) -> R) throws(E) -> R {
        var result: Result<R, E>?
        views.withUnsafeBufferPointer { views in
            if buffers.count <= 1 {
                var base = buffers.first.map { UnsafeRawPointer($0.base) } ?? UnsafeRawPointer(Buffer.empty.base)
                withUnsafePointer(to: &base) { bases in
                    do throws(E) { result = .success(try body(UnsafeViews(views: views, bases: bases))) } catch {
                        result = .failure(error)
                    }
                }
            } else {
                withUnsafeTemporaryAllocation(of: UnsafeRawPointer.self, capacity: buffers.count) { bases in
                    for (i, buffer) in buffers.enumerated() {
                        bases.initializeElement(at: i, to: UnsafeRawPointer(buffer.base))
                    }
                    let pointer = UnsafePointer(bases.baseAddress.unsafelyUnwrapped)
                    do throws(E) { result = .success(try body(UnsafeViews(views: views, bases: pointer))) } catch {
                        result = .failure(error)
                    }
                }
            }
        }
        withExtendedLifetime(buffers) {}
        return try result.unsafelyUnwrapped.get()
    }

    /// The text at `index`; damaged UTF-8 is repaired. Allocates: not for hot loops.
    public func string(at index: Int) -> String {
        withUnsafeViews { String(decoding: $0.bytes(index), as: UTF8.self) }
    }

    /// The bytes at `index`. Allocates: not for hot loops.
    public func bytes(at index: Int) -> [UInt8] {
        withUnsafeViews { Array($0.bytes(index)) }
    }

    /// The same values with long strings copied together into one new buffer, so that large read buffers are let go.
    /// Costs the bytes of the long strings.
    public func compacted() -> ViewStorage {
        var builder = ViewBuilder(capacity: views.count)
        withUnsafeViews { views in
            for i in 0..<views.count { builder.append(views.bytes(i)) }
        }
        return builder.finishStorage()
    }

    /// Bytes that the values refer to (views and long strings), not the whole buffers that they keep alive. O(n).
    public var referencedByteCount: Int {
        views.withUnsafeBufferPointer { views in
            var total = views.count * 16
            for view in views where !view.isInline { total += Int(view.length) }
            return total
        }
    }
}

/// Views and buffer addresses, lent by ``ViewStorage/withUnsafeViews(_:)``; must not leave its closure.
public struct UnsafeViews {
    @usableFromInline let views: UnsafeBufferPointer<StringView>
    @usableFromInline let bases: UnsafePointer<UnsafeRawPointer>

    @usableFromInline
    init(views: UnsafeBufferPointer<StringView>, bases: UnsafePointer<UnsafeRawPointer>) {
        self.views = views
        self.bases = bases
    }

    /// How many values there are.
    @inlinable public var count: Int { views.count }
    /// The view at `index`.
    @inlinable public subscript(index: Int) -> StringView { views[index] }

    /// The bytes of the value at `index`, wherever they stand. O(1).
    @inlinable
    public func bytes(_ index: Int) -> UnsafeRawBufferPointer {
        let view = views.baseAddress.unsafelyUnwrapped + index
        let length = Int(view.pointee.length)
        if length <= 12 { return UnsafeRawBufferPointer(start: UnsafeRawPointer(view) + 4, count: length) }
        return UnsafeRawBufferPointer(start: bases[view.pointee.bufferIndex] + view.pointee.offset, count: length)
    }

    /// Whether two values have the same bytes: mostly decided by length and prefix. O(1) or O(length).
    @inlinable
    public func equal(_ index: Int, _ other: UnsafeViews, _ otherIndex: Int) -> Bool {
        let left = views[index]
        let right = other.views[otherIndex]
        guard left.length == right.length, left.word1 == right.word1 else { return false }
        if left.isInline { return left.word2 == right.word2 && left.word3 == right.word3 }
        return memcmp(
            bases[left.bufferIndex] + left.offset, other.bases[right.bufferIndex] + right.offset, Int(left.length)) == 0
    }
}

/// Orders byte strings by unsigned bytes, then by length (as `collate "C"`): negative, zero or positive. O(length).
@inlinable
public func compareBytes(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Int {
    let common = min(left.count, right.count)
    if common > 0, let l = left.baseAddress, let r = right.baseAddress {
        let order = memcmp(l, r, common)
        if order != 0 { return Int(order) }
    }
    return left.count - right.count
}
