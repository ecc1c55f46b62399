import DataflowColumnar

/// How the values of a column are written in the server's binary format; one case for each `…_recv` function that the
/// sink feeds.
package enum PgFormat: Equatable {
    case bool, int2, int4, int8, float4, float8, numeric, text, bytea, timestamp, date, uuid, json, jsonb
    /// A one-dimensional array; the header of each value names the type of its elements.
    indirect case array(PgFormat, elementOID: UInt32)
}

/// A column of the target: which column of the stream feeds it, and how.
package struct PgColumn: Equatable {
    var name: String
    /// The position in the stream's schema.
    var source: Int
    var type: DataType
    var format: PgFormat
    var isKey: Bool
    /// The server's type as an element of an array; nil where it has no arrays.
    var elementType: PgElementType?

    package init(name: String, source: Int, type: DataType, format: PgFormat, isKey: Bool) {
        self.name = name
        self.source = source
        self.type = type
        self.format = format
        self.isKey = isKey
    }
}

/// A type of the server: its name without a length, and its number.
struct PgElementType: Equatable {
    var name: String
    var oid: UInt32
}

/// The types that the sink gives to the columns of a table that it creates itself.
enum PgTypeMapping {
    /// The SQL name of the type for a column of the stream.
    static func sqlType(of type: DataType) -> String {
        switch type {
        case .bool: "boolean"
        case .int32: "integer"
        case .int64: "bigint"
        case .float32: "real"
        case .float64: "double precision"
        case .decimal(let precision, let scale): "numeric(\(precision),\(scale))"
        case .string: "text"
        case .bytes: "bytea"
        case .timestamp: "timestamp with time zone"
        case .date: "date"
        case .list(let element) where element.isScalar: sqlType(of: element) + "[]"
        case .list, .structure: "jsonb"
        }
    }

    /// How values of `type` are written into a column of `target`; nil when they do not fit.
    static func format(of type: DataType, into target: PgCatalogType) -> PgFormat? {
        switch (type, target.name) {
        case (.bool, "bool"): .bool
        case (.int32, "int2"), (.int64, "int2"): .int2
        case (.int32, "int4"), (.int64, "int4"): .int4
        case (.int32, "int8"), (.int64, "int8"): .int8
        case (.int32, "float8"): .float8
        case (.int32, "numeric"), (.int64, "numeric"), (.decimal, "numeric"): .numeric
        case (.float32, "numeric"), (.float64, "numeric"): .numeric
        case (.float32, "float4"), (.float64, "float4"): .float4
        case (.float32, "float8"), (.float64, "float8"): .float8
        case (.string, "text"), (.string, "varchar"), (.string, "bpchar"), (.string, "citext"), (.string, "name"): .text
        case (.string, "uuid"): .uuid
        case (.string, _) where target.isEnum: .text
        case (.string, "json"), (.list, "json"), (.structure, "json"): .json
        case (.string, "jsonb"), (.list, "jsonb"), (.structure, "jsonb"): .jsonb
        case (.bytes, "bytea"): .bytea
        case (.timestamp, "timestamptz"), (.timestamp, "timestamp"): .timestamp
        case (.date, "date"): .date
        case (.list(let element), _) where element.isScalar:
            target.element.flatMap { item in
                format(of: element, into: item.type).map { .array($0, elementOID: item.oid) }
            }
        default: nil
        }
    }

    /// What an existing column may be, for messages.
    static func acceptedTypes(for type: DataType) -> String {
        switch type {
        case .bool: "boolean"
        case .int32: "integer, bigint, smallint, numeric or double precision"
        case .int64: "bigint, integer, smallint or numeric"
        case .float32, .float64: "double precision, real or numeric"
        case .decimal: "numeric"
        case .string: "text, varchar, char, citext, uuid, json, jsonb or an enum"
        case .bytes: "bytea"
        case .timestamp: "timestamp with time zone (or without, then it holds UTC)"
        case .date: "date"
        case .list(let element) where element.isScalar: "\(sqlType(of: element))[], jsonb or json"
        case .list, .structure: "jsonb or json"
        }
    }
}

/// A type as the server's catalog describes it; of a domain, its base type.
struct PgCatalogType: Equatable {
    /// `pg_type.typname`: `int4`, `varchar`, `_text`.
    var name: String
    var isEnum = false
    /// Of an array type.
    var element: Element?

    final class Element: Equatable {
        let oid: UInt32
        let type: PgCatalogType
        init(oid: UInt32, type: PgCatalogType) {
            self.oid = oid
            self.type = type
        }
        static func == (left: Element, right: Element) -> Bool { left.oid == right.oid && left.type == right.type }
    }
}
