import DataflowColumnar
import Glibc

/// Turns slots into a column, chunk by chunk: one loop a column and chunk, with the type decided outside of it.
class ColumnWriter {
    let type: DataType
    /// The column's position among the operator's columns, for messages.
    let column: Int
    /// A value that does not fit becomes null instead of failing its row.
    let nullOnMismatch: Bool
    fileprivate var valid = ByteFlags()

    fileprivate init(_ type: DataType, column: Int, nullOnMismatch: Bool) {
        self.type = type
        self.column = column
        self.nullOnMismatch = nullOnMismatch
    }

    /// Appends `count` values.
    /// - Parameter rows: the row of the chunk that each slot belongs to; nil: slot i belongs to row i.
    func write(_ slots: UnsafePointer<Slot>, rows: UnsafePointer<Int32>?, count: Int, chunk: ParsedChunk) {
        preconditionFailure("a column writer of \(type) does not write")
    }

    /// The column so far; begins anew.
    func finish() -> Column { preconditionFailure("a column writer of \(type) does not finish") }

    @inline(never)
    fileprivate final func refuse(_ slot: Slot, row: Int, _ refusal: Refusal, _ chunk: ParsedChunk) {
        if !nullOnMismatch { chunk.fail(row: row, column: column, slot: slot, refusal) }
    }

    /// The writer for a type.
    static func make(_ type: DataType, column: Int, unit: EpochUnit?, nullOnMismatch: Bool) -> ColumnWriter {
        switch type {
        case .bool: BoolWriter(type, column: column, nullOnMismatch: nullOnMismatch)
        case .int32: Int32Writer(IntegerReader(), type, column: column, nullOnMismatch: nullOnMismatch)
        case .int64: Int64Writer(IntegerReader(), type, column: column, nullOnMismatch: nullOnMismatch)
        case .float32: FloatWriter(FloatReader(), type, column: column, nullOnMismatch: nullOnMismatch)
        case .float64: DoubleWriter(FloatReader(), type, column: column, nullOnMismatch: nullOnMismatch)
        case .decimal(let precision, let scale):
            DecimalWriter(
                DecimalReader(precision: precision, scale: scale), type, column: column,
                nullOnMismatch: nullOnMismatch)
        case .timestamp:
            TimestampWriter(TimestampReader(unit: unit), type, column: column, nullOnMismatch: nullOnMismatch)
        case .date: DateWriter(DateReader(), type, column: column, nullOnMismatch: nullOnMismatch)
        case .string, .bytes: TextWriter(type, column: column, nullOnMismatch: nullOnMismatch)
        case .list(let element):
            ListWriter(
                type, element: make(element, column: column, unit: unit, nullOnMismatch: nullOnMismatch),
                nullOnMismatch: nullOnMismatch)
        case .structure(let fields):
            StructureWriter(
                type, names: fields.map { Array($0.name.utf8) },
                members: fields.map { make($0.type, column: column, unit: unit, nullOnMismatch: nullOnMismatch) },
                column: column, nullOnMismatch: nullOnMismatch)
        }
    }
}

/// Columns of fixed width. A method of a generic class that is called by way of its base class is never specialised, so
/// each type has a class of its own into which the loop is inlined.
private class FixedWriter<Reader: ScalarReader>: ColumnWriter {
    private var reader: Reader
    private var values = Growable<Reader.Element>()

    init(_ reader: Reader, _ type: DataType, column: Int, nullOnMismatch: Bool) {
        self.reader = reader
        super.init(type, column: column, nullOnMismatch: nullOnMismatch)
    }

    @inline(__always)
    final func fill(_ slots: UnsafePointer<Slot>, _ rows: UnsafePointer<Int32>?, _ count: Int, _ chunk: ParsedChunk) {
        values.reserve(count)
        let target = values.base + values.count
        let validity = valid.appendOnes(count)
        let tape = chunk.tape
        var reader = reader
        var anyNull = false
        for i in 0..<count {
            let result = reader.read(slots[i], chunk, tape, into: target + i)
            if result == .value { continue }
            target[i] = Reader.zero
            validity[i] = 0
            anyNull = true
            let row = rows.map { Int($0[i]) } ?? i
            switch result {
            case .wrongType: refuse(slots[i], row: row, .type, chunk)
            case .outOfRange: refuse(slots[i], row: row, .range, chunk)
            case .malformed: refuse(slots[i], row: row, .text, chunk)
            case .value, .null: break
            }
        }
        if anyNull { valid.markZero() }
        values.count += count
        self.reader = reader
    }

    @inline(__always)
    final func take() -> Values<Reader.Element> { values.takeValues() }

    @inline(__always)
    final func finish(_ storage: Column.Storage) -> Column { Column(type, storage, validity: valid.take()) }
}

private final class Int32Writer: FixedWriter<IntegerReader<Int32>> {
    override func write(_ slots: UnsafePointer<Slot>, rows: UnsafePointer<Int32>?, count: Int, chunk: ParsedChunk) {
        fill(slots, rows, count, chunk)
    }

