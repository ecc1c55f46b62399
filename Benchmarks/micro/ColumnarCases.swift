import DataflowColumnar

/// Hashing, the group table and the coder of batches.
enum ColumnarCases {
    static var all: [() throws -> MicroCase] {
        [
            { hashing("short text", column: 1) }, { hashing("float64", column: 3) }, longText, groupTable, newGroups,
            encode, decode,
        ]
    }

    private static func hashing(_ name: String, column: Int) -> MicroCase {
        let batch = Events.batch()
        let body = { checksum(RowHash.hashes([batch.columns[column]], count: batch.rowCount)) }
        return MicroCase(name: "hash of \(name)", unit: "row", units: batch.rowCount, body: body, expected: body())
    }

    private static func longText() -> MicroCase {
        var texts = ViewBuilder(capacity: Events.rowCount)
        for i in 0..<Events.rowCount { texts.append("https://example.org/products/\(i)/reviews?page=\(i % 7)") }
        let column = texts.finish()
        let body = { checksum(RowHash.hashes([column], count: column.count)) }
        return MicroCase(name: "hash of long text", unit: "row", units: column.count, body: body, expected: body())
    }

    private static func checksum(_ hashes: Values<UInt64>) -> Int {
        Int(truncatingIfNeeded: hashes.withUnsafeBufferPointer { ($0.first ?? 0) ^ ($0.last ?? 0) })
    }

    /// Keys that are there.
    private static func groupTable() -> MicroCase {
        let batch = Events.batch()
        let table = GroupTable([.string])
        let keys = [batch.columns[1]]
        let first = table.findOrInsert(keys, count: batch.rowCount)
        return MicroCase(
            name: "group table, known keys", unit: "row", units: batch.rowCount,
            body: {
                let ids = table.findOrInsert(keys, count: batch.rowCount)
                return Int(ids[0]) + Int(ids[ids.count - 1])
            }, expected: Int(first[0]) + Int(first[first.count - 1]))
    }

    /// A table that fills with new keys and is emptied again.
    private static func newGroups() -> MicroCase {
        let table = GroupTable([.int64])
        let count = Events.rowCount
        let keys = [
            Column(.int64, .int64(Values(count: count) { k in for i in 0..<count { k[i] = Int64(i) &* 7919 } }))
        ]
        return MicroCase(
            name: "group table, new keys, removed again", unit: "row", units: count,
            body: {
                let ids = table.findOrInsert(keys, count: count)
                let groups = table.count
                for id in ids { table.remove(id) }
                return groups + table.count
            }, expected: count)
    }

    private static func encode() -> MicroCase {
        let batch = Events.batch()
        let size = RecordBatchCoder.encode(batch).count
        return MicroCase(
            name: "batch coder, encode", unit: "row", units: batch.rowCount,
            body: { RecordBatchCoder.encode(batch).count }, expected: size)
    }

    private static func decode() throws -> MicroCase {
        let batch = Events.batch()
        let bytes = RecordBatchCoder.encode(batch)
        return MicroCase(
            name: "batch coder, decode", unit: "row", units: batch.rowCount,
            body: { try RecordBatchCoder.decode(bytes).rowCount }, expected: batch.rowCount)
    }
}
