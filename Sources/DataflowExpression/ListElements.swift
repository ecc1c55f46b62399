import DataflowColumnar

/// The elements of all lists of a column, without those under null lists, and where each belongs.
struct ListElements {
    /// The elements of all lists, one list behind the other.
    let values: Column
    /// Where each row's elements start in `values`; starts at zero.
    let offsets: Values<Int32>

    var count: Int { values.count }

    init(_ column: Column) {
        guard let (offsets, elements) = column.listValues else {
            preconditionFailure("a list function got a column of \(column.type)")
        }
        let rows = column.count
        if column.validity == nil {
            // One run of elements: at most a slice and a shift.
            let first = offsets[0]
            values = elements.slice(Int(first)..<Int(offsets[rows]))
            self.offsets =
                first == 0
                ? offsets
                : Values(count: rows + 1) { out in
                    for i in 0...rows { out[i] = offsets[i] - first }
                }
            return
        }
        var newOffsets: [Int32] = [0]
        newOffsets.reserveCapacity(rows + 1)
        var hidden = false
        var next: Int32 = 0
        for row in 0..<rows {
            let length = offsets[row + 1] - offsets[row]
            if column.isNull(row) {
                if length > 0 { hidden = true }
            } else {
                next += length
            }
            newOffsets.append(next)
        }
        self.offsets = Values(newOffsets)
        if hidden {
            var indices: [Int32] = []
            for row in 0..<rows where !column.isNull(row) {
                indices.append(contentsOf: offsets[row]..<offsets[row + 1])
            }
            values = elements.take(Values(indices))
        } else {
            values = elements.slice(Int(offsets[0])..<Int(offsets[rows]))
        }
    }

    /// The row of each element.
    var rows: Values<Int32> {
        Values(count: count) { out in
            offsets.withUnsafeBufferPointer { offsets in
                for row in 0..<offsets.count - 1 {
                    for i in Int(offsets[row])..<Int(offsets[row + 1]) { out[i] = Int32(truncatingIfNeeded: row) }
                }
            }
        }
    }

    /// The position of each element in its list, from zero.
    var positions: Column {
        Column(
            .int64,
            .int64(
                Values(count: count) { out in
                    offsets.withUnsafeBufferPointer { offsets in
                        for row in 0..<offsets.count - 1 {
                            let start = Int(offsets[row])
                            for i in start..<Int(offsets[row + 1]) { out[i] = Int64(i - start) }
                        }
                    }
                }))
    }

    /// The offsets of the lists of those elements whose bit is 1.
    func offsets(keeping kept: Bitmap) -> Values<Int32> {
        Values(count: offsets.count) { out in
            var total: Int32 = 0
            out[0] = 0
            for row in 0..<offsets.count - 1 {
                for i in Int(offsets[row])..<Int(offsets[row + 1]) where kept[i] { total += 1 }
                out[row + 1] = total
            }
        }
    }

    /// Whether any element is true (`decisive` true) or all are (`decisive` false), with SQL's nulls: no decisive
    /// element but a null one gives null.
    func reduce(_ body: Vector, decisive: Bool, validity: Bitmap?) -> Column {
        let bits = Bitmap.spread(Vector(body.expanded(count)), count)
        let nulls = body.expanded(count).validity
        var values = BitmapBuilder()
        var valid = BitmapBuilder()
        for row in 0..<offsets.count - 1 {
            var isDecided = false
            var isUnknown = false
            for i in Int(offsets[row])..<Int(offsets[row + 1]) {
                if nulls.map({ !$0[i] }) ?? false { isUnknown = true } else if bits[i] == decisive { isDecided = true }
            }
            values.append(isDecided == decisive)
            valid.append((isDecided || !isUnknown) && (validity?[row] ?? true))
        }
        return Column(.bool, .bool(values.finish()), validity: valid.finish())
    }
}
