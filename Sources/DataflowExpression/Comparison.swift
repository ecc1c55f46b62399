import DataflowColumnar
import Glibc

/// `= <> < <= > >=` over columns of one type.
///
/// Text is ordered by its bytes. For floats NaN equals itself and is larger than all numbers, as in PostgreSQL, so that
/// the order is total.
enum Comparison: Sendable {
    case equal, notEqual, less, lessOrEqual, greater, greaterOrEqual

    init(_ operation: Expression.BinaryOperator) {
        switch operation {
        case .equal: self = .equal
        case .notEqual: self = .notEqual
        case .less: self = .less
        case .lessOrEqual: self = .lessOrEqual
        case .greater: self = .greater
        case .greaterOrEqual: self = .greaterOrEqual
        default: preconditionFailure("\(operation) is no comparison")
        }
    }

    func kernel(_ type: DataType) -> Kernel {
        switch type {
        case .int32, .date: return ordered(Int32.self)
        case .int64, .timestamp: return ordered(Int64.self)
        case .float32: return floating(Float.self)
        case .float64: return floating(Double.self)
        case .decimal: return ordered(Int128.self)
        case .string, .bytes: return text
        case .bool: return bool
        case .list, .structure: preconditionFailure("\(type) is not compared")
        }
    }

    private func ordered<T: FixedElement>(_: T.Type) -> Kernel {
        { arguments, rows, _ in
            let a = arguments[0].operand(T.self)
            let b = arguments[1].operand(T.self)
            let bits: Bitmap
            switch self {
            case .equal: bits = mapBits(a, b, rows) { $0 == $1 }
            case .notEqual: bits = mapBits(a, b, rows) { $0 != $1 }
            case .less: bits = mapBits(a, b, rows) { $0 < $1 }
            case .lessOrEqual: bits = mapBits(a, b, rows) { $0 <= $1 }
            case .greater: bits = mapBits(a, b, rows) { $0 > $1 }
            case .greaterOrEqual: bits = mapBits(a, b, rows) { $0 >= $1 }
            }
            return Column(.bool, .bool(bits))
        }
    }

    private func floating<T: FixedElement & BinaryFloatingPoint>(_: T.Type) -> Kernel {
        { arguments, rows, _ in
            let a = arguments[0].operand(T.self)
            let b = arguments[1].operand(T.self)
            let bits: Bitmap
            switch self {
            case .equal, .notEqual:
                let same = mapBits(a, b, rows) { $0 == $1 || ($0 != $0 && $1 != $1) }
                bits = self == .equal ? same : ~same
            case .less: bits = mapBits(a, b, rows) { Comparison.isLess($0, $1) }
            case .lessOrEqual: bits = ~mapBits(a, b, rows) { Comparison.isLess($1, $0) }
            case .greater: bits = mapBits(a, b, rows) { Comparison.isLess($1, $0) }
            case .greaterOrEqual: bits = ~mapBits(a, b, rows) { Comparison.isLess($0, $1) }
            }
            return Column(.bool, .bool(bits))
        }
    }

    @inline(__always)
    static func isLess<T: BinaryFloatingPoint>(_ a: T, _ b: T) -> Bool { a < b || (a == a && b != b) }

    private var bool: Kernel {
        { arguments, rows, _ in
            let a = Bitmap.spread(arguments[0], rows)
            let b = Bitmap.spread(arguments[1], rows)
            let bits: Bitmap
            switch self {
            case .equal: bits = (a & b) | (~a & ~b)
            case .notEqual: bits = (a & ~b) | (~a & b)
            case .less: bits = ~a & b
            case .lessOrEqual: bits = ~a | b
            case .greater: bits = a & ~b
            case .greaterOrEqual: bits = a | ~b
            }
            return Column(.bool, .bool(bits))
        }
    }

    private var text: Kernel {
        { arguments, rows, _ in
            let (s, t) = (arguments[0].stride, arguments[1].stride)
            let bits = arguments[0].text.withUnsafeViews { a in
                arguments[1].text.withUnsafeViews { b in
                    switch self {
                    case .equal: packBits(rows) { a.equal($0 * s, b, $0 * t) }
                    case .notEqual: packBits(rows) { !a.equal($0 * s, b, $0 * t) }
                    case .less: packBits(rows) { compareBytes(a.bytes($0 * s), b.bytes($0 * t)) < 0 }
                    case .lessOrEqual: packBits(rows) { compareBytes(a.bytes($0 * s), b.bytes($0 * t)) <= 0 }
                    case .greater: packBits(rows) { compareBytes(a.bytes($0 * s), b.bytes($0 * t)) > 0 }
                    case .greaterOrEqual: packBits(rows) { compareBytes(a.bytes($0 * s), b.bytes($0 * t)) >= 0 }
                    }
                }
            }
            return Column(.bool, .bool(bits))
        }
    }
}