    override func finish() -> Column { finish(.int32(take())) }
}

private final class Int64Writer: FixedWriter<IntegerReader<Int64>> {
    override func write(_ slots: UnsafePointer<Slot>, rows: UnsafePointer<Int32>?, count: Int, chunk: ParsedChunk) {
        fill(slots, rows, count, chunk)
    }

    override func finish() -> Column { finish(.int64(take())) }
}

private final class FloatWriter: FixedWriter<FloatReader<Float>> {
    override func write(_ slots: UnsafePointer<Slot>, rows: UnsafePointer<Int32>?, count: Int, chunk: ParsedChunk) {
        fill(slots, rows, count, chunk)
    }

    override func finish() -> Column { finish(.float32(take())) }
}

private final class DoubleWriter: FixedWriter<FloatReader<Double>> {
    override func write(_ slots: UnsafePointer<Slot>, rows: UnsafePointer<Int32>?, count: Int, chunk: ParsedChunk) {
        fill(slots, rows, count, chunk)
    }

    override func finish() -> Column { finish(.float64(take())) }
}

private final class DecimalWriter: FixedWriter<DecimalReader> {
    override func write(_ slots: UnsafePointer<Slot>, rows: UnsafePointer<Int32>?, count: Int, chunk: ParsedChunk) {
        fill(slots, rows, count, chunk)
    }

    override func finish() -> Column { finish(.decimal(take())) }
}

private final class TimestampWriter: FixedWriter<TimestampReader> {
    override func write(_ slots: UnsafePointer<Slot>, rows: UnsafePointer<Int32>?, count: Int, chunk: ParsedChunk) {
        fill(slots, rows, count, chunk)
    }

    override func finish() -> Column { finish(.int64(take())) }
}

private final class DateWriter: FixedWriter<DateReader> {
    override func write(_ slots: UnsafePointer<Slot>, rows: UnsafePointer<Int32>?, count: Int, chunk: ParsedChunk) {
        fill(slots, rows, count, chunk)
    }

    override func finish() -> Column { finish(.int32(take())) }
}

/// Booleans.
private final class BoolWriter: ColumnWriter {
    private var bits = ByteFlags()

    override init(_ type: DataType, column: Int, nullOnMismatch: Bool) {
        super.init(type, column: column, nullOnMismatch: nullOnMismatch)
    }

    override func write(_ slots: UnsafePointer<Slot>, rows: UnsafePointer<Int32>?, count: Int, chunk: ParsedChunk) {
        let target = bits.appendOnes(count)
        let validity = valid.appendOnes(count)
        for i in 0..<count {
            let tag = slots[i].tag
            if tag == Tag.yes { continue }
            target[i] = 0
            if tag == Tag.no { continue }
            validity[i] = 0
            valid.markZero()
            if !slots[i].isNull { refuse(slots[i], row: rows.map { Int($0[i]) } ?? i, .type, chunk) }
        }
    }

    override func finish() -> Column {
        let count = bits.count
        return Column(
            type, .bool(bits.take(always: true) ?? Bitmap(repeating: false, count: count)), validity: valid.take())
    }
}

/// Strings and bytes. Any other JSON value becomes its source text.
private final class TextWriter: ColumnWriter {
    private var views = Growable<StringView>()
    private var text = Growable<UInt8>()

    override init(_ type: DataType, column: Int, nullOnMismatch: Bool) {
        super.init(type, column: column, nullOnMismatch: nullOnMismatch)
    }

    override func write(_ slots: UnsafePointer<Slot>, rows: UnsafePointer<Int32>?, count: Int, chunk: ParsedChunk) {
        views.reserve(count)
        let target = views.base + views.count
        let validity = valid.appendOnes(count)
        let tape = chunk.tape
        var anyNull = false
        for i in 0..<count {
            let slot = slots[i]
            if slot.tag == Tag.string {
                let bytes = tape.string(slot)
                let length = bytes.count
                if length <= 12 {
                    // Every string of the arena has readable bytes behind it: load twelve and blank those not meant.
                    let start = bytes.baseAddress.unsafelyUnwrapped
                    let low = start.loadUnaligned(as: UInt64.self)
                    let high = start.loadUnaligned(fromByteOffset: 8, as: UInt32.self)
                    let bits = UInt64(truncatingIfNeeded: length &* 8)
                    let lowMask: UInt64 = length >= 8 ? .max : (1 &<< bits) &- 1
                    let highMask: UInt32 =
                        length <= 8 ? 0 : length >= 12 ? .max : (1 &<< UInt32(truncatingIfNeeded: bits &- 64)) &- 1
                    var view = StringView()
                    view.length = Int32(truncatingIfNeeded: length)
                    view.word1 = UInt32(truncatingIfNeeded: low & lowMask)
                    view.word2 = UInt32(truncatingIfNeeded: (low & lowMask) >> 32)
                    view.word3 = high & highMask
                    target[i] = view
                } else {
                    target[i] = copy(bytes)
                }
            } else if slot.isNull {
                target[i] = StringView()
                validity[i] = 0
                anyNull = true
            } else if let bytes = chunk.source.text(of: slot, tape: tape) {
                target[i] = bytes.count <= 12 ? StringView(bytes, buffer: 0, offset: 0) : copy(bytes)
            } else {
                target[i] = StringView()
                validity[i] = 0
                anyNull = true
                refuse(slot, row: rows.map { Int($0[i]) } ?? i, .type, chunk)
            }
        }
        if anyNull { valid.markZero() }
        views.count += count
    }

