import DataflowColumnar

/// What an expression is worth for the rows of a batch: a column, or one value for all of them.
struct Vector: Sendable {
    /// The values; exactly one when `isConstant`.
    let column: Column
    let isConstant: Bool

    init(_ column: Column, isConstant: Bool = false) {
        self.column = column
        self.isConstant = isConstant
    }

    /// How far to step from one row's value to the next: zero for a constant.
    @inline(__always) var stride: Int { isConstant ? 0 : 1 }

    /// Whether it is null for all rows.
    var isNullConstant: Bool { isConstant && column.isNull(0) }

    /// The column of all rows.
    func expanded(_ rows: Int) -> Column {
        guard isConstant, rows != 1 || column.count != 1 else { return column }
        if column.isNull(0) { return .nulls(column.type, count: rows) }
        let storage: Column.Storage
        switch column.storage {
        case .bool(let values): storage = .bool(Bitmap(repeating: values[0], count: rows))
        case .int32(let values): storage = .int32(Values(repeating: values[0], count: rows))
        case .int64(let values): storage = .int64(Values(repeating: values[0], count: rows))
        case .float32(let values): storage = .float32(Values(repeating: values[0], count: rows))
        case .float64(let values): storage = .float64(Values(repeating: values[0], count: rows))
        case .decimal(let values): storage = .decimal(Values(repeating: values[0], count: rows))
        case .view(let values):
            storage = .view(
                ViewStorage(views: Values(repeating: values.views[0], count: rows), buffers: values.buffers))
        case .list, .structure: return column.take(Values(repeating: 0, count: rows))
        }
        return Column(column.type, storage, count: rows)
    }

    /// The values as fixed-width elements. The checker has made sure of the type.
    @inline(__always)
    func operand<T: FixedElement>(_ type: T.Type = T.self) -> Operand<T> {
        guard let values = T.values(of: column) else {
            preconditionFailure("a kernel for \(T.self) got a column of \(column.type)")
        }
        return Operand(values: values, isConstant: isConstant)
    }

    /// The bits of a bool column.
    var bits: Bitmap {
        guard let bits = column.boolValues else { preconditionFailure("a kernel for bool got \(column.type)") }
        return bits
    }

    /// The texts of a string or bytes column.
    var text: ViewStorage {
        guard let views = column.viewValues else { preconditionFailure("a kernel for text got \(column.type)") }
        return views
    }

    /// The lists of a list column.
    var lists: (offsets: Values<Int32>, elements: Column) {
        guard let lists = column.listValues else { preconditionFailure("a kernel for lists got \(column.type)") }
        return lists
    }
}

/// Fixed-width values, or one for all rows.
struct Operand<T: BitwiseCopyable & Sendable> {
    let values: Values<T>
    let isConstant: Bool
}

/// The element types of fixed-width columns.
protocol FixedElement: BitwiseCopyable, Sendable, Comparable {
    static func values(of column: Column) -> Values<Self>?
    static func storage(_ values: Values<Self>) -> Column.Storage
}

extension Int32: FixedElement {
    static func values(of column: Column) -> Values<Int32>? { column.int32Values }
    static func storage(_ values: Values<Int32>) -> Column.Storage { .int32(values) }
}

extension Int64: FixedElement {
    static func values(of column: Column) -> Values<Int64>? { column.int64Values }
    static func storage(_ values: Values<Int64>) -> Column.Storage { .int64(values) }
}

extension Float: FixedElement {
    static func values(of column: Column) -> Values<Float>? { column.float32Values }
    static func storage(_ values: Values<Float>) -> Column.Storage { .float32(values) }
}

extension Double: FixedElement {
    static func values(of column: Column) -> Values<Double>? { column.float64Values }
    static func storage(_ values: Values<Double>) -> Column.Storage { .float64(values) }
}

extension Int128: FixedElement {
    static func values(of column: Column) -> Values<Int128>? { column.decimalValues }
    static func storage(_ values: Values<Int128>) -> Column.Storage { .decimal(values) }
}

// The loops of all fixed-width kernels. Closures are inlined, so each kernel is one tight loop a shape of its operands.

@inline(__always)
func map<A, R: BitwiseCopyable & Sendable>(_ a: Operand<A>, _ rows: Int, _ f: (A) -> R) -> Values<R> {
    Values(count: rows) { out in
        a.values.withUnsafeBufferPointer { a in for i in 0..<rows { out[i] = f(a[i]) } }
    }
}

