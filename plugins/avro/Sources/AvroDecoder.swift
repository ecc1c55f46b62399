import DataflowCodec
import DataflowColumnar
import DataflowSchemaRegistry

/// Runs a program over messages: bytes in, values into the nodes of a ``RowAssembler``.
///
/// Every read is checked against the message's end; nothing that a message says can make it allocate more than the
/// message's own size.
final class AvroDecoder: SchemaDecoder {
    enum Problem: UInt8, MessageProblem {
        case truncated, badLength, badBranch, badSymbol, tooManyElements, tooDeep, notUTF8, outOfRange, trailing

        var code: String {
            switch self {
            case .outOfRange: "out_of_range"
            case .notUTF8: "malformed_value"
            default: "invalid_avro"
            }
        }

        var reason: String {
            switch self {
            case .truncated: "the message ends inside of a value"
            case .badLength: "a length or count is negative or does not fit"
            case .badBranch: "a union has no branch of that number"
            case .badSymbol: "an enum has no symbol of that number"
            case .tooManyElements: "a list claims more elements than the message can hold"
            case .tooDeep: "values are nested too deep"
            case .notUTF8: "the text is not UTF-8"
            case .outOfRange: "the value is out of the column's range"
            case .trailing: "bytes are left behind the last field"
            }
        }
    }

    private static let maxCalls = 128

    private let program: AvroProgram
    private let assembler: RowAssembler
    private let instructions: UnsafeMutablePointer<AvroProgram.Instruction>
    private let branches: UnsafeMutablePointer<Range<Int>>
    private let symbols: UnsafeMutablePointer<StringView>
    /// The number that the constants' buffer has among those of the batch.
    var constantBuffer = 0

    // The message that is being read.
    private var at: UnsafePointer<UInt8>
    private var end: UnsafePointer<UInt8>
    private var start: UnsafePointer<UInt8>
    private var buffer: Int32 = 0
    private var offset = 0
    private var elementsLeft = 0
    private var calls = 0
    private(set) var problem = Problem.truncated
    /// Where the last message was given up: bytes from its start, and the node that a value was meant for, or -1.
    private(set) var failure = (offset: 0, node: -1)

    /// The program's constants, to be put behind the buffers of the messages.
    var constants: Buffer { program.constants }

    init(_ program: AvroProgram, _ assembler: RowAssembler) {
        self.program = program
        self.assembler = assembler
        instructions = .allocate(capacity: max(1, program.instructions.count))
        instructions.initialize(from: program.instructions, count: program.instructions.count)
        branches = .allocate(capacity: max(1, program.branches.count))
        branches.initialize(from: program.branches, count: program.branches.count)
        symbols = .allocate(capacity: max(1, program.symbols.count))
        symbols.initialize(from: program.symbols, count: program.symbols.count)
        // Nothing to read yet.
        at = UnsafePointer(UnsafeRawPointer(instructions).assumingMemoryBound(to: UInt8.self))
        start = at
        end = at
    }

    deinit {
        instructions.deallocate()
        branches.deallocate()
        symbols.deallocate()
    }

    /// Reads one message into `row` of the assembler.
    ///
    /// - Parameters:
    ///   - buffer: the number of the buffer that the message stands in, and where.
    /// - Returns: false where it cannot be read; ``problem`` and ``failure`` tell why. The row is then to be taken back.
    func decode(_ message: UnsafeRawBufferPointer, row: Int, buffer: Int32, offset: Int) -> Bool {
        guard let base = message.baseAddress else {
            problem = .truncated
            failure = (0, -1)
            return program.main.isEmpty
        }
        start = base.assumingMemoryBound(to: UInt8.self)
        at = start
        end = start + message.count
        self.buffer = buffer
        self.offset = offset
        elementsLeft = message.count + 1024
        calls = 0
        guard run(program.main, row) else { return false }
        guard at == end else {
            failure = (at - start, -1)
            problem = .trailing
            return false
        }
        return true
    }

    @inline(never)
    private func fail(_ problem: Problem, _ node: Int = -1) -> Bool {
        self.problem = problem
        failure = (at - start, node)
        return false
    }

    // MARK: - Primitive values

    /// A zigzag integer; nil at the end or beyond 64 bits.
    @inline(__always)
    private func long() -> Int64? {
        if at < end, at.pointee < 0x80 {
            let value = Int64(at.pointee)
            at += 1
            return value >> 1 ^ -(value & 1)
        }
        return longRest()
    }

