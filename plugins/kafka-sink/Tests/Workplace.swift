import CKafka
import DataflowEpochs
import DataflowKafka
import DataflowKafkaTesting
import DataflowOperator
import DataflowTesting
import Foundation
import Logging
import Testing

@testable import KafkaSink

/// A topic of its own for a test, and a folder for the epoch logs.
final class Workplace {
    let topic: String
    let folder: String
    let brokers: String

    init(brokers: String? = KafkaTestBroker.address, partitions: Int32 = 1, isMade: Bool = true) throws {
        self.brokers = try #require(brokers)
        topic = KafkaTestBroker.uniqueName("sink")
        folder = "/var/tmp/dataflow-\(topic)"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        if isMade { try KafkaTestAdmin(self.brokers).createTopic(topic, partitions: partitions) }
    }

    deinit {
        try? FileManager.default.removeItem(atPath: folder)
    }

    func config(_ change: (inout KafkaSinkConfig) throws -> Void = { _ in }) rethrows -> KafkaSinkConfig {
        var config = KafkaSinkConfig()
        config.connection.brokers = OneOrMany([brokers])
        config.topic = Located(topic)
        config.transactionalID = topic
        config.openTimeout = .seconds(10)
        config.reconnectTimeout = .seconds(30)
        try change(&config)
        return config
    }

    var logs: [String] { get throws { try FileManager.default.contentsOfDirectory(atPath: folder) } }

    func messages(committed: Bool = true) throws -> [KafkaMessage] {
        try KafkaMessage.all(of: topic, at: brokers, committed: committed)
    }

    /// The values of all messages that a `read_committed` reader sees.
    func values() throws -> [String?] { try messages().map(\.value) }
}

/// A message as a reader gets it.
struct KafkaMessage {
    var partition: Int32
    var key: String?
    var value: String?
    var timestamp: Int64
    var headers: [String: String] = [:]

    /// Everything in a topic, by partition.
    static func all(of topic: String, at brokers: String, committed: Bool) throws -> [KafkaMessage] {
        let client = try KafkaClient(
            .consumer,
            KafkaSettings(
                brokers: brokers,
                [
                    "group.id": "reader", "enable.auto.commit": "false", "auto.offset.reset": "earliest",
                    "enable.partition.eof": "true",
                    "isolation.level": committed ? "read_committed" : "read_uncommitted",
                    "fetch.message.max.bytes": "8000000", "fetch.wait.max.ms": "20",
                ]), logger: Logger(label: "reader") { _ in SwiftLogNoOpLogHandler() })
        let partitions = try #require(try client.topics(named: [topic], timeout: 10_000).first).partitions
        let list = KafkaPartitionList(partitions.map { (KafkaPartition(topic, $0), Int64(RD_KAFKA_OFFSET_BEGINNING)) })
        try KafkaFailure.check(list.withHandle { rd_kafka_assign(client.handle, $0) })
        var found: [KafkaMessage] = []
        var open = Set(partitions)
        let deadline = ContinuousClock.now + .seconds(60)
        while !open.isEmpty {
            try #require(ContinuousClock.now < deadline, "the topic \(topic) cannot be read to its end")
            guard let message = rd_kafka_consumer_poll(client.handle, 500) else { continue }
            defer { rd_kafka_message_destroy(message) }
            if message.pointee.err == RD_KAFKA_RESP_ERR__PARTITION_EOF {
                open.remove(message.pointee.partition)
                continue
            }
            try KafkaFailure.check(message.pointee.err)
            var type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE
            var one = KafkaMessage(
                partition: message.pointee.partition, key: text(message.pointee.key, message.pointee.key_len),
                value: text(message.pointee.payload, message.pointee.len),
                timestamp: rd_kafka_message_timestamp(message, &type))
            var headers: OpaquePointer?
            if rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR, let headers {
                var name: UnsafePointer<CChar>?
                var value: UnsafeRawPointer?
                var size = 0
                var index = 0
                while rd_kafka_header_get_all(headers, index, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR {
                    if let name { one.headers[String(cString: name)] = text(value, size) ?? "null" }
                    index += 1
                }
            }
            found.append(one)
        }
        return found.enumerated().sorted { ($0.element.partition, $0.offset) < ($1.element.partition, $1.offset) }
            .map(\.element)
    }

    private static func text(_ bytes: UnsafeRawPointer?, _ count: Int) -> String? {
        bytes.map { String(decoding: UnsafeRawBufferPointer(start: $0, count: count), as: UTF8.self) }
    }
}
