import DataflowCodec
import DataflowColumnar
import DataflowSchemaRegistry

/// Reads messages in Protobuf's wire format into the nodes of a ``RowAssembler``. Source: Protocol Buffers
/// documentation, "Encoding".
///
/// As the format has it: fields in any order, the last of a single one counts, messages that come twice are merged,
/// repeated scalars packed or not, unknown numbers and numbers with another wire type passed over. Every read is checked
/// against the end of its message.
final class MessageDecoder: SchemaDecoder {
    enum Problem: UInt8, MessageProblem {
        case truncated, badTag, badGroup, tooDeep, notUTF8, outOfRange

        var code: String {
            switch self {
            case .outOfRange: "out_of_range"
            case .notUTF8: "malformed_value"
            default: "invalid_protobuf"
            }
        }

        var reason: String {
            switch self {
            case .truncated: "the message ends inside of a value, or an integer has more than ten bytes"
            case .badTag: "the number or the wire type of a field is none"
            case .badGroup: "a group ends that did not begin"
            case .tooDeep: "messages are nested more than 100 deep"
            case .notUTF8: "the text is not UTF-8"
            case .outOfRange: "the value is out of the column's range"
            }
        }
    }

    private static let maxDepth = 100

    private let plans: MessagePlans
    private let list: [MessagePlan]
    private let assembler: RowAssembler
    /// The number that the constants' buffer has among those of the batch.
    var constantBuffer = 0

    private var at: UnsafePointer<UInt8>
    private var start: UnsafePointer<UInt8>
    private var buffer: Int32 = 0
    private var offset = 0
    private(set) var problem = Problem.truncated
    /// Where the last message was given up: bytes from its start, and the node that a value was meant for, or -1.
    private(set) var failure = (offset: 0, node: -1)

    /// Symbols of enums, to be put behind the buffers of the messages.
    var constants: Buffer { plans.constants }

    init(_ plans: MessagePlans, _ assembler: RowAssembler) {
        self.plans = plans
        list = plans.plans
        self.assembler = assembler
        // Nothing to read yet.
        at = UnsafePointer(UnsafeRawPointer(assembler.levels).assumingMemoryBound(to: UInt8.self))
        start = at
    }

    /// Reads one message into `row` of the assembler.
    ///
    /// - Returns: false where it cannot be read; ``problem`` and ``failure`` tell why. The row is then to be taken back.
    func decode(_ message: UnsafeRawBufferPointer, row: Int, buffer: Int32, offset: Int) -> Bool {
        if let base = message.baseAddress { start = base.assumingMemoryBound(to: UInt8.self) }
        at = start
        self.buffer = buffer
        self.offset = offset
        return read(list[0], start + message.count, row, depth: 0)
    }

    @inline(never)
    private func fail(_ problem: Problem, _ node: Int = -1) -> Bool {
        self.problem = problem
        failure = (at - start, node)
        return false
    }

    // MARK: - The wire

    @inline(__always)
    private func varint(_ end: UnsafePointer<UInt8>) -> UInt64? {
        if at < end, at.pointee < 0x80 {
            defer { at += 1 }
            return UInt64(at.pointee)
        }
        return varintRest(end)
    }

    private func varintRest(_ end: UnsafePointer<UInt8>) -> UInt64? {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while at < end, shift < 70 {
            let byte = at.pointee
            at += 1
            if shift < 64 { value |= UInt64(byte & 0x7F) << shift }
            if byte < 0x80 { return value }
            shift += 7
        }
        return nil
    }

    @inline(__always)
    private func fixed<T: FixedWidthInteger>(_ end: UnsafePointer<UInt8>, as type: T.Type) -> UInt64? {
        guard end - at >= MemoryLayout<T>.size else { return nil }
        defer { at += MemoryLayout<T>.size }
        return UInt64(truncatingIfNeeded: T(littleEndian: UnsafeRawPointer(at).loadUnaligned(as: T.self)))
    }

    /// The end of what follows behind its length.
    @inline(__always)
    private func length(_ end: UnsafePointer<UInt8>) -> UnsafePointer<UInt8>? {
        guard let count = varint(end), count <= UInt64(end - at) else { return nil }
        return at + Int(count)
    }

