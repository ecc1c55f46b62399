import DataflowCodec
import DataflowColumnar
import DataflowSchemaRegistry

/// How to read messages of one type into the nodes of a ``RowAssembler``.
///
/// Fields come in any order, by number; each known number has an entry that says what to do with its value.
final class MessagePlan {
    /// What becomes of a field's value.
    enum Target: UInt8 {
        /// Nothing, but the other members of its oneof are cleared.
        case ignored
        case bool, int32, int64, decimal, float32, float64, text, bytes, symbol
        case message
        case timestamp
    }

    struct Entry {
        var number: Int
        var type: ProtobufSchema.FieldType
        var target: Target
        /// The node of the value, of an element where it is repeated; -1 for none.
        var node = -1
        /// Where it is repeated: the list's node and the elements' level; else -1.
        var list = -1
        var level = -1
        /// The plan of the message, or -1.
        var plan = -1
        /// The nodes to clear when the field comes: the other members of its oneof.
        var others = 0..<0
        /// The enum's symbols.
        var symbols = -1
        /// Of a decimal: digits, and zeros to append.
        var precision = 0
        var scale = 0
    }

    /// Numbers below this are looked up by place.
    static let directCount = 64

    let name: String
    fileprivate(set) var entries: [Entry] = []
    /// The place in `entries` of the numbers below ``directCount``, plus one; 0 for unknown ones.
    fileprivate(set) var direct = [UInt16](repeating: 0, count: directCount)
    /// The places of the other numbers.
    fileprivate(set) var others: [Int: Int] = [:]
    /// What is there, zero or empty, even where it did not come: fields without presence, and lists.
    fileprivate(set) var implicit: [Int] = []
    /// Enums that are never null: what stands where none came.
    fileprivate(set) var defaultSymbols: [(node: Int, symbols: Int)] = []
    /// Messages that are there even where they did not come.
    fileprivate(set) var alwaysThere: [(node: Int, plan: Int)] = []

    init(_ name: String) { self.name = name }
}

/// The plans of a message type and of all below it, as far as columns want them.
struct MessagePlans {
    /// An enum's symbols as views; the longer ones stand in `constants`.
    struct Symbols {
        var views: [Int32: StringView] = [:]
    }

    private(set) var plans: [MessagePlan] = []
    private(set) var symbols: [Symbols] = []
    private(set) var nodesToClear: [Int] = []
    private(set) var constants = Buffer.empty
    /// Why there are none.
    private(set) var problem: String?

    private let schema: ProtobufSchema
    private let assembler: RowAssembler
    private var symbolBytes: [UInt8] = []
    private var symbolTables: [Int32: Int] = [:]

    init(_ schema: ProtobufSchema, message: Int32, columns: [MessageColumn], assembler: RowAssembler) {
        self.schema = schema
        self.assembler = assembler
        let wanted = columns.compactMap { column in
            column.node.map { (name: column.name, field: column.field, type: column.type, node: $0) }
        }
        for column in wanted {
            if let other = wanted.first(where: { $0.field == column.field && $0.name != column.name }) {
                problem = "the columns `\(column.name)` and `\(other.name)` are both read from one field"
                return
            }
        }
        _ = plan(
            message, wanted.map { (field: $0.field, type: $0.type, node: $0.node, path: "column \($0.name)") },
            role: .message, depth: 0)
        constants = Buffer(symbolBytes)
    }

    /// What the message that is planned is for.
    private enum Role {
        case message
        /// An entry of a map, whose key and value are there even where they did not come.
        case entry
        /// A scalar that may be absent.
        case wrapper
    }

    private mutating func fail(_ message: String) { problem = problem ?? message }

    private mutating func plan(
        _ message: Int32, _ wanted: [(field: String, type: DataType, node: Int, path: String)], role: Role,
        depth: Int
    ) -> Int {
        let plan = MessagePlan(schema.name(message))
        let number = plans.count
        plans.append(plan)
        guard depth < 64 else {
            fail("the columns are nested too deep")
            return number
        }
        var entries: [(entry: MessagePlan.Entry, oneof: Int32, root: Int)] = []
        for field in schema.fields(message) {
            var entry = MessagePlan.Entry(number: field.number, type: field.type, target: .ignored)
            var root = -1
            if let column = wanted.first(where: { $0.field == field.name }) {
                root = column.node
                read(field, column.type, column.node, column.path, role, &entry, plan, depth: depth)
            } else if field.oneof < 0 {
                continue
            }
            entries.append((entry, field.oneof, root))
        }
        for index in entries.indices where entries[index].oneof >= 0 {
            let start = nodesToClear.count
            for (other, member) in entries.enumerated()
            where other != index && member.oneof == entries[index].oneof && member.root >= 0 {
                nodesToClear.append(member.root)
            }
            entries[index].entry.others = start..<nodesToClear.count
        }
        plan.entries = entries.map(\.entry)
        for (place, entry) in plan.entries.enumerated() {
            if entry.number < MessagePlan.directCount, place < Int(UInt16.max) {
                plan.direct[entry.number] = UInt16(place + 1)
            } else {
                plan.others[entry.number] = place
            }
        }
        return number
    }

