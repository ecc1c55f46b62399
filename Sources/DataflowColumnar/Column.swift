/// One immutable column of values with nulls, in Arrow's layout.
///
/// `validity` is nil where nothing is null. A value under a null is present but meaningless (kernels may compute on it,
/// they must not trap on it).
public struct Column: Sendable {
    /// The values, by physical type.
    public enum Storage: Sendable {
        case bool(Bitmap)
        /// `int32` and `date`.
        case int32(Values<Int32>)
        /// `int64` and `timestamp`.
        case int64(Values<Int64>)
        case float32(Values<Float>)
        case float64(Values<Double>)
        /// Scaled integers.
        case decimal(Values<Int128>)
        /// `string` and `bytes`.
        case view(ViewStorage)
        /// Row i holds the elements `offsets[i] ..< offsets[i + 1]`; there are `count + 1` offsets.
        indirect case list(offsets: Values<Int32>, elements: Column)
        indirect case structure([Column])
    }

    public let type: DataType
    public let count: Int
    /// 1 where a value is there; nil when nothing is null.
    public let validity: Bitmap?
    public let storage: Storage

    /// Puts a column together. Traps when lengths or types do not fit: that is a bug in the caller.
    public init(_ type: DataType, _ storage: Storage, validity: Bitmap? = nil, count: Int? = nil) {
        let stored: Int?
        switch (type, storage) {
        case (.bool, .bool(let bits)): stored = bits.count
        case (.int32, .int32(let values)), (.date, .int32(let values)): stored = values.count
        case (.int64, .int64(let values)), (.timestamp, .int64(let values)): stored = values.count
        case (.float32, .float32(let values)): stored = values.count
        case (.float64, .float64(let values)): stored = values.count
        case (.decimal, .decimal(let values)): stored = values.count
        case (.string, .view(let values)), (.bytes, .view(let values)): stored = values.views.count
        case (.list(let element), .list(let offsets, let elements)):
            precondition(
                elements.type == element && offsets.count > 0, "a list column of \(element) holds \(elements.type)")
            stored = offsets.count - 1
        case (.structure(let fields), .structure(let columns)):
            precondition(fields.map(\.type) == columns.map(\.type), "a struct column's members have other types")
            precondition(Set(columns.map(\.count)).count <= 1, "a struct column's members differ in length")
            stored = columns.first?.count
        default: preconditionFailure("storage does not fit the type \(type)")
        }
        self.type = type
        self.count = stored ?? count ?? validity?.count ?? 0
        precondition(count == nil || count == self.count, "a column of \(self.count) values cannot have \(count ?? 0)")
        precondition(validity == nil || validity?.count == self.count, "validity and values differ in length")
        self.validity = validity
        self.storage = storage
    }

    /// A column of a string or bytes type.
    public init(_ type: DataType = .string, views: ViewStorage, validity: Bitmap? = nil) {
        self.init(type, .view(views), validity: validity)
    }

    /// Whether the value at `index` is null. O(1).
    @inlinable
    public func isNull(_ index: Int) -> Bool {
        guard let validity else { return false }
        return !validity[index]
    }

    /// How many values are null. O(count / 64).
    public var nullCount: Int { validity.map { count - $0.setCount } ?? 0 }

    /// The same values with other nulls.
    public func withValidity(_ validity: Bitmap?) -> Column {
        Column(type, storage, validity: validity, count: count)
    }

    /// The same values under another type with the same physical layout (int64 ↔ timestamp, int32 ↔ date, string ↔ bytes).
    public func reinterpreted(as type: DataType) -> Column {
        Column(type, storage, validity: validity, count: count)
    }

    /// A column of nothing but nulls.
    public static func nulls(_ type: DataType, count: Int) -> Column {
        let validity = count == 0 ? nil : Bitmap(repeating: false, count: count)
        let storage: Storage
        switch type {
        case .bool: storage = .bool(Bitmap(repeating: false, count: count))
        case .int32, .date: storage = .int32(Values(repeating: 0, count: count))
        case .int64, .timestamp: storage = .int64(Values(repeating: 0, count: count))
        case .float32: storage = .float32(Values(repeating: 0, count: count))
        case .float64: storage = .float64(Values(repeating: 0, count: count))
        case .decimal: storage = .decimal(Values(repeating: 0, count: count))
        case .string, .bytes:
            storage = .view(ViewStorage(views: Values(repeating: StringView(), count: count), buffers: []))
        case .list(let element):
            storage = .list(offsets: Values(repeating: 0, count: count + 1), elements: .nulls(element, count: 0))
        case .structure(let fields): storage = .structure(fields.map { .nulls($0.type, count: count) })
        }
        return Column(type, storage, validity: validity, count: count)
    }

