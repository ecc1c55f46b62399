internal import CKafka
internal import Glibc

/// A topic as the brokers describe it.
package struct KafkaTopic {
    package var name: String
    /// The partitions' numbers, rising; empty where the topic is not there.
    package var partitions: [Int32]
    /// Why the brokers say nothing of it; nil for one that is there.
    package var failure: KafkaFailure?
}

/// Partitions, each with an offset.
package typealias KafkaOffsets = [(partition: KafkaPartition, offset: Int64)]

extension KafkaClient {
    /// The topics of that names, in their order; those that are not there have a failure. One request a topic. Blocks.
    /// A producer that asks for a topic may make it, where the brokers allow that.
    package func topics(named names: [String], timeout milliseconds: Int32) throws(KafkaFailure) -> [KafkaTopic] {
        var found: [KafkaTopic] = []
        for name in names {
            guard let topic = rd_kafka_topic_new(handle, name, nil) else { throw KafkaFailure(rd_kafka_last_error()) }
            defer { rd_kafka_topic_destroy(topic) }
            found += try metadata(topic, timeout: milliseconds)
        }
        return found
    }

    /// All topics of the cluster, by name. One request, whose answer grows with the cluster. Blocks.
    package func allTopics(timeout milliseconds: Int32) throws(KafkaFailure) -> [KafkaTopic] {
        try metadata(nil, timeout: milliseconds).sorted { $0.name < $1.name }
    }

    private func metadata(_ topic: OpaquePointer?, timeout: Int32) throws(KafkaFailure) -> [KafkaTopic] {
        var answer: UnsafePointer<rd_kafka_metadata>?
        try KafkaFailure.check(rd_kafka_metadata(handle, topic == nil ? 1 : 0, topic, &answer, timeout))
        guard let answer else { return [] }
        defer { rd_kafka_metadata_destroy(answer) }
        let topics = UnsafeBufferPointer(start: answer.pointee.topics, count: Int(answer.pointee.topic_cnt))
        return topics.map { topic in
            let partitions = UnsafeBufferPointer(start: topic.partitions, count: Int(topic.partition_cnt))
            return KafkaTopic(
                name: String(cString: topic.topic), partitions: partitions.map(\.id).sorted(),
                failure: topic.err == RD_KAFKA_RESP_ERR_NO_ERROR ? nil : KafkaFailure(topic.err))
        }
    }

    /// The cluster's id; nil where it does not tell in time. Blocks the first time.
    package func clusterID(timeout milliseconds: Int32) -> String? {
        guard let text = rd_kafka_clusterid(handle, milliseconds) else { return nil }
        defer { free(text) }
        return String(cString: text)
    }

    /// For each partition the first offset at or after a time. One request a broker. Blocks.
    ///
    /// - Parameter times: milliseconds since 1970; `RD_KAFKA_OFFSET_BEGINNING` for the first offset that is there,
    ///   `RD_KAFKA_OFFSET_END` for the one behind the last, of a `read_committed` consumer the first of an open transaction.
    /// - Throws: also the failure of a single partition, named in the message.
    /// - Returns: in the order of `times`; `RD_KAFKA_OFFSET_END` (-1) where no message is so late.
    package func offsets(
        at times: [(KafkaPartition, Int64)], timeout milliseconds: Int32
    ) throws(KafkaFailure) -> KafkaOffsets {
        guard !times.isEmpty else { return [] }
        let list = KafkaPartitionList(times)
        try KafkaFailure.check(list.withHandle { rd_kafka_offsets_for_times(handle, $0, milliseconds) })
        return try list.checkedOffsets()
    }

    /// The group's committed positions; `RD_KAFKA_OFFSET_INVALID` (-1001) where there is none. Blocks.
    /// - Throws: also the failure of a single partition, named in the message.
    package func committed(
        _ partitions: [KafkaPartition], timeout milliseconds: Int32
    ) throws(KafkaFailure) -> KafkaOffsets {
        guard !partitions.isEmpty else { return [] }
        let list = KafkaPartitionList(partitions)
        try KafkaFailure.check(list.withHandle { rd_kafka_committed(handle, $0, milliseconds) })
        return try list.checkedOffsets()
    }
}

extension KafkaPartitionList {
    /// What a call has answered for each partition, or the first partition's failure.
    fileprivate func checkedOffsets() throws(KafkaFailure) -> KafkaOffsets {
        var found: KafkaOffsets = []
        for entry in entries {
            if var failure = entry.failure {
                failure.message = "\(entry.partition): \(failure.message)"
                throw failure
            }
            found.append((entry.partition, entry.offset))
        }
        return found
    }
}
