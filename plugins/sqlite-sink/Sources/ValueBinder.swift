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
        case (.integer, .int32), (.timeNumber, .date): IntegerBinder(\.int32Values)
        case (.integer, .int64), (.timeNumber, .timestamp): IntegerBinder(\.int64Values)
        case (.real, .float32): RealBinder(\.float32Values)
        case (.real, .float64): RealBinder(\.float64Values)
        case (.text, .string): ViewBinder { $0.bind(text: $1, at: $2) }
        case (.blob, .bytes): ViewBinder { $0.bind(blob: $1, at: $2) }
        case (.decimalText, .decimal(_, let scale)):
            WrittenBinder(\.decimalValues) { $1.append(decimal: $0, scale: scale) }
        case (.timeText, .timestamp): WrittenBinder(\.int64Values) { $1.append(timestamp: $0) }
        case (.timeText, .date): WrittenBinder(\.int32Values) { $1.append(date: Int($0)) }
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

/// Values of one width.
private class StoredBinder<Stored: BitwiseCopyable & Sendable>: ValueBinder {
    private let stored: (Column) -> Values<Stored>?
    fileprivate final var values = Values<Stored>([])

    init(_ stored: @escaping (Column) -> Values<Stored>?) {
        self.stored = stored
        super.init()
    }

    override final func load(_ column: Column) {
        guard let values = stored(column) else { mismatch(column) }
        self.values = values
    }
}

private final class IntegerBinder<Stored: FixedWidthInteger & BitwiseCopyable & Sendable>: StoredBinder<Stored> {
    override func bindValue(_ row: Int, to statement: SQLiteStatement, at index: Int32) {
        statement.bind(integer: Int64(values[row]), at: index)
    }
}

private final class RealBinder<Stored: BinaryFloatingPoint & BitwiseCopyable & Sendable>: StoredBinder<Stored> {
    override func bindValue(_ row: Int, to statement: SQLiteStatement, at index: Int32) {
        statement.bind(real: Double(values[row]), at: index)
    }
}

/// Values that are stored as text.
private final class WrittenBinder<Stored: BitwiseCopyable & Sendable>: StoredBinder<Stored> {
    private let write: (Stored, inout TextBuffer) -> Void
    private var memory = TextBuffer()

    init(_ stored: @escaping (Column) -> Values<Stored>?, write: @escaping (Stored, inout TextBuffer) -> Void) {
        self.write = write
        super.init(stored)
    }

    override func bindValue(_ row: Int, to statement: SQLiteStatement, at index: Int32) {
        memory.removeAll()
        write(values[row], &memory)
        memory.withUnsafeBytes { statement.bind(text: $0, at: index) }
    }
}

private final class ViewBinder: ValueBinder {
    private var storage: ViewStorage?
    private let bindBytes: (SQLiteStatement, UnsafeRawBufferPointer, Int32) -> Void

    init(_ bindBytes: @escaping (SQLiteStatement, UnsafeRawBufferPointer, Int32) -> Void) {
        self.bindBytes = bindBytes
        super.init()
    }

    override func load(_ column: Column) {
        guard case .view(let storage) = column.storage else { mismatch(column) }
        self.storage = storage
    }

    override func bindValue(_ row: Int, to statement: SQLiteStatement, at index: Int32) {
        storage?.withUnsafeViews { bindBytes(statement, $0.bytes(row), index) }
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
