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

/// Drives a sink as the runtime does, with access to its inside.
final class SinkDriver {
    struct Checkpoint {
        var id: CheckpointID
        var state: StateSnapshot
        var committables: [KafkaSink.Committable]
    }

    let sink: KafkaSink
    let context: OperatorContext
    var errorsBuffer = OutputBuffer()
    private let checkpoint: Checkpoint?
    private let commitPending: Bool

    /// Builds a sink that is not open yet.
    init(
        _ config: KafkaSinkConfig, _ input: DataflowOperator.Stream, folder: String,
        restoring checkpoint: Checkpoint? = nil, commitPending: Bool = false, acceptDuplicates: Bool = false,
        lineage: String = "lineage-1", generation: UInt64 = 1, exactlyOnce: Bool = true,
        clock: any RuntimeClock = ManualClock()
    ) throws {
        _ = try KafkaSink.outputs(config, inputs: [input])
        context = .testing(
            node: "node", inputs: [input], lineage: lineage, generation: generation,
            restored: checkpoint.map {
                RestoredCheckpoint(id: $0.id, commitPending: commitPending, acceptDuplicates: acceptDuplicates)
            }, stateDirectory: folder, exactlyOnce: exactlyOnce, clock: clock)
        sink = try KafkaSink(config, context)
        self.checkpoint = checkpoint
        self.commitPending = commitPending
    }

    /// Opens the sink and commits what is pending.
    @discardableResult
    func open() async throws -> SinkDriver {
        try await sink.open(restoring: checkpoint?.state ?? [])
        if commitPending, let checkpoint { try await sink.commit(checkpoint.committables, checkpoint.id) }
        return self
    }

    /// The error with which a step ends; nil if it succeeds.
    static func failure(_ body: () async throws -> Void) async -> OperatorError? {
        do {
            try await body()
            return nil
        } catch { return error as? OperatorError }
    }

    func write(_ batch: RecordBatch) async throws {
        try await sink.write(batch, errors: &errorsBuffer)
    }

    func prepare(_ number: UInt64) async throws -> Checkpoint {
        let id = CheckpointID(number)
        try await sink.flush(id, errors: &errorsBuffer)
        let committables = try await sink.prepareCommit(id)
        return Checkpoint(id: id, state: try sink.snapshot(id).throughCheckpoint(), committables: committables)
    }

    func commit(_ checkpoint: Checkpoint) async throws {
        try await sink.commit(checkpoint.committables, checkpoint.id)
    }

    @discardableResult
    func checkpoint(_ number: UInt64) async throws -> Checkpoint {
        let checkpoint = try await prepare(number)
        try await commit(checkpoint)
        return checkpoint
    }

    /// `code`, `reason` and `raw` of the rows on the errors port since the last call.
    func takeErrors() -> [(code: String, reason: String, raw: String)] {
        errorsBuffer.drain().flatMap { element -> [(code: String, reason: String, raw: String)] in
            guard case .batch(let batch, .errors) = element else { return [] }
            return batch.rows.map { row in
                guard case .string(let code) = row[1], case .string(let reason) = row[2] else { return ("", "", "") }
                var text = ""
                if case .bytes(let raw) = row[5] { text = String(decoding: raw, as: UTF8.self) }
                return (code, reason, text)
            }
        }
    }
}

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
