import DataflowColumnar

/// Kernels over lists. Null lists are null results; the evaluator sees to that.
enum ListKernels {
    /// The element at a position counted from zero; null when there is none.
    static let element: Kernel = { arguments, rows, _ in
        let (offsets, elements) = arguments[0].lists
        let step = arguments[0].stride
        let positions = arguments[1].operand(Int64.self)
        return pick(elements, rows) { row in
            let position = positions.values[positions.isConstant ? 0 : row]
            let start = offsets[row * step]
            let length = Int64(offsets[row * step + 1] - start)
            return position >= 0 && position < length ? start + Int32(truncatingIfNeeded: position) : nil
        }
    }

    /// The first or last element; null when the list is empty.
    static func end(isFirst: Bool) -> Kernel {
        { arguments, rows, _ in
            let (offsets, elements) = arguments[0].lists
            return pick(elements, rows) { row in
                offsets[row] == offsets[row + 1] ? nil : isFirst ? offsets[row] : offsets[row + 1] - 1
            }
        }
    }

    /// One element a row, null where the closure answers none.
    @inline(__always)
    static func pick(_ elements: Column, _ rows: Int, _ index: (Int) -> Int32?) -> Column {
        var missing = false
        var found = BitmapBuilder()
        let indices = Values<Int32>(count: rows) { out in
            for row in 0..<rows {
                let element = index(row)
                out[row] = element ?? 0
                found.append(element != nil)
                if element == nil { missing = true }
            }
        }
        if elements.count == 0 { return .nulls(elements.type, count: rows) }
        let column = elements.take(indices)
        return missing ? column.withValidity(Bitmap.bothValid(column.validity, found.finish())) : column
    }

    static let size: Kernel = { arguments, rows, _ in
        let offsets = arguments[0].lists.offsets
        return offsets.withUnsafeBufferPointer { offsets in
            Column(
                .int64,
                .int64(
                    Values(count: rows) { out in
                        for row in 0..<rows { out[row] = Int64(offsets[row + 1] - offsets[row]) }
                    }))
        }
    }

    static let concatenate: Kernel = { arguments, rows, _ in
        let a = ListElements(arguments[0].expanded(rows))
        let b = ListElements(arguments[1].expanded(rows))
        let both = Column.concatenate(a.values.type, [a.values, b.values])
        let shift = Int32(truncatingIfNeeded: a.count)
        var offsets: [Int32] = [0]
        var indices: [Int32] = []
        for row in 0..<rows {
            indices.append(contentsOf: a.offsets[row]..<a.offsets[row + 1])
            for i in b.offsets[row]..<b.offsets[row + 1] { indices.append(i + shift) }
            offsets.append(Int32(truncatingIfNeeded: indices.count))
        }
        return Column(
            arguments[0].column.type, .list(offsets: Values(offsets), elements: both.take(Values(indices))))
    }

    /// Whether a value is among the elements: true, false, or null when only a null element could be it.
    static func contains(_ element: DataType) -> Kernel {
        let equal = Comparison.equal.kernel(element)
        return { arguments, rows, evaluation in
            let elements = ListElements(arguments[0].expanded(rows))
            let wanted =
                arguments[1].isConstant ? arguments[1] : Vector(arguments[1].column.take(elements.rows))
            let values = Vector(elements.values)
            let bits = Vector(equal([values, wanted], elements.count, evaluation))
            return elements.reduce(
                Vector(bits.column.withValidity(elements.values.validity)), decisive: true, validity: nil)
        }
    }

    /// The position of the first equal element from zero; null when there is none.
    static func position(_ element: DataType) -> Kernel {
        let equal = Comparison.equal.kernel(element)
        return { arguments, rows, evaluation in
            let elements = ListElements(arguments[0].expanded(rows))
            let wanted =
                arguments[1].isConstant ? arguments[1] : Vector(arguments[1].column.take(elements.rows))
            let bits = Vector(equal([Vector(elements.values), wanted], elements.count, evaluation)).bits
            var found = BitmapBuilder()
            let values = Values<Int64>(count: rows) { out in
                for row in 0..<rows {
                    let start = Int(elements.offsets[row])
                    let index = (start..<Int(elements.offsets[row + 1])).first {
                        bits[$0] && !elements.values.isNull($0)
                    }
                    out[row] = Int64((index ?? start) - start)
                    found.append(index != nil)
                }
            }
            return Column(.int64, .int64(values), validity: found.finish())
        }
    }

    // MARK: Order

