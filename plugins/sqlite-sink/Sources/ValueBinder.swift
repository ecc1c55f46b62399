import DataflowColumnar
import DataflowText

/// Binds the values of one column to a parameter: ``prepare(_:)`` once a batch, ``bind(_:to:at:)`` once a value.
class ValueBinder {
    private var validity: Bitmap?

    fileprivate init() {}

    /// The binder for a column of the target.
    static func make(_ column: TargetColumn) -> ValueBinder {
        switch (column.form, column.type) {
        case (.integer, .bool): BoolBinder()
        case (.integer, .int32), (.timeNumber, .date): Int32Binder()
        case (.integer, .int64), (.timeNumber, .timestamp): Int64Binder()
        case (.real, .float32): FloatBinder()
        case (.real, .float64): DoubleBinder()
        case (.text, .string): TextBinder()
        case (.blob, .bytes): BlobBinder()
        case (.decimalText, .decimal(_, let scale)): DecimalBinder(scale: scale)
        case (.timeText, .timestamp): TimestampBinder()
        case (.timeText, .date): DateBinder()
        case (.json, let type): JSONBinder(type)
        default: preconditionFailure("\(column.type) is not stored as \(column.form)")
        }
    }

    /// Takes up a column of the type that the binder was made for. O(buffers).
    final func prepare(_ column: Column) {
        validity = column.validity
        load(column)
    }

    /// Binds the value at `row` of the prepared column; SQLite copies it.
    @inline(__always)
    final func bind(_ row: Int, to statement: SQLiteStatement, at index: Int32) {
        if let validity, !validity[row] {
            statement.bindNull(at: index)
        } else {
            bindValue(row, to: statement, at: index)
        }
    }

    fileprivate func load(_ column: Column) { preconditionFailure("a binder without a type") }

    fileprivate func bindValue(_ row: Int, to statement: SQLiteStatement, at index: Int32) {
        preconditionFailure("a binder without a type")
    }

    fileprivate final func mismatch(_ column: Column) -> Never {
        preconditionFailure("a binder was given a column of \(column.type)")
    }
}

private final class BoolBinder: ValueBinder {
    private var values = Bitmap([])

    override func load(_ column: Column) {
        guard case .bool(let values) = column.storage else { mismatch(column) }
        self.values = values
    }

    override func bindValue(_ row: Int, to statement: SQLiteStatement, at index: Int32) {
        statement.bind(integer: values[row] ? 1 : 0, at: index)
    }
}

private final class Int32Binder: ValueBinder {
    private var values = Values<Int32>([])

    override func load(_ column: Column) {
        guard case .int32(let values) = column.storage else { mismatch(column) }
        self.values = values
    }

    override func bindValue(_ row: Int, to statement: SQLiteStatement, at index: Int32) {
        statement.bind(integer: Int64(values[row]), at: index)
    }
}

private final class Int64Binder: ValueBinder {
    private var values = Values<Int64>([])

    override func load(_ column: Column) {
        guard case .int64(let values) = column.storage else { mismatch(column) }
        self.values = values
    }

    override func bindValue(_ row: Int, to statement: SQLiteStatement, at index: Int32) {
        statement.bind(integer: values[row], at: index)
    }
}

private final class FloatBinder: ValueBinder {
    private var values = Values<Float>([])

    override func load(_ column: Column) {
        guard case .float32(let values) = column.storage else { mismatch(column) }
        self.values = values
    }

    override func bindValue(_ row: Int, to statement: SQLiteStatement, at index: Int32) {
        statement.bind(real: Double(values[row]), at: index)
    }
}

private final class DoubleBinder: ValueBinder {
    private var values = Values<Double>([])

    override func load(_ column: Column) {
        guard case .float64(let values) = column.storage else { mismatch(column) }
        self.values = values
    }

    override func bindValue(_ row: Int, to statement: SQLiteStatement, at index: Int32) {
        statement.bind(real: values[row], at: index)
    }
}

private final class TextBinder: ValueBinder {
    private var storage: ViewStorage?

    override func load(_ column: Column) {
        guard case .view(let storage) = column.storage else { mismatch(column) }
        self.storage = storage
    }

    override func bindValue(_ row: Int, to statement: SQLiteStatement, at index: Int32) {
        storage?.withUnsafeViews { statement.bind(text: $0.bytes(row), at: index) }
    }
}

private final class BlobBinder: ValueBinder {
    private var storage: ViewStorage?

    override func load(_ column: Column) {
        guard case .view(let storage) = column.storage else { mismatch(column) }
        self.storage = storage
    }

    override func bindValue(_ row: Int, to statement: SQLiteStatement, at index: Int32) {
        storage?.withUnsafeViews { statement.bind(blob: $0.bytes(row), at: index) }
    }
}

private final class DecimalBinder: ValueBinder {
    private var values = Values<Int128>([])
    private let scale: Int
    private var memory = TextBuffer()

    init(scale: Int) {
        self.scale = scale
        super.init()
    }

    override func load(_ column: Column) {
        guard case .decimal(let values) = column.storage else { mismatch(column) }
        self.values = values
    }

    override func bindValue(_ row: Int, to statement: SQLiteStatement, at index: Int32) {
        memory.removeAll()
        memory.append(decimal: values[row], scale: scale)
        memory.withUnsafeBytes { statement.bind(text: $0, at: index) }
    }
}

private final class TimestampBinder: ValueBinder {
    private var values = Values<Int64>([])
    private var memory = TextBuffer()

    override func load(_ column: Column) {
        guard case .int64(let values) = column.storage else { mismatch(column) }
        self.values = values
    }

    override func bindValue(_ row: Int, to statement: SQLiteStatement, at index: Int32) {
        memory.removeAll()
        memory.append(timestamp: values[row])
        memory.withUnsafeBytes { statement.bind(text: $0, at: index) }
    }
}

private final class DateBinder: ValueBinder {
    private var values = Values<Int32>([])
    private var memory = TextBuffer()

    override func load(_ column: Column) {
        guard case .int32(let values) = column.storage else { mismatch(column) }
        self.values = values
    }

    override func bindValue(_ row: Int, to statement: SQLiteStatement, at index: Int32) {
        memory.removeAll()
        memory.append(date: Int(values[row]))
        memory.withUnsafeBytes { statement.bind(text: $0, at: index) }
    }
}

private final class JSONBinder: ValueBinder {
    private let cell: JSONCell
    private var memory = TextBuffer()

    init(_ type: DataType) {
        cell = JSONCell.make(type)
        super.init()
    }

    override func load(_ column: Column) { cell.prepare(column) }

    override func bindValue(_ row: Int, to statement: SQLiteStatement, at index: Int32) {
        memory.removeAll()
        cell.write(row, into: &memory)
        memory.withUnsafeBytes { statement.bind(text: $0, at: index) }
    }
}