/// `x in (…)` with constants: a sorted array for numbers, a hash table for text.
enum Membership {
    static func kernel(_ type: DataType, _ options: [Column]) -> Kernel {
        let hasNull = options.contains { $0.isNull(0) }
        let present = options.filter { !$0.isNull(0) }
        let test: @Sendable (Vector, Int) -> Bitmap
        switch type {
        case .int32, .date: test = sorted(present.compactMap { $0.int32Values?[0] })
        case .int64, .timestamp: test = sorted(present.compactMap { $0.int64Values?[0] })
        case .decimal: test = sorted(present.compactMap { $0.decimalValues?[0] })
        case .float32: test = floats(present.compactMap { $0.float32Values?[0] })
        case .float64: test = floats(present.compactMap { $0.float64Values?[0] })
        case .bool:
            let values = present.compactMap { $0.boolValues?[0] }
            test = { vector, rows in
                let bits = Bitmap.spread(vector, rows)
                let none = Bitmap(repeating: false, count: rows)
                return (values.contains(true) ? bits : none) | (values.contains(false) ? ~bits : none)
            }
        case .string, .bytes:
            let table = TextTable(present.compactMap { $0.viewValues?.bytes(at: 0) })
            test = { vector, rows in
                vector.text.withUnsafeViews { views in
                    packBits(rows) { table.contains(views.bytes($0)) }
                }
            }
        case .list, .structure: preconditionFailure("\(type) is not compared")
        }
        return { arguments, rows, _ in
            let bits = test(arguments[0], rows)
            // With a null among the options a row that matches none is unknown.
            return Column(.bool, .bool(bits), validity: hasNull ? bits : nil)
        }
    }

    private static func sorted<T: FixedElement & Hashable>(_ options: [T]) -> @Sendable (Vector, Int) -> Bitmap {
        let options = Array(Set(options)).sorted()
        return { vector, rows in
            vector.operand(T.self).values.withUnsafeBufferPointer { values in
                options.withUnsafeBufferPointer { options in
                    if options.count <= 8 {
                        return packBits(rows) { row in
                            var found = false
                            for option in options { found = found || values[row] == option }
                            return found
                        }
                    }
                    return packBits(rows) { row in
                        var low = 0
                        var high = options.count
                        while low < high {
                            let middle = (low &+ high) >> 1
                            if options[middle] < values[row] { low = middle &+ 1 } else { high = middle }
                        }
                        return low < options.count && options[low] == values[row]
                    }
                }
            }
        }
    }

    private static func floats<T: FixedElement & BinaryFloatingPoint>(
        _ options: [T]
    ) -> @Sendable (Vector, Int) -> Bitmap {
        { vector, rows in
            vector.operand(T.self).values.withUnsafeBufferPointer { values in
                packBits(rows) { row in
                    options.contains { $0 == values[row] || ($0 != $0 && values[row] != values[row]) }
                }
            }
        }
    }
}

/// A fixed set of byte strings: open addressing, no allocation on look-up.
struct TextTable: Sendable {
    private let slots: [Int32]
    private let options: [[UInt8]]
    private let mask: Int

    init(_ options: [[UInt8]]) {
        let options = Array(Set(options))
        var capacity = 8
        while capacity < options.count * 2 { capacity *= 2 }
        var slots = [Int32](repeating: -1, count: capacity)
        for (index, option) in options.enumerated() {
            var slot = option.withUnsafeBytes(TextTable.hash) & (capacity - 1)
            while slots[slot] >= 0 { slot = (slot + 1) & (capacity - 1) }
            slots[slot] = Int32(index)
        }
        self.slots = slots
        self.options = options
        mask = capacity - 1
    }

    /// Length and the first and last eight bytes: enough to tell the members of short lists apart.
    @inline(__always)
    private static func hash(_ bytes: UnsafeRawBufferPointer) -> Int {
        var hash = UInt64(truncatingIfNeeded: bytes.count) &* 0x9E37_79B9_7F4A_7C15
        if bytes.count >= 8 {
            hash ^= bytes.loadUnaligned(fromByteOffset: 0, as: UInt64.self)
            hash = hash &* 0xFF51_AFD7_ED55_8CCD
            hash ^= bytes.loadUnaligned(fromByteOffset: bytes.count - 8, as: UInt64.self)
        } else {
            for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3 }
        }
        hash = hash &* 0xC4CE_B9FE_1A85_EC53
        return Int(truncatingIfNeeded: hash >> 33)
    }

    @inline(__always)
    func contains(_ bytes: UnsafeRawBufferPointer) -> Bool {
        var slot = TextTable.hash(bytes) & mask
        return slots.withUnsafeBufferPointer { slots in
            while slots[slot] >= 0 {
                let option = options[Int(slots[slot])]
                if option.count == bytes.count,
                    option.withUnsafeBytes({ candidate in
                        bytes.isEmpty
                            || memcmp(
                                candidate.baseAddress.unsafelyUnwrapped, bytes.baseAddress.unsafelyUnwrapped,
                                bytes.count)
                                == 0
                    })
                {
                    return true
                }
                slot = (slot &+ 1) & mask
            }
            return false
        }
    }
}
