import DataflowCodec
import DataflowColumnar
import DataflowSchemaRegistry

/// How to read messages of one writer's schema into the columns: a flat list of instructions.
///
/// Avro messages say nothing about themselves, so every value is passed in the order of the schema; the program says of
/// each whether it is stored, and where. Sub-programs (elements of arrays, branches of unions, types that contain
/// themselves) are ranges of the same list.
struct AvroProgram {
    enum Operation: UInt8 {
        // Values that no column wants.
        case skipLong, skipText, skipBytes, skipFixed, skipArray, skipMap, skipCall
        // Values: wire type, then column type.
        case boolean, int32, int64, narrowInt32
        case intToFloat32, intToFloat64, float32, floatToFloat64, float64
        case string, bytes, bytesToString, fixed, symbol
        case timestamp, decimal, fixedDecimal, longToDecimal
        // Structure.
        case mark, array, map, union
    }

    struct Instruction {
        var operation: Operation
        /// The node that is stored to; -1 for none.
        var node = -1
        /// A range of the program (bodies), of `branches` (unions) or of `symbols` (enums); or the level of elements.
        var range = 0..<0
        /// A size, a factor or a precision, by operation.
        var number = 0
        /// The level of an array's or map's elements.
        var level = 0
        /// Of a map: the node of its keys. Of decimals: digits to append.
        var extra = 0
    }

    private(set) var instructions: [Instruction] = []
    /// The sub-programs of unions.
    private(set) var branches: [Range<Int>] = []
    /// Views of the enums' symbols: the longer ones refer to `constants`.
    private(set) var symbols: [StringView] = []
    private(set) var constants = Buffer.empty
    private(set) var main = 0..<0
    /// Why there is no program.
    private(set) var problem: String?

    private let schema: AvroSchema
    private let assembler: RowAssembler
    private var symbolBytes: [UInt8] = []
    /// Sub-programs that pass over a named type; a range is empty while it is being made.
    private var skips: [String: Int] = [:]
    private var skipRanges: [Range<Int>] = []

    init(_ schema: AvroSchema, columns: [MessageColumn], assembler: RowAssembler) {
        self.schema = schema
        self.assembler = assembler
        guard case .record(let fields) = schema.resolve(schema.root) else {
            problem = "the schema is \(schema.root), not a record"
            return
        }
        var wanted: [Int: (node: Int, type: DataType, name: String)] = [:]
        for column in columns {
            guard let node = column.node else { continue }
            if let place = fields.firstIndex(where: { $0.name == column.field })
                ?? fields.firstIndex(where: { $0.aliases.contains(column.field) })
            {
                if let other = wanted[place] {
                    problem = "the columns `\(other.name)` and `\(column.name)` are both read from one field"
                    return
                }
                wanted[place] = (node, column.type, column.name)
            }
        }
        var body: [Instruction] = []
        for (place, field) in fields.enumerated() {
            if let column = wanted[place] {
                read(field.kind, column.type, column.node, "column \(column.name)", &body, depth: 0)
            } else {
                skip(field.kind, &body, depth: 0)
            }
        }
        main = place(body)
        constants = Buffer(symbolBytes)
    }

    /// The sub-program that a call passes to.
    func skipRange(_ number: Int) -> Range<Int> { skipRanges[number] }

    private mutating func place(_ body: [Instruction]) -> Range<Int> {
        let start = instructions.count
        instructions += body
        return start..<instructions.count
    }

    private mutating func fail(_ path: String, _ type: DataType, _ kind: AvroSchema.Kind) {
        if problem == nil { problem = "\(path) is \(type), but the writer's field is \(kind)" }
    }

    // MARK: - Passing over

    private static let maxDepth = 64

    private mutating func skip(_ kind: AvroSchema.Kind, _ body: inout [Instruction], depth: Int) {
        guard depth < AvroProgram.maxDepth else {
            problem = problem ?? "the schema is nested too deep"
            return
        }
        switch kind {
        case .null: break
        case .boolean: body.append(Instruction(operation: .skipFixed, number: 1))
        case .int, .long, .enumeration: body.append(Instruction(operation: .skipLong))
        case .float: body.append(Instruction(operation: .skipFixed, number: 4))
        case .double: body.append(Instruction(operation: .skipFixed, number: 8))
        case .string: body.append(Instruction(operation: .skipText))
        case .bytes: body.append(Instruction(operation: .skipBytes))
        case .fixed(let size, _): body.append(Instruction(operation: .skipFixed, number: size))
        case .array(let element), .map(let element):
            var inner: [Instruction] = []
            skip(element, &inner, depth: depth + 1)
            let isMap = if case .map = kind { true } else { false }
            body.append(Instruction(operation: isMap ? .skipMap : .skipArray, range: place(inner)))
        case .union(let kinds):
            var ranges: [Range<Int>] = []
            for kind in kinds {
                var inner: [Instruction] = []
                skip(kind, &inner, depth: depth + 1)
                ranges.append(place(inner))
            }
            union(ranges, &body)
        case .record(let fields):
            for field in fields { skip(field.kind, &body, depth: depth + 1) }
        case .named(let name):
            let target = schema.resolve(kind)
            guard case .record(let fields) = target else { return skip(target, &body, depth: depth + 1) }
            if let number = skips[name] {
                body.append(Instruction(operation: .skipCall, number: number))
                return
            }
            let number = skipRanges.count
            skips[name] = number
            skipRanges.append(0..<0)
            var inner: [Instruction] = []
            for field in fields { skip(field.kind, &inner, depth: depth + 1) }
            skipRanges[number] = place(inner)
            body.append(Instruction(operation: .skipCall, number: number))
        }
    }