    /// A view of a copy of a long text.
    @inline(__always)
    private func copy(_ bytes: UnsafeRawBufferPointer) -> StringView {
        text.reserve(bytes.count)
        let offset = text.count
        memcpy(text.base + offset, bytes.baseAddress.unsafelyUnwrapped, bytes.count)
        text.count += bytes.count
        return StringView(bytes, buffer: 0, offset: offset)
    }

    override func finish() -> Column {
        let buffers = text.count > 0 ? [text.take()] : []
        return Column(
            type, .view(ViewStorage(views: views.takeValues(), buffers: buffers)), validity: valid.take())
    }
}

/// Lists: offsets, and the elements through a writer of their own.
private final class ListWriter: ColumnWriter {
    private let element: ColumnWriter
    private var offsets = Growable<Int32>()
    private var elementCount: Int32 = 0
    private var elementSlots = Growable<Slot>()
    private var elementRows = Growable<Int32>()

    init(_ type: DataType, element: ColumnWriter, nullOnMismatch: Bool) {
        self.element = element
        super.init(type, column: element.column, nullOnMismatch: nullOnMismatch)
        offsets.append(0)
    }

    override func write(_ slots: UnsafePointer<Slot>, rows: UnsafePointer<Int32>?, count: Int, chunk: ParsedChunk) {
        offsets.reserve(count)
        let target = offsets.base + offsets.count
        let validity = valid.appendOnes(count)
        let tape = chunk.tape
        elementSlots.count = 0
        elementRows.count = 0
        for i in 0..<count {
            let slot = slots[i]
            let row = rows.map { $0[i] } ?? Int32(truncatingIfNeeded: i)
            if slot.tag == Tag.array {
                let document = slot.document
                let base = tape.base(document)
                var index = slot.index
                let end = base &+ Int(truncatingIfNeeded: tape.words[index] & 0xFFFF_FFFF) &- 1
                index &+= 1
                while index < end {
                    elementSlots.append(tape.slot(document: document, index: index))
                    elementRows.append(row)
                    index = tape.next(index, base: base)
                }
            } else {
                validity[i] = 0
                valid.markZero()
                if !slot.isNull { refuse(slot, row: Int(row), .type, chunk) }
            }
            target[i] = elementCount &+ Int32(truncatingIfNeeded: elementSlots.count)
        }
        offsets.count += count
        elementCount += Int32(truncatingIfNeeded: elementSlots.count)
        element.write(elementSlots.base, rows: elementRows.base, count: elementSlots.count, chunk: chunk)
    }

    override func finish() -> Column {
        let column = Column(
            type, .list(offsets: offsets.takeValues(), elements: element.finish()), validity: valid.take())
        offsets.append(0)
        elementCount = 0
        return column
    }
}

/// Structs: the members through writers of their own.
private final class StructureWriter: ColumnWriter {
    private let members: [ColumnWriter]
    private var matcher: FieldMatcher
    private var memberSlots = Growable<Slot>()
    private var written = 0

    init(_ type: DataType, names: [[UInt8]], members: [ColumnWriter], column: Int, nullOnMismatch: Bool) {
        self.members = members
        matcher = FieldMatcher(names)
        super.init(type, column: column, nullOnMismatch: nullOnMismatch)
    }

    override func write(_ slots: UnsafePointer<Slot>, rows: UnsafePointer<Int32>?, count: Int, chunk: ParsedChunk) {
        let validity = valid.appendOnes(count)
        for i in 0..<count where slots[i].tag != Tag.object {
            validity[i] = 0
            valid.markZero()
            if !slots[i].isNull { refuse(slots[i], row: rows.map { Int($0[i]) } ?? i, .type, chunk) }
        }
        memberSlots.count = 0
        memberSlots.reserve(count * members.count)
        matcher.match(slots, count: count, tape: chunk.tape, into: memberSlots.base)
        for m in members.indices {
            members[m].write(memberSlots.base + m * count, rows: rows, count: count, chunk: chunk)
        }
        written += count
    }

    override func finish() -> Column {
        let count = written
        written = 0
        return Column(type, .structure(members.map { $0.finish() }), validity: valid.take(), count: count)
    }
}