    /// Whether element i comes before element j; nulls come last and are equal.
    private static func order(_ column: Column) -> (Int, Int) -> Int {
        let values: (Int, Int) -> Int
        func fixed<T: FixedElement>(_ all: Values<T>) -> (Int, Int) -> Int {
            { all[$0] < all[$1] ? -1 : all[$1] < all[$0] ? 1 : 0 }
        }
        func floats<T: FixedElement & BinaryFloatingPoint>(_ all: Values<T>) -> (Int, Int) -> Int {
            { Comparison.isLess(all[$0], all[$1]) ? -1 : Comparison.isLess(all[$1], all[$0]) ? 1 : 0 }
        }
        switch column.storage {
        case .int32(let all): values = fixed(all)
        case .int64(let all): values = fixed(all)
        case .decimal(let all): values = fixed(all)
        case .float32(let all): values = floats(all)
        case .float64(let all): values = floats(all)
        case .bool(let bits): values = { (bits[$0] ? 1 : 0) - (bits[$1] ? 1 : 0) }
        case .view(let text):
            values = { i, j in text.withUnsafeViews { compareBytes($0.bytes(i), $0.bytes(j)) } }
        case .list, .structure: preconditionFailure("elements of type \(column.type) are not ordered")
        }
        guard let validity = column.validity else { return values }
        return { i, j in
            switch (validity[i], validity[j]) {
            case (true, true): values(i, j)
            case (true, false): -1
            case (false, true): 1
            case (false, false): 0
            }
        }
    }

    /// Sorted lists, nulls last. Equal elements keep their order.
    static func sort(descending: Bool) -> Kernel {
        { arguments, rows, _ in
            let elements = ListElements(arguments[0].expanded(rows))
            let order = order(elements.values)
            var indices: [Int32] = []
            indices.reserveCapacity(elements.count)
            for row in 0..<rows {
                var list = Array(elements.offsets[row]..<elements.offsets[row + 1])
                list.sort { a, b in
                    let (i, j) = (Int(a), Int(b))
                    let nulls = (elements.values.isNull(i), elements.values.isNull(j))
                    // Nulls are last in both directions.
                    let way = order(i, j) * (descending && nulls == (false, false) ? -1 : 1)
                    return way != 0 ? way < 0 : a < b
                }
                indices += list
            }
            return Column(
                arguments[0].column.type,
                .list(offsets: elements.offsets, elements: elements.values.take(Values(indices))))
        }
    }

    /// Each value once, in the order of first occurrence. O(n log n) a list.
    static let distinct: Kernel = { arguments, rows, _ in
        let elements = ListElements(arguments[0].expanded(rows))
        let order = order(elements.values)
        var offsets: [Int32] = [0]
        var indices: [Int32] = []
        for row in 0..<rows {
            let list = elements.offsets[row]..<elements.offsets[row + 1]
            let sorted = list.sorted { a, b in
                let way = order(Int(a), Int(b))
                return way != 0 ? way < 0 : a < b
            }
            var kept: [Int32] = []
            for (index, element) in sorted.enumerated()
            where index == 0 || order(Int(sorted[index - 1]), Int(element)) != 0 {
                kept.append(element)
            }
            indices += kept.sorted()
            offsets.append(Int32(truncatingIfNeeded: indices.count))
        }
        return Column(
            arguments[0].column.type,
            .list(offsets: Values(offsets), elements: elements.values.take(Values(indices))))
    }

    static let reverse: Kernel = { arguments, rows, _ in
        let elements = ListElements(arguments[0].expanded(rows))
        let indices = Values<Int32>(count: elements.count) { out in
            for row in 0..<rows {
                let (start, end) = (elements.offsets[row], elements.offsets[row + 1])
                for i in start..<end { out[Int(i)] = end - 1 - (i - start) }
            }
        }
        return Column(
            arguments[0].column.type, .list(offsets: elements.offsets, elements: elements.values.take(indices)))
    }

    /// `count` elements from position `start` on (from zero; from the end when negative).
    static let slice: Kernel = { arguments, rows, _ in
        let elements = ListElements(arguments[0].expanded(rows))
        let starts = arguments[1].operand(Int64.self)
        let counts = arguments.count > 2 ? arguments[2].operand(Int64.self) : nil
        var offsets: [Int32] = [0]
        var indices: [Int32] = []
        for row in 0..<rows {
            let (low, high) = (elements.offsets[row], elements.offsets[row + 1])
            let length = Int64(high - low)
            var start = starts.values[starts.isConstant ? 0 : row]
            if start < 0 { start = max(0, length + max(start, -length)) }
            start = min(start, length)
            let count = max(0, min(counts.map { $0.values[$0.isConstant ? 0 : row] } ?? .max, length - start))
            indices.append(contentsOf: (low + Int32(start))..<(low + Int32(start + count)))
            offsets.append(Int32(truncatingIfNeeded: indices.count))
        }
        return Column(
            arguments[0].column.type,
            .list(offsets: Values(offsets), elements: elements.values.take(Values(indices))))
    }

    /// A list of lists as one list; null lists inside are left out.
    static let flatten: Kernel = { arguments, rows, _ in
        let outer = ListElements(arguments[0].expanded(rows))
        let inner = ListElements(outer.values)
        let offsets = Values<Int32>(count: rows + 1) { out in
            for row in 0...rows { out[row] = inner.offsets[Int(outer.offsets[row])] }
        }
        return Column(outer.values.type, .list(offsets: offsets, elements: inner.values))
    }

