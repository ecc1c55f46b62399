/// How rows are ordered: by columns, each ascending or descending. Text is ordered by bytes; false is before true.
public struct RowOrdering: Sendable {
    /// One column of an ordering.
    public struct Term: Hashable, Sendable {
        /// Position in the batch.
        public var column: Int
        public var descending: Bool
        /// Nulls sort last, whichever way the column goes, unless this is set.
        public var nullsFirst: Bool

        public init(column: Int, descending: Bool = false, nullsFirst: Bool = false) {
            self.column = column
            self.descending = descending
            self.nullsFirst = nullsFirst
        }
    }

    public let terms: [Term]

    public init(_ terms: [Term]) { self.terms = terms }

    /// Negative when row `i` of one batch sorts before row `j` of another of the same schema. O(terms).
    public func compare(_ left: RecordBatch, _ i: Int, _ right: RecordBatch, _ j: Int) -> Int {
        for term in terms {
            let a = left.columns[term.column]
            let b = right.columns[term.column]
            switch (a.isNull(i), b.isNull(j)) {
            case (true, true): continue
            case (true, false): return term.nullsFirst ? -1 : 1
            case (false, true): return term.nullsFirst ? 1 : -1
            case (false, false): break
            }
            let order = a.compareValues(i, b, j)
            if order != 0 { return term.descending ? -order : order }
        }
        return 0
    }

    /// The rows' indices in this order; rows that are equal stay in theirs. O(n log n).
    public func sortedIndices(_ batch: RecordBatch) -> Values<Int32> {
        let indices = (0..<Int32(truncatingIfNeeded: batch.rowCount)).sorted { i, j in
            let order = compare(batch, Int(i), batch, Int(j))
            return order < 0 || (order == 0 && i < j)
        }
        return Values(indices)
    }
}

extension Column {
    /// Orders two values that are not null, of the same type: negative, zero, positive. Text by bytes, lists and structs
    /// member by member with nulls last, NaN after all numbers.
    public func compareValues(_ i: Int, _ other: Column, _ j: Int) -> Int {
        switch (storage, other.storage) {
        case (.bool(let a), .bool(let b)): return (a[i] ? 1 : 0) - (b[j] ? 1 : 0)
        case (.int32(let a), .int32(let b)): return order(a[i], b[j])
        case (.int64(let a), .int64(let b)): return order(a[i], b[j])
        case (.float32(let a), .float32(let b)): return orderFloat(Double(a[i]), Double(b[j]))
        case (.float64(let a), .float64(let b)): return orderFloat(a[i], b[j])
        case (.decimal(let a), .decimal(let b)): return order(a[i], b[j])
        case (.view(let a), .view(let b)):
            return a.withUnsafeViews { a in b.withUnsafeViews { b in compareBytes(a.bytes(i), b.bytes(j)) } }
        case (.list(let aOffsets, let aElements), .list(let bOffsets, let bElements)):
            var x = Int(aOffsets[i])
            var y = Int(bOffsets[j])
            let aEnd = Int(aOffsets[i + 1])
            let bEnd = Int(bOffsets[j + 1])
            while x < aEnd && y < bEnd {
                let order = aElements.compareWithNulls(x, bElements, y)
                if order != 0 { return order }
                x += 1
                y += 1
            }
            return (aEnd - x) - (bEnd - y)
        case (.structure(let a), .structure(let b)):
            for (x, y) in zip(a, b) {
                let order = x.compareWithNulls(i, y, j)
                if order != 0 { return order }
            }
            return 0
        default: preconditionFailure("columns of \(type) and \(other.type) cannot be compared")
        }
    }

    /// As ``compareValues(_:_:_:)`` where values may be null: nulls last, two nulls equal.
    public func compareWithNulls(_ i: Int, _ other: Column, _ j: Int) -> Int {
        switch (isNull(i), other.isNull(j)) {
        case (true, true): 0
        case (true, false): 1
        case (false, true): -1
        case (false, false): compareValues(i, other, j)
        }
    }

    private func order<T: Comparable>(_ a: T, _ b: T) -> Int { a < b ? -1 : a == b ? 0 : 1 }

    private func orderFloat(_ a: Double, _ b: Double) -> Int {
        if a < b { return -1 }
        if a > b { return 1 }
        return (a.isNaN ? 1 : 0) - (b.isNaN ? 1 : 0)
    }
}
