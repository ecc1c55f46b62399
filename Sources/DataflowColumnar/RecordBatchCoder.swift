import Glibc

/// Bytes that are not a batch: damaged, cut off, or of another version.
public struct RecordBatchCodingError: Error, CustomStringConvertible {
    /// What was found and where.
    public let description: String

    init(_ description: String) { self.description = description }
}

/// Writes batches as bytes and reads them back: checkpoint state, epoch logs, tests.
///
/// The form is self-describing (schema included), little-endian, and keeps only what the rows refer to: text is copied
/// together, slices lose what lies outside them. It has no checksum of its own; files that hold it do. Reading checks
/// every length and offset, so that damaged bytes give an error and never a batch that reads outside its memory.
public enum RecordBatchCoder {
    private static let magic: UInt32 = 0x3142_4644  // "DFB1"

    /// The batch as bytes. O(bytes).
    public static func encode(_ batch: RecordBatch) -> [UInt8] {
        var writer = ByteWriter()
        writer.bytes.reserveCapacity(batch.byteCount + 256)
        encode(batch, into: &writer.bytes)
        return writer.bytes
    }

    /// Appends the batch's bytes. O(bytes).
    public static func encode(_ batch: RecordBatch, into bytes: inout [UInt8]) {
        var writer = ByteWriter(bytes: bytes)
        bytes = []
        writer.write(magic)
        writer.write(UInt32(truncatingIfNeeded: batch.schema.fields.count))
        for field in batch.schema.fields { write(field, &writer) }
        writer.write(UInt64(truncatingIfNeeded: batch.rowCount))
        writer.write(batch.split)
        write(batch.deletes, &writer)
        writer.write(UInt8(batch.splitWatermark == nil ? 0 : 1))
        if let marks = batch.splitWatermark { writer.write(marks) }
        for column in batch.columns { write(column, &writer) }
        bytes = writer.bytes
    }

    /// Reads a batch that fills all of `bytes`.
    public static func decode(_ bytes: UnsafeRawBufferPointer) throws(RecordBatchCodingError) -> RecordBatch {
        var reader = ByteReader(bytes: bytes)
        guard try reader.read(UInt32.self) == magic else {
            throw RecordBatchCodingError("the bytes do not start as a record batch of this version does")
        }
        let fieldCount = Int(try reader.read(UInt32.self))
        guard fieldCount <= bytes.count else { throw reader.damage("\(fieldCount) columns") }
        var fields: [Field] = []
        for _ in 0..<fieldCount { fields.append(try readField(&reader, depth: 0)) }
        guard Set(fields.map(\.name)).count == fields.count else { throw reader.damage("a column name twice") }
        let rowCount = try reader.count64()
        let split = try reader.read(Int32.self)
        let deletes = try readBitmap(&reader, count: rowCount)
        var marks: Values<Int64>?
        if try reader.read(UInt8.self) != 0 { marks = try reader.values(Int64.self, count: rowCount) }
        var columns: [Column] = []
        for field in fields { columns.append(try readColumn(field.type, count: rowCount, &reader)) }
        guard reader.position == bytes.count else { throw reader.damage("more bytes than the batch has") }
        return RecordBatch(
            Schema(fields), columns, rowCount: rowCount, deletes: deletes, splitWatermark: marks, split: split)
    }

    /// Reads a batch that fills all of `bytes`.
    public static func decode(_ bytes: [UInt8]) throws(RecordBatchCodingError) -> RecordBatch {
        var result: Result<RecordBatch, RecordBatchCodingError>?
        bytes.withUnsafeBytes { raw in
            do throws(RecordBatchCodingError) { result = .success(try decode(raw)) } catch { result = .failure(error) }
        }
        guard let result else { throw RecordBatchCodingError("no bytes") }
        return try result.get()
    }

    // MARK: Types

    private static func write(_ field: Field, _ writer: inout ByteWriter) {
        writer.write(field.name)
        writer.write(UInt8(field.nullable ? 1 : 0))
        write(field.type, &writer)
    }

