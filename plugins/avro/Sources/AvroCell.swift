import DataflowCodec
import DataflowColumnar
import DataflowText

extension TextBuffer {
    /// Appends a zigzag integer.
    mutating func append(avro value: Int64) {
        var rest = UInt64(bitPattern: value << 1 ^ value >> 63)
        while rest >= 0x80 {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(truncatingIfNeeded: rest))
    }

    /// Appends a value's bytes, lowest first.
    mutating func append<T: BitwiseCopyable>(raw value: T) {
        Swift.withUnsafeBytes(of: value) { append($0) }
    }
}

/// Writes the values of one column in Avro: ``prepare(_:)`` once a batch, ``write(_:into:)`` once a value.
class AvroCell {
    let path: String
    let refusal: Refusal
    fileprivate var validity: Bitmap?

    fileprivate init(_ path: String, _ refusal: Refusal) {
        self.path = path
        self.refusal = refusal
    }

    /// Takes up a column of the type that the cell was made for.
    func prepare(_ column: Column) { validity = column.validity }

    /// Appends the value at `row`. A value that the schema has no place for is refused.
    final func write(_ row: Int, into text: inout TextBuffer) {
        if let validity, !validity[row] { writeNull(into: &text) } else { writeValue(row, into: &text) }
    }

    func writeValue(_ row: Int, into text: inout TextBuffer) {}

    /// Without a union there is no null.
    func writeNull(into text: inout TextBuffer) {
        refusal.refuse(path, "the value is null, but the schema has no null there")
    }
}

/// A union, of which one branch is written where there is a value, another where there is none.
final class AvroUnionCell: AvroCell {
    private let inner: AvroCell
    private let branch: Int64
    private let null: Int64?

    init(_ inner: AvroCell, branch: Int, null: Int?) {
        self.inner = inner
        self.branch = Int64(branch)
        self.null = null.map { Int64($0) }
        super.init(inner.path, inner.refusal)
    }

    override func prepare(_ column: Column) {
        super.prepare(column)
        // Whether there is a value is decided here.
        inner.prepare(column.withValidity(nil))
    }

    override func writeValue(_ row: Int, into text: inout TextBuffer) {
        text.append(avro: branch)
        inner.writeValue(row, into: &text)
    }

    override func writeNull(into text: inout TextBuffer) {
        if let null { text.append(avro: null) } else { super.writeNull(into: &text) }
    }
}

/// A field that no column fills: null, by its branch, or nothing where the type itself is null.
final class AvroNullCell: AvroCell {
    private let branch: Int?

    init(_ path: String, _ refusal: Refusal, branch: Int?) {
        self.branch = branch
        super.init(path, refusal)
    }

    override func writeValue(_ row: Int, into text: inout TextBuffer) {
        if let branch { text.append(avro: Int64(branch)) }
    }

    override func writeNull(into text: inout TextBuffer) { writeValue(0, into: &text) }
}

/// Numbers, booleans and times.
final class AvroScalarCell: AvroCell {
    enum Form {
        case boolean, long, int, float, double
        /// Microseconds by a factor: 1000 for milliseconds, -1000 for nanoseconds.
        case time(Int64)
        /// A decimal by its bytes, or by so many of them.
        case decimal(append: Int, precision: Int, size: Int?)
    }

    private let form: Form
    private var storage = Column.Storage.bool(Bitmap([]))

    init(_ form: Form, _ path: String, _ refusal: Refusal) {
        self.form = form
        super.init(path, refusal)
    }

    override func prepare(_ column: Column) {
        super.prepare(column)
        storage = column.storage
    }

    private func integer(_ row: Int) -> Int64 {
        switch storage {
        case .int32(let values): Int64(values[row])
        case .int64(let values): values[row]
        default: 0
        }
    }

    private func number(_ row: Int) -> Double {
        switch storage {
        case .float32(let values): Double(values[row])
        case .float64(let values): values[row]
        default: Double(integer(row))
        }
    }

    override func writeValue(_ row: Int, into text: inout TextBuffer) {
        switch form {
        case .boolean:
            if case .bool(let values) = storage { text.append(values[row] ? 1 : 0) }
        case .long: text.append(avro: integer(row))
        case .int:
            let value = integer(row)
            if Int32(exactly: value) == nil { refusal.refuse(path, "\(value) does not fit the schema's int") }
            text.append(avro: value)
        case .float: text.append(raw: Float(number(row)).bitPattern.littleEndian)
        case .double: text.append(raw: number(row).bitPattern.littleEndian)
        case .time(let factor):
            let value = integer(row)
            if factor > 0 {
                text.append(avro: value >= 0 || value % factor == 0 ? value / factor : value / factor - 1)
            } else {
                let (scaled, overflow) = value.multipliedReportingOverflow(by: -factor)
                if overflow { refusal.refuse(path, "the time is out of the range of nanoseconds") }
                text.append(avro: scaled)
            }
        case .decimal(let append, let precision, let size):
            guard case .decimal(let values) = storage else { return }
            write(decimal: values[row], append: append, precision: precision, size: size, into: &text)
        }
    }

