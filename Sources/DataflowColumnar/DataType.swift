/// The type of a column. Its `description` is the word used in pipeline files, e.g. `list<struct<lang string, text string>>`.
public indirect enum DataType: Hashable, Sendable {
    case bool
    case int32
    case int64
    case float32
    case float64
    /// Exact decimal with `precision` digits (1...38), `scale` of them behind the point; stored as a scaled `Int128`.
    case decimal(precision: Int, scale: Int)
    /// UTF-8 text.
    case string
    case bytes
    /// Microseconds since 1970-01-01T00:00:00Z.
    case timestamp
    /// Days since 1970-01-01.
    case date
    case list(DataType)
    case structure([Field])

    /// True for all but lists and structs.
    public var isScalar: Bool {
        switch self {
        case .list, .structure: false
        default: true
        }
    }

    /// True for integers, floats and decimals.
    public var isNumeric: Bool {
        switch self {
        case .int32, .int64, .float32, .float64, .decimal: true
        default: false
        }
    }
}

extension DataType: CustomStringConvertible {
    public var description: String {
        switch self {
        case .bool: "bool"
        case .int32: "int32"
        case .int64: "int64"
        case .float32: "float32"
        case .float64: "float64"
        case .decimal(let precision, let scale): "decimal(\(precision),\(scale))"
        case .string: "string"
        case .bytes: "bytes"
        case .timestamp: "timestamp"
        case .date: "date"
        case .list(let element): "list<\(element)>"
        case .structure(let fields): "struct<\(fields.map { "\($0.name) \($0.type)" }.joined(separator: ", "))>"
        }
    }
}

/// A name and a type; a column of a schema or a member of a struct.
public struct Field: Hashable, Sendable {
    public var name: String
    public var type: DataType
    /// False where the producer guarantees that no value is null.
    public var nullable: Bool

    public init(_ name: String, _ type: DataType, nullable: Bool = true) {
        self.name = name
        self.type = type
        self.nullable = nullable
    }
}

/// The columns of a stream, in order. Names are unique.
public struct Schema: Hashable, Sendable {
    public let fields: [Field]

    /// Traps when a name occurs twice: operators check names that come from configuration before they get here.
    public init(_ fields: [Field]) {
        precondition(Set(fields.map(\.name)).count == fields.count, "column names must be unique")
        self.fields = fields
    }

    /// The position of a column, or nil. O(columns).
    public func index(of name: String) -> Int? { fields.firstIndex { $0.name == name } }

    /// The column's field, or nil. O(columns).
    public subscript(name: String) -> Field? { fields.first { $0.name == name } }

    /// The columns' names, in order.
    public var names: [String] { fields.map(\.name) }
}

extension Schema: CustomStringConvertible {
    public var description: String { fields.map { "\($0.name) \($0.type)" }.joined(separator: ", ") }
}