    private static func write(_ type: DataType, _ writer: inout ByteWriter) {
        switch type {
        case .bool: writer.write(UInt8(1))
        case .int32: writer.write(UInt8(2))
        case .int64: writer.write(UInt8(3))
        case .float32: writer.write(UInt8(4))
        case .float64: writer.write(UInt8(5))
        case .decimal(let precision, let scale):
            writer.write(UInt8(6))
            writer.write(UInt8(precision))
            writer.write(UInt8(scale))
        case .string: writer.write(UInt8(7))
        case .bytes: writer.write(UInt8(8))
        case .timestamp: writer.write(UInt8(9))
        case .date: writer.write(UInt8(10))
        case .list(let element):
            writer.write(UInt8(11))
            write(element, &writer)
        case .structure(let fields):
            writer.write(UInt8(12))
            writer.write(UInt32(truncatingIfNeeded: fields.count))
            for field in fields { write(field, &writer) }
        }
    }

    private static func readField(_ reader: inout ByteReader, depth: Int) throws(RecordBatchCodingError) -> Field {
        let name = try reader.string()
        let nullable = try reader.read(UInt8.self) != 0
        return Field(name, try readType(&reader, depth: depth), nullable: nullable)
    }

    private static func readType(_ reader: inout ByteReader, depth: Int) throws(RecordBatchCodingError) -> DataType {
        guard depth < 64 else { throw reader.damage("types nested more than 64 deep") }
        switch try reader.read(UInt8.self) {
        case 1: return .bool
        case 2: return .int32
        case 3: return .int64
        case 4: return .float32
        case 5: return .float64
        case 6:
            let precision = Int(try reader.read(UInt8.self))
            return .decimal(precision: precision, scale: Int(try reader.read(UInt8.self)))
        case 7: return .string
        case 8: return .bytes
        case 9: return .timestamp
        case 10: return .date
        case 11: return .list(try readType(&reader, depth: depth + 1))
        case 12:
            let count = Int(try reader.read(UInt32.self))
            guard count <= reader.left else { throw reader.damage("a struct of \(count) members") }
            var fields: [Field] = []
            for _ in 0..<count { fields.append(try readField(&reader, depth: depth + 1)) }
            return .structure(fields)
        case let tag: throw reader.damage("the type number \(tag)")
        }
    }

    // MARK: Columns

    private static func write(_ bitmap: Bitmap?, _ writer: inout ByteWriter) {
        writer.write(UInt8(bitmap == nil ? 0 : 1))
        guard let bitmap else { return }
        writeBits(bitmap, &writer)
    }

    private static func writeBits(_ bitmap: Bitmap, _ writer: inout ByteWriter) {
        for w in 0..<bitmap.wordCount { writer.write(bitmap.word(w)) }
    }

    private static func readBitmap(
        _ reader: inout ByteReader, count: Int
    ) throws(RecordBatchCodingError) -> Bitmap? {
        try reader.read(UInt8.self) == 0 ? nil : try readBits(&reader, count: count)
    }

    private static func readBits(_ reader: inout ByteReader, count: Int) throws(RecordBatchCodingError) -> Bitmap {
        Bitmap(words: try reader.values(UInt64.self, count: (count + 63) / 64), count: count)
    }

    private static func write(_ column: Column, _ writer: inout ByteWriter) {
        write(column.validity, &writer)
        switch column.storage {
        case .bool(let values): writeBits(values, &writer)
        case .int32(let values): writer.write(values)
        case .int64(let values): writer.write(values)
        case .float32(let values): writer.write(values)
        case .float64(let values): writer.write(values)
        case .decimal(let values): writer.write(values)
        case .view(let values):
            values.withUnsafeViews { views in
                var total = 0
                for i in 0..<views.count {
                    writer.write(views[i].length)
                    total += Int(views[i].length)
                }
                writer.write(UInt64(truncatingIfNeeded: total))
                for i in 0..<views.count { writer.bytes.append(contentsOf: views.bytes(i)) }
            }
        case .list(let offsets, let elements):
            let first = offsets[0]
            for i in 0...column.count { writer.write(offsets[i] - first) }
            write(elements.slice(Int(first)..<Int(offsets[column.count])), &writer)
        case .structure(let columns): for member in columns { write(member, &writer) }
        }
    }

