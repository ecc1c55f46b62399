import DataflowFiles
import DataflowOperator

extension FileSource {
    /// Sends on the rows of a chunk; records that are none go to ``errors``.
    func emit(_ chunk: RecordChunk, _ split: Split, into output: inout OutputBuffer) {
        var records = chunk.records[...]
        if config.format == .csv, config.header, chunk.position == 0 { records = records.dropFirst() }
        while !records.isEmpty {
            let slice = records.prefix(RecordBatch.defaultRowCount)
            records = records.dropFirst(slice.count)
            let batch =
                switch config.format {
                case .ndjson: lineBatch(chunk, slice, split, as: .bytes)
                case .text: lineBatch(chunk, text(chunk, slice, split), split, as: .string)
                case .csv: csvBatch(chunk, slice, split)
                }
            guard batch.rowCount > 0 else { continue }
            context.counters.add(passed: batch.rowCount)
            output.emit(batch)
        }
    }

    /// The records that are text; the others go to ``errors``. O(bytes).
    private func text(
        _ chunk: RecordChunk, _ records: ArraySlice<RecordSpan>, _ split: Split
    ) -> ArraySlice<RecordSpan> {
        chunk.buffer.withUnsafeBytes { bytes in
            // Records end at bytes of ASCII, so they are UTF-8 where all of it is.
            guard !areText(records, bytes) else { return records }
            return records.filter { record in
                let raw = UnsafeRawBufferPointer(rebasing: bytes[record.offset..<record.offset + record.length])
                if isValidUTF8(raw) { return true }
                report("not_utf8", "the line is not UTF-8", record, of: chunk, split, raw)
                return false
            }[...]
        }
    }

    /// Whether everything from the first record to the last is UTF-8. O(bytes).
    private func areText(_ records: ArraySlice<RecordSpan>, _ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let first = records.first, let last = records.last else { return true }
        return isValidUTF8(UnsafeRawBufferPointer(rebasing: bytes[first.offset..<last.offset + last.length]))
    }

    private func report(
        _ code: OperatorError.Code, _ reason: String, _ record: RecordSpan, of chunk: RecordChunk, _ split: Split,
        _ raw: UnsafeRawBufferPointer
    ) {
        errors.append(
            code: code, reason: reason, position: "\(split.path):\(chunk.position + Int64(record.offset))", raw: raw)
    }

    private func lineBatch(
        _ chunk: RecordChunk, _ records: ArraySlice<RecordSpan>, _ split: Split, as type: DataType
    ) -> RecordBatch {
        let views = Values<StringView>(count: records.count) { views in
            chunk.buffer.withUnsafeBytes { bytes in
                var next = 0
                for record in records {
                    views[next] = StringView(
                        UnsafeRawBufferPointer(rebasing: bytes[record.offset..<record.offset + record.length]),
                        buffer: 0, offset: record.offset)
                    next += 1
                }
            }
        }
        let value = Column(type, views: ViewStorage(views: views, buffers: [chunk.buffer]))
        return batch([value], records, chunk, split)
    }

    private func batch(
        _ values: [Column], _ records: ArraySlice<RecordSpan>, _ chunk: RecordChunk, _ split: Split
    ) -> RecordBatch {
        var columns = values
        if context.usedColumns.contains("path") {
            var builder = ViewBuilder(capacity: 1)
            builder.append(split.path)
            let one = builder.finishStorage()
            columns.append(
                Column(
                    views: ViewStorage(
                        views: Values(repeating: one.views[0], count: records.count), buffers: one.buffers)))
        } else {
            columns.append(.nulls(.string, count: records.count))
        }
        if context.usedColumns.contains("offset") {
            columns.append(
                Column(
                    .int64,
                    .int64(
                        Values(count: records.count) { target in
                            var next = 0
                            for record in records {
                                target[next] = chunk.position + Int64(record.offset)
                                next += 1
                            }
                        })))
        } else {
            columns.append(.nulls(.int64, count: records.count))
        }
        return RecordBatch(schema, columns, rowCount: records.count, split: split.number)
    }

    private func csvBatch(_ chunk: RecordChunk, _ records: ArraySlice<RecordSpan>, _ split: Split) -> RecordBatch {
        let fields = split.fields ?? []
        let width = (fields.max() ?? -1) + 1
        let delimiter = config.delimiter.utf8.first ?? 0x2C
        var kept: [RecordSpan] = []
        kept.reserveCapacity(records.count)
        // The fields of all records one behind the other, `width` a record: no array a record.
        var spans: [CSVRecord.Span] = []
        spans.reserveCapacity(records.count * width)
        chunk.buffer.withUnsafeBytes { bytes in
            let isText = areText(records, bytes)
            for record in records {
                let raw = UnsafeRawBufferPointer(rebasing: bytes[record.offset..<record.offset + record.length])
                guard CSVRecord.split(raw, delimiter: delimiter, width: width, into: &spans) else {
                    report(
                        "bad_csv", "the record has an open quote or fewer than \(width) fields", record, of: chunk,
                        split, raw)
                    continue
                }
                let wrong =
                    isText
                    ? nil
                    : fields.firstIndex { field in
                        let span = spans[spans.count - width + field]
                        return !isValidUTF8(UnsafeRawBufferPointer(rebasing: raw[span.range]))
                    }
                if let wrong {
                    spans.removeLast(width)
                    report(
                        "not_utf8", "the field of column \(config.columns[wrong].value) is not UTF-8", record,
                        of: chunk, split, raw)
                    continue
                }
                kept.append(record)
            }
        }
        let columns = fields.map { field in
            var builder = ViewBuilder(capacity: kept.count)
            let index = builder.adopt(chunk.buffer)
            chunk.buffer.withUnsafeBytes { bytes in
                for (number, record) in kept.enumerated() {
                    let span = spans[number * width + field]
                    let start = record.offset + span.range.lowerBound
                    let text = UnsafeRawBufferPointer(rebasing: bytes[start..<start + span.range.count])
                    if span.escaped {
                        CSVRecord.unescape(text).withUnsafeBytes { builder.append($0) }
                    } else {
                        builder.append(text, inBuffer: index, offset: start)
                    }
                }
            }
            return builder.finish()
        }
        return batch(columns, kept[...], chunk, split)
    }
}
