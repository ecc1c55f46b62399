import DataflowColumnar
import PgSink

/// Rows in the format of PostgreSQL's binary COPY.
enum PostgresCases {
    static var all: [() throws -> MicroCase] { [encode] }

    private static func encode() -> MicroCase {
        let batch = Events.batch()
        let formats: [PgFormat] = [.timestamp, .text, .text, .float8]
        let columns = zip(batch.schema.fields, formats).enumerated().map { index, pair in
            PgColumn(name: pair.0.name, source: index, type: pair.0.type, format: pair.1, isKey: false)
        }
        var encoder = CopyEncoder(columns: columns, marksDeletes: false)
        let rows = RowStore()
        // Two bytes for the count of fields, four for the length of each, eight for time and price, and the texts.
        var expected = 0
        for column in [1, 2] {
            for case .string(let text) in batch.rows.map({ $0[column] }) { expected += text.utf8.count }
        }
        expected += batch.rowCount * (2 + 4 * 4 + 8 + 8)
        return MicroCase(
            name: "COPY encoder", unit: "row", units: batch.rowCount,
            body: {
                rows.removeAll()
                let refused = encoder.encode(batch, into: rows)
                return refused.isEmpty ? rows.byteCount : -1
            }, expected: expected)
    }
}
