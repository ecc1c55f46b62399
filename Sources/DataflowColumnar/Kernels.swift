// Take, filter, slice and concatenate: strings move as 16-byte views, their bytes stay where they are.

extension Column {
    /// The values at `indices`, in that order. O(indices); lists and structs O(elements taken).
    public func take(_ indices: Values<Int32>) -> Column {
        let validity = validity?.take(indices)
        let storage: Storage
        switch self.storage {
        case .bool(let values): storage = .bool(values.take(indices))
        case .int32(let values): storage = .int32(values.take(indices))
        case .int64(let values): storage = .int64(values.take(indices))
        case .float32(let values): storage = .float32(values.take(indices))
        case .float64(let values): storage = .float64(values.take(indices))
        case .decimal(let values): storage = .decimal(values.take(indices))
        case .view(let values):
            storage = .view(ViewStorage(views: values.views.take(indices), buffers: values.buffers))
        case .list(let offsets, let elements):
            var newOffsets: [Int32] = [0]
            newOffsets.reserveCapacity(indices.count + 1)
            var elementIndices: [Int32] = []
            offsets.withUnsafeBufferPointer { offsets in
                for i in 0..<indices.count {
                    let row = Int(indices[i])
                    elementIndices.append(contentsOf: offsets[row]..<offsets[row + 1])
                    newOffsets.append(Int32(truncatingIfNeeded: elementIndices.count))
                }
            }
            storage = .list(offsets: Values(newOffsets), elements: elements.take(Values(elementIndices)))
        case .structure(let columns): storage = .structure(columns.map { $0.take(indices) })
        }
        return Column(type, storage, validity: validity, count: indices.count)
    }

    /// The values where `selection` is 1.
    public func filter(_ selection: Bitmap) -> Column { take(selection.setIndices) }

    /// The values of `range`, without copying (list offsets stay as they are and need not start at zero). O(1).
    public func slice(_ range: Range<Int>) -> Column {
        let validity = validity?.slice(range)
        let storage: Storage
        switch self.storage {
        case .bool(let values): storage = .bool(values.slice(range))
        case .int32(let values): storage = .int32(values.slice(range))
        case .int64(let values): storage = .int64(values.slice(range))
        case .float32(let values): storage = .float32(values.slice(range))
        case .float64(let values): storage = .float64(values.slice(range))
        case .decimal(let values): storage = .decimal(values.slice(range))
        case .view(let values): storage = .view(ViewStorage(views: values.views.slice(range), buffers: values.buffers))
        case .list(let offsets, let elements):
            storage = .list(offsets: offsets.slice(range.lowerBound..<range.upperBound + 1), elements: elements)
        case .structure(let columns): storage = .structure(columns.map { $0.slice(range) })
        }
        return Column(type, storage, validity: validity, count: range.count)
    }

    /// Columns of one type, one behind the other. O(n); string bytes are not copied.
    public static func concatenate(_ type: DataType, _ parts: [Column]) -> Column {
        if parts.count == 1 { return parts[0] }
        let count = parts.reduce(0) { $0 + $1.count }
        var validity: Bitmap?
        if parts.contains(where: { $0.validity != nil }) {
            validity = Bitmap.concatenate(parts.map { $0.validity ?? Bitmap(repeating: true, count: $0.count) })
        }
        let storage: Storage
        switch type {
        case .bool: storage = .bool(Bitmap.concatenate(parts.compactMap(\.boolValues)))
        case .int32, .date: storage = .int32(.concatenate(parts.compactMap(\.int32Values)))
        case .int64, .timestamp: storage = .int64(.concatenate(parts.compactMap(\.int64Values)))
        case .float32: storage = .float32(.concatenate(parts.compactMap(\.float32Values)))
        case .float64: storage = .float64(.concatenate(parts.compactMap(\.float64Values)))
        case .decimal: storage = .decimal(.concatenate(parts.compactMap(\.decimalValues)))
        case .string, .bytes: storage = .view(.concatenate(parts.compactMap(\.viewValues)))
        case .list(let element):
            var offsets: [Int32] = [0]
            offsets.reserveCapacity(count + 1)
            var elements: [Column] = []
            var last: Int32 = 0
            for part in parts {
                guard let (partOffsets, partElements) = part.listValues else { continue }
                let first = partOffsets[0]
                for i in 0..<part.count { offsets.append(last + partOffsets[i + 1] - first) }
                elements.append(partElements.slice(Int(first)..<Int(partOffsets[part.count])))
                last = offsets[offsets.count - 1]
            }
            storage = .list(
                offsets: Values(offsets),
                elements: elements.isEmpty ? .nulls(element, count: 0) : concatenate(element, elements))
        case .structure(let fields):
            storage = .structure(
                fields.indices.map { f in concatenate(fields[f].type, parts.compactMap { $0.structureValues?[f] }) })
        }
        return Column(type, storage, validity: validity, count: count)
    }

