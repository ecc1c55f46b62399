import Glibc

/// The key columns of rows as byte strings: equal keys have equal bytes, and the columns can be read back.
///
/// For hash tables that keep keys. A value is one byte (0 null, 1 present) and, when present, its bytes: fixed width
/// little-endian, text as length (UInt32) and bytes, lists as length and elements, structs as members.
public struct RowKeys: Sendable {
    /// All keys, one behind the other.
    public let bytes: Buffer
    /// Where each key starts; one more than there are rows.
    public let offsets: Values<Int>
    /// ``RowHash`` of each row's key.
    public let hashes: Values<UInt64>

    /// How many keys there are.
    public var count: Int { hashes.count }

    /// Encodes the key of every row. O(bytes).
    public init(_ columns: [Column], count: Int) {
        hashes = RowHash.hashes(columns, count: count)
        var writer = KeyWriter(rows: count)
        let offsets = Values<Int>(count: count + 1) { offsets in
            for row in 0..<count {
                offsets[row] = writer.used
                for column in columns { writer.write(column, row) }
            }
            offsets[count] = writer.used
        }
        self.offsets = offsets
        bytes = writer.finish()
    }

    /// Lends the key at `index`. O(1).
    @inlinable
    public func withKey<R>(_ index: Int, _ body: (UnsafeRawBufferPointer) -> R) -> R {
        bytes.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[offsets[index]..<offsets[index + 1]])) }
    }

    /// Reads columns back from encoded keys, in the order of `keys`. Traps on bytes that were not encoded with `types`.
    public static func decode(_ types: [DataType], keys: some Collection<UnsafeRawBufferPointer>) -> [Column] {
        var decoders = types.map { KeyColumnDecoder($0) }
        for key in keys {
            var position = 0
            for c in decoders.indices { decoders[c].read(key, &position) }
        }
        return decoders.indices.map { decoders[$0].finish() }
    }
}

/// Appends key bytes to one growing piece of memory.
private struct KeyWriter: ~Copyable {
    private(set) var used = 0
    private var capacity: Int
    private var memory: UnsafeMutableRawPointer

    init(rows: Int) {
        capacity = rows * 24 + 64
        memory = .allocate(byteCount: capacity + Buffer.padding, alignment: 64)
    }

    mutating func finish() -> Buffer {
        let buffer = Buffer(adopting: memory, byteCount: used)
        capacity = 64
        memory = .allocate(byteCount: capacity + Buffer.padding, alignment: 64)
        used = 0
        return buffer
    }

    deinit { memory.deallocate() }

    private mutating func reserve(_ byteCount: Int) {
        guard used + byteCount > capacity else { return }
        capacity = max(capacity * 2, used + byteCount)
        let larger = UnsafeMutableRawPointer.allocate(byteCount: capacity + Buffer.padding, alignment: 64)
        memcpy(larger, memory, used)
        memory.deallocate()
        memory = larger
    }

    private mutating func write<T: BitwiseCopyable>(_ value: T) {
        reserve(MemoryLayout<T>.size)
        (memory + used).storeBytes(of: value, as: T.self)
        used += MemoryLayout<T>.size
    }

    mutating func write(_ column: Column, _ row: Int) {
        if column.isNull(row) {
            write(UInt8(0))
            return
        }
        write(UInt8(1))
        switch column.storage {
        case .bool(let values): write(UInt8(values[row] ? 1 : 0))
        case .int32(let values): write(values[row])
        case .int64(let values): write(values[row])
        case .float32(let values): write(Float(bitPattern: canonical(values[row])))
        case .float64(let values): write(RowHash.canonicalBits(values[row]))
        case .decimal(let values):
            let bits = UInt128(bitPattern: values[row])
            write(UInt64(truncatingIfNeeded: bits))
            write(UInt64(truncatingIfNeeded: bits >> 64))
        case .view(let values):
            let view = values.views[row]
            let length = Int(view.length)
            write(UInt32(truncatingIfNeeded: length))
            reserve(length)
            if view.isInline {
                withUnsafeBytes(of: view) { _ = memcpy(memory + used, $0.baseAddress.unsafelyUnwrapped + 4, length) }
            } else {
                values.buffers[view.bufferIndex].withUnsafeBytes {
                    _ = memcpy(memory + used, $0.baseAddress.unsafelyUnwrapped + view.offset, length)
                }
            }
            used += length
        case .list(let offsets, let elements):
            write(UInt32(truncatingIfNeeded: Int(offsets[row + 1] - offsets[row])))
            for e in Int(offsets[row])..<Int(offsets[row + 1]) { write(elements, e) }
        case .structure(let columns):
            for member in columns { write(member, row) }
        }
    }