    private mutating func read(
        _ field: ProtobufSchema.Field, _ type: DataType, _ node: Int, _ path: String, _ role: Role,
        _ entry: inout MessagePlan.Entry, _ plan: MessagePlan, depth: Int
    ) {
        var (type, node) = (type, node)
        if field.isRepeated {
            guard case .list(let element) = type else {
                return fail("\(path) is \(type), but the field is repeated: a list")
            }
            plan.implicit.append(node)
            entry.list = node
            entry.level = assembler.nodes[node].elementLevel
            node = assembler.nodes[node].element
            type = element
        }
        entry.node = node
        let isNeverNull = field.isRepeated || role == .entry || role == .message && !field.hasPresence
        func mismatch() { fail("\(path) is \(type), but the field is \(field.type)") }
        switch (field.type, type) {
        case (.bool, .bool): entry.target = .bool
        case (.float, .float32): entry.target = .float32
        case (.float, .float64), (.double, .float64): entry.target = .float64
        case (.string, .string): entry.target = .text
        case (.string, .bytes), (.bytes, .bytes): entry.target = .bytes
        case (.bytes, .string): entry.target = .text
        case (.enumeration, .string):
            entry.target = .symbol
            entry.symbols = table(field.enumeration)
            if isNeverNull, !field.isRepeated { plan.defaultSymbols.append((node, entry.symbols)) }
        case (.enumeration, .int32): entry.target = .int32
        case (.enumeration, .int64): entry.target = .int64
        case (let kind, .int32) where kind.isInteger: entry.target = .int32
        case (let kind, .int64) where kind.isInteger: entry.target = .int64
        case (let kind, .decimal(let precision, let scale)) where kind.isInteger:
            entry.target = .decimal
            entry.precision = precision
            entry.scale = scale
        case (.message, _): readMessage(field, type, node, path, role, &entry, plan, depth: depth)
        default: mismatch()
        }
        if isNeverNull, !field.isRepeated, field.type != .message { plan.implicit.append(node) }
    }

    private mutating func readMessage(
        _ field: ProtobufSchema.Field, _ type: DataType, _ node: Int, _ path: String, _ role: Role,
        _ entry: inout MessagePlan.Entry, _ plan: MessagePlan, depth: Int
    ) {
        let name = schema.name(field.message)
        switch type {
        case .timestamp where name == "google.protobuf.Timestamp": entry.target = .timestamp
        case .structure(let members):
            let nodes = assembler.nodes[node].members
            if field.isMap, members.count != 2 {
                return fail("\(path) is \(type), but the field is a map: a list of structs of a key and a value")
            }
            // A map's members may have any names.
            let names = field.isMap ? ["key", "value"] : members.map(\.name)
            let known = schema.fields(field.message).map(\.name)
            if known.allSatisfy({ !names.contains($0) }) {
                return fail("\(path): \(name) has none of the members \(names.joined(separator: ", "))")
            }
            entry.target = .message
            entry.plan = self.plan(
                field.message,
                zip(names, zip(members, nodes)).map {
                    (field: $0, type: $1.0.type, node: $1.1, path: "\(path).\($0)")
                }, role: field.isMap ? .entry : .message, depth: depth + 1)
            if role == .entry { plan.alwaysThere.append((node, entry.plan)) }
        default:
            guard name.hasPrefix("google.protobuf."), name.hasSuffix("Value"), type.isScalar,
                name != "google.protobuf.Value"
            else { return fail("\(path) is \(type), but the field is the message \(name)") }
            entry.target = .message
            entry.plan = self.plan(
                field.message, [(field: "value", type: type, node: node, path: path)], role: .wrapper,
                depth: depth + 1)
        }
    }

    private mutating func table(_ enumeration: Int32) -> Int {
        if let table = symbolTables[enumeration] { return table }
        var table = Symbols()
        for symbol in schema.symbols(enumeration) where table.views[symbol.number] == nil {
            let offset = symbolBytes.count
            symbolBytes += Array(symbol.name.utf8)
            table.views[symbol.number] = Array(symbol.name.utf8).withUnsafeBytes {
                StringView($0, buffer: 0, offset: offset)
            }
        }
        symbols.append(table)
        symbolTables[enumeration] = symbols.count - 1
        return symbols.count - 1
    }
}
