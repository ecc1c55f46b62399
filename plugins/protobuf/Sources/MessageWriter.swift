import DataflowCodec
import DataflowColumnar
import DataflowText

/// Fits columns to a message that is to be written.
struct MessageWriter {
    /// A column that cannot be written.
    struct Mismatch: Error {
        var message: String
    }

    private let schema: ProtobufSchema
    private let refusal: Refusal

    init(_ schema: ProtobufSchema, _ refusal: Refusal) {
        self.schema = schema
        self.refusal = refusal
    }

    /// Writes rows with these columns as the message.
    func message(
        _ number: Int32, _ members: [Field], path: String = "", tag: [UInt8] = [], isEntry: Bool = false, depth: Int = 0
    ) throws(Mismatch) -> MessageCell {
        guard depth < 64 else { throw Mismatch(message: "`\(path)` is nested too deep") }
        let fields = schema.fields(number)
        // A map's members may have any names.
        let names = isEntry ? ["key", "value"] : members.map(\.name)
        var cells: [(cell: FieldCell, member: Int, field: ProtobufSchema.Field)] = []
        for (member, name) in names.enumerated() {
            let place = path.isEmpty ? name : "\(path).\(name)"
            guard let field = fields.first(where: { $0.name == name }) else {
                throw Mismatch(message: "\(schema.name(number)) has no field for the column `\(place)`")
            }
            let cell = try self.cell(field, members[member].type, place, isEntry: isEntry, depth: depth)
            cells.append((cell, member, field))
        }
        cells.sort { $0.field.number < $1.field.number }
        var oneofs: [Int32: [Int]] = [:]
        for (place, cell) in cells.enumerated() where cell.field.oneof >= 0 {
            oneofs[cell.field.oneof, default: []].append(place)
        }
        return MessageCell(
            cells.map { ($0.cell, $0.member) },
            oneofs: oneofs.values.filter { $0.count > 1 }.map { (path.isEmpty ? schema.name(number) : path, $0) }, path,
            refusal, tag: tag)
    }

    private static func tag(_ field: ProtobufSchema.Field, wire: UInt64) -> [UInt8] {
        var rest = UInt64(field.number) << 3 | wire
        var bytes: [UInt8] = []
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        return bytes + [UInt8(truncatingIfNeeded: rest)]
    }

    private func cell(
        _ field: ProtobufSchema.Field, _ type: DataType, _ path: String, isEntry: Bool, depth: Int
    ) throws(Mismatch) -> FieldCell {
        let tag = MessageWriter.tag(field, wire: field.type.wire)
        guard field.isRepeated else {
            return try single(field, type, path, tag: tag, omitsZero: !isEntry && !field.hasPresence, depth: depth)
        }
        guard case .list(let element) = type else {
            throw Mismatch(message: "the column `\(path)` is \(type), but the field is repeated: a list")
        }
        let inner = try single(field, element, path, tag: field.isPacked ? [] : tag, omitsZero: false, depth: depth)
        return RepeatedCell(
            inner, isPacked: field.isPacked, path, refusal,
            tag: field.isPacked ? MessageWriter.tag(field, wire: 2) : [])
    }

    private func single(
        _ field: ProtobufSchema.Field, _ type: DataType, _ path: String, tag: [UInt8], omitsZero: Bool, depth: Int
    ) throws(Mismatch) -> FieldCell {
        switch (field.type, type) {
        case (.bool, .bool), (.float, .float32), (.double, .float32), (.double, .float64), (.double, .int32):
            return NumberCell(field.type, path, refusal, tag: tag, omitsZero: omitsZero)
        case (let kind, .int32) where kind.isInteger || kind == .enumeration,
            (let kind, .int64) where kind.isInteger || kind == .enumeration,
            (let kind, .decimal(_, 0)) where kind.isInteger:
            return NumberCell(kind, path, refusal, tag: tag, omitsZero: omitsZero)
        case (.string, .string), (.bytes, .bytes), (.bytes, .string):
            return TextFieldCell(symbols: nil, path, refusal, tag: tag, omitsZero: omitsZero)
        case (.enumeration, .string):
            let symbols = Dictionary(
                schema.symbols(field.enumeration).map { (Array($0.name.utf8), $0.number) }
            ) { first, _ in first }
            return TextFieldCell(symbols: symbols, path, refusal, tag: tag, omitsZero: omitsZero)
        case (.message, .timestamp) where schema.name(field.message) == "google.protobuf.Timestamp":
            return TimestampFieldCell(path, refusal, tag: tag, omitsZero: false)
        case (.message, .structure(let members)) where !field.isMap || members.count == 2:
            return try message(
                field.message, members, path: path, tag: tag, isEntry: field.isMap, depth: depth + 1)
        case (.message, _)
        where type.isScalar && schema.name(field.message).hasPrefix("google.protobuf.")
            && schema.name(field.message).hasSuffix("Value"):
            return WrapperCell(
                try message(
                    field.message, [Field("value", type)], path: path, tag: tag, depth: depth + 1))
        default: break
        }
        let kind = field.type == .message ? "the message \(schema.name(field.message))" : "\(field.type)"
        throw Mismatch(message: "the column `\(path)` is \(type), but the field is \(kind)")
    }
}

/// A message that stands for a scalar that may be absent.
private final class WrapperCell: FieldCell {
    private let inner: MessageCell

    init(_ inner: MessageCell) {
        self.inner = inner
        super.init(inner.path, inner.refusal, tag: inner.tag, omitsZero: false)
    }

    override func prepare(_ column: Column) {
        super.prepare(column)
        inner.prepare(members: [column])
    }

    override func writeValue(_ row: Int, into text: inout TextBuffer) { inner.writeValue(row, into: &text) }
}
