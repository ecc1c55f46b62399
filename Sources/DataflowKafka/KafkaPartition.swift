package import CKafka

/// A partition of a topic.
package struct KafkaPartition: Hashable, Comparable, Sendable, CustomStringConvertible {
    package var topic: String
    package var number: Int32

    package init(_ topic: String, _ number: Int32) {
        self.topic = topic
        self.number = number
    }

    /// As messages and error rows name it: `orders[3]`.
    package var description: String { "\(topic)[\(number)]" }

    package static func < (a: Self, b: Self) -> Bool { (a.topic, a.number) < (b.topic, b.number) }
}

/// A change of what a member of a group reads.
package enum KafkaRebalance: Equatable, Sendable {
    /// Read these, too.
    case assigned([KafkaPartition])
    /// Give these up; `isLost` where others may read them already.
    case revoked([KafkaPartition], isLost: Bool)
}

/// Owns a `rd_kafka_topic_partition_list_t`: partitions, each with an offset and what a call answered for it.
package final class KafkaPartitionList {
    /// What stands in the list for a partition.
    package struct Entry {
        package var partition: KafkaPartition
        /// A position ("next offset"), a time, or one of librdkafka's `RD_KAFKA_OFFSET_…`: it depends on the call.
        package var offset: Int64
        /// What the last call answered for this partition alone.
        package var failure: KafkaFailure?
    }

    private let handle: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>

    package init(_ entries: [(KafkaPartition, Int64)]) {
        guard let list = rd_kafka_topic_partition_list_new(Int32(clamping: entries.count)) else {
            preconditionFailure("librdkafka gives a list or aborts the process")
        }
        handle = list
        for (partition, offset) in entries {
            rd_kafka_topic_partition_list_add(list, partition.topic, partition.number).pointee.offset = offset
        }
    }

    /// Partitions without offsets.
    package convenience init(_ partitions: [KafkaPartition]) {
        self.init(partitions.map { ($0, Int64(RD_KAFKA_OFFSET_INVALID)) })
    }

    /// Takes over a list that librdkafka has given us to keep.
    package init(taking list: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>) { handle = list }

    /// Copies a list that librdkafka lends, as it does to callbacks.
    package convenience init(copying list: UnsafePointer<rd_kafka_topic_partition_list_t>) {
        self.init(taking: rd_kafka_topic_partition_list_copy(list))
    }

    deinit { rd_kafka_topic_partition_list_destroy(handle) }

    /// Lends librdkafka's list for its calls; the pointer must not leave `body`.
    package func withHandle<R>(_ body: (UnsafeMutablePointer<rd_kafka_topic_partition_list_t>) -> R) -> R {
        withExtendedLifetime(self) { body(handle) }
    }

    /// What stands in the list now. O(partitions).
    package var entries: [Entry] {
        withHandle { list in
            guard let elements = list.pointee.elems else { return [] }
            return (0..<Int(list.pointee.cnt)).map { index in
                let element = elements[index]
                return Entry(
                    partition: KafkaPartition(String(cString: element.topic), element.partition),
                    offset: element.offset,
                    failure: element.err == RD_KAFKA_RESP_ERR_NO_ERROR ? nil : KafkaFailure(element.err))
            }
        }
    }
}
