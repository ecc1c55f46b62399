import DataflowColumnar
import DataflowOperator

/// Makes rows of requests: a body or a line each, as slices of the memory that the log was read into.
struct RequestRows {
    static let headerType = DataType.structure([
        Field("name", .string, nullable: false), Field("value", .string, nullable: false),
    ])

    static let schema = Schema([
        Field("value", .bytes, nullable: false), Field("path", .string, nullable: false),
        Field("received_at", .timestamp, nullable: false), Field("remote_address", .string, nullable: false),
        Field("idempotency_key", .string), Field("headers", .list(headerType), nullable: false),
    ])

    private let usesHeaders: Bool

    init(used: ColumnSet) { usesHeaders = used.contains("headers") }

    /// Columns that are being filled.
    private struct Columns: ~Copyable {
        var value = ViewBuilder()
        var path = ViewBuilder()
        var receivedAt: [Int64] = []
        var remote = ViewBuilder()
        var key = ViewBuilder()
        var headerOffsets: [Int32] = [0]
        var headerNames = ViewBuilder()
        var headerValues = ViewBuilder()
        /// What the builders call the chunk's memory.
        let indices: [Int32]

        init(_ buffer: Buffer) {
            indices = [
                value.adopt(buffer), path.adopt(buffer), remote.adopt(buffer), key.adopt(buffer),
                headerNames.adopt(buffer), headerValues.adopt(buffer),
            ]
        }

        mutating func finish() -> RecordBatch {
            let count = receivedAt.count
            let headers = Column(
                RequestRows.headerType, .structure([headerNames.finish(), headerValues.finish()]))
            return RecordBatch(
                RequestRows.schema,
                [
                    value.finish(.bytes), path.finish(), Column(.timestamp, .int64(Values(receivedAt))),
                    remote.finish(),
                    key.finish(),
                    Column(.list(RequestRows.headerType), .list(offsets: Values(headerOffsets), elements: headers)),
                ], rowCount: count, split: 0)
        }
    }

    /// Emits the rows of a chunk, up to the end of the request with which `limit` rows are reached.
    /// - Returns: how many requests and rows that were.
    func emit(
        _ chunk: LogReader.Chunk, limit: Int?, into output: inout OutputBuffer
    ) -> (records: Int, rows: Int) {
        var records = 0
        var total = 0
        var batches: [RecordBatch] = []
        chunk.buffer.withUnsafeBytes { bytes in
            var columns = Columns(chunk.buffer)
            for record in chunk.records {
                if let limit, total >= limit { break }
                records += 1
                guard let facts = LogRecord.facts(record, in: bytes) else { continue }
                func add(_ range: Range<Int>) {
                    let text = UnsafeRawBufferPointer(rebasing: bytes[range])
                    columns.value.append(text, inBuffer: columns.indices[0], offset: range.lowerBound)
                    append(facts.path, to: &columns.path, columns.indices[1])
                    columns.receivedAt.append(record.receivedAt)
                    append(facts.remote, to: &columns.remote, columns.indices[2])
                    if let key = facts.key {
                        append(key, to: &columns.key, columns.indices[3])
                    } else {
                        columns.key.appendNull()
                    }
                    if usesHeaders {
                        for index in stride(from: 0, to: facts.headers.count - 1, by: 2) {
                            append(facts.headers[index], to: &columns.headerNames, columns.indices[4])
                            append(facts.headers[index + 1], to: &columns.headerValues, columns.indices[5])
                        }
                    }
                    columns.headerOffsets.append(Int32(clamping: columns.headerNames.count))
                    total += 1
                    if columns.receivedAt.count == RecordBatch.defaultRowCount {
                        batches.append(columns.finish())
                        columns = Columns(chunk.buffer)
                    }
                }
                func append(_ range: Range<Int>, to builder: inout ViewBuilder, _ index: Int32) {
                    builder.append(
                        UnsafeRawBufferPointer(rebasing: bytes[range]), inBuffer: index, offset: range.lowerBound)
                }
                if record.isLines { forEachLine(bytes, in: record.body, add) } else { add(record.body) }
            }
            batches.append(columns.finish())
        }
        for batch in batches { output.emit(batch) }
        return (records, total)
    }
}
