import Glibc

/// Builds the values of a fixed-width column.
public struct FixedBuilder<Element: BitwiseCopyable & Sendable>: Sendable {
    @usableFromInline var values: [Element] = []
    @usableFromInline var nulls = NullTracker()
    private let filler: Element

    /// - Parameter filler: what stands under a null.
    public init(capacity: Int = 0, filler: Element) {
        values.reserveCapacity(capacity)
        self.filler = filler
    }

    /// Values appended so far, nulls included.
    @inlinable public var count: Int { values.count }

    /// Appends a value. Amortised O(1).
    @inlinable
    public mutating func append(_ value: Element) {
        values.append(value)
        nulls.appendValid()
    }

    /// Appends a null. Amortised O(1).
    public mutating func appendNull() {
        nulls.appendNull(at: values.count)
        values.append(filler)
    }

    /// Values and validity; the builder starts again from none.
    public mutating func finish() -> (Values<Element>, Bitmap?) {
        defer { values.removeAll(keepingCapacity: true) }
        return (Values(values), nulls.finish(count: values.count))
    }
}

/// Keeps validity only from the first null on.
@usableFromInline
struct NullTracker: Sendable {
    @usableFromInline var bits: BitmapBuilder?

    @usableFromInline init() {}

    @inlinable
    mutating func appendValid() { if bits != nil { bits?.append(true) } }

    @usableFromInline
    mutating func appendNull(at index: Int) {
        if bits == nil {
            var builder = BitmapBuilder()
            builder.append(repeating: true, count: index)
            bits = builder
        }
        bits?.append(false)
    }

    @usableFromInline
    mutating func finish(count: Int) -> Bitmap? {
        defer { bits = nil }
        return bits?.finish()
    }
}

/// Builds string and bytes columns: copies bytes into its own buffers, or refers to buffers that it is given.
public struct ViewBuilder: ~Copyable {
    /// Bytes of one of the builder's own buffers; longer strings get a buffer of their own.
    private static let chunkByteCount = 64 << 10

    private var views: UnsafeMutablePointer<StringView>
    private var capacity: Int
    /// Values appended so far, nulls included.
    public private(set) var count = 0
    private var buffers: [Buffer] = []
    private var chunk: UnsafeMutableRawPointer?
    private var chunkUsed = 0
    private var chunkCapacity = 0
    private var chunkIndex: Int32 = 0
    private var nulls = NullTracker()

    public init(capacity: Int = 0) {
        self.capacity = max(capacity, 16)
        views = .allocate(capacity: self.capacity)
    }

    deinit {
        views.deallocate()
        chunk?.deallocate()
    }

    private mutating func appendView(_ view: StringView) {
        if count == capacity {
            let larger = UnsafeMutablePointer<StringView>.allocate(capacity: capacity * 2)
            larger.moveInitialize(from: views, count: count)
            views.deallocate()
            views = larger
            capacity *= 2
        }
        views[count] = view
        count += 1
        nulls.appendValid()
    }

    /// Appends a copy of `bytes`. Amortised O(bytes).
    public mutating func append(_ bytes: UnsafeRawBufferPointer) {
        if bytes.count <= 12 {
            appendView(StringView(bytes, buffer: 0, offset: 0))
            return
        }
        if chunkUsed + bytes.count > chunkCapacity { startChunk(atLeast: bytes.count) }
        guard let chunk, let source = bytes.baseAddress else { return }
        memcpy(chunk + chunkUsed, source, bytes.count)
        appendView(StringView(bytes, buffer: chunkIndex, offset: chunkUsed))
        chunkUsed += bytes.count
    }

    /// Appends a copy of a string's UTF-8. Amortised O(bytes).
    public mutating func append(_ text: String) {
        var text = text
        text.withUTF8 { append(UnsafeRawBufferPointer($0)) }
    }

    /// Appends a null. Amortised O(1).
    public mutating func appendNull() {
        nulls.appendNull(at: count)
        let kept = nulls
        appendView(StringView())
        nulls = kept
    }

    /// Takes a buffer on; its index is what views of ``append(_:inBuffer:)`` use.
    public mutating func adopt(_ buffer: Buffer) -> Int32 {
        closeChunk()
        buffers.append(buffer)
        return Int32(truncatingIfNeeded: buffers.count - 1)
    }

    /// Appends bytes that stand inside an adopted buffer, at `offset`, without copying them. O(1).
    public mutating func append(_ bytes: UnsafeRawBufferPointer, inBuffer buffer: Int32, offset: Int) {
        appendView(StringView(bytes, buffer: buffer, offset: offset))
    }

    private mutating func startChunk(atLeast byteCount: Int) {
        closeChunk()
        chunkCapacity = max(min(ViewBuilder.chunkByteCount, max(4096, capacity * 16)), byteCount)
        chunk = .allocate(byteCount: chunkCapacity + Buffer.padding, alignment: 64)
        chunkIndex = Int32(truncatingIfNeeded: buffers.count)
    }

    private mutating func closeChunk() {
        if let chunk { buffers.append(Buffer(adopting: chunk, byteCount: chunkUsed)) }
        chunk = nil
        chunkUsed = 0
        chunkCapacity = 0
    }

    /// The values so far, nulls as empty strings; the builder starts again from none.
    public mutating func finishStorage() -> ViewStorage {
        closeChunk()
        let storage = ViewStorage(
            views: Values(count: count) { target in
                guard let start = target.baseAddress else { return }
                start.initialize(from: views, count: count)
            }, buffers: buffers)
        buffers = []
        count = 0
        return storage
    }

    /// The column of the values so far; the builder starts again from none.
    public mutating func finish(_ type: DataType = .string) -> Column {
        let count = count
        let storage = finishStorage()
        return Column(type, .view(storage), validity: nulls.finish(count: count))
    }
}
