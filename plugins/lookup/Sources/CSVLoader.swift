import DataflowFiles
import DataflowOperator

/// Reads a table from a CSV file.
struct CSVLoader: TableLoader {
    private static let chunkBytes = 1 << 20
    private static let maxRecordBytes = 64 << 20

    let path: String
    let hasHeader: Bool
    let delimiter: UInt8
    /// The names of the file's columns as declared: their order where there is no header.
    let declared: [String]
    let shape: TableShape

    init(_ config: CSVTableConfig, _ shape: TableShape) {
        path = config.path
        hasHeader = config.header
        delimiter = config.delimiter.utf8.first ?? 0x2C
        declared = config.columns.map(\.key)
        self.shape = shape
    }

    var origin: String { path }

    func load(into table: TableBuilder) throws(OperatorError) {
        let reader = try RecordReader(
            try InputFile(path: path), from: 0, chunkByteCount: CSVLoader.chunkBytes,
            maxRecordByteCount: CSVLoader.maxRecordBytes, quoted: true)
        var fields = hasHeader ? nil : try fieldNumbers(declared)
        var oversize: [OversizeRecord] = []
        var record = 0
        while let chunk = try reader.next(oversize: &oversize) {
            var records = chunk.records[...]
            if fields == nil, let first = records.popFirst() { fields = try fieldNumbers(header(chunk, first)) }
            while !records.isEmpty, let fields {
                let slice = records.prefix(RecordBatch.defaultRowCount)
                records = records.dropFirst(slice.count)
                try table.append(columns(chunk, slice, fields, before: record), count: slice.count)
                record += slice.count
            }
        }
        if let record = oversize.first {
            throw OperatorError(
                .user, .never, "bad_csv", "\(path): the record at byte \(record.position) has \(record.byteCount) bytes"
            )
        }
        if fields == nil {
            throw OperatorError(
                .user, .never, "bad_csv",
                "\(path) has no line, expected a header with the names of its columns; write one, or set `header: false`"
            )
        }
    }

    private func header(_ chunk: RecordChunk, _ record: RecordSpan) -> [String] {
        chunk.buffer.withUnsafeBytes { bytes in
            let raw = UnsafeRawBufferPointer(rebasing: bytes[record.offset..<record.offset + record.length])
            return (CSVRecord.split(raw, delimiter: delimiter) ?? []).map { span in
                let field = UnsafeRawBufferPointer(rebasing: raw[span.range])
                return String(decoding: span.escaped ? CSVRecord.unescape(field) : Array(field), as: UTF8.self)
            }
        }
    }

    /// Which field of a record each column of the shape is.
    private func fieldNumbers(_ names: [String]) throws(OperatorError) -> [Int] {
        var numbers: [Int] = []
        for column in shape.columns {
            guard let number = names.firstIndex(of: column.name) else {
                throw OperatorError(
                    .user, .never, "no_such_column",
                    "\(path) has no column `\(column.name)`; its header has \(names.joined(separator: ", "))")
            }
            numbers.append(number)
        }
        return numbers
    }

    private func columns(
        _ chunk: RecordChunk, _ records: ArraySlice<RecordSpan>, _ fields: [Int], before: Int
    ) throws(OperatorError) -> [Column] {
        let width = (fields.max() ?? -1) + 1
        var spans: [CSVRecord.Span] = []
        spans.reserveCapacity(records.count * width)
        var bad: Int?
        chunk.buffer.withUnsafeBytes { bytes in
            for record in records {
                let raw = UnsafeRawBufferPointer(rebasing: bytes[record.offset..<record.offset + record.length])
                if !CSVRecord.split(raw, delimiter: delimiter, width: width, into: &spans) {
                    bad = spans.count / width
                    return
                }
            }
        }
        if let bad {
            throw OperatorError(
                .user, .never, "bad_csv",
                "\(path): row \(before + bad + 1) has an open quote or fewer than \(width) fields")
        }
        var wrong: (row: Int, column: String)?
        let columns = zip(shape.columns, fields).map { column, field in
            var builder = ViewBuilder(capacity: records.count)
            let index = builder.adopt(chunk.buffer)
            chunk.buffer.withUnsafeBytes { bytes in
                for (number, record) in records.enumerated() {
                    let span = spans[number * width + field]
                    let start = record.offset + span.range.lowerBound
                    let text = UnsafeRawBufferPointer(rebasing: bytes[start..<start + span.range.count])
                    if column.type == .string, wrong == nil, !isValidUTF8(text) { wrong = (number, column.name) }
                    if span.isNull {
                        builder.appendNull()
                    } else if span.escaped {
                        CSVRecord.unescape(text).withUnsafeBytes { builder.append($0) }
                    } else {
                        builder.append(text, inBuffer: index, offset: start)
                    }
                }
            }
            return builder.finish(column.type == .bytes ? .bytes : .string)
        }
        if let wrong {
            throw OperatorError(
                .user, .never, "bad_lookup_value",
                "\(path): row \(before + wrong.row + 1), column `\(wrong.column)`: the text is not UTF-8")
        }
        return columns
    }
}
