internal import CKafka
internal import DataflowKafka
import Foundation

/// The broker that the tests use: the one of `DATAFLOW_TEST_KAFKA` (`make test` sets it), else a private one that is
/// started by `scripts/kafka.sh` and removed at the end of the process.
package enum KafkaTestBroker {
    package static let address: String? = {
        if let address = ProcessInfo.processInfo.environment["DATAFLOW_TEST_KAFKA"], !address.isEmpty { return address }
        let folder = ownFolder
        guard let address = script("start", folder, "0") else {
            print("no Kafka broker: set DATAFLOW_TEST_KAFKA, or run scripts/kafka.sh install; its tests are skipped")
            return nil
        }
        atexit { KafkaTestBroker.remove(KafkaTestBroker.ownFolder) }
        return address
    }()

    package static var isThere: Bool { address != nil }

    private static var ownFolder: String { "/var/tmp/dataflow-kafka-tests-\(getpid())" }

    /// Runs `scripts/kafka.sh`; what it prints, nil if it fails. For tests that kill a broker: `start` one in a folder of
    /// your own, `stop FOLDER KILL` it, `start` it again at the same port.
    @discardableResult
    package static func script(_ arguments: String...) -> String? {
        let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../..").standardized.path
        // Neither a pipe nor `Process`: the server would inherit them and never let go.
        let path = "/var/tmp/dataflow-kafka-output-\(UInt64.random(in: 0 ... .max))"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let words = (["\(root)/scripts/kafka.sh"] + arguments).map { "'\($0)'" }.joined(separator: " ")
        guard system("bash \(words) > \(path) < /dev/null") == 0, let data = FileManager.default.contents(atPath: path)
        else { return nil }
        return String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// Waits until the private broker of `folder` has all on disk that it has acknowledged: it writes about once a second,
    /// so that `stop FOLDER KILL` loses what is younger. A topic that is made now stands in its file then.
    package static func awaitDurability(of folder: String, at brokers: String) throws {
        let mark = uniqueName("durable")
        try KafkaTestAdmin(brokers).createTopic(mark)
        for _ in 0..<300 {
            if let data = FileManager.default.contents(atPath: "\(folder)/data/kafka.json"),
                data.range(of: Data(mark.utf8)) != nil
            {
                return
            }
            usleep(50_000)
        }
        throw KafkaFailure(RD_KAFKA_RESP_ERR__TIMED_OUT, "the broker of \(folder) does not write to its disk")
    }

    /// Kills a private broker and deletes its folder.
    package static func remove(_ folder: String) {
        script("remove", folder)
        try? FileManager.default.removeItem(atPath: folder)
    }

    /// A name that no other test has.
    package static func uniqueName(_ prefix: String) -> String { "\(prefix)-\(UInt64.random(in: 0 ... .max))" }
}

/// Topics made, changed and deleted by the admin calls of the protocol.
package struct KafkaTestAdmin {
    private let client: KafkaClient
    private static let timeout: Int32 = 15_000

    package init(_ brokers: String) throws {
        // A producer's question for a topic would make it again.
        client = try KafkaClient(.consumer, KafkaSettings(brokers: brokers), logger: quietLogger)
    }

    /// Makes a topic, and waits until the brokers tell of it.
    package func createTopic(_ name: String, partitions: Int32 = 1) throws {
        var text = [CChar](repeating: 0, count: 256)
        var topic = rd_kafka_NewTopic_new(name, partitions, 1, &text, text.count)
        defer { rd_kafka_NewTopic_destroy(topic) }
        // Tests write messages of any time, and retention goes by the messages' own.
        rd_kafka_NewTopic_set_config(topic, "retention.ms", "-1")
        try run { queue in rd_kafka_CreateTopics(client.handle, &topic, 1, nil, queue) }
        try awaitPartitions(of: name) { $0 == partitions }
    }

    /// Gives a topic more partitions: `total` in all.
    package func addPartitions(_ name: String, total: Int) throws {
        var text = [CChar](repeating: 0, count: 256)
        var change = rd_kafka_NewPartitions_new(name, total, &text, text.count)
        defer { rd_kafka_NewPartitions_destroy(change) }
        try run { queue in rd_kafka_CreatePartitions(client.handle, &change, 1, nil, queue) }
        try awaitPartitions(of: name) { $0 == total }
    }

    package func deleteTopic(_ name: String) throws {
        var topic = rd_kafka_DeleteTopic_new(name)
        defer { rd_kafka_DeleteTopic_destroy(topic) }
        try run { queue in rd_kafka_DeleteTopics(client.handle, &topic, 1, nil, queue) }
        try awaitPartitions(of: name) { $0 == 0 }
    }

    /// Deletes the messages of a partition before an offset, as retention does.
    package func deleteRecords(_ topic: String, _ partition: Int32, before offset: Int64) throws {
        let list = KafkaPartitionList([(KafkaPartition(topic, partition), offset)])
        var request = list.withHandle { rd_kafka_DeleteRecords_new($0) }
        defer { rd_kafka_DeleteRecords_destroy(request) }
        try run { queue in rd_kafka_DeleteRecords(client.handle, &request, 1, nil, queue) }
    }

    /// The offset behind a partition's last message, as a `read_uncommitted` reader sees it.
    package func end(_ topic: String, _ partition: Int32) throws -> Int64 {
        let found = try client.offsets(
            at: [(KafkaPartition(topic, partition), Int64(RD_KAFKA_OFFSET_END))], timeout: KafkaTestAdmin.timeout)
        return found.first?.offset ?? -1
    }

    /// What the group has committed of a partition; nil where it has nothing.
    package func committed(_ group: String, _ topic: String, _ partition: Int32) throws -> Int64? {
        try committed(group, topic, [partition]).first?.1
    }

    /// What the group has committed of partitions, of those where it has anything.
    package func committed(_ group: String, _ topic: String, _ partitions: [Int32]) throws -> [(Int32, Int64)] {
        let consumer = try KafkaClient(
            .consumer, KafkaSettings(brokers: client.brokers, ["group.id": group]), logger: quietLogger)
        let found = try consumer.committed(
            partitions.map { KafkaPartition(topic, $0) }, timeout: KafkaTestAdmin.timeout)
        return found.filter { $0.offset >= 0 }.map { ($0.partition.number, $0.offset) }
    }

    private func run(_ call: (OpaquePointer) -> Void) throws {
        guard let queue = rd_kafka_queue_new(client.handle) else { return }
        defer { rd_kafka_queue_destroy(queue) }
        call(queue)
        guard let event = rd_kafka_queue_poll(queue, KafkaTestAdmin.timeout) else {
            throw KafkaFailure(RD_KAFKA_RESP_ERR__TIMED_OUT)
        }
        defer { rd_kafka_event_destroy(event) }
        try KafkaFailure.check(rd_kafka_event_error(event))
        var count = 0
        for list in [
            rd_kafka_event_CreateTopics_result(event).flatMap { rd_kafka_CreateTopics_result_topics($0, &count) },
            rd_kafka_event_DeleteTopics_result(event).flatMap { rd_kafka_DeleteTopics_result_topics($0, &count) },
            rd_kafka_event_CreatePartitions_result(event).flatMap {
                rd_kafka_CreatePartitions_result_topics($0, &count)
            },
        ] {
            for index in 0..<count {
                if let result = list?[index] { try KafkaFailure.check(rd_kafka_topic_result_error(result)) }
            }
        }
    }

    /// Waits until the brokers' answer about a topic is as wanted; each question waits for their answer.
    private func awaitPartitions(of name: String, _ isRight: (Int) -> Bool) throws {
        for _ in 0..<200 {
            let found = try client.topics(named: [name], timeout: KafkaTestAdmin.timeout)
            if isRight(found.first?.partitions.count ?? 0) { return }
            usleep(20_000)
        }
        throw KafkaFailure(RD_KAFKA_RESP_ERR__TIMED_OUT, "the brokers do not tell of the change of \(name)")
    }
}
