import DataflowColumnar
import DataflowConfig

private typealias ColumnField = DataflowColumnar.Field

extension AvroSchema {
    /// The schema of a record with a field a column, as JSON.
    ///
    /// A column that may be null is a union with null, null by default, so that fields may come and go; elements of lists
    /// and members of structs may always be null.
    static func text(_ schema: Schema, record name: String) -> String {
        json(record: schema.fields, name: name).serialized(indent: 0)
    }

    private static func json(record fields: [ColumnField], name: String) -> JSONValue {
        .object([
            ("type", .string("record")), ("name", .string(name)),
            (
                "fields",
                .array(
                    fields.map { field in
                        // Named types are named by the way to them, so each is defined once.
                        let type = json(field.type, name: "\(name)_\(field.name)")
                        var entries: [(String, JSONValue)] = [("name", .string(field.name))]
                        entries.append(("type", field.nullable ? .array([.string("null"), type]) : type))
                        if field.nullable { entries.append(("default", .null)) }
                        return .object(entries)
                    })
            ),
        ])
    }

    private static func json(_ type: DataType, name: String) -> JSONValue {
        func logical(_ type: String, _ logical: String, _ more: [(String, JSONValue)] = []) -> JSONValue {
            .object([("type", .string(type)), ("logicalType", .string(logical))] + more)
        }
        return switch type {
        case .bool: .string("boolean")
        case .int32: .string("int")
        case .int64: .string("long")
        case .float32: .string("float")
        case .float64: .string("double")
        case .decimal(let precision, let scale):
            logical("bytes", "decimal", [("precision", .int(precision)), ("scale", .int(scale))])
        case .string: .string("string")
        case .bytes: .string("bytes")
        case .timestamp: logical("long", "timestamp-micros")
        case .date: logical("int", "date")
        case .list(let element):
            .object([
                ("type", .string("array")), ("items", .array([.string("null"), json(element, name: "\(name)_item")])),
            ])
        case .structure(let fields): json(record: fields, name: name)
        }
    }

    /// The first name in a type that Avro does not take.
    static func badName(_ fields: [DataflowColumnar.Field]) -> String? {
        func look(_ type: DataType) -> String? {
            switch type {
            case .list(let element): look(element)
            case .structure(let fields): badName(fields)
            default: nil
            }
        }
        for field in fields {
            if !AvroNames.isName(field.name) { return field.name }
            if let bad = look(field.type) { return bad }
        }
        return nil
    }
}