    private func canonical(_ value: Float) -> UInt32 {
        value == 0 ? 0 : value.isNaN ? Float.nan.bitPattern : value.bitPattern
    }
}

/// Reads one column of encoded keys.
private struct KeyColumnDecoder {
    private var builder: KeyColumn

    init(_ type: DataType) { builder = KeyColumn(type) }
    mutating func read(_ key: UnsafeRawBufferPointer, _ position: inout Int) { builder.read(key, &position) }
    mutating func finish() -> Column { builder.finish() }
}

private final class KeyColumn {
    private let type: DataType
    private var validity = BitmapBuilder()
    private var anyNull = false
    private var bits = BitmapBuilder()
    private var fixed: [UInt8] = []
    private var views: [(buffer: Int, offset: Int, length: Int)] = []
    private var text = ViewBuilder()
    private var listOffsets: [Int32] = [0]
    private var children: [KeyColumn] = []

    init(_ type: DataType) {
        self.type = type
        switch type {
        case .list(let element): children = [KeyColumn(element)]
        case .structure(let fields): children = fields.map { KeyColumn($0.type) }
        default: break
        }
    }

    private var width: Int {
        switch type {
        case .int32, .date, .float32: 4
        case .int64, .timestamp, .float64: 8
        case .decimal: 16
        default: 0
        }
    }

    func read(_ key: UnsafeRawBufferPointer, _ position: inout Int) {
        let present = key[position] != 0
        position += 1
        validity.append(present)
        if !present {
            appendFiller()
            return
        }
        switch type {
        case .bool:
            bits.append(key[position] != 0)
            position += 1
        case .string, .bytes:
            let length = Int(key.loadUnaligned(fromByteOffset: position, as: UInt32.self))
            position += 4
            text.append(UnsafeRawBufferPointer(rebasing: key[position..<position + length]))
            position += length
        case .list:
            let count = key.loadUnaligned(fromByteOffset: position, as: UInt32.self)
            position += 4
            for _ in 0..<count { children[0].read(key, &position) }
            listOffsets.append(listOffsets[listOffsets.count - 1] + Int32(truncatingIfNeeded: count))
        case .structure:
            for child in children { child.read(key, &position) }
        default:
            fixed.append(contentsOf: key[position..<position + width])
            position += width
        }
    }

    private func appendFiller() {
        anyNull = true
        switch type {
        case .bool: bits.append(false)
        case .string, .bytes: text.append(UnsafeRawBufferPointer(start: nil, count: 0))
        case .list: listOffsets.append(listOffsets[listOffsets.count - 1])
        case .structure:
            for child in children {
                child.validity.append(false)
                child.appendFiller()
            }
        default: fixed.append(contentsOf: repeatElement(0, count: width))
        }
    }

    func finish() -> Column {
        let mask = validity.finish()
        let storage: Column.Storage
        switch type {
        case .bool: storage = .bool(bits.finish())
        case .int32, .date: storage = .int32(Values(buffer: Buffer(fixed), count: mask.count))
        case .int64, .timestamp: storage = .int64(Values(buffer: Buffer(fixed), count: mask.count))
        case .float32: storage = .float32(Values(buffer: Buffer(fixed), count: mask.count))
        case .float64: storage = .float64(Values(buffer: Buffer(fixed), count: mask.count))
        case .decimal: storage = .decimal(Values(buffer: Buffer(fixed), count: mask.count))
        case .string, .bytes: storage = .view(text.finishStorage())
        case .list: storage = .list(offsets: Values(listOffsets), elements: children[0].finish())
        case .structure: storage = .structure(children.map { $0.finish() })
        }
        return Column(type, storage, validity: anyNull ? mask : nil, count: mask.count)
    }
}
