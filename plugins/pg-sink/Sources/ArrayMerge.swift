import DataflowColumnar

/// Merges rows with a key by way of one array a column (`unnest`), for segments of few rows: no temporary table has to be
/// filled and emptied. Nil where a column cannot be an element of an array.
struct ArrayMerge {
    /// From here on a COPY into the temporary table and a merge from there take less of the server's time.
    static let maxRows = 2000
    /// The arrays are copied once more here and parsed as one message there.
    static let maxBytes = 1 << 20

    static let rowsName = "dataflow_rows"
    static let deletesName = "dataflow_deletes"

    /// Prepare the two statements under their names. The types stand there without their lengths: a cast to `varchar(3)`
    /// would cut a value off, an assignment to such a column refuses it.
    let prepareRows: String
    /// Nil where the key can be null: `is not distinct from` finds no row by an index.
    let prepareDeletes: String?
    let elementOIDs: [UInt32]
    let keyCount: Int

    init?(table: PgName, columns: [PgColumn], keyMayBeNull: Bool) {
        let types = columns.compactMap(\.elementType)
        guard types.count == columns.count, columns.first?.isKey == true,
            !columns.contains(where: { if case .array = $0.format { true } else { false } })
        else { return nil }
        let keys = columns.filter(\.isKey)
        let values = columns.filter { !$0.isKey }
        func list(_ columns: [PgColumn]) -> String { columns.map { PgName.quote($0.name) }.joined(separator: ", ") }
        func parameters(_ count: Int) -> String { (1...count).map { "$\($0)" }.joined(separator: ", ") }
        func arrays(_ count: Int) -> String { types.prefix(count).map { $0.name + "[]" }.joined(separator: ", ") }
        let set = values.map { "\(PgName.quote($0.name)) = excluded.\(PgName.quote($0.name))" }
        prepareRows = """
            prepare \(ArrayMerge.rowsName)(\(arrays(columns.count))) as \
            insert into \(table.sql) (\(list(columns))) select * from unnest(\(parameters(columns.count))) \
            on conflict (\(list(keys))) do \(values.isEmpty ? "nothing" : "update set " + set.joined(separator: ", "))
            """
        let names = keys.indices.map { "c\($0)" }.joined(separator: ", ")
        let equal = keys.indices.map { "t.\(PgName.quote(keys[$0].name)) = s.c\($0)" }
        prepareDeletes =
            keyMayBeNull
            ? nil
            : """
            prepare \(ArrayMerge.deletesName)(\(arrays(keys.count))) as delete from \(table.sql) as t \
            using unnest(\(parameters(keys.count))) as s(\(names)) where \(equal.joined(separator: " and "))
            """
        elementOIDs = types.map(\.oid)
        keyCount = keys.count
    }
}

/// Turns rows in the format of a binary COPY into arrays: both write a value with its length in front.
final class ArrayBuilder {
    private var stores: [ByteStore] = []
    private var spans: [Range<Int>] = []

    /// Takes the rows that delete their key (of these only the key), or the others.
    ///
    /// - Returns: the arrays, valid until the next call. O(bytes).
    func arrays(
        of rows: UnsafeRawBufferPointer, _ merge: ArrayMerge, deletes: Bool
    ) -> [UnsafeRawBufferPointer] {
        let columnCount = merge.elementOIDs.count
        let used = deletes ? merge.keyCount : columnCount
        while stores.count < columnCount { stores.append(ByteStore()) }
        while spans.count < columnCount { spans.append(0..<0) }
        for column in 0..<used {
            // Filled in at the end: dimensions, nulls, type, length and first index.
            stores[column].truncate(to: 0)
            _ = stores[column].extend(by: 20)
        }
        var count: Int32 = 0
        var offset = 0
        while offset < rows.count {
            offset += 2
            for column in 0..<columnCount {
                let length = Int32(bigEndian: rows.loadUnaligned(fromByteOffset: offset, as: Int32.self))
                let end = offset + 4 + Int(max(0, length))
                spans[column] = offset..<end
                offset = end
            }
            let isDelete = rows[offset + 4] != 0
            offset += 5
            guard isDelete == deletes else { continue }
            count += 1
            for column in 0..<used { stores[column].append(UnsafeRawBufferPointer(rebasing: rows[spans[column]])) }
        }
        return (0..<used).map { column in
            let header = stores[column].mutableBytes
            // A flag that says whether there are nulls is not looked at by the server.
            for (index, word) in [1, 1, merge.elementOIDs[column], UInt32(bitPattern: count), 1].enumerated() {
                header.storeBytes(of: word.bigEndian, toByteOffset: index * 4, as: UInt32.self)
            }
            return stores[column][0..<stores[column].count]
        }
    }
}
