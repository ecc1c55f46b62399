import DataflowColumnar
import Glibc

/// Writes the texts of a column row by row, byte by byte, without a `String` between.
///
/// A row is what is appended between two calls of ``endRow()``. Short rows stand inside their views.
struct TextOutput: ~Copyable {
    /// A row longer than this fails: no expression may blow one value up without bound.
    static let maxRowByteCount = 16 << 20
    private static let maxBufferByteCount = 64 << 20

    private let views: UnsafeMutablePointer<StringView>
    private let rows: Int
    private var row = 0
    private var memory: UnsafeMutableRawPointer
    private var capacity: Int
    private var rowStart = 0
    private var position = 0
    private var buffers: [Buffer] = []

    init(rows: Int, byteCount: Int = 0) {
        self.rows = rows
        views = .allocate(capacity: max(rows, 1))
        capacity = max(byteCount, 1024)
        memory = .allocate(byteCount: capacity + Buffer.padding, alignment: 64)
    }

    deinit {
        views.deallocate()
        memory.deallocate()
    }

    /// Bytes of the row that is being written.
    var rowByteCount: Int { position - rowStart }

    /// Whether the row that is being written is UTF-8 so far.
    var isRowUTF8: Bool { isValidUTF8(UnsafeRawBufferPointer(start: memory + rowStart, count: rowByteCount)) }

    @inline(__always)
    private mutating func reserve(_ count: Int) {
        if position + count > capacity { grow(count) }
    }

    @inline(never)
    private mutating func grow(_ count: Int) {
        let needed = position - rowStart + count
        if rowStart > 0, capacity * 2 > TextOutput.maxBufferByteCount {
            // Full: the finished rows keep this buffer, the row goes on in a new one.
            let fresh = UnsafeMutableRawPointer.allocate(
                byteCount: max(TextOutput.maxBufferByteCount, needed * 2) + Buffer.padding, alignment: 64)
            memcpy(fresh, memory + rowStart, position - rowStart)
            buffers.append(Buffer(adopting: memory, byteCount: rowStart))
            memory = fresh
            capacity = max(TextOutput.maxBufferByteCount, needed * 2)
            position -= rowStart
            rowStart = 0
            return
        }
        let larger = max(capacity * 2, position + count)
        let fresh = UnsafeMutableRawPointer.allocate(byteCount: larger + Buffer.padding, alignment: 64)
        memcpy(fresh, memory, position)
        memory.deallocate()
        memory = fresh
        capacity = larger
    }

    @inline(__always)
    mutating func append(_ byte: UInt8) {
        reserve(1)
        memory.storeBytes(of: byte, toByteOffset: position, as: UInt8.self)
        position &+= 1
    }

    @inline(__always)
    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress, bytes.count > 0 else { return }
        reserve(bytes.count)
        memcpy(memory + position, source, bytes.count)
        position &+= bytes.count
    }

    /// Lends room for up to `count` bytes; the closure answers how many it wrote.
    @inline(__always)
    mutating func append(upTo count: Int, _ body: (UnsafeMutablePointer<UInt8>) -> Int) {
        reserve(count)
        position &+= body((memory + position).assumingMemoryBound(to: UInt8.self))
    }

    mutating func append(_ text: StaticString) {
        append(UnsafeRawBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    mutating func append(_ text: String) {
        var text = text
        text.withUTF8 { append(UnsafeRawBufferPointer($0)) }
    }

    mutating func append(_ scalar: Unicode.Scalar) {
        for byte in UTF8.encode(scalar).unsafelyUnwrapped { append(byte) }
    }

    mutating func append(_ value: Int64) {
        if value < 0 { append(UInt8(ascii: "-")) }
        append(upTo: 20) { out in
            var rest = value.magnitude
            var count = 0
            repeat {
                out[count] = UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: rest % 10)
                rest /= 10
                count &+= 1
            } while rest != 0
            var (low, high) = (0, count - 1)
            while low < high {
                (out[low], out[high]) = (out[high], out[low])
                low += 1
                high -= 1
            }
            return count
        }
    }

    /// Appends `value` with leading zeros.
    mutating func append(_ value: Int, digits: Int) {
        var divisor = 1
        for _ in 1..<digits { divisor *= 10 }
        while divisor > 0 {
            append(UInt8(ascii: "0") &+ UInt8(truncatingIfNeeded: value / divisor % 10))
            divisor /= 10
        }
    }

    /// Forgets what the current row has so far.
    mutating func restartRow() { position = rowStart }

    /// Shortens the current row.
    mutating func truncateRow(to count: Int) { position = rowStart + count }

    /// The row ends here.
    @inline(__always)
    mutating func endRow() {
        let count = position &- rowStart
        let bytes = UnsafeRawBufferPointer(start: memory + rowStart, count: count)
        views[row] = StringView(bytes, buffer: Int32(truncatingIfNeeded: buffers.count), offset: rowStart)
        if count <= 12 { position = rowStart } else { rowStart = position }
        row &+= 1
    }

    /// The column; all rows must have ended.
    mutating func finish(_ type: DataType = .string, validity: Bitmap? = nil) -> Column {
        precondition(row == rows, "\(row) of \(rows) texts were written")
        if rowStart > 0 {
            buffers.append(Buffer(adopting: memory, byteCount: rowStart))
            capacity = 0
            memory = .allocate(byteCount: Buffer.padding, alignment: 64)
        }
        let all = Values<StringView>(count: rows) { target in
            target.baseAddress?.initialize(from: views, count: rows)
        }
        return Column(type, views: ViewStorage(views: all, buffers: buffers), validity: validity)
    }
}

// Loops over texts.

/// A text column of rows that `body` writes.
@inline(__always)
func writeText(_ rows: Int, byteCount: Int = 0, _ body: (Int, inout TextOutput) -> Void) -> Column {
    var output = TextOutput(rows: rows, byteCount: byteCount)
    for row in 0..<rows {
        body(row, &output)
        output.endRow()
    }
    return output.finish()
}

/// A text column whose rows are parts of the rows of another: long parts stay where they are.
@inline(__always)
func sliceText(_ vector: Vector, _ rows: Int, _ part: (Int, UnsafeRawBufferPointer) -> UnsafeRawBufferPointer) -> Column
{
    let storage = vector.text
    let step = vector.stride
    let views = storage.withUnsafeViews { views in
        Values<StringView>(count: rows) { out in
            for row in 0..<rows {
                let index = row &* step
                let whole = views.bytes(index)
                let slice = part(row, whole)
                if slice.count == whole.count {
                    out[row] = views[index]
                } else if slice.count <= 12 {
                    out[row] = StringView(slice, buffer: 0, offset: 0)
                } else {
                    let view = views[index]
                    let distance = slice.baseAddress.unsafelyUnwrapped - whole.baseAddress.unsafelyUnwrapped
                    out[row] = StringView(
                        slice, buffer: Int32(truncatingIfNeeded: view.bufferIndex), offset: view.offset + distance)
                }
            }
        }
    }
    return Column(vector.column.type, views: ViewStorage(views: views, buffers: storage.buffers))
}
