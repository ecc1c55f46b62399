import DataflowColumnar
import Glibc

/// A row that cannot be written, found before it was sent.
package struct RowRefusal {
    var row: Int
    var code: String
    var reason: String
}

/// Turns batches into rows of PostgreSQL's binary COPY format ("COPY, Binary Format, Tuples").
///
/// Works column by column: sizes, then one allocation for the whole batch, then each column writes its values at every
/// row's cursor. Columns whose encoding has no size known beforehand (numeric, arrays, JSON) are first encoded aside.
package struct CopyEncoder {
    /// The columns in the order of the COPY, those of the key first.
    let columns: [PgColumn]
    let keyCount: Int
    /// Upsert tables get a last boolean column that says whether the row deletes its key.
    let marksDeletes: Bool

    /// One field must stay below the server's limit of an allocation (`MaxAllocSize`); a row that large is refused here,
    /// because the server would break the connection off.
    static let maxRowBytes = 1_000_000_000

    private var cursors: [Int] = []
    private var sizes: [Int] = []

    package init(columns: [PgColumn], marksDeletes: Bool) {
        keyCount = columns.prefix { $0.isKey }.count
        precondition(columns.dropFirst(keyCount).allSatisfy { !$0.isKey }, "the key's columns come first")
        self.columns = columns
        self.marksDeletes = marksDeletes
    }

    /// Appends the rows of `batch`, except those that it returns as refused (numbered as in `batch`, ascending).
    package mutating func encode(_ batch: RecordBatch, into rows: RowStore) -> [RowRefusal] {
        guard batch.rowCount > 0 else { return [] }
        let prepared = ValuePreparation.prepare(columns, batch)
        var refusals = prepared.refusals
        if refusals.isEmpty {
            measure(prepared.columns, batch.rowCount)
            for row in 0..<batch.rowCount where sizes[row] > CopyEncoder.maxRowBytes {
                refusals.append(
                    RowRefusal(
                        row: row, code: "row_too_large",
                        reason: "the row takes \(sizes[row]) bytes; PostgreSQL takes less than 1 GB"))
            }
        }
        guard refusals.isEmpty else {
            let refused = Set(refusals.map(\.row))
            let kept = batch.filter(Bitmap(count: batch.rowCount) { !refused.contains($0) })
            if kept.rowCount > 0 {
                // What is kept may still be too large; refused rows are numbered in `kept` then.
                let survivors = (0..<batch.rowCount).filter { !refused.contains($0) }
                refusals += encode(kept, into: rows).map {
                    RowRefusal(row: survivors[$0.row], code: $0.code, reason: $0.reason)
                }
                refusals.sort { $0.row < $1.row }
            }
            return refusals
        }
        write(prepared.columns, batch, into: rows)
        return []
    }

    // MARK: Sizes

    private mutating func measure(_ prepared: [PreparedColumn], _ count: Int) {
        // The count of fields, and a length in front of each value.
        var constant = 2 + (marksDeletes ? 5 : 0)
        for column in prepared {
            constant += column.isAside ? 0 : 4
            if column.validity == nil, let width = column.width { constant += width }
        }
        sizes.removeAll(keepingCapacity: true)
        sizes.append(contentsOf: repeatElement(constant, count: count))
        sizes.withUnsafeMutableBufferPointer { sizes in
            for column in prepared {
                let validity = column.validity
                switch column.values {
                case .aside(_, let ends):
                    var start = 0
                    for row in 0..<count {
                        sizes[row] += ends[row] - start
                        start = ends[row]
                    }
                case .text(let storage):
                    storage.withUnsafeViews { views in
                        if let validity {
                            for row in 0..<count where validity[row] { sizes[row] += Int(views[row].length) }
                        } else {
                            for row in 0..<count { sizes[row] += Int(views[row].length) }
                        }
                    }
                default:
                    if let validity, let width = column.width {
                        for row in 0..<count where validity[row] { sizes[row] += width }
                    }
                }
            }
        }
    }

    // MARK: Values

    private mutating func write(_ prepared: [PreparedColumn], _ batch: RecordBatch, into rows: RowStore) {
        let count = batch.rowCount
        var total = 0
        cursors.removeAll(keepingCapacity: true)
        cursors.reserveCapacity(count)
        for size in sizes {
            cursors.append(total)
            total += size
        }
        let start = rows.bytes.count
        let memory = rows.bytes.extend(by: total)
        let fieldCount = Int16(prepared.count + (marksDeletes ? 1 : 0)).bigEndian
        var keyEnds: [Int] = []
        cursors.withUnsafeMutableBufferPointer { cursors in
            for row in 0..<count {
                memory.storeBytes(of: fieldCount, toByteOffset: cursors[row], as: Int16.self)
                cursors[row] += 2
            }
            for (index, column) in prepared.enumerated() {
                column.write(to: memory, at: cursors)
                if index + 1 == keyCount { keyEnds = cursors.map { $0 + start } }
            }
            if marksDeletes {
                let deletes = batch.deletes
                for row in 0..<count {
                    memory.storeBytes(of: UInt32(1).bigEndian, toByteOffset: cursors[row], as: UInt32.self)
                    memory.storeBytes(
                        of: deletes?[row] == true ? 1 : 0, toByteOffset: cursors[row] + 4, as: UInt8.self)
                    cursors[row] += 5
                }
            }
        }
        rows.reserve(count)
        if keyCount == 0 {
            for row in 0..<count { rows.append(end: start + cursors[row]) }
        } else {
            for row in 0..<count {
                rows.append(end: start + cursors[row], keyEnd: keyEnds[row], delete: batch.deletes?[row] ?? false)
            }
        }
    }
}