    private func longRest() -> Int64? {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while at < end, shift < 64 {
            let byte = at.pointee
            at += 1
            value |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return Int64(bitPattern: value >> 1) ^ -Int64(bitPattern: value & 1) }
            shift += 7
        }
        return nil
    }

    @inline(__always)
    private func take(_ count: Int) -> UnsafeRawBufferPointer? {
        guard count >= 0, end - at >= count else { return nil }
        defer { at += count }
        return UnsafeRawBufferPointer(start: at, count: count)
    }

    /// Bytes behind their length.
    @inline(__always)
    private func block() -> UnsafeRawBufferPointer? {
        guard let length = long(), let count = Int(exactly: length) else { return nil }
        return take(count)
    }

    @inline(__always)
    private func fixed<T: BitwiseCopyable>(_ type: T.Type) -> T? {
        guard end - at >= MemoryLayout<T>.size else { return nil }
        defer { at += MemoryLayout<T>.size }
        return UnsafeRawPointer(at).loadUnaligned(as: T.self)
    }

    @inline(__always)
    private func store(text: UnsafeRawBufferPointer, _ node: Int, _ row: Int) {
        let place = text.baseAddress.map { offset + ($0 - UnsafeRawPointer(start)) } ?? 0
        assembler.store(text: text, node, row, inBuffer: buffer, offset: place)
    }

    // MARK: - The loop

    private func run(_ range: Range<Int>, _ row: Int) -> Bool {
        var pc = range.lowerBound
        while pc < range.upperBound {
            let instruction = instructions + pc
            let node = instruction.pointee.node
            pc &+= 1
            switch instruction.pointee.operation {
            case .skipLong: guard long() != nil else { return fail(.truncated) }
            case .skipText, .skipBytes: guard block() != nil else { return fail(.truncated) }
            case .skipFixed: guard take(instruction.pointee.number) != nil else { return fail(.truncated) }
            case .int32:
                guard let value = long() else { return fail(.truncated, node) }
                guard let narrow = Int32(exactly: value) else { return fail(.outOfRange, node) }
                assembler.store(narrow, node, row)
            case .narrowInt32:
                guard let value = long() else { return fail(.truncated, node) }
                guard let narrow = Int32(exactly: value) else { return fail(.outOfRange, node) }
                assembler.store(narrow, node, row)
            case .int64:
                guard let value = long() else { return fail(.truncated, node) }
                assembler.store(value, node, row)
            case .string:
                guard let text = block() else { return fail(.truncated, node) }
                guard isValidUTF8(text) else { return fail(.notUTF8, node) }
                store(text: text, node, row)
            case .float64:
                guard let bits = fixed(UInt64.self) else { return fail(.truncated, node) }
                assembler.store(UInt64(littleEndian: bits), node, row)
            case .union:
                guard let number = long() else { return fail(.truncated, node) }
                guard number >= 0, number < instruction.pointee.range.count else { return fail(.badBranch, node) }
                let branch = branches[instruction.pointee.range.lowerBound + Int(number)]
                if !branch.isEmpty, !run(branch, row) { return false }
            case .mark: assembler.mark(node, row)
            default: guard runRare(instruction, row) else { return false }
            }
        }
        return true
    }

    private func runRare(_ instruction: UnsafeMutablePointer<AvroProgram.Instruction>, _ row: Int) -> Bool {
        let node = instruction.pointee.node
        switch instruction.pointee.operation {
        case .boolean:
            guard let byte = fixed(UInt8.self) else { return fail(.truncated, node) }
            guard byte < 2 else { return fail(.outOfRange, node) }
            assembler.store(byte, node, row)
        case .intToFloat32:
            guard let value = long() else { return fail(.truncated, node) }
            assembler.store(Float(value), node, row)
        case .intToFloat64:
            guard let value = long() else { return fail(.truncated, node) }
            assembler.store(Double(value), node, row)
        case .float32:
            guard let bits = fixed(UInt32.self) else { return fail(.truncated, node) }
            assembler.store(UInt32(littleEndian: bits), node, row)
        case .floatToFloat64:
            guard let bits = fixed(UInt32.self) else { return fail(.truncated, node) }
            assembler.store(Double(Float(bitPattern: UInt32(littleEndian: bits))), node, row)
        case .bytes:
            guard let bytes = block() else { return fail(.truncated, node) }
            store(text: bytes, node, row)
        case .bytesToString:
            guard let text = block() else { return fail(.truncated, node) }
            guard isValidUTF8(text) else { return fail(.notUTF8, node) }
            store(text: text, node, row)
        case .fixed:
            guard let bytes = take(instruction.pointee.number) else { return fail(.truncated, node) }
            store(text: bytes, node, row)
        case .symbol:
            guard let number = long() else { return fail(.truncated, node) }
            guard number >= 0, number < instruction.pointee.range.count else { return fail(.badSymbol, node) }
            let view = symbols[instruction.pointee.range.lowerBound + Int(number)]
            assembler.store(view.movingBuffer(by: constantBuffer), node, row)
        case .timestamp:
            guard let value = long() else { return fail(.truncated, node) }
            let factor = Int64(instruction.pointee.number)
            if factor > 0 {
                let (scaled, overflow) = value.multipliedReportingOverflow(by: factor)
                if overflow { return fail(.outOfRange, node) }
                assembler.store(scaled, node, row)
            } else {
                // Nanoseconds, rounded down on both sides of the epoch.
                assembler.store(value >= 0 || value % 1000 == 0 ? value / 1000 : value / 1000 - 1, node, row)
            }
        case .longToDecimal:
            guard let value = long() else { return fail(.truncated, node) }
            return store(decimal: Int128(value), instruction, row)
        case .decimal:
            guard let bytes = block() else { return fail(.truncated, node) }
            guard let value = AvroDecoder.integer(bytes) else { return fail(.outOfRange, node) }
            return store(decimal: value, instruction, row)
        case .fixedDecimal:
            guard let bytes = take(instruction.pointee.level) else { return fail(.truncated, node) }
            guard let value = AvroDecoder.integer(bytes) else { return fail(.outOfRange, node) }
            return store(decimal: value, instruction, row)
        case .array:
            assembler.mark(node, row)
            let level = instruction.pointee.level
            let body = instruction.pointee.range
            return blocks { [self] in
                let element = assembler.append(level)
                guard run(body, element) else { return false }
                assembler.endRow(level, element)
                return true
            }
        case .map:
            assembler.mark(node, row)
            let (level, body) = (instruction.pointee.level, instruction.pointee.range)
            let (entry, key) = (instruction.pointee.number, instruction.pointee.extra)
            return blocks { [self] in
                let element = assembler.append(level)
                assembler.mark(entry, element)
                guard let text = block() else { return fail(.truncated, key) }
                guard isValidUTF8(text) else { return fail(.notUTF8, key) }
                store(text: text, key, element)
                guard run(body, element) else { return false }
                assembler.endRow(level, element)
                return true
            }
        case .skipArray:
            let body = instruction.pointee.range
            return blocks(skipping: true) { [self] in run(body, row) }
        case .skipMap:
            let body = instruction.pointee.range
            return blocks(skipping: true) { [self] in block() != nil ? run(body, row) : fail(.truncated) }
        case .skipCall:
            calls += 1
            guard calls < AvroDecoder.maxCalls else { return fail(.tooDeep) }
            defer { calls -= 1 }
            return run(program.skipRange(instruction.pointee.number), row)
        default: return fail(.truncated)
        }
        return true
    }

    /// The blocks of an array or a map: a count, its elements, and so on until a count of zero. A negative count has
    /// the block's size in bytes behind it, by which blocks that nobody wants are passed over whole.
    @inline(__always)
    private func blocks(skipping: Bool = false, _ element: () -> Bool) -> Bool {
        while true {
            guard var count = long() else { return fail(.truncated) }
            if count == 0 { return true }
            if count < 0 {
                guard count != .min, let size = long() else { return fail(.badLength) }
                count = -count
                if skipping {
                    guard let byteCount = Int(exactly: size), take(byteCount) != nil else { return fail(.badLength) }
                    continue
                }
            }
            guard count <= elementsLeft else { return fail(.tooManyElements) }
            elementsLeft -= Int(count)
            for _ in 0..<count {
                if !element() { return false }
            }
        }
    }

    // MARK: - Decimals

    /// A big-endian two's complement integer; nil beyond 128 bits.
    static func integer(_ bytes: UnsafeRawBufferPointer) -> Int128? {
        guard let first = bytes.first else { return 0 }
        let fill: UInt8 = first & 0x80 == 0 ? 0 : 0xFF
        var at = 0
        while bytes.count - at > 16 {
            guard bytes[at] == fill else { return nil }
            at += 1
        }
        // A leading byte of the sign may only go where the next one has the sign, too.
        if at > 0, (bytes[at] ^ fill) & 0x80 != 0 { return nil }
        var value: Int128 = fill == 0 ? 0 : -1
        for i in at..<bytes.count { value = value << 8 | Int128(bytes[i]) }
        return value
    }

    private func store(
        decimal value: Int128, _ instruction: UnsafeMutablePointer<AvroProgram.Instruction>, _ row: Int
    ) -> Bool {
        let node = instruction.pointee.node
        var scaled = value
        for _ in 0..<instruction.pointee.extra {
            let (product, overflow) = scaled.multipliedReportingOverflow(by: 10)
            if overflow { return fail(.outOfRange, node) }
            scaled = product
        }
        var limit: Int128 = 1
        for _ in 0..<instruction.pointee.number { limit *= 10 }
        guard scaled < limit, scaled > -limit else { return fail(.outOfRange, node) }
        assembler.store(scaled, node, row)
        return true
    }
}