    private func write(
        decimal value: Int128, append: Int, precision: Int, size: Int?, into text: inout TextBuffer
    ) {
        var scaled = value
        var overflowed = false
        for _ in 0..<append {
            let (product, overflow) = scaled.multipliedReportingOverflow(by: 10)
            scaled = product
            overflowed = overflowed || overflow
        }
        var limit: Int128 = 1
        for _ in 0..<min(precision, 38) { limit *= 10 }
        if overflowed || scaled >= limit || scaled <= -limit {
            return refusal.refuse(path, "the decimal has more digits than the schema's \(precision)")
        }
        // The fewest bytes that hold the sign, highest first.
        var count = 1
        while count < 16, scaled >> Int128(count * 8 - 1) != 0, scaled >> Int128(count * 8 - 1) != -1 { count += 1 }
        if let size {
            guard count <= size else { return refusal.refuse(path, "the decimal does not fit \(size) bytes") }
            for _ in count..<size { text.append(scaled < 0 ? 0xFF : 0) }
        } else {
            text.append(avro: Int64(count))
        }
        for byte in stride(from: count - 1, through: 0, by: -1) {
            text.append(UInt8(truncatingIfNeeded: scaled >> Int128(byte * 8)))
        }
    }
}

/// Text and bytes, symbols of enums, and bytes of a fixed number.
final class AvroTextCell: AvroCell {
    enum Form {
        case counted
        case fixed(Int)
        case symbols([[UInt8]: Int])
    }

    private let form: Form
    private var storage = ViewStorage(views: Values([]), buffers: [])

    init(_ form: Form, _ path: String, _ refusal: Refusal) {
        self.form = form
        super.init(path, refusal)
    }

    override func prepare(_ column: Column) {
        super.prepare(column)
        if let values = column.viewValues { storage = values }
    }

    override func writeValue(_ row: Int, into text: inout TextBuffer) {
        storage.withUnsafeViews { views in
            let bytes = views.bytes(row)
            switch form {
            case .counted:
                text.append(avro: Int64(bytes.count))
                text.append(bytes)
            case .fixed(let size):
                guard bytes.count == size else {
                    return refusal.refuse(path, "\(bytes.count) bytes, but the schema has \(size)")
                }
                text.append(bytes)
            case .symbols(let numbers):
                guard let number = numbers[Array(bytes)] else {
                    return refusal.refuse(
                        path, "`\(String(decoding: bytes.prefix(60), as: UTF8.self))` is no symbol of the schema's enum"
                    )
                }
                text.append(avro: Int64(number))
            }
        }
    }
}

/// Lists as arrays, or as maps where the elements are structs of a key and a value.
final class AvroListCell: AvroCell {
    private let element: AvroCell
    private let key: AvroCell?
    private var offsets = Values<Int32>([0])

    /// - Parameter key: writes the keys of a map; `element` then writes its values.
    init(_ element: AvroCell, key: AvroCell?, _ path: String, _ refusal: Refusal) {
        self.element = element
        self.key = key
        super.init(path, refusal)
    }

    override func prepare(_ column: Column) {
        super.prepare(column)
        guard let (offsets, elements) = column.listValues else { return }
        self.offsets = offsets
        guard let key else { return element.prepare(elements) }
        if let members = elements.structureValues, members.count == 2 {
            key.prepare(members[0])
            element.prepare(members[1])
        }
    }

    override func writeValue(_ row: Int, into text: inout TextBuffer) {
        let (start, end) = (Int(offsets[row]), Int(offsets[row + 1]))
        if end > start {
            text.append(avro: Int64(end - start))
            for i in start..<end {
                key?.write(i, into: &text)
                element.write(i, into: &text)
            }
        }
        text.append(avro: 0)
    }
}

/// Records: a cell a field, and which member it is filled from.
final class AvroRecordCell: AvroCell {
    private let fields: [(cell: AvroCell, member: Int?)]

    init(_ fields: [(cell: AvroCell, member: Int?)], _ path: String, _ refusal: Refusal) {
        self.fields = fields
        super.init(path, refusal)
    }

    override func prepare(_ column: Column) {
        super.prepare(column)
        if let members = column.structureValues { prepare(members: members) }
    }

    func prepare(members: [Column]) {
        for field in fields { if let member = field.member { field.cell.prepare(members[member]) } }
    }

    override func writeValue(_ row: Int, into text: inout TextBuffer) {
        for field in fields { field.cell.write(row, into: &text) }
    }
}
