public import DataflowColumnar

/// Writes the values of one column as JSON: ``prepare(_:)`` once a batch, ``write(_:into:)`` once a value.
///
/// null; booleans; integers; floats as their shortest text (`NaN` and infinities as strings, since JSON has no numbers
/// for them); decimals as exact numbers; strings; bytes as text where they are valid UTF-8, else base64; timestamps as
/// `2025-01-02T03:04:05.000006Z`; dates as `2025-01-02`; lists as arrays; structs as objects.
public class JSONCell {
    private var validity: Bitmap?

    fileprivate init() {}

    /// The writer for a type.
    public static func make(_ type: DataType) -> JSONCell {
        switch type {
        case .bool: BoolCell()
        case .int32: Int32Cell()
        case .int64: Int64Cell()
        case .float32: FloatCell()
        case .float64: DoubleCell()
        case .decimal(_, let scale): DecimalCell(scale: scale)
        case .string: TextCell()
        case .bytes: BytesCell()
        case .timestamp: TimestampCell()
        case .date: DateCell()
        case .list(let element): ListCell(make(element))
        case .structure(let fields): StructureCell(fields)
        }
    }

    /// Takes up a column, which must have the type that the cell was made for. O(buffers).
    public final func prepare(_ column: Column) {
        validity = column.validity
        load(column.storage)
    }

    /// Appends the value at `row` of the prepared column.
    @inline(__always)
    public final func write(_ row: Int, into text: inout TextBuffer) {
        if let validity, !validity[row] {
            text.append(JSONCell.null)
        } else {
            writeValue(row, into: &text)
        }
    }

    /// Whether the value at `row` of the prepared column is null.
    @inline(__always)
    final func isNull(_ row: Int) -> Bool { validity.map { !$0[row] } ?? false }

    fileprivate static let null = [UInt8]("null".utf8)

    fileprivate func load(_ storage: Column.Storage) { preconditionFailure("a cell without a type") }

    /// Appends a value that is not null.
    func writeValue(_ row: Int, into text: inout TextBuffer) { preconditionFailure("a cell without a type") }

    fileprivate final func mismatch(_ storage: Column.Storage) -> Never {
        preconditionFailure("a cell was given a column of another type")
    }
}

private final class BoolCell: JSONCell {
    private var values = Bitmap([])

    override func load(_ storage: Column.Storage) {
        guard case .bool(let values) = storage else { mismatch(storage) }
        self.values = values
    }

    override func writeValue(_ row: Int, into text: inout TextBuffer) { text.append(values[row] ? "true" : "false") }
}

private final class Int32Cell: JSONCell {
    private var values = Values<Int32>([])

    override func load(_ storage: Column.Storage) {
        guard case .int32(let values) = storage else { mismatch(storage) }
        self.values = values
    }

    override func writeValue(_ row: Int, into text: inout TextBuffer) { text.append(integer: Int64(values[row])) }
}

private final class Int64Cell: JSONCell {
    private var values = Values<Int64>([])

    override func load(_ storage: Column.Storage) {
        guard case .int64(let values) = storage else { mismatch(storage) }
        self.values = values
    }

    override func writeValue(_ row: Int, into text: inout TextBuffer) { text.append(integer: Int64(values[row])) }
}

private final class FloatCell: JSONCell {
    private var values = Values<Float>([])

    override func load(_ storage: Column.Storage) {
        guard case .float32(let values) = storage else { mismatch(storage) }
        self.values = values
    }

    override func writeValue(_ row: Int, into text: inout TextBuffer) {
        let value = values[row]
        if value.isFinite {
            text.append(float: value)
        } else {
            text.append(UInt8(ascii: "\""))
            text.append(float: value)
            text.append(UInt8(ascii: "\""))
        }
    }
}

private final class DoubleCell: JSONCell {
    private var values = Values<Double>([])

    override func load(_ storage: Column.Storage) {
        guard case .float64(let values) = storage else { mismatch(storage) }
        self.values = values
    }

    override func writeValue(_ row: Int, into text: inout TextBuffer) {
        let value = values[row]
        if value.isFinite {
            text.append(float: value)
        } else {
            text.append(UInt8(ascii: "\""))
            text.append(float: value)
            text.append(UInt8(ascii: "\""))
        }
    }
}

private final class DecimalCell: JSONCell {
    private var values = Values<Int128>([])
    private let scale: Int

    init(scale: Int) { self.scale = scale }

    override func load(_ storage: Column.Storage) {
        guard case .decimal(let values) = storage else { mismatch(storage) }
        self.values = values
    }

    override func writeValue(_ row: Int, into text: inout TextBuffer) {
        text.append(decimal: values[row], scale: scale)
    }
}

/// Text stands in views and buffers; their addresses are looked up once a batch.
private class ViewCell: JSONCell {
    private var storage = ViewStorage(views: Values([]), buffers: [])
    /// Where `storage` has its views: its buffer does not move.
    private var views: UnsafePointer<StringView>?

    override func load(_ storage: Column.Storage) {
        guard case .view(let values) = storage else { mismatch(storage) }
        self.storage = values
        views = values.views.withUnsafeBufferPointer { $0.baseAddress }
    }