    private func skip(_ tag: UInt64, _ end: UnsafePointer<UInt8>, depth: Int) -> Bool {
        switch tag & 7 {
        case 0: return varint(end) != nil ? true : fail(.truncated)
        case 1: return fixed(end, as: UInt64.self) != nil ? true : fail(.truncated)
        case 5: return fixed(end, as: UInt32.self) != nil ? true : fail(.truncated)
        case 2:
            guard let next = length(end) else { return fail(.truncated) }
            at = next
            return true
        case 3:
            guard depth < MessageDecoder.maxDepth else { return fail(.tooDeep) }
            while true {
                guard let inner = varint(end) else { return fail(.truncated) }
                if inner & 7 == 4 { return inner >> 3 == tag >> 3 ? true : fail(.badGroup) }
                guard inner >> 3 != 0 else { return fail(.badTag) }
                if !skip(inner, end, depth: depth + 1) { return false }
            }
        case 4: return fail(.badGroup)
        default: return fail(.badTag)
        }
    }

    // MARK: - Messages

    private func read(_ plan: MessagePlan, _ end: UnsafePointer<UInt8>, _ row: Int, depth: Int) -> Bool {
        guard depth < MessageDecoder.maxDepth else { return fail(.tooDeep) }
        // A local reference, so that the loop counts none.
        return plan.entries.withUnsafeBufferPointer { entries in
            plan.direct.withUnsafeBufferPointer { direct in
                while at < end {
                    guard let tag = varint(end) else { return fail(.truncated) }
                    let number = tag >> 3
                    guard number != 0, number < 1 << 29 else { return fail(.badTag) }
                    let place: Int
                    if number < UInt64(MessagePlan.directCount) {
                        place = Int(direct[Int(number)]) &- 1
                    } else {
                        place = plan.others[Int(number)] ?? -1
                    }
                    guard place >= 0, let base = entries.baseAddress else {
                        if !skip(tag, end, depth: depth) { return false }
                        continue
                    }
                    if !field(base + place, tag, end, row, depth: depth) { return false }
                }
                return finish(plan, row)
            }
        }
    }

    /// What is there although it did not come.
    private func finish(_ plan: MessagePlan, _ row: Int) -> Bool {
        if !plan.defaultSymbols.isEmpty {
            for (node, symbols) in plan.defaultSymbols where !assembler.isPresent(node, row) {
                store(symbol: 0, symbols, node, row)
            }
        }
        for node in plan.implicit { assembler.mark(node, row) }
        if !plan.alwaysThere.isEmpty {
            for (node, number) in plan.alwaysThere where !assembler.isPresent(node, row) {
                assembler.mark(node, row)
                if !finish(list[number], row) { return false }
            }
        }
        return true
    }

    private func field(
        _ entry: UnsafePointer<MessagePlan.Entry>, _ tag: UInt64, _ end: UnsafePointer<UInt8>, _ row: Int, depth: Int
    ) -> Bool {
        let wire = tag & 7
        let type = entry.pointee.type
        if wire != type.wire {
            // Several values of a repeated scalar in one.
            if wire == 2, entry.pointee.list >= 0, type.wire != 2, type.wire != 3 {
                guard let next = length(end) else { return fail(.truncated, entry.pointee.node) }
                assembler.mark(entry.pointee.list, row)
                while at < next {
                    let element = assembler.append(entry.pointee.level)
                    guard scalar(entry, next, element) else { return false }
                }
                return true
            }
            return skip(tag, end, depth: depth)
        }
        for place in entry.pointee.others { assembler.clear(plans.nodesToClear[place], row) }
        if entry.pointee.target == .ignored { return skip(tag, end, depth: depth) }
        guard entry.pointee.list >= 0 else { return value(entry, end, row, depth: depth) }
        assembler.mark(entry.pointee.list, row)
        let element = assembler.append(entry.pointee.level)
        guard value(entry, end, element, depth: depth) else { return false }
        assembler.endRow(entry.pointee.level, element)
        return true
    }

    private func value(
        _ entry: UnsafePointer<MessagePlan.Entry>, _ end: UnsafePointer<UInt8>, _ row: Int, depth: Int
    ) -> Bool {
        guard entry.pointee.type.wire == 2 else { return scalar(entry, end, row) }
        let node = entry.pointee.node
        guard let next = length(end) else { return fail(.truncated, node) }
        switch entry.pointee.target {
        case .text, .bytes:
            let bytes = UnsafeRawBufferPointer(start: at, count: next - at)
            if entry.pointee.target == .text, !isValidUTF8(bytes) { return fail(.notUTF8, node) }
            assembler.store(text: bytes, node, row, inBuffer: buffer, offset: offset + (at - start))
            at = next
            return true
        case .timestamp: return timestamp(node, next, row)
        case .message:
            assembler.mark(node, row)
            return read(list[entry.pointee.plan], next, row, depth: depth + 1)
        default: return fail(.badTag, node)
        }
    }

