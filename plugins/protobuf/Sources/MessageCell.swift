import DataflowCodec
import DataflowColumnar
import DataflowText

extension TextBuffer {
    mutating func append(varint value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(truncatingIfNeeded: rest))
    }

    /// Appends a value's bytes, lowest first.
    mutating func append<T: BitwiseCopyable>(raw value: T) { Swift.withUnsafeBytes(of: value) { append($0) } }
}

/// Writes the values of one column as one field: ``prepare(_:)`` once a batch, ``write(_:into:)`` once a value.
///
/// The tag stands in front of what ``writeValue(_:into:)`` writes. Nothing is written for null, and for zeros of fields
/// that have no presence.
class FieldCell {
    let path: String
    let refusal: Refusal
    /// The field's tag; empty where the values stand alone, in a packed list.
    let tag: [UInt8]
    let omitsZero: Bool
    private var validity: Bitmap?

    init(_ path: String, _ refusal: Refusal, tag: [UInt8], omitsZero: Bool) {
        self.path = path
        self.refusal = refusal
        self.tag = tag
        self.omitsZero = omitsZero
    }

    /// Takes up a column of the type that the cell was made for.
    func prepare(_ column: Column) { validity = column.validity }

    final func isNull(_ row: Int) -> Bool { validity.map { !$0[row] } ?? false }

    /// Whether the value is what the field has without being written.
    func isZero(_ row: Int) -> Bool { false }

    func writeValue(_ row: Int, into text: inout TextBuffer) {}

    /// Appends the field, if it has to be there.
    func write(_ row: Int, into text: inout TextBuffer) {
        if isNull(row) || omitsZero && isZero(row) { return }
        text.append(tag)
        writeValue(row, into: &text)
    }
}

/// Numbers and booleans.
final class NumberCell: FieldCell {
    private let type: ProtobufSchema.FieldType
    private var storage = Column.Storage.bool(Bitmap([]))

    init(_ type: ProtobufSchema.FieldType, _ path: String, _ refusal: Refusal, tag: [UInt8], omitsZero: Bool) {
        self.type = type
        super.init(path, refusal, tag: tag, omitsZero: omitsZero)
    }

    override func prepare(_ column: Column) {
        super.prepare(column)
        storage = column.storage
    }

    private func double(_ row: Int) -> Double {
        switch storage {
        case .float32(let values): Double(values[row])
        case .float64(let values): values[row]
        case .int32(let values): Double(values[row])
        default: 0
        }
    }

    private func integer(_ row: Int) -> Int128 {
        switch storage {
        case .bool(let values): values[row] ? 1 : 0
        case .int32(let values): Int128(values[row])
        case .int64(let values): Int128(values[row])
        case .decimal(let values): values[row]
        default: 0
        }
    }

    override func isZero(_ row: Int) -> Bool {
        switch type {
        // By bits: -0.0 is written.
        case .double: double(row).bitPattern == 0
        case .float: Float(double(row)).bitPattern == 0
        default: integer(row) == 0
        }
    }

    override func writeValue(_ row: Int, into text: inout TextBuffer) {
        switch type {
        case .double: text.append(raw: double(row).bitPattern.littleEndian)
        case .float: text.append(raw: Float(double(row)).bitPattern.littleEndian)
        default: write(integer: integer(row), into: &text)
        }
    }

    private func write(integer value: Int128, into text: inout TextBuffer) {
        let range: ClosedRange<Int128>
        switch type {
        case .int32, .sint32, .sfixed32, .enumeration: range = Int128(Int32.min)...Int128(Int32.max)
        case .uint32, .fixed32: range = 0...Int128(UInt32.max)
        case .uint64, .fixed64: range = 0...Int128(UInt64.max)
        default: range = Int128(Int64.min)...Int128(Int64.max)
        }
        guard range.contains(value) else { return refusal.refuse(path, "\(value) does not fit the field's \(type)") }
        switch type {
        case .sint32, .sint64:
            let number = Int64(truncatingIfNeeded: value)
            text.append(varint: UInt64(bitPattern: number << 1 ^ number >> 63))
        case .fixed32, .sfixed32: text.append(raw: UInt32(truncatingIfNeeded: value).littleEndian)
        case .fixed64, .sfixed64: text.append(raw: UInt64(truncatingIfNeeded: value).littleEndian)
        default: text.append(varint: UInt64(truncatingIfNeeded: value))
        }
    }
}

/// Text, bytes, and the symbols of enums.
final class TextFieldCell: FieldCell {
    /// The symbols of an enum; nil for text.
    private let symbols: [[UInt8]: Int32]?
    private var storage = ViewStorage(views: Values([]), buffers: [])

    init(symbols: [[UInt8]: Int32]?, _ path: String, _ refusal: Refusal, tag: [UInt8], omitsZero: Bool) {
        self.symbols = symbols
        super.init(path, refusal, tag: tag, omitsZero: omitsZero)
    }

