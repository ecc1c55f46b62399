import CKafka
import DataflowKafka
import DataflowOperator

/// Makes columns of librdkafka's messages: one copy of each payload, into one buffer a batch, and no allocation a row.
struct MessageColumns {
    static let headerFields = [Field("name", .string, nullable: false), Field("value", .bytes)]
    static let schema = Schema([
        Field("key", .bytes), Field("value", .bytes),
        Field("headers", .list(.structure(headerFields)), nullable: false), Field("timestamp", .timestamp),
        Field("topic", .string, nullable: false), Field("partition", .int32, nullable: false),
        Field("offset", .int64, nullable: false),
    ])

    private let used: ColumnSet

    init(used: ColumnSet) { self.used = used }

    /// The batch of some messages. `topics` has the place of each row's topic in `names`.
    func batch(_ rows: ArraySlice<KafkaMessage>, topics: ArraySlice<Int32>, names: TopicNames, split: Int32)
        -> RecordBatch
    {
        let columns = MessageColumns.schema.fields.map { field -> Column in
            guard used.contains(field.name) else { return .nulls(field.type, count: rows.count) }
            return switch field.name {
            case "key": MessageColumns.bytes(rows) { ($0.pointee.key, $0.pointee.key_len) }
            case "value": MessageColumns.bytes(rows) { ($0.pointee.payload, $0.pointee.len) }
            case "headers": MessageColumns.headers(rows)
            case "timestamp": MessageColumns.timestamps(rows)
            case "topic": names.column(topics)
            case "partition":
                Column(
                    .int32,
                    .int32(
                        Values(count: rows.count) { target in
                            for (index, row) in rows.enumerated() { target[index] = row.pointee.partition }
                        }))
            default:
                Column(
                    .int64,
                    .int64(
                        Values(count: rows.count) { target in
                            for (index, row) in rows.enumerated() { target[index] = row.pointee.offset }
                        }))
            }
        }
        return RecordBatch(MessageColumns.schema, columns, rowCount: rows.count, split: split)
    }

    /// A column of the bytes that `part` finds in a message: null where the pointer is.
    @inline(__always)
    private static func bytes(
        _ rows: ArraySlice<KafkaMessage>, _ part: (KafkaMessage) -> (UnsafeMutableRawPointer?, Int)
    ) -> Column {
        var byteCount = 0
        var nullCount = 0
        for row in rows {
            let (start, length) = part(row)
            if start == nil { nullCount += 1 } else if length > 12 { byteCount += length }
        }
        var views: Values<StringView>?
        let buffer = Buffer(byteCount: byteCount) { memory in
            var offset = 0
            views = Values(count: rows.count) { target in
                for (index, row) in rows.enumerated() {
                    let (start, length) = part(row)
                    guard let start else {
                        target[index] = StringView()
                        continue
                    }
                    target[index] = StringView(
                        UnsafeRawBufferPointer(start: start, count: length), buffer: 0, offset: offset)
                    if length > 12 {
                        memory.baseAddress?.advanced(by: offset).copyMemory(from: start, byteCount: length)
                        offset += length
                    }
                }
            }
        }
        let base = rows.startIndex
        let validity = nullCount == 0 ? nil : Bitmap(count: rows.count) { part(rows[base + $0]).0 != nil }
        return Column(
            .bytes, views: ViewStorage(views: views ?? Values([]), buffers: [buffer]), validity: validity)
    }

    private static func timestamps(_ rows: ArraySlice<KafkaMessage>) -> Column {
        var missing: [Int] = []
        let values = Values<Int64>(count: rows.count) { target in
            for (index, row) in rows.enumerated() {
                var type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE
                let milliseconds = rd_kafka_message_timestamp(row, &type)
                let (microseconds, overflow) = milliseconds.multipliedReportingOverflow(by: 1000)
                if type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE || overflow {
                    missing.append(index)
                    target[index] = 0
                } else {
                    target[index] = microseconds
                }
            }
        }
        var validity: Bitmap?
        if !missing.isEmpty {
            let gone = Set(missing)
            validity = Bitmap(count: rows.count) { !gone.contains($0) }
        }
        return Column(.timestamp, .int64(values), validity: validity)
    }

    private static func headers(_ rows: ArraySlice<KafkaMessage>) -> Column {
        var names = ViewBuilder()
        var values = ViewBuilder()
        let offsets = Values<Int32>(count: rows.count + 1) { target in
            target[0] = 0
            for (index, row) in rows.enumerated() {
                var list: OpaquePointer?
                if rd_kafka_message_headers(row, &list) == RD_KAFKA_RESP_ERR_NO_ERROR, let list {
                    append(list, &names, &values)
                }
                target[index + 1] = Int32(truncatingIfNeeded: names.count)
            }
        }
        let elements = Column(
            .structure(headerFields), .structure([names.finish(.string), values.finish(.bytes)]))
        return Column(.list(.structure(headerFields)), .list(offsets: offsets, elements: elements))
    }

    private static func append(_ list: OpaquePointer, _ names: inout ViewBuilder, _ values: inout ViewBuilder) {
        var index = 0
        var name: UnsafePointer<CChar>?
        var value: UnsafeRawPointer?
        var length = 0
        while rd_kafka_header_get_all(list, index, &name, &value, &length) == RD_KAFKA_RESP_ERR_NO_ERROR {
            // A name is text by the protocol; damaged UTF-8 is repaired.
            names.append(name.map { String(cString: $0) } ?? "")
            if let value {
                values.append(UnsafeRawBufferPointer(start: value, count: length))
            } else {
                values.appendNull()
            }
            index += 1
        }
    }
}

/// The names of the topics that are read, so that a column of them copies none.
struct TopicNames {
    private(set) var names: [String] = []
    private var storage = ViewStorage(views: Values([]), buffers: [])

    /// The place of a topic; one that is new gets the next.
    mutating func index(of name: String) -> Int32 {
        if let index = names.firstIndex(of: name) { return Int32(truncatingIfNeeded: index) }
        names.append(name)
        var builder = ViewBuilder(capacity: names.count)
        for name in names { builder.append(name) }
        storage = builder.finishStorage()
        return Int32(truncatingIfNeeded: names.count - 1)
    }

    fileprivate func column(_ topics: ArraySlice<Int32>) -> Column {
        let views = Values<StringView>(count: topics.count) { target in
            storage.views.withUnsafeBufferPointer { views in
                for (index, topic) in topics.enumerated() { target[index] = views[Int(topic)] }
            }
        }
        return Column(views: ViewStorage(views: views, buffers: storage.buffers))
    }
}
