import DataflowCodec
import DataflowColumnar

/// Fits columns to a schema that is to be written.
struct AvroWriter {
    /// A column that cannot be written.
    struct Mismatch: Error {
        var message: String
    }

    private let schema: AvroSchema
    private let refusal: Refusal

    init(_ schema: AvroSchema, _ refusal: Refusal) {
        self.schema = schema
        self.refusal = refusal
    }

    /// Writes rows with these columns as the schema's record.
    func record(_ columns: [Field]) throws(Mismatch) -> AvroRecordCell {
        guard case .record(let fields) = schema.resolve(schema.root) else {
            throw Mismatch(message: "the schema is \(schema.root), not a record")
        }
        return try record(fields, columns, "", depth: 0)
    }

    private func record(
        _ fields: [AvroSchema.Field], _ members: [Field], _ path: String, depth: Int
    ) throws(Mismatch) -> AvroRecordCell {
        var cells: [(cell: AvroCell, member: Int?)] = []
        for field in fields {
            let place = path.isEmpty ? field.name : "\(path).\(field.name)"
            if let member = members.firstIndex(where: { $0.name == field.name })
                ?? members.firstIndex(where: { field.aliases.contains($0.name) })
            {
                cells.append((try cell(field.kind, members[member].type, place, depth: depth + 1), member))
                continue
            }
            switch schema.resolve(field.kind) {
            case .null: cells.append((AvroNullCell(place, refusal, branch: nil), nil))
            case .union(let kinds):
                guard let null = AvroWriter.null(kinds) else { fallthrough }
                cells.append((AvroNullCell(place, refusal, branch: null), nil))
            default:
                throw Mismatch(message: "the schema's field `\(place)` is \(field.kind), and there is no such column")
            }
        }
        for member in members
        where !fields.contains(where: { $0.name == member.name || $0.aliases.contains(member.name) }) {
            let name = path.isEmpty ? member.name : "\(path).\(member.name)"
            throw Mismatch(message: "the schema has no field for the column `\(name)`")
        }
        return AvroRecordCell(cells, path, refusal)
    }

    private static func null(_ kinds: [AvroSchema.Kind]) -> Int? {
        kinds.firstIndex { if case .null = $0 { true } else { false } }
    }

    private func cell(
        _ kind: AvroSchema.Kind, _ type: DataType, _ path: String, depth: Int
    ) throws(Mismatch) -> AvroCell {
        guard depth < 64 else { throw Mismatch(message: "`\(path)` is nested too deep") }
        func scalar(_ form: AvroScalarCell.Form) -> AvroCell { AvroScalarCell(form, path, refusal) }
        switch (kind, type) {
        case (.named, _): return try cell(schema.resolve(kind), type, path, depth: depth + 1)
        case (.union(let kinds), _):
            for (branch, kind) in kinds.enumerated() {
                if case .null = kind { continue }
                if let inner = try? cell(kind, type, path, depth: depth + 1) {
                    return AvroUnionCell(inner, branch: branch, null: AvroWriter.null(kinds))
                }
            }
        case (.boolean, .bool): return scalar(.boolean)
        case (.int(nil), .int32), (.int(nil), .int64), (.int(.date?), .date): return scalar(.int)
        case (.long(nil), .int32), (.long(nil), .int64): return scalar(.long)
        case (.long(.milliseconds?), .timestamp): return scalar(.time(1000))
        case (.long(.microseconds?), .timestamp): return scalar(.time(1))
        case (.long(.nanoseconds?), .timestamp): return scalar(.time(-1000))
        case (.float, .float32): return scalar(.float)
        case (.double, .float32), (.double, .float64), (.double, .int32): return scalar(.double)
        case (.bytes(let target?), .decimal(_, let scale)) where target.scale >= scale:
            return scalar(.decimal(append: target.scale - scale, precision: target.precision, size: nil))
        case (.fixed(let size, let target?), .decimal(_, let scale)) where target.scale >= scale:
            return scalar(.decimal(append: target.scale - scale, precision: target.precision, size: size))
        case (.string, .string), (.bytes, .string), (.bytes, .bytes): return AvroTextCell(.counted, path, refusal)
        case (.fixed(let size, nil), .bytes): return AvroTextCell(.fixed(size), path, refusal)
        case (.enumeration(let symbols), .string):
            let numbers = Dictionary(symbols.enumerated().map { (Array($1.utf8), $0) }) { first, _ in first }
            return AvroTextCell(.symbols(numbers), path, refusal)
        case (.array(let item), .list(let element)):
            return AvroListCell(try cell(item, element, path + "[]", depth: depth + 1), key: nil, path, refusal)
        case (.map(let value), .list(.structure(let members))) where members.count == 2 && members[0].type == .string:
            return AvroListCell(
                try cell(value, members[1].type, path + "[]", depth: depth + 1),
                key: AvroTextCell(.counted, path + "[]", refusal), path, refusal)
        case (.record(let fields), .structure(let members)):
            return try record(fields, members, path, depth: depth + 1)
        default: break
        }
        throw Mismatch(message: "the column `\(path)` is \(type), but the schema's field is \(kind)")
    }
}