    private mutating func union(_ ranges: [Range<Int>], _ body: inout [Instruction]) {
        let start = branches.count
        branches += ranges
        body.append(Instruction(operation: .union, range: start..<branches.count))
    }

    // MARK: - Reading

    private mutating func read(
        _ kind: AvroSchema.Kind, _ type: DataType, _ node: Int, _ path: String, _ body: inout [Instruction], depth: Int
    ) {
        guard depth < AvroProgram.maxDepth, problem == nil else {
            problem = problem ?? "the schema is nested too deep"
            return
        }
        func add(_ operation: Operation, number: Int = 0, extra: Int = 0) {
            body.append(Instruction(operation: operation, node: node, number: number, extra: extra))
        }
        switch (kind, type) {
        case (.named, _): read(schema.resolve(kind), type, node, path, &body, depth: depth + 1)
        case (.union(let kinds), _):
            var ranges: [Range<Int>] = []
            for kind in kinds {
                var inner: [Instruction] = []
                if case .null = kind {} else { read(kind, type, node, path, &inner, depth: depth + 1) }
                ranges.append(place(inner))
            }
            union(ranges, &body)
        case (.null, _): break
        case (.boolean, .bool): add(.boolean)
        case (.int, .int32), (.int(.date?), .date): add(.int32)
        case (.int, .int64), (.long, .int64): add(.int64)
        // Not in the specification, and checked a value at a time.
        case (.long(nil), .int32): add(.narrowInt32)
        case (.int(nil), .float32), (.long(nil), .float32): add(.intToFloat32)
        case (.int(nil), .float64), (.long(nil), .float64): add(.intToFloat64)
        case (.float, .float32): add(.float32)
        case (.float, .float64): add(.floatToFloat64)
        case (.double, .float64): add(.float64)
        case (.long(.milliseconds?), .timestamp): add(.timestamp, number: 1000)
        case (.long(.microseconds?), .timestamp): add(.timestamp, number: 1)
        case (.long(.nanoseconds?), .timestamp): add(.timestamp, number: -1000)
        case (.string, .string): add(.string)
        case (.string, .bytes), (.bytes, .bytes): add(.bytes)
        case (.bytes(nil), .string): add(.bytesToString)
        case (.fixed(let size, _), .bytes): add(.fixed, number: size)
        case (.enumeration(let words), .string):
            body.append(Instruction(operation: .symbol, node: node, range: place(symbols: words)))
        case (.int(nil), .decimal(let precision, let scale)), (.long(nil), .decimal(let precision, let scale)):
            add(.longToDecimal, number: precision, extra: scale)
        case (.bytes(let decimal?), .decimal(let precision, let scale)),
            (.fixed(_, let decimal?), .decimal(let precision, let scale)):
            guard scale >= decimal.scale else { return fail(path, type, kind) }
            if case .fixed(let size, _) = kind {
                body.append(
                    Instruction(
                        operation: .fixedDecimal, node: node, number: precision, level: size,
                        extra: scale - decimal.scale))
            } else {
                add(.decimal, number: precision, extra: scale - decimal.scale)
            }
        case (.array(let element), .list(let inner)):
            let target = assembler.nodes[node].element
            var items: [Instruction] = []
            read(element, inner, target, path + "[]", &items, depth: depth + 1)
            body.append(
                Instruction(
                    operation: .array, node: node, range: place(items), level: assembler.nodes[node].elementLevel))
        case (.map(let value), .list(.structure(let fields))) where fields.count == 2 && fields[0].type == .string:
            let target = assembler.nodes[node].element
            let members = assembler.nodes[target].members
            var items: [Instruction] = []
            read(value, fields[1].type, members[1], path + "[]." + fields[1].name, &items, depth: depth + 1)
            body.append(
                Instruction(
                    operation: .map, node: node, range: place(items), number: target,
                    level: assembler.nodes[node].elementLevel, extra: members[0]))
        case (.record(let fields), .structure(let members)):
            body.append(Instruction(operation: .mark, node: node))
            let nodes = assembler.nodes[node].members
            for field in fields {
                if let place = members.firstIndex(where: { $0.name == field.name })
                    ?? members.firstIndex(where: { field.aliases.contains($0.name) })
                {
                    read(
                        field.kind, members[place].type, nodes[place], "\(path).\(field.name)", &body,
                        depth: depth + 1)
                } else {
                    skip(field.kind, &body, depth: depth + 1)
                }
            }
        default: fail(path, type, kind)
        }
    }

    private mutating func place(symbols words: [String]) -> Range<Int> {
        let start = symbols.count
        for word in words {
            let offset = symbolBytes.count
            symbolBytes += Array(word.utf8)
            symbols.append(
                Array(word.utf8).withUnsafeBytes { StringView($0, buffer: 0, offset: offset) })
        }
        return start..<symbols.count
    }
}
