import DataflowColumnar

/// Three-valued logic over bool columns, 64 rows at a time.
enum Logic {
    /// `and` or `or` of two columns of the same length.
    static func combine(_ left: Column, _ right: Column, isAnd: Bool) -> Column {
        guard let a = left.boolValues, let b = right.boolValues else {
            preconditionFailure("logic over \(left.type) and \(right.type)")
        }
        if left.validity == nil, right.validity == nil { return Column(.bool, .bool(isAnd ? a & b : a | b)) }
        let rows = left.count
        let words = (rows + 63) / 64
        var validWords = [UInt64](repeating: 0, count: words)
        let values = Values<UInt64>(count: words) { out in
            for w in 0..<words {
                let va = left.validity?.word(w) ?? .max
                let vb = right.validity?.word(w) ?? .max
                let ta = a.word(w) & va
                let tb = b.word(w) & vb
                let fa = ~a.word(w) & va
                let fb = ~b.word(w) & vb
                let isTrue = isAnd ? ta & tb : ta | tb
                let isFalse = isAnd ? fa | fb : fa & fb
                out[w] = isTrue
                validWords[w] = isTrue | isFalse
            }
        }
        return Column(
            .bool, .bool(Bitmap(words: values, count: rows)),
            validity: Bitmap(words: Values(validWords), count: rows))
    }

    /// 1 where the condition is true, not false or null.
    static func trueRows(_ condition: Vector, _ rows: Int) -> Bitmap {
        if condition.isConstant {
            return Bitmap(repeating: !condition.isNullConstant && condition.bits[0], count: rows)
        }
        return condition.column.validity.map { condition.bits & $0 } ?? condition.bits
    }
}

/// Puts columns together row by row.
enum Selection {
    /// `first` where the bit is 1, else `second`; both have the same type.
    static func choose(_ rows: Bitmap, _ first: Vector, _ second: Vector, _ count: Int) -> Column {
        let type = first.column.type
        var validity: Bitmap?
        if first.column.validity != nil || second.column.validity != nil {
            let a = validityBits(first, count)
            let b = validityBits(second, count)
            validity = (rows & a) | (~rows & b)
        }
        let storage: Column.Storage
        switch (first.column.storage, second.column.storage) {
        case (.bool, .bool):
            let a = Bitmap.spread(first, count)
            let b = Bitmap.spread(second, count)
            storage = .bool((rows & a) | (~rows & b))
        case (.int32, .int32): storage = fixed(rows, first.operand(Int32.self), second.operand(), count)
        case (.int64, .int64): storage = fixed(rows, first.operand(Int64.self), second.operand(), count)
        case (.float32, .float32): storage = fixed(rows, first.operand(Float.self), second.operand(), count)
        case (.float64, .float64): storage = fixed(rows, first.operand(Double.self), second.operand(), count)
        case (.decimal, .decimal): storage = fixed(rows, first.operand(Int128.self), second.operand(), count)
        case (.view(let a), .view(let b)): storage = .view(views(rows, a, first.stride, b, second.stride, count))
        case (.structure, .structure):
            guard let a = first.column.structureValues, let b = second.column.structureValues else { fallthrough }
            storage = .structure(
                zip(a, b).map {
                    choose(
                        rows, Vector($0, isConstant: first.isConstant), Vector($1, isConstant: second.isConstant), count
                    )
                })
        default:
            let both = Column.concatenate(type, [first.column, second.column])
            let shift = Int32(truncatingIfNeeded: first.column.count)
            let (s, t) = (Int32(first.stride), Int32(second.stride))
            return both.take(
                Values(count: count) { out in
                    for i in 0..<count {
                        let row = Int32(truncatingIfNeeded: i)
                        out[i] = rows[i] ? row * s : row * t + shift
                    }
                })
        }
        return Column(type, storage, validity: validity, count: count)
    }

    private static func validityBits(_ vector: Vector, _ count: Int) -> Bitmap {
        if vector.isConstant { return Bitmap(repeating: !vector.isNullConstant, count: count) }
        return vector.column.validity ?? Bitmap(repeating: true, count: count)
    }

    private static func fixed<T: FixedElement>(
        _ rows: Bitmap, _ a: Operand<T>, _ b: Operand<T>, _ count: Int
    ) -> Column.Storage {
        T.storage(
            Values(count: count) { out in
                forEach(a, b, count) { row, left, right in out[row] = rows[row] ? left : right }
            })
    }

    private static func views(
        _ rows: Bitmap, _ a: ViewStorage, _ s: Int, _ b: ViewStorage, _ t: Int, _ count: Int
    ) -> ViewStorage {
        // Buffers that both sides share (two slices of one column) are listed once.
        let shared = a.buffers.count == b.buffers.count && zip(a.buffers, b.buffers).allSatisfy { $0 === $1 }
        let shift = shared ? 0 : a.buffers.count
        let views = Values<StringView>(count: count) { out in
            a.views.withUnsafeBufferPointer { left in
                b.views.withUnsafeBufferPointer { right in
                    for i in 0..<count { out[i] = rows[i] ? left[i * s] : right[i * t].movingBuffer(by: shift) }
                }
            }
        }
        return ViewStorage(views: views, buffers: shared ? a.buffers : a.buffers + b.buffers)
    }
}

extension Bitmap {
    /// The bits of a bool vector, one a row.
    static func spread(_ vector: Vector, _ count: Int) -> Bitmap {
        vector.isConstant ? Bitmap(repeating: vector.bits[0], count: count) : vector.bits
    }
}