    /// Lends the bytes of a value.
    @inline(__always)
    final func withBytes(_ row: Int, _ body: (UnsafeRawBufferPointer) -> Void) {
        guard let view = views.map({ $0 + row }) else { return }
        let length = Int(view.pointee.length)
        if view.pointee.isInline {
            body(UnsafeRawBufferPointer(start: UnsafeRawPointer(view) + 4, count: length))
        } else {
            storage.buffers[view.pointee.bufferIndex].withUnsafeBytes { bytes in
                body(UnsafeRawBufferPointer(rebasing: bytes[view.pointee.offset..<view.pointee.offset + length]))
            }
        }
    }
}

private final class TextCell: ViewCell {
    override func writeValue(_ row: Int, into text: inout TextBuffer) {
        withBytes(row) { text.append(jsonString: $0) }
    }
}

private final class BytesCell: ViewCell {
    override func writeValue(_ row: Int, into text: inout TextBuffer) {
        withBytes(row) { text.append(jsonBytes: $0) }
    }
}

private final class TimestampCell: JSONCell {
    private var values = Values<Int64>([])
    // Neighbouring rows mostly share the day, and the whole value where they are of one window: texts are kept.
    private var day = Int64.min
    private var dayText = SIMD16<UInt8>()
    private var dayCount = 0
    private var last = Int64.min
    private var lastText = SIMD32<UInt8>()
    private var lastCount = 0

    override func load(_ storage: Column.Storage) {
        guard case .int64(let values) = storage else { mismatch(storage) }
        self.values = values
    }

    override func writeValue(_ row: Int, into text: inout TextBuffer) {
        let value = values[row]
        if value != last || lastCount == 0 { return writeOther(value, into: &text) }
        UnsafeMutableRawPointer(text.tail(32)).storeBytes(of: lastText, as: SIMD32<UInt8>.self)
        text.commit(lastCount)
    }

    private func writeOther(_ value: Int64, into text: inout TextBuffer) {
        let length = Int64(86_400_000_000)
        var number = value / length
        var rest = value % length
        if rest < 0 {
            number -= 1
            rest += length
        }
        if number != day {
            var buffer = TextBuffer(capacity: 64)
            buffer.append(UInt8(ascii: "\""))
            buffer.append(date: Int(number))
            // The quote, and at most a sign and six digits of the year.
            dayCount = min(buffer.count, 16)
            dayText = buffer.withUnsafeBytes { bytes in
                var text = SIMD16<UInt8>()
                for i in 0..<dayCount { text[i] = bytes[i] }
                return text
            }
            day = number
        }
        let start = text.count
        UnsafeMutableRawPointer(text.tail(48)).storeBytes(of: dayText, as: SIMD16<UInt8>.self)
        text.commit(dayCount)
        text.appendTime(Int(rest))
        text.append(UInt8(ascii: "\""))
        // With quotes a text has 29 bytes, 32 with a long year.
        last = value
        lastCount = text.count - start
        lastText = UnsafeRawPointer(text.base + start).loadUnaligned(as: SIMD32<UInt8>.self)
    }
}

private final class DateCell: JSONCell {
    private var values = Values<Int32>([])

    override func load(_ storage: Column.Storage) {
        guard case .int32(let values) = storage else { mismatch(storage) }
        self.values = values
    }

    override func writeValue(_ row: Int, into text: inout TextBuffer) {
        text.append(UInt8(ascii: "\""))
        text.append(date: Int(values[row]))
        text.append(UInt8(ascii: "\""))
    }
}

private final class ListCell: JSONCell {
    private var offsets = Values<Int32>([0])
    private let element: JSONCell

    init(_ element: JSONCell) { self.element = element }

    override func load(_ storage: Column.Storage) {
        guard case .list(let offsets, let elements) = storage else { mismatch(storage) }
        self.offsets = offsets
        element.prepare(elements)
    }

    override func writeValue(_ row: Int, into text: inout TextBuffer) {
        let start = Int(offsets[row])
        let end = Int(offsets[row + 1])
        text.append(UInt8(ascii: "["))
        for i in start..<end {
            if i > start { text.append(UInt8(ascii: ",")) }
            element.write(i, into: &text)
        }
        text.append(UInt8(ascii: "]"))
    }
}

private final class StructureCell: JSONCell {
    private let members: [(key: [UInt8], cell: JSONCell)]

    init(_ fields: [Field]) {
        members = fields.enumerated().map { number, field in
            (jsonKey(field.name, isFirst: number == 0), JSONCell.make(field.type))
        }
    }

    override func load(_ storage: Column.Storage) {
        guard case .structure(let columns) = storage, columns.count == members.count else { mismatch(storage) }
        for (member, column) in zip(members, columns) { member.cell.prepare(column) }
    }

    override func writeValue(_ row: Int, into text: inout TextBuffer) {
        text.append(UInt8(ascii: "{"))
        for member in members {
            text.append(member.key)
            member.cell.write(row, into: &text)
        }
        text.append(UInt8(ascii: "}"))
    }
}

/// `"name":`, behind a comma unless it is the first.
func jsonKey(_ name: String, isFirst: Bool) -> [UInt8] {
    var buffer = TextBuffer(capacity: 64)
    if !isFirst { buffer.append(UInt8(ascii: ",")) }
    buffer.append(jsonString: name)
    buffer.append(UInt8(ascii: ":"))
    return buffer.withUnsafeBytes { Array($0) }
}
