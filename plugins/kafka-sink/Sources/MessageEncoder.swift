import DataflowOperator
import DataflowText

/// Makes messages of rows: keys, values, headers and times a column at a time, then a record a row.
///
/// Not Sendable: it keeps scratch memory between batches.
struct MessageEncoder {
    /// The largest message, as ``MessageSize/alone(key:value:headers:)`` counts.
    var maxByteCount: Int
    private let key: KeyWriter
    private let value: ValueWriter
    private let headers: [(name: [UInt8], value: CompiledExpression)]
    private let timestamp: CompiledExpression?
    private let isUpsert: Bool

    private enum KeyWriter {
        case none
        case expression(CompiledExpression)
        case json(JSONRows)
    }

    private enum ValueWriter {
        case column(String)
        case json(JSONRows)
    }

    init(_ plan: MessagePlan, maxByteCount: Int) {
        self.maxByteCount = maxByteCount
        switch plan.key {
        case .none: key = .none
        case .expression(let expression): key = .expression(expression.compiled())
        case .json(let schema): key = .json(JSONRows(schema))
        }
        switch plan.value {
        case .column(let name): value = .column(name)
        case .json(let schema): value = .json(JSONRows(schema))
        }
        headers = plan.headers.map { (Array($0.name.utf8), $0.value.compiled()) }
        timestamp = plan.timestamp?.compiled()
        isUpsert = plan.isUpsert
    }

    /// Appends the messages of `batch`; rows that make none go to `refused`.
    ///
    /// - Parameter now: microseconds since 1970, for `now()`.
    /// - Returns: how many rows were refused.
    func encode(
        _ batch: RecordBatch, now: Int64, into chunk: MessageChunk, refused: inout ErrorRows
    ) -> Int {
        let rows = batch.rowCount
        guard rows > 0 else { return 0 }
        var failed = RowErrors(rowCount: rows)
        var keys: Texts?
        switch key {
        case .none: break
        case .expression(let expression):
            let (column, errors) = expression.evaluate(batch, now: now)
            failed.formUnion(errors)
            keys = Texts(column)
            if isUpsert, let validity = column.validity, validity.setCount < rows {
                for row in (~validity).setIndices.array {
                    failed.insert(
                        RowError(.missingValue, "the message's key is null, and a row of an upsert stream needs one"),
                        at: Int(row))
                }
            }
        case .json(let writer): keys = Texts(writer, batch, deletes: nil)
        }
        let deletes = batch.deletes
        let others = headers.map { header in evaluate(header.value, batch, now, deletes, &failed) }
        let times = timestamp.map { evaluate($0, batch, now, deletes, &failed) }
        if let times { checkTimes(times, deletes, &failed) }
        let values: Texts? =
            switch value {
            case .column(let name): batch[name].flatMap(Texts.init)
            case .json(let writer): Texts(writer, batch, deletes: deletes)
            }
        refused.append(failed, of: batch)
        var all: [Texts?] = [keys, values]
        all += others.map(Texts.init)
        var tooLarge = 0
        Texts.withUnsafeTexts(all) { texts in
            tooLarge = write(rows, texts, times, deletes, failed, into: chunk, &refused)
        }
        return failed.count + tooLarge
    }

    /// - Parameter texts: keys, values, then a header each.
    private func write(
        _ rows: Int, _ texts: [UnsafeTexts], _ times: Column?, _ deletes: Bitmap?, _ failed: RowErrors,
        into chunk: MessageChunk, _ refused: inout ErrorRows
    ) -> Int {
        var tooLarge = 0
        let scratch = HeaderScratch()
        let (keys, values) = (texts[0], texts[1])
        let milliseconds = times?.int64Values
        let anyFailed = !failed.isEmpty
        for row in 0..<rows {
            if anyFailed, failed.contains(row) { continue }
            let isDelete = deletes?[row] ?? false
            let key = keys[row]
            let value = isDelete ? nil : values[row]
            var time: Int64 = 0
            scratch.removeAll()
            if !isDelete {
                if let milliseconds, times?.validity?[row] != false { time = milliseconds[row] / 1000 }
                for index in headers.indices {
                    if let text = texts[index + 2][row] { scratch.append(headers[index].name, text) }
                }
            }
            let size = (key?.count ?? 0) + (value?.count ?? 0) + scratch.bytes.count
            // The exact size is a matter of some bytes: only messages near the limit need it.
            if size + 256 > maxByteCount {
                let exact = MessageSize.alone(key: key?.count, value: value?.count, headers: scratch.bytes)
                if exact > maxByteCount {
                    tooLarge += 1
                    refused.append(
                        code: "message_too_large", reason: MessageEncoder.reason(exact, limit: maxByteCount),
                        raw: value ?? key)
                    continue
                }
            }
            chunk.append(key: key, value: value, headers: scratch.bytes, timestamp: time)
        }
        return tooLarge
    }

    static func reason(_ size: Int, limit: Int) -> String {
        "the message takes \(size) bytes; the limit is \(limit) (`max_message`, or the topic's `max.message.bytes`)"
    }