    /// The same values with text copied out of large shared buffers, so that those can be freed.
    public func compacted() -> Column {
        switch storage {
        case .view(let values): Column(type, .view(values.compacted()), validity: validity)
        case .list(let offsets, let elements):
            if count == 0 {
                .nulls(type, count: 0)
            } else {
                Column(
                    type,
                    .list(
                        offsets: Values(count: offsets.count) { target in
                            for i in 0..<offsets.count { target[i] = offsets[i] - offsets[0] }
                        },
                        elements: elements.slice(Int(offsets[0])..<Int(offsets[count])).compacted()),
                    validity: validity)
            }
        case .structure(let columns):
            Column(type, .structure(columns.map { $0.compacted() }), validity: validity, count: count)
        default: self
        }
    }
}

extension Values {
    /// Several runs one behind the other. O(n).
    public static func concatenate(_ parts: [Values]) -> Values {
        Values(count: parts.reduce(0) { $0 + $1.count }) { target in
            var next = 0
            for part in parts {
                part.withUnsafeBufferPointer { source in
                    for i in 0..<source.count { target[next + i] = source[i] }
                    next += source.count
                }
            }
        }
    }
}

extension ViewStorage {
    /// Several runs one behind the other; a buffer that two neighbours share is listed once. O(n).
    public static func concatenate(_ parts: [ViewStorage]) -> ViewStorage {
        var buffers: [Buffer] = []
        var shifts: [Int] = []
        for part in parts {
            let shared =
                !part.buffers.isEmpty && buffers.count >= part.buffers.count
                && zip(buffers.suffix(part.buffers.count), part.buffers).allSatisfy { $0 === $1 }
            if shared {
                shifts.append(buffers.count - part.buffers.count)
            } else {
                shifts.append(buffers.count)
                buffers += part.buffers
            }
        }
        let views = Values<StringView>(count: parts.reduce(0) { $0 + $1.views.count }) { target in
            var next = 0
            for (part, shift) in zip(parts, shifts) {
                part.views.withUnsafeBufferPointer { source in
                    for i in 0..<source.count { target[next + i] = source[i].movingBuffer(by: shift) }
                    next += source.count
                }
            }
        }
        return ViewStorage(views: views, buffers: buffers)
    }
}

extension RecordBatch {
    /// The rows at `indices`, in that order.
    public func take(_ indices: Values<Int32>) -> RecordBatch {
        RecordBatch(
            schema, columns.map { $0.take(indices) }, rowCount: indices.count, deletes: deletes?.take(indices),
            splitWatermark: splitWatermark?.take(indices), split: split)
    }

    /// The rows where `selection` is 1; the batch itself when that is all of them.
    public func filter(_ selection: Bitmap) -> RecordBatch {
        selection.setCount == rowCount ? self : take(selection.setIndices)
    }

    /// The rows of `range`, without copying. O(columns).
    public func slice(_ range: Range<Int>) -> RecordBatch {
        RecordBatch(
            schema, columns.map { $0.slice(range) }, rowCount: range.count, deletes: deletes?.slice(range),
            splitWatermark: splitWatermark?.slice(range), split: split)
    }

    /// Batches of one schema, one behind the other. The split stays where all parts have the same.
    public static func concatenate(_ schema: Schema, _ parts: [RecordBatch]) -> RecordBatch {
        if parts.count == 1 { return parts[0] }
        var deletes: Bitmap?
        if parts.contains(where: { $0.deletes != nil }) {
            deletes = .concatenate(parts.map { $0.deletes ?? Bitmap(repeating: false, count: $0.rowCount) })
        }
        var marks: Values<Int64>?
        if parts.contains(where: { $0.splitWatermark != nil }) {
            marks = .concatenate(parts.map { $0.splitWatermark ?? Values(repeating: .min, count: $0.rowCount) })
        }
        let splits = Set(parts.map(\.split))
        return RecordBatch(
            schema,
            schema.fields.indices.map { c in Column.concatenate(schema.fields[c].type, parts.map { $0.columns[c] }) },
            rowCount: parts.reduce(0) { $0 + $1.rowCount }, deletes: deletes, splitWatermark: marks,
            split: splits.count == 1 ? parts[0].split : -1)
    }

    /// The same rows with text copied out of large shared buffers: for what is kept long (state).
    public func compacted() -> RecordBatch {
        replacingColumns(schema, columns.map { $0.compacted() })
    }
}
