/// Rows of a stream, column by column: immutable and shared by reference.
public struct RecordBatch: Sendable {
    /// Default number of rows after which a batch is sent on.
    public static let defaultRowCount = 8192
    /// Default number of bytes after which a batch is sent on; a batch has at least one row whatever its size.
    public static let defaultByteCount = 1 << 20

    public let schema: Schema
    public let columns: [Column]
    public let rowCount: Int
    /// In an upsert stream: 1 where the row deletes its key (only key columns need hold values then). Nil: no deletes.
    public let deletes: Bitmap?
    /// The hidden column for rows behind their split's watermark: the split's watermark (µs) before the row, or
    /// `Int64.min` where the row is not behind. Nil where no row is behind, which is the rule.
    public let splitWatermark: Values<Int64>?
    /// Which split of the source the rows come from, -1 where that no longer means anything (behind an exchange).
    public let split: Int32

    /// Traps when lengths or types do not fit the schema: that is a bug in the caller.
    public init(
        _ schema: Schema, _ columns: [Column], rowCount: Int? = nil, deletes: Bitmap? = nil,
        splitWatermark: Values<Int64>? = nil, split: Int32 = -1
    ) {
        precondition(
            schema.fields.count == columns.count, "a schema of \(schema.fields.count) columns got \(columns.count)")
        for (field, column) in zip(schema.fields, columns) {
            precondition(
                field.type == column.type, "column \(field.name) has the type \(column.type), expected \(field.type)")
        }
        let rows = rowCount ?? columns.first?.count ?? 0
        precondition(columns.allSatisfy { $0.count == rows }, "the columns of a batch differ in length")
        precondition(deletes.map { $0.count == rows } ?? true, "deletes and rows differ in length")
        precondition(splitWatermark.map { $0.count == rows } ?? true, "split watermarks and rows differ in length")
        self.schema = schema
        self.columns = columns
        self.rowCount = rows
        self.deletes = deletes
        self.splitWatermark = splitWatermark
        self.split = split
    }

    /// A batch without rows.
    public static func empty(_ schema: Schema) -> RecordBatch {
        RecordBatch(schema, schema.fields.map { .nulls($0.type, count: 0) }, rowCount: 0)
    }

    /// A batch from boxed rows: for tests.
    public init(_ schema: Schema, rows: [[Value]], deletes: [Bool]? = nil) {
        self.init(
            schema,
            schema.fields.indices.map { c in Column(schema.fields[c].type, rows.map { $0[c] }) },
            rowCount: rows.count, deletes: deletes.map { Bitmap($0) })
    }

    /// The boxed rows: for tests and messages.
    public var rows: [[Value]] { (0..<rowCount).map { row in columns.map { $0.value(at: row) } } }

    /// The column of that name, or nil.
    public subscript(name: String) -> Column? { schema.index(of: name).map { columns[$0] } }

    /// Other columns for the same rows: deletes, hidden marks and split stay.
    public func replacingColumns(_ schema: Schema, _ columns: [Column]) -> RecordBatch {
        RecordBatch(
            schema, columns, rowCount: rowCount, deletes: deletes, splitWatermark: splitWatermark, split: split)
    }

    /// The same rows with other deletes.
    public func withDeletes(_ deletes: Bitmap?) -> RecordBatch {
        RecordBatch(schema, columns, rowCount: rowCount, deletes: deletes, splitWatermark: splitWatermark, split: split)
    }

    /// The same rows, of that split, with these hidden watermarks.
    public func withSplit(_ split: Int32, splitWatermark: Values<Int64>?) -> RecordBatch {
        RecordBatch(schema, columns, rowCount: rowCount, deletes: deletes, splitWatermark: splitWatermark, split: split)
    }

    /// Bytes that the rows take. O(columns), O(rows) for text.
    public var byteCount: Int { columns.reduce(0) { $0 + $1.byteCount } }
}