    /// Texts with a separator between; nulls are left out.
    static let join: Kernel = { arguments, rows, _ in
        let elements = ListElements(arguments[0].expanded(rows))
        let separator = arguments[1]
        let values = elements.values
        return Vector(values).text.withUnsafeViews { texts in
            separator.text.withUnsafeViews { separators in
                writeText(rows) { row, output in
                    var isFirst = true
                    for i in Int(elements.offsets[row])..<Int(elements.offsets[row + 1]) where !values.isNull(i) {
                        if !isFirst { output.append(separators.bytes(row &* separator.stride)) }
                        output.append(texts.bytes(i))
                        isFirst = false
                    }
                }
            }
        }
    }

    /// A text cut at a separator.
    static let split: Kernel = { arguments, rows, _ in
        let (s, t) = (arguments[0].stride, arguments[1].stride)
        let source = arguments[0].text
        var offsets: [Int32] = [0]
        var ranges: [(row: Int, start: Int, end: Int)] = []
        source.withUnsafeViews { texts in
            arguments[1].text.withUnsafeViews { separators in
                for row in 0..<rows {
                    let text = texts.bytes(row &* s)
                    let separator = separators.bytes(row &* t)
                    var start = 0
                    if !separator.isEmpty {
                        while let found = LikePattern.find(separator, in: text, from: start) {
                            ranges.append((row, start, found))
                            start = found + separator.count
                        }
                    }
                    ranges.append((row, start, text.count))
                    offsets.append(Int32(truncatingIfNeeded: ranges.count))
                }
            }
        }
        let repeated = Vector(
            arguments[0].column.take(Values(ranges.map { Int32(truncatingIfNeeded: $0.row * s) })))
        let parts = sliceText(repeated, ranges.count) { index, bytes in
            UnsafeRawBufferPointer(rebasing: bytes[ranges[index].start..<ranges[index].end])
        }
        return Column(.list(.string), .list(offsets: Values(offsets), elements: parts))
    }

    // MARK: Sums

    /// The smallest or largest element, nulls left out; null when there is none.
    static func extreme(isLargest: Bool) -> Kernel {
        { arguments, rows, _ in
            let elements = ListElements(arguments[0].expanded(rows))
            let order = order(elements.values)
            return pick(elements.values, rows) { row in
                var best: Int32?
                for i in elements.offsets[row]..<elements.offsets[row + 1] where !elements.values.isNull(Int(i)) {
                    guard let known = best else {
                        best = i
                        continue
                    }
                    let way = order(Int(i), Int(known))
                    if isLargest ? way > 0 : way < 0 { best = i }
                }
                return best
            }
        }
    }

    /// The sum of the elements, nulls left out; null when there is none. Integers add up to int64.
    static func sum(_ type: DataType) -> Kernel {
        switch type {
        case .int64:
            return sum(Int64.self, .int64) { $0.addingReportingOverflow($1) }
        case .decimal(_, let scale):
            let limit = Decimal.powers[38]
            return sum(Int128.self, .decimal(precision: 38, scale: scale)) {
                let (sum, overflow) = $0.addingReportingOverflow($1)
                return (sum, overflow || sum >= limit || sum <= -limit)
            }
        default: return sum(Double.self, .float64) { ($0 + $1, false) }
        }
    }

    private static func sum<T: FixedElement & Numeric>(
        _: T.Type, _ type: DataType, _ add: @escaping @Sendable (T, T) -> (T, Bool)
    ) -> Kernel {
        { arguments, rows, evaluation in
            let elements = ListElements(arguments[0].expanded(rows))
            let values = Vector(elements.values).operand(T.self).values
            var found = BitmapBuilder()
            let sums = Values<T>(count: rows) { out in
                for row in 0..<rows {
                    var total: T = 0
                    var any = false
                    for i in Int(elements.offsets[row])..<Int(elements.offsets[row + 1])
                    where !elements.values.isNull(i) {
                        let (next, overflow) = add(total, values[i])
                        if overflow { evaluation.fail(row, RowError(.overflow, "\(type) overflow in list_sum")) }
                        total = next
                        any = true
                    }
                    out[row] = total
                    found.append(any)
                }
            }
            return Column(type, T.storage(sums), validity: found.finish())
        }
    }

    static let average: Kernel = { arguments, rows, _ in
        let elements = ListElements(arguments[0].expanded(rows))
        let values = Vector(elements.values).operand(Double.self).values
        var found = BitmapBuilder()
        let averages = Values<Double>(count: rows) { out in
            for row in 0..<rows {
                var total = 0.0
                var count = 0
                for i in Int(elements.offsets[row])..<Int(elements.offsets[row + 1]) where !elements.values.isNull(i) {
                    total += values[i]
                    count += 1
                }
                out[row] = count == 0 ? 0 : total / Double(count)
                found.append(count > 0)
            }
        }
        return Column(.float64, .float64(averages), validity: found.finish())
    }
}
