import CKafka
import DataflowEpochs
import DataflowKafka
import DataflowOperator
import Glibc

/// The sink's marker: a committed offset of a consumer group that nobody consumes with. The offset, of the topic's partition 0, is
/// the epoch; the metadata say of which history and which run. A transaction stores it with the epoch's messages.
struct GroupMarker {
    enum Reading: Equatable {
        /// Never stored, or forgotten by the brokers (`offsets.retention.minutes`).
        case none
        case marker(CommitMarker)

        var value: CommitMarker? { if case .marker(let marker) = self { marker } else { nil } }
    }

    let group: String
    let topic: String

    /// Reads the marker, waiting for transactions that are being ended.
    ///
    /// - Parameter client: a consumer of the group with `isolation.level=read_committed`.
    func read(_ client: KafkaClient, timeout milliseconds: Int32) throws(KafkaFailure) -> Reading {
        let list = KafkaPartitionList([KafkaPartition(topic, 0)])
        return try list.withHandle { list in
            Result { () throws(KafkaFailure) in
                try KafkaFailure.check(rd_kafka_committed(client.handle, list, milliseconds))
                guard let element = list.pointee.elems?.pointee else { return .none }
                try KafkaFailure.check(element.err)
                guard element.offset >= 0 else { return .none }
                let text = element.metadata.map {
                    String(decoding: UnsafeRawBufferPointer(start: $0, count: element.metadata_size), as: UTF8.self)
                }
                return .marker(GroupMarker.parse(text ?? "", epoch: UInt64(element.offset)))
            }
        }.get()
    }

    /// Puts the marker into the producer's open transaction.
    func store(_ marker: CommitMarker, _ link: ProducerLink, limit: Duration) throws(KafkaFailure) {
        let list = KafkaPartitionList([(KafkaPartition(topic, 0), Int64(clamping: marker.epoch))])
        guard let group = rd_kafka_consumer_group_metadata_new(group) else {
            throw KafkaFailure(RD_KAFKA_RESP_ERR__INVALID_ARG, "the group \(group) cannot be named")
        }
        defer { rd_kafka_consumer_group_metadata_destroy(group) }
        let text = GroupMarker.text(marker)
        list.withHandle { list in
            // librdkafka frees it with the list.
            guard let element = list.pointee.elems, let memory = malloc(text.utf8.count + 1) else { return }
            memory.copyMemory(from: Array(text.utf8) + [0], byteCount: text.utf8.count + 1)
            element.pointee.metadata = memory
            element.pointee.metadata_size = text.utf8.count
        }
        try link.attempt(limit: limit) { milliseconds in
            list.withHandle {
                rd_kafka_send_offsets_to_transaction(link.client.handle, $0, group, milliseconds)
            }
        }
    }

    static func text(_ marker: CommitMarker) -> String { "dataflow 1 \(marker.generation) \(marker.lineage)" }

    /// What is not ours counts as another history's.
    static func parse(_ text: String, epoch: UInt64) -> CommitMarker {
        let words = text.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false)
        guard words.count == 4, words[0] == "dataflow", words[1] == "1", let generation = UInt64(words[2]) else {
            return CommitMarker(lineage: "", generation: 0, epoch: epoch)
        }
        return CommitMarker(lineage: String(words[3]), generation: generation, epoch: epoch)
    }
}
