internal import CKafka
internal import DataflowKafka
internal import DataflowOperator
internal import Logging

/// Says nothing: what librdkafka tells of brokers that a test kills is noise.
let quietLogger = Logger(label: "kafka-tests") { _ in SwiftLogNoOpLogHandler() }

/// Writes messages for a test, one way or in transactions.
package final class KafkaTestProducer {
    private let client: KafkaClient

    /// - Parameter transactionalID: begins as a transactional producer; fences off others of the same id.
    package init(_ brokers: String, transactionalID: String? = nil, _ properties: [String: String] = [:]) throws {
        var settings = KafkaSettings(brokers: brokers, properties)
        settings.setDefault("linger.ms", "5")
        settings.setDefault("message.max.bytes", "8000000")
        if let transactionalID { settings.set("transactional.id", transactionalID) }
        client = try KafkaClient(.producer, settings, logger: quietLogger)
        if transactionalID != nil { try KafkaFailure.check(rd_kafka_init_transactions(client.handle, 20_000)) }
    }

    /// Sends a message; a nil value is a tombstone. `timestamp` is in milliseconds since 1970, 0 for now.
    package func send(
        _ topic: String, partition: Int32 = -1, key: String? = nil, _ value: [UInt8]?,
        headers: [(String, String?)] = [],
        timestamp: Int64 = 0
    ) throws {
        let list: OpaquePointer? = headers.isEmpty ? nil : rd_kafka_headers_new(headers.count)
        for (name, value) in headers {
            if let value {
                rd_kafka_header_add(list, name, -1, value, value.utf8.count)
            } else {
                rd_kafka_header_add(list, name, -1, nil, 0)
            }
        }
        defer { if let list { rd_kafka_headers_destroy(list) } }
        let key = key.map { Array($0.utf8) }
        while true {
            let failure = KafkaTestProducer.lend(value) { value in
                KafkaTestProducer.lend(key) { key in
                    topic.withCString { topic in
                        enqueue(topic, partition, key: key, value, list, timestamp)
                    }
                }
            }
            guard let failure else { return }
            guard failure.code == RD_KAFKA_RESP_ERR__QUEUE_FULL else { throw failure }
            rd_kafka_poll(client.handle, 20)
        }
    }

    package func send(_ topic: String, partition: Int32 = -1, key: String? = nil, _ value: String) throws {
        try send(topic, partition: partition, key: key, Array(value.utf8))
    }

    /// Waits until all messages are with the broker.
    package func flush() throws {
        try KafkaFailure.check(rd_kafka_flush(client.handle, 30_000))
        if let failure = client.takeFailures().first(where: \.isFatal) { throw failure }
    }

    package func beginTransaction() throws { try KafkaFailure.check(rd_kafka_begin_transaction(client.handle)) }
    package func commitTransaction() throws {
        try KafkaFailure.check(rd_kafka_commit_transaction(client.handle, 20_000))
    }
    package func abortTransaction() throws {
        try KafkaFailure.check(rd_kafka_abort_transaction(client.handle, 20_000))
    }

    private static func lend<R>(_ bytes: [UInt8]?, _ body: (UnsafeRawBufferPointer?) -> R) -> R {
        guard let bytes else { return body(nil) }
        return bytes.withUnsafeBytes { body($0) }
    }

    private func enqueue(
        _ topic: UnsafePointer<CChar>, _ partition: Int32, key: UnsafeRawBufferPointer?,
        _ value: UnsafeRawBufferPointer?, _ headers: OpaquePointer?, _ timestamp: Int64
    ) -> KafkaFailure? {
        func field(_ type: rd_kafka_vtype_t, _ set: (inout rd_kafka_vu_t) -> Void) -> rd_kafka_vu_t {
            var field = rd_kafka_vu_t()
            field.vtype = type
            set(&field)
            return field
        }
        var fields = [
            field(RD_KAFKA_VTYPE_TOPIC) { $0.u.cstr = topic },
            field(RD_KAFKA_VTYPE_PARTITION) { $0.u.i32 = partition },
            field(RD_KAFKA_VTYPE_MSGFLAGS) { $0.u.i = RD_KAFKA_MSG_F_COPY },
        ]
        if timestamp != 0 { fields.append(field(RD_KAFKA_VTYPE_TIMESTAMP) { $0.u.i64 = timestamp }) }
        for (type, bytes) in [(RD_KAFKA_VTYPE_KEY, key), (RD_KAFKA_VTYPE_VALUE, value)] {
            guard let bytes else { continue }
            fields.append(
                field(type) {
                    $0.u.mem.ptr = UnsafeMutableRawPointer(mutating: bytes.baseAddress)
                    $0.u.mem.size = bytes.count
                })
        }
        if let headers {
            fields.append(field(RD_KAFKA_VTYPE_HEADERS) { $0.u.headers = rd_kafka_headers_copy(headers) })
        }
        return KafkaFailure(taking: rd_kafka_produceva(client.handle, &fields, fields.count))
    }
}