    private func scalar(
        _ entry: UnsafePointer<MessagePlan.Entry>, _ end: UnsafePointer<UInt8>, _ row: Int
    ) -> Bool {
        let type = entry.pointee.type
        let node = entry.pointee.node
        let read: UInt64?
        switch type.wire {
        case 0: read = varint(end)
        case 1: read = fixed(end, as: UInt64.self)
        default: read = fixed(end, as: UInt32.self)
        }
        guard let raw = read else { return fail(.truncated, node) }
        let number: Int64
        switch type {
        case .double:
            assembler.store(raw, node, row)
            return true
        case .float:
            if entry.pointee.target == .float32 {
                assembler.store(UInt32(truncatingIfNeeded: raw), node, row)
            } else {
                assembler.store(Double(Float(bitPattern: UInt32(truncatingIfNeeded: raw))), node, row)
            }
            return true
        case .bool:
            assembler.store(UInt8(raw == 0 ? 0 : 1), node, row)
            return true
        case .int32, .enumeration, .sfixed32: number = Int64(Int32(truncatingIfNeeded: raw))
        case .uint32, .fixed32: number = Int64(UInt32(truncatingIfNeeded: raw))
        case .sint32:
            let value = UInt32(truncatingIfNeeded: raw)
            number = Int64(Int32(bitPattern: value >> 1) ^ -Int32(bitPattern: value & 1))
        case .sint64: number = Int64(bitPattern: raw >> 1) ^ -Int64(bitPattern: raw & 1)
        default:
            if raw > UInt64(Int64.max), type == .uint64 || type == .fixed64 {
                guard entry.pointee.target == .decimal else { return fail(.outOfRange, node) }
                return store(decimal: Int128(raw), entry, row)
            }
            number = Int64(bitPattern: raw)
        }
        switch entry.pointee.target {
        case .int64: assembler.store(number, node, row)
        case .int32:
            guard let narrow = Int32(exactly: number) else { return fail(.outOfRange, node) }
            assembler.store(narrow, node, row)
        case .decimal: return store(decimal: Int128(number), entry, row)
        case .symbol: store(symbol: Int32(truncatingIfNeeded: number), entry.pointee.symbols, node, row)
        default: return fail(.badTag, node)
        }
        return true
    }

    private func store(symbol number: Int32, _ symbols: Int, _ node: Int, _ row: Int) {
        if let view = plans.symbols[symbols].views[number] {
            assembler.store(view.movingBuffer(by: constantBuffer), node, row)
            return
        }
        // A symbol that the schema does not have yet: its number, which fits a view.
        var text = "\(number)"
        text.withUTF8 {
            assembler.store(text: UnsafeRawBufferPointer($0), node, row, inBuffer: 0, offset: 0)
        }
    }

    private func store(decimal value: Int128, _ entry: UnsafePointer<MessagePlan.Entry>, _ row: Int) -> Bool {
        var scaled = value
        for _ in 0..<entry.pointee.scale {
            let (product, overflow) = scaled.multipliedReportingOverflow(by: 10)
            if overflow { return fail(.outOfRange, entry.pointee.node) }
            scaled = product
        }
        var limit: Int128 = 1
        for _ in 0..<entry.pointee.precision { limit *= 10 }
        guard scaled < limit, scaled > -limit else { return fail(.outOfRange, entry.pointee.node) }
        assembler.store(scaled, entry.pointee.node, row)
        return true
    }

    /// `google.protobuf.Timestamp`: seconds and nanoseconds, cut to microseconds.
    private func timestamp(_ node: Int, _ end: UnsafePointer<UInt8>, _ row: Int) -> Bool {
        var seconds: Int64 = 0
        var nanoseconds: Int64 = 0
        while at < end {
            guard let tag = varint(end), tag >> 3 != 0 else { return fail(.truncated, node) }
            if tag == 1 << 3 || tag == 2 << 3 {
                guard let value = varint(end) else { return fail(.truncated, node) }
                if tag == 1 << 3 {
                    seconds = Int64(bitPattern: value)
                } else {
                    nanoseconds = Int64(Int32(truncatingIfNeeded: value))
                }
            } else if !skip(tag, end, depth: 0) {
                return false
            }
        }
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000)
        let rest = nanoseconds >= 0 || nanoseconds % 1000 == 0 ? nanoseconds / 1000 : nanoseconds / 1000 - 1
        let (sum, beyond) = product.addingReportingOverflow(rest)
        if overflow || beyond { return fail(.outOfRange, node) }
        assembler.store(sum, node, row)
        return true
    }
}