/// A column of one batch, checked and ready to be written.
struct PreparedColumn {
    enum Values {
        case bool(Bitmap)
        case int2(Column)
        case int4(Column)
        case int8(Column)
        case float4(DataflowColumnar.Values<Float>)
        case float8(DataflowColumnar.Values<Double>)
        case timestamp(DataflowColumnar.Values<Int64>)
        case date(DataflowColumnar.Values<Int32>)
        case text(ViewStorage)
        /// Encoded already, lengths included: row i is `ends[i - 1] ..< ends[i]`.
        case aside(ByteStore, ends: [Int])
    }

    var values: Values
    var validity: Bitmap?

    var isAside: Bool { if case .aside = values { true } else { false } }

    /// Bytes of one value without its length, where all have the same.
    var width: Int? {
        switch values {
        case .bool: 1
        case .int2: 2
        case .int4, .float4, .date: 4
        case .int8, .float8, .timestamp: 8
        case .text, .aside: nil
        }
    }

    /// Microseconds between 1970-01-01 and 2000-01-01, PostgreSQL's epoch.
    static let epochMicroseconds: Int64 = 946_684_800_000_000
    /// Days between the two.
    static let epochDays: Int32 = 10957

    /// Writes every row's value, with its length in front, at the row's cursor and moves the cursor behind it.
    func write(to memory: UnsafeMutableRawPointer, at cursors: UnsafeMutableBufferPointer<Int>) {
        switch values {
        case .bool(let bits):
            each(memory, cursors, width: 1) { target, row in target.storeBytes(of: bits[row] ? 1 : 0, as: UInt8.self) }
        case .int2(let column):
            integers(column, memory, cursors, as: Int16.self)
        case .int4(let column):
            integers(column, memory, cursors, as: Int32.self)
        case .int8(let column):
            integers(column, memory, cursors, as: Int64.self)
        case .float4(let values):
            values.withUnsafeBufferPointer { values in
                each(memory, cursors, width: 4) { target, row in
                    target.storeBytes(of: values[row].bitPattern.bigEndian, as: UInt32.self)
                }
            }
        case .float8(let values):
            values.withUnsafeBufferPointer { values in
                each(memory, cursors, width: 8) { target, row in
                    target.storeBytes(of: values[row].bitPattern.bigEndian, as: UInt64.self)
                }
            }
        case .timestamp(let values):
            values.withUnsafeBufferPointer { values in
                each(memory, cursors, width: 8) { target, row in
                    target.storeBytes(
                        of: (values[row] &- PreparedColumn.epochMicroseconds).bigEndian, as: Int64.self)
                }
            }
        case .date(let values):
            values.withUnsafeBufferPointer { values in
                each(memory, cursors, width: 4) { target, row in
                    target.storeBytes(of: (values[row] &- PreparedColumn.epochDays).bigEndian, as: Int32.self)
                }
            }
        case .text(let storage):
            storage.withUnsafeViews { views in
                for row in 0..<cursors.count {
                    let cursor = cursors[row]
                    if let validity, !validity[row] {
                        memory.storeBytes(of: Int32(-1).bigEndian, toByteOffset: cursor, as: Int32.self)
                        cursors[row] = cursor + 4
                        continue
                    }
                    let bytes = views.bytes(row)
                    memory.storeBytes(
                        of: UInt32(truncatingIfNeeded: bytes.count).bigEndian, toByteOffset: cursor, as: UInt32.self)
                    if let source = bytes.baseAddress {
                        (memory + cursor + 4).copyMemory(from: source, byteCount: bytes.count)
                    }
                    cursors[row] = cursor + 4 + bytes.count
                }
            }
        case .aside(let store, let ends):
            guard let source = store[0..<store.count].baseAddress else { return }
            var start = 0
            for row in 0..<cursors.count {
                let count = ends[row] - start
                (memory + cursors[row]).copyMemory(from: source + start, byteCount: count)
                cursors[row] += count
                start = ends[row]
            }
        }
    }

    private func integers<T: FixedWidthInteger & BitwiseCopyable>(
        _ column: Column, _ memory: UnsafeMutableRawPointer, _ cursors: UnsafeMutableBufferPointer<Int>, as type: T.Type
    ) {
        let width = MemoryLayout<T>.size
        if let values = column.int32Values {
            values.withUnsafeBufferPointer { values in
                each(memory, cursors, width: width) { target, row in
                    target.storeBytes(of: T(truncatingIfNeeded: values[row]).bigEndian, as: T.self)
                }
            }
        } else if let values = column.int64Values {
            values.withUnsafeBufferPointer { values in
                each(memory, cursors, width: width) { target, row in
                    target.storeBytes(of: T(truncatingIfNeeded: values[row]).bigEndian, as: T.self)
                }
            }
        } else {
            preconditionFailure("an integer column of \(column.type)")
        }
    }

    /// Length and value of each row that is not null.
    @inline(__always)
    private func each(
        _ memory: UnsafeMutableRawPointer, _ cursors: UnsafeMutableBufferPointer<Int>, width: Int,
        _ store: (_ target: UnsafeMutableRawPointer, _ row: Int) -> Void
    ) {
        let length = UInt32(width).bigEndian
        guard let validity else {
            for row in 0..<cursors.count {
                let target = memory + cursors[row]
                target.storeBytes(of: length, as: UInt32.self)
                store(target + 4, row)
                cursors[row] += 4 + width
            }
            return
        }
        for row in 0..<cursors.count {
            let target = memory + cursors[row]
            if validity[row] {
                target.storeBytes(of: length, as: UInt32.self)
                store(target + 4, row)
                cursors[row] += 4 + width
            } else {
                target.storeBytes(of: UInt32.max, as: UInt32.self)
                cursors[row] += 4
            }
        }
    }
}