@inline(__always)
func map<A, B, R: BitwiseCopyable & Sendable>(
    _ a: Operand<A>, _ b: Operand<B>, _ rows: Int, _ f: (A, B) -> R
) -> Values<R> {
    Values(count: rows) { out in
        a.values.withUnsafeBufferPointer { left in
            b.values.withUnsafeBufferPointer { right in
                switch (a.isConstant, b.isConstant) {
                case (false, false): for i in 0..<rows { out[i] = f(left[i], right[i]) }
                case (false, true):
                    let b = right[0]
                    for i in 0..<rows { out[i] = f(left[i], b) }
                case (true, false):
                    let a = left[0]
                    for i in 0..<rows { out[i] = f(a, right[i]) }
                case (true, true): for i in 0..<rows { out[i] = f(left[0], right[0]) }
                }
            }
        }
    }
}

/// As `map`, for computations that can fail: also answers whether any did.
@inline(__always)
func mapChecked<A, B, R: BitwiseCopyable & Sendable>(
    _ a: Operand<A>, _ b: Operand<B>, _ rows: Int, _ f: (A, B) -> (R, Bool)
) -> (values: Values<R>, failed: Bool) {
    var anyFailed = false
    let values = Values<R>(count: rows) { out in
        a.values.withUnsafeBufferPointer { left in
            b.values.withUnsafeBufferPointer { right in
                // A local the optimiser can keep in a register.
                var failed = false
                switch (a.isConstant, b.isConstant) {
                case (false, false):
                    for i in 0..<rows {
                        let (value, isBad) = f(left[i], right[i])
                        out[i] = value
                        failed = failed || isBad
                    }
                case (false, true):
                    let b = right[0]
                    for i in 0..<rows {
                        let (value, isBad) = f(left[i], b)
                        out[i] = value
                        failed = failed || isBad
                    }
                default:
                    let step = b.isConstant ? 0 : 1
                    let a = left[0]
                    for i in 0..<rows {
                        let (value, isBad) = f(a, right[i &* step])
                        out[i] = value
                        failed = failed || isBad
                    }
                }
                anyFailed = failed
            }
        }
    }
    return (values, anyFailed)
}

@inline(__always)
func forEach<A, B>(_ a: Operand<A>, _ b: Operand<B>, _ rows: Int, _ body: (Int, A, B) -> Void) {
    a.values.withUnsafeBufferPointer { left in
        b.values.withUnsafeBufferPointer { right in
            let (s, t) = (a.isConstant ? 0 : 1, b.isConstant ? 0 : 1)
            for i in 0..<rows { body(i, left[i * s], right[i * t]) }
        }
    }
}

/// Bits packed 64 at a time from a predicate over the row number.
@inline(__always)
func packBits(_ rows: Int, _ bit: (Int) -> Bool) -> Bitmap {
    Bitmap(
        words: Values<UInt64>(count: (rows + 63) / 64) { words in
            var w = 0
            var start = 0
            while start &+ 64 <= rows {
                // Eight independent bits a step: no chain through the whole word.
                var word: UInt64 = 0
                var part = 0
                while part < 64 {
                    let row = start &+ part
                    let low: UInt64 =
                        (bit(row) ? 1 : 0) | (bit(row &+ 1) ? 2 : 0) | (bit(row &+ 2) ? 4 : 0) | (bit(row &+ 3) ? 8 : 0)
                    let high: UInt64 =
                        (bit(row &+ 4) ? 16 : 0) | (bit(row &+ 5) ? 32 : 0) | (bit(row &+ 6) ? 64 : 0)
                        | (bit(row &+ 7) ? 128 : 0)
                    word |= (low | high) &<< UInt64(truncatingIfNeeded: part)
                    part &+= 8
                }
                words[w] = word
                w &+= 1
                start &+= 64
            }
            if start < rows {
                var word: UInt64 = 0
                for b in 0..<(rows &- start) { word |= (bit(start &+ b) ? 1 : 0) &<< UInt64(truncatingIfNeeded: b) }
                words[w] = word
            }
        }, count: rows)
}

@inline(__always)
func mapBits<A, B>(_ a: Operand<A>, _ b: Operand<B>, _ rows: Int, _ f: (A, B) -> Bool) -> Bitmap {
    a.values.withUnsafeBufferPointer { left in
        b.values.withUnsafeBufferPointer { right in
            switch (a.isConstant, b.isConstant) {
            case (false, false): packBits(rows) { f(left[$0], right[$0]) }
            case (false, true):
                packBits(rows) { [b = right[0]] in f(left[$0], b) }
            case (true, false):
                packBits(rows) { [a = left[0]] in f(a, right[$0]) }
            case (true, true): Bitmap(repeating: f(left[0], right[0]), count: rows)
            }
        }
    }
}
