/// One value, boxed: for tests, messages and tables of a few rows, never for a row loop.
public enum Value: Hashable, Sendable {
    case null
    case bool(Bool)
    case int(Int64)
    case float(Double)
    /// The scaled integer and its scale.
    case decimal(Int128, scale: Int)
    case string(String)
    case bytes([UInt8])
    /// Microseconds since the epoch.
    case timestamp(Int64)
    /// Days since the epoch.
    case date(Int32)
    case list([Value])
    case structure([Value])
}

extension Value: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral,
    ExpressibleByBooleanLiteral, ExpressibleByNilLiteral, ExpressibleByArrayLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(integerLiteral value: Int64) { self = .int(value) }
    public init(floatLiteral value: Double) { self = .float(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(nilLiteral: ()) { self = .null }
    public init(arrayLiteral elements: Value...) { self = .list(elements) }
}

extension Column {
    /// The value at `index`, boxed. O(size of the value).
    public func value(at index: Int) -> Value {
        if isNull(index) { return .null }
        switch storage {
        case .bool(let values): return .bool(values[index])
        case .int32(let values): return type == .date ? .date(values[index]) : .int(Int64(values[index]))
        case .int64(let values): return type == .timestamp ? .timestamp(values[index]) : .int(values[index])
        case .float32(let values): return .float(Double(values[index]))
        case .float64(let values): return .float(values[index])
        case .decimal(let values):
            guard case .decimal(_, let scale) = type else { return .null }
            return .decimal(values[index], scale: scale)
        case .view(let values):
            return type == .bytes ? .bytes(values.bytes(at: index)) : .string(values.string(at: index))
        case .list(let offsets, let elements):
            return .list((Int(offsets[index])..<Int(offsets[index + 1])).map(elements.value(at:)))
        case .structure(let columns): return .structure(columns.map { $0.value(at: index) })
        }
    }

    /// All values, boxed. O(n).
    public var allValues: [Value] { (0..<count).map(value(at:)) }

    /// A column from boxed values. Traps when a value does not fit the type: for tests and control tables.
    public init(_ type: DataType, _ values: [Value]) {
        var builder = ColumnBuilder(type)
        for value in values { builder.append(value) }
        self = builder.finish()
    }
}

/// Builds a column of any type from boxed values or from rows of other columns: slow paths, state tables, tests.
public struct ColumnBuilder: Sendable {
    private indirect enum Content: Sendable {
        case bool(BitmapBuilder)
        case int32([Int32])
        case int64([Int64])
        case float32([Float])
        case float64([Double])
        case decimal([Int128])
        case view([[UInt8]])
        case list(offsets: [Int32], elements: ColumnBuilder)
        case structure([ColumnBuilder])
    }

    public let type: DataType
    /// Values appended so far.
    public private(set) var count = 0
    private var content: Content
    private var nulls = NullTracker()

    public init(_ type: DataType) {
        self.type = type
        switch type {
        case .bool: content = .bool(BitmapBuilder())
        case .int32, .date: content = .int32([])
        case .int64, .timestamp: content = .int64([])
        case .float32: content = .float32([])
        case .float64: content = .float64([])
        case .decimal: content = .decimal([])
        case .string, .bytes: content = .view([])
        case .list(let element): content = .list(offsets: [0], elements: ColumnBuilder(element))
        case .structure(let fields): content = .structure(fields.map { ColumnBuilder($0.type) })
        }
    }

    /// Appends the value at `row` of a column of the same type.
    public mutating func append(from column: Column, at row: Int) { append(column.value(at: row)) }

    /// Appends a value; traps when it does not fit the type.
    public mutating func append(_ value: Value) {
        if value == .null { nulls.appendNull(at: count) } else { nulls.appendValid() }
        count += 1
        switch content {
        case .bool(var bits):
            content = .bool(BitmapBuilder())
            if case .bool(let bit) = value { bits.append(bit) } else { bits.append(expectNull(value, false)) }
            content = .bool(bits)
        case .int32(var values):
            content = .int32([])
            switch value {
            case .int(let v): values.append(Int32(v))
            case .date(let v): values.append(v)
            default: values.append(expectNull(value, 0))
            }
            content = .int32(values)
        case .int64(var values):
            content = .int64([])
            switch value {
            case .int(let v), .timestamp(let v): values.append(v)
            default: values.append(expectNull(value, 0))
            }
            content = .int64(values)
        case .float32(var values):
            content = .float32([])
            switch value {
            case .float(let v): values.append(Float(v))
            case .int(let v): values.append(Float(v))
            default: values.append(expectNull(value, 0))
            }
            content = .float32(values)
        case .float64(var values):
            content = .float64([])
            switch value {
            case .float(let v): values.append(v)
            case .int(let v): values.append(Double(v))
            default: values.append(expectNull(value, 0))
            }
            content = .float64(values)
        case .decimal(var values):
            content = .decimal([])
            if case .decimal(let v, _) = value { values.append(v) } else { values.append(expectNull(value, 0)) }
            content = .decimal(values)
        case .view(var values):
            content = .view([])
            switch value {
            case .string(let text): values.append(Array(text.utf8))
            case .bytes(let bytes): values.append(bytes)
            default: values.append(expectNull(value, []))
            }
            content = .view(values)
        case .list(var offsets, var elements):
            content = .bool(BitmapBuilder())
            if case .list(let items) = value {
                for item in items { elements.append(item) }
            } else {
                offsets[offsets.count - 1] = expectNull(value, offsets[offsets.count - 1])
            }
            offsets.append(Int32(elements.count))
            content = .list(offsets: offsets, elements: elements)
        case .structure(var members):
            content = .bool(BitmapBuilder())
            if case .structure(let items) = value {
                precondition(items.count == members.count, "a struct of \(members.count) members got \(items.count)")
                for i in members.indices { members[i].append(items[i]) }
            } else {
                for i in members.indices { members[i].append(expectNull(value, .null)) }
            }
            content = .structure(members)
        }
    }

    private func expectNull<T>(_ value: Value, _ filler: T) -> T {
        precondition(value == .null, "\(value) does not fit the type \(type)")
        return filler
    }

    /// The column of the values so far; the builder starts again from none.
    public mutating func finish() -> Column {
        let validity = nulls.finish(count: count)
        let storage: Column.Storage
        switch content {
        case .bool(var bits): storage = .bool(bits.finish())
        case .int32(let values): storage = .int32(Values(values))
        case .int64(let values): storage = .int64(Values(values))
        case .float32(let values): storage = .float32(Values(values))
        case .float64(let values): storage = .float64(Values(values))
        case .decimal(let values): storage = .decimal(Values(values))
        case .view(let values):
            var builder = ViewBuilder(capacity: values.count)
            for value in values { value.withUnsafeBytes { builder.append($0) } }
            storage = .view(builder.finishStorage())
        case .list(let offsets, var elements): storage = .list(offsets: Values(offsets), elements: elements.finish())
        case .structure(var members): storage = .structure(members.indices.map { members[$0].finish() })
        }
        let column = Column(type, storage, validity: validity, count: count)
        self = ColumnBuilder(type)
        return column
    }
}