    override func prepare(_ column: Column) {
        super.prepare(column)
        if let values = column.viewValues { storage = values }
    }

    override func isZero(_ row: Int) -> Bool {
        guard let symbols else { return storage.views[row].length == 0 }
        return symbols[storage.bytes(at: row)] == 0
    }

    override func writeValue(_ row: Int, into text: inout TextBuffer) {
        storage.withUnsafeViews { views in
            let bytes = views.bytes(row)
            guard let symbols else {
                text.append(varint: UInt64(bytes.count))
                return text.append(bytes)
            }
            let name = String(decoding: bytes.prefix(60), as: UTF8.self)
            guard let number = symbols[Array(bytes)] ?? Int32(name) else {
                return refusal.refuse(path, "`\(name)` is no symbol of the field's enum")
            }
            text.append(varint: UInt64(truncatingIfNeeded: Int64(number)))
        }
    }
}

/// `google.protobuf.Timestamp`.
final class TimestampFieldCell: FieldCell {
    private var values = Values<Int64>([])

    override func prepare(_ column: Column) {
        super.prepare(column)
        if let values = column.int64Values { self.values = values }
    }

    override func writeValue(_ row: Int, into text: inout TextBuffer) {
        let micros = values[row]
        var (seconds, rest) = micros.quotientAndRemainder(dividingBy: 1_000_000)
        if rest < 0 {
            seconds -= 1
            rest += 1_000_000
        }
        var inner = TextBuffer(capacity: 64)
        if seconds != 0 {
            inner.append(0x08)
            inner.append(varint: UInt64(bitPattern: seconds))
        }
        if rest != 0 {
            inner.append(0x10)
            inner.append(varint: UInt64(rest) * 1000)
        }
        text.append(varint: UInt64(inner.count))
        inner.withUnsafeBytes { text.append($0) }
    }
}

/// Messages: a cell a field, in the order of their numbers, and which member each is filled from.
final class MessageCell: FieldCell {
    private let fields: [(cell: FieldCell, member: Int)]
    /// The members of each oneof, by place in `fields`.
    private let oneofs: [(name: String, places: [Int])]
    private var scratch = TextBuffer()

    init(
        _ fields: [(cell: FieldCell, member: Int)], oneofs: [(name: String, places: [Int])], _ path: String,
        _ refusal: Refusal, tag: [UInt8]
    ) {
        self.fields = fields
        self.oneofs = oneofs
        super.init(path, refusal, tag: tag, omitsZero: false)
    }

    override func prepare(_ column: Column) {
        super.prepare(column)
        if let members = column.structureValues { prepare(members: members) }
    }

    func prepare(members: [Column]) { for field in fields { field.cell.prepare(members[field.member]) } }

    /// Appends the fields of a message.
    func writeFields(_ row: Int, into text: inout TextBuffer) {
        for oneof in oneofs {
            let given = oneof.places.filter { !fields[$0].cell.isNull(row) }
            if given.count > 1 {
                refusal.refuse(
                    oneof.name,
                    "only one of \(given.map { fields[$0].cell.path }.joined(separator: ", ")) may have a value")
            }
        }
        for field in fields { field.cell.write(row, into: &text) }
    }

    override func writeValue(_ row: Int, into text: inout TextBuffer) {
        scratch.removeAll()
        writeFields(row, into: &scratch)
        text.append(varint: UInt64(scratch.count))
        scratch.withUnsafeBytes { text.append($0) }
    }
}

/// Repeated fields and maps: the elements one by one, or packed.
final class RepeatedCell: FieldCell {
    private let element: FieldCell
    private let isPacked: Bool
    private var offsets = Values<Int32>([0])
    private var scratch = TextBuffer()

    init(_ element: FieldCell, isPacked: Bool, _ path: String, _ refusal: Refusal, tag: [UInt8]) {
        self.element = element
        self.isPacked = isPacked
        super.init(path, refusal, tag: tag, omitsZero: false)
    }

    override func prepare(_ column: Column) {
        super.prepare(column)
        guard let (offsets, elements) = column.listValues else { return }
        self.offsets = offsets
        element.prepare(elements)
    }

    override func write(_ row: Int, into text: inout TextBuffer) {
        let (start, end) = (Int(offsets[row]), Int(offsets[row + 1]))
        if isNull(row) || start == end { return }
        scratch.removeAll()
        for place in start..<end {
            if element.isNull(place) {
                refusal.refuse(path, "an element is null, which a repeated field cannot say")
            } else if isPacked {
                element.writeValue(place, into: &scratch)
            } else {
                element.write(place, into: &text)
            }
        }
        guard isPacked else { return }
        text.append(tag)
        text.append(varint: UInt64(scratch.count))
        scratch.withUnsafeBytes { text.append($0) }
    }
}