    /// Bytes that the values take, buffers counted by what is referred to. O(1) for fixed types, O(n) for text.
    public var byteCount: Int {
        let bits = validity.map { $0.count / 8 } ?? 0
        switch storage {
        case .bool(let values): return bits + values.count / 8
        case .int32(let values): return bits + values.count * 4
        case .int64(let values): return bits + values.count * 8
        case .float32(let values): return bits + values.count * 4
        case .float64(let values): return bits + values.count * 8
        case .decimal(let values): return bits + values.count * 16
        case .view(let values): return bits + values.referencedByteCount
        case .list(let offsets, let elements): return bits + offsets.count * 4 + elements.byteCount
        case .structure(let columns): return bits + columns.reduce(0) { $0 + $1.byteCount }
        }
    }
}

// Typed access: nil when the column has another physical type.
extension Column {
    @inlinable public var boolValues: Bitmap? { if case .bool(let values) = storage { values } else { nil } }
    @inlinable public var int32Values: Values<Int32>? { if case .int32(let values) = storage { values } else { nil } }
    @inlinable public var int64Values: Values<Int64>? { if case .int64(let values) = storage { values } else { nil } }
    @inlinable public var float32Values: Values<Float>? {
        if case .float32(let values) = storage { values } else { nil }
    }
    @inlinable public var float64Values: Values<Double>? {
        if case .float64(let values) = storage { values } else { nil }
    }
    @inlinable public var decimalValues: Values<Int128>? {
        if case .decimal(let values) = storage { values } else { nil }
    }
    @inlinable public var viewValues: ViewStorage? { if case .view(let values) = storage { values } else { nil } }
    @inlinable public var listValues: (offsets: Values<Int32>, elements: Column)? {
        if case .list(let offsets, let elements) = storage { (offsets, elements) } else { nil }
    }
    @inlinable public var structureValues: [Column]? {
        if case .structure(let columns) = storage { columns } else { nil }
    }
}

// Columns from Swift arrays: for tests and small control tables.
extension Column {
    private static func validity<T>(_ values: [T?]) -> Bitmap? {
        values.contains { $0 == nil } ? Bitmap(count: values.count) { values[$0] != nil } : nil
    }
    public static func bool(_ values: [Bool?]) -> Column {
        Column(.bool, .bool(Bitmap(values.map { $0 ?? false })), validity: validity(values))
    }
    public static func int32(_ values: [Int32?]) -> Column {
        Column(.int32, .int32(Values(values.map { $0 ?? 0 })), validity: validity(values))
    }
    public static func int64(_ values: [Int64?]) -> Column {
        Column(.int64, .int64(Values(values.map { $0 ?? 0 })), validity: validity(values))
    }
    public static func float64(_ values: [Double?]) -> Column {
        Column(.float64, .float64(Values(values.map { $0 ?? 0 })), validity: validity(values))
    }
    public static func timestamp(_ microseconds: [Int64?]) -> Column {
        int64(microseconds).reinterpreted(as: .timestamp)
    }
    public static func date(_ days: [Int32?]) -> Column { int32(days).reinterpreted(as: .date) }
    public static func string(_ values: [String?]) -> Column {
        var builder = ViewBuilder(capacity: values.count)
        for value in values { if let value { builder.append(value) } else { builder.appendNull() } }
        return builder.finish(.string)
    }
    public static func bytes(_ values: [[UInt8]?]) -> Column {
        var builder = ViewBuilder(capacity: values.count)
        for value in values {
            if let value { value.withUnsafeBytes { builder.append($0) } } else { builder.appendNull() }
        }
        return builder.finish(.bytes)
    }
}