    /// The values of an expression; rows that delete need none.
    private func evaluate(
        _ expression: CompiledExpression, _ batch: RecordBatch, _ now: Int64, _ deletes: Bitmap?,
        _ failed: inout RowErrors
    ) -> Column {
        let (column, errors) = expression.evaluate(batch, now: now)
        guard !errors.isEmpty else { return column }
        for (row, error) in errors.rows where !(deletes?[row] ?? false) { failed.insert(error, at: row) }
        return column
    }

    /// Kafka's times are milliseconds from 1970 on, and what librdkafka takes for "now" is 0.
    private func checkTimes(_ column: Column, _ deletes: Bitmap?, _ failed: inout RowErrors) {
        guard let times = column.int64Values else { return }
        for row in 0..<times.count where times[row] < 1000 && column.validity?[row] != false {
            if deletes?[row] ?? false { continue }
            failed.insert(
                RowError(.invalidArgument, "the message's time is not after 1970-01-01T00:00:00Z, where Kafka's begin"),
                at: row)
        }
    }
}

/// Texts or bytes of the rows of a batch: of a column, or written as JSON.
private enum Texts {
    case column(ViewStorage, Bitmap?)
    /// All texts one behind the other, and where each ends.
    case json(JSONTexts)

    final class JSONTexts {
        var text = TextBuffer(capacity: 1 << 16)
        var ends: [Int] = []
    }

    init?(_ column: Column) {
        guard let storage = column.viewValues else { return nil }
        self = .column(storage, column.validity)
    }

    init(_ writer: JSONRows, _ batch: RecordBatch, deletes: Bitmap?) {
        let texts = JSONTexts()
        // The key of a stream, or the columns that were asked for.
        let columns = writer.schema.names.compactMap { batch[$0] }
        writer.prepare(RecordBatch(writer.schema, columns, rowCount: batch.rowCount))
        texts.ends.reserveCapacity(batch.rowCount)
        for row in 0..<batch.rowCount {
            if deletes?[row] != true { writer.write(row, into: &texts.text) }
            texts.ends.append(texts.text.count)
        }
        self = .json(texts)
    }

    /// Lends all of them at once.
    static func withUnsafeTexts(_ texts: [Texts?], _ body: ([UnsafeTexts]) -> Void) {
        lend(texts[...], [], body)
    }

    private static func lend(_ texts: ArraySlice<Texts?>, _ lent: [UnsafeTexts], _ body: ([UnsafeTexts]) -> Void) {
        guard let first = texts.first else { return body(lent) }
        switch first {
        case nil: lend(texts.dropFirst(), lent + [.none], body)
        case .column(let storage, let validity):
            storage.withUnsafeViews { lend(texts.dropFirst(), lent + [.views($0, validity)], body) }
        case .json(let written):
            written.text.withUnsafeBytes { bytes in
                written.ends.withUnsafeBufferPointer { lend(texts.dropFirst(), lent + [.slices(bytes, $0)], body) }
            }
        }
    }
}

private enum UnsafeTexts {
    /// Null in every row.
    case none
    case views(UnsafeViews, Bitmap?)
    case slices(UnsafeRawBufferPointer, UnsafeBufferPointer<Int>)

    /// The bytes of a row, nil for null.
    @inline(__always)
    subscript(row: Int) -> UnsafeRawBufferPointer? {
        switch self {
        case .none: nil
        case .views(let views, let validity): validity?[row] == false ? nil : views.bytes(row)
        case .slices(let bytes, let ends):
            UnsafeRawBufferPointer(rebasing: bytes[(row == 0 ? 0 : ends[row - 1])..<ends[row]])
        }
    }
}

/// The headers of one message as a ``MessageChunk`` holds them.
private final class HeaderScratch {
    private var base = UnsafeMutableRawPointer.allocate(byteCount: 256, alignment: 8)
    private var capacity = 256
    private var count = 0

    deinit {
        base.deallocate()
    }

    /// Valid until the next change.
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }

    func removeAll() { count = 0 }

    func append(_ name: [UInt8], _ value: UnsafeRawBufferPointer) {
        let needed = count + 8 + name.count + value.count
        if needed > capacity {
            let larger = UnsafeMutableRawPointer.allocate(byteCount: needed * 2, alignment: 8)
            larger.copyMemory(from: base, byteCount: count)
            base.deallocate()
            base = larger
            capacity = needed * 2
        }
        (base + count).storeBytes(of: Int32(truncatingIfNeeded: name.count), as: Int32.self)
        (base + count + 4).storeBytes(of: Int32(truncatingIfNeeded: value.count), as: Int32.self)
        name.withUnsafeBytes { bytes in
            if let source = bytes.baseAddress { (base + count + 8).copyMemory(from: source, byteCount: bytes.count) }
        }
        if let source = value.baseAddress {
            (base + count + 8 + name.count).copyMemory(from: source, byteCount: value.count)
        }
        count = needed
    }
}