    private static func readColumn(
        _ type: DataType, count: Int, _ reader: inout ByteReader
    ) throws(RecordBatchCodingError) -> Column {
        let validity = try readBitmap(&reader, count: count)
        let storage: Column.Storage
        switch type {
        case .bool: storage = .bool(try readBits(&reader, count: count))
        case .int32, .date: storage = .int32(try reader.values(Int32.self, count: count))
        case .int64, .timestamp: storage = .int64(try reader.values(Int64.self, count: count))
        case .float32: storage = .float32(try reader.values(Float.self, count: count))
        case .float64: storage = .float64(try reader.values(Double.self, count: count))
        case .decimal: storage = .decimal(try reader.values(Int128.self, count: count))
        case .string, .bytes: storage = .view(try readViews(count: count, &reader))
        case .list(let element):
            let offsets = try reader.values(Int32.self, count: count + 1)
            var last: Int32 = 0
            for i in 0...count {
                guard offsets[i] >= last, i > 0 || offsets[i] == 0 else {
                    throw reader.damage("list offsets that fall")
                }
                last = offsets[i]
            }
            storage = .list(offsets: offsets, elements: try readColumn(element, count: Int(last), &reader))
        case .structure(let fields):
            var members: [Column] = []
            for field in fields { members.append(try readColumn(field.type, count: count, &reader)) }
            storage = .structure(members)
        }
        return Column(type, storage, validity: validity, count: count)
    }

    private static func readViews(
        count: Int, _ reader: inout ByteReader
    ) throws(RecordBatchCodingError) -> ViewStorage {
        let lengths = try reader.values(Int32.self, count: count)
        let total = try reader.count64()
        let bytes = try reader.take(total)
        guard total <= Int(UInt32.max) else { throw reader.damage("\(total) bytes of text in one column") }
        let buffer = Buffer(copying: bytes)
        var failed = false
        let views = Values<StringView>(count: count) { views in
            var offset = 0
            for i in 0..<count {
                let length = Int(lengths[i])
                guard !failed, length >= 0, offset + length <= total else {
                    failed = true
                    views[i] = StringView()
                    continue
                }
                views[i] = StringView(
                    UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + length]), buffer: 0, offset: offset)
                offset += length
            }
            failed = failed || offset != total
        }
        guard !failed else { throw reader.damage("text lengths that do not add up to \(total)") }
        return ViewStorage(views: views, buffers: [buffer])
    }
}

private struct ByteWriter {
    var bytes: [UInt8] = []

    mutating func write<T: BitwiseCopyable>(_ value: T) {
        withUnsafeBytes(of: value) { bytes.append(contentsOf: $0) }
    }

    mutating func write(_ text: String) {
        write(UInt32(truncatingIfNeeded: text.utf8.count))
        bytes.append(contentsOf: text.utf8)
    }

    mutating func write<T: BitwiseCopyable & Sendable>(_ values: Values<T>) {
        values.withUnsafeBufferPointer { bytes.append(contentsOf: UnsafeRawBufferPointer($0)) }
    }
}

private struct ByteReader {
    let bytes: UnsafeRawBufferPointer
    var position = 0

    var left: Int { bytes.count - position }

    func damage(_ what: String) -> RecordBatchCodingError {
        RecordBatchCodingError("a damaged record batch: found \(what) at byte \(position) of \(bytes.count)")
    }

    mutating func take(_ byteCount: Int) throws(RecordBatchCodingError) -> UnsafeRawBufferPointer {
        guard byteCount >= 0, byteCount <= left else { throw damage("the end, \(byteCount) more bytes expected,") }
        defer { position += byteCount }
        return UnsafeRawBufferPointer(rebasing: bytes[position..<position + byteCount])
    }

    mutating func read<T: BitwiseCopyable>(_ type: T.Type) throws(RecordBatchCodingError) -> T {
        try take(MemoryLayout<T>.size).loadUnaligned(as: T.self)
    }

    /// A count that cannot be larger than eight times the bytes there are (a bit a value at the least).
    mutating func count64() throws(RecordBatchCodingError) -> Int {
        let value = try read(UInt64.self)
        guard value <= UInt64(bytes.count) * 8 + 1 << 32 else { throw damage("the count \(value)") }
        return Int(value)
    }

    mutating func string() throws(RecordBatchCodingError) -> String {
        String(decoding: try take(Int(try read(UInt32.self))), as: UTF8.self)
    }

    mutating func values<T: BitwiseCopyable & Sendable>(
        _ type: T.Type, count: Int
    ) throws(RecordBatchCodingError) -> Values<T> {
        Values(buffer: Buffer(copying: try take(count * MemoryLayout<T>.stride)), count: count)
    }
}
