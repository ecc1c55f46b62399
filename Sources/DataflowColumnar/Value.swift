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
    public let type: DataType
    private var values: [Value] = []

    public init(_ type: DataType) { self.type = type }

    /// Values appended so far.
    public var count: Int { values.count }

    /// Appends the value at `row` of a column of the same type. Amortised O(size of the value).
    public mutating func append(from column: Column, at row: Int) { append(column.value(at: row)) }

    /// Appends a value. Amortised O(1).
    public mutating func append(_ value: Value) { values.append(value) }

    /// The column of the values so far; the builder starts again from none. Traps when a value does not fit the type.
    public mutating func finish() -> Column {
        defer { values = [] }
        var nulls = NullTracker()
        for (index, value) in values.enumerated() {
            if value == .null { nulls.appendNull(at: index) } else { nulls.appendValid() }
        }
        return Column(type, storage, validity: nulls.finish(count: count), count: count)
    }

    /// The values, with a filler in place of each null.
    private func converted<T>(_ filler: T, _ convert: (Value) -> T?) -> [T] {
        values.map { value in
            if let value = convert(value) { return value }
            precondition(value == .null, "\(value) does not fit the type \(type)")
            return filler
        }
    }

    private var storage: Column.Storage {
        switch type {
        case .bool:
            var bits = BitmapBuilder()
            for bit in converted(false, { if case .bool(let bit) = $0 { bit } else { nil } }) { bits.append(bit) }
            return .bool(bits.finish())
        case .int32, .date:
            return .int32(
                Values(
                    converted(0) { value in
                        switch value {
                        case .int(let number): Int32(number)
                        case .date(let days): days
                        default: nil
                        }
                    }))
        case .int64, .timestamp:
            return .int64(
                Values(
                    converted(0) { value in
                        switch value {
                        case .int(let number), .timestamp(let number): number
                        default: nil
                        }
                    }))
        case .float32: return .float32(Values(converted(0) { Self.number($0).map { Float($0) } }))
        case .float64: return .float64(Values(converted(0, Self.number)))
        case .decimal:
            return .decimal(Values(converted(0) { if case .decimal(let number, _) = $0 { number } else { nil } }))
        case .string, .bytes:
            var builder = ViewBuilder(capacity: count)
            let texts = converted([UInt8]()) { value in
                switch value {
                case .string(let text): Array(text.utf8)
                case .bytes(let bytes): bytes
                default: nil
                }
            }
            for text in texts { text.withUnsafeBytes { builder.append($0) } }
            return .view(builder.finishStorage())
        case .list(let element):
            var offsets: [Int32] = [0]
            offsets.reserveCapacity(count + 1)
            var elements = ColumnBuilder(element)
            for items in converted([Value](), { if case .list(let items) = $0 { items } else { nil } }) {
                for item in items { elements.append(item) }
                offsets.append(Int32(elements.count))
            }
            return .list(offsets: Values(offsets), elements: elements.finish())
        case .structure(let fields):
            var members = fields.map { ColumnBuilder($0.type) }
            let nulls = [Value](repeating: .null, count: fields.count)
            for items in converted(nulls, { if case .structure(let items) = $0 { items } else { nil } }) {
                precondition(items.count == fields.count, "a struct of \(fields.count) members got \(items.count)")
                for index in members.indices { members[index].append(items[index]) }
            }
            return .structure(members.indices.map { members[$0].finish() })
        }
    }

    private static func number(_ value: Value) -> Double? {
        switch value {
        case .float(let number): number
        case .int(let number): Double(number)
        default: nil
        }
    }
}
