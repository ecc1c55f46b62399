import CKafka
import DataflowKafka
import DataflowOperator

/// The partitions that a subtask reads, and how far it has come. Values only: no calls to librdkafka but for names.
struct SplitTable {
    struct Split {
        var partition: KafkaPartition
        var number: Int32
        /// The place of the topic in ``SplitTable/names``.
        var topic: Int32
        /// The offset of the first message that has not been emitted.
        var next: Int64
        /// Where a bounded run ends; `Int64.max` where it does not.
        var end: Int64
        /// What the group knows.
        var committed: Int64?
        /// All that was there has been emitted.
        var isAtEnd = false
        /// `next` has come to `end`, and that has been told.
        var hasEnded = false
        /// It is about to be given up, or was: what still comes of it is not for us.
        var isClosed = false
        var isGone = false
    }

    private(set) var splits: [Split] = []
    private(set) var names = TopicNames()
    private var places: [KafkaPartition: Int] = [:]
    /// By librdkafka's topic and the number: no name is read for most runs of messages.
    private var runs: [RunKey: Int] = [:]
    /// Behind every number that was given.
    var nextNumber: Int32 = 0

    private struct RunKey: Hashable {
        var topic: OpaquePointer?
        var partition: Int32
    }

    subscript(index: Int) -> Split {
        get { splits[index] }
        set { splits[index] = newValue }
    }

    /// Adds a partition; one without a number gets a new one, which `subtask` of `parallelism` gives nobody else.
    /// - Returns: its number.
    @discardableResult
    mutating func add(
        _ partition: KafkaPartition, next: Int64, end: Int64?, number: Int32? = nil, subtask: Int, parallelism: Int
    ) -> Int32 {
        var given = nextNumber
        if let number {
            given = number
        } else {
            while Int(given) % parallelism != subtask { given += 1 }
        }
        if let place = places[partition] {
            // It was ours before.
            given = splits[place].number
            splits[place] = Split(
                partition: partition, number: given, topic: splits[place].topic, next: next, end: end ?? .max)
            return given
        }
        nextNumber = max(nextNumber, given + 1)
        places[partition] = splits.count
        runs.removeAll()
        splits.append(
            Split(
                partition: partition, number: given, topic: names.index(of: partition.topic), next: next,
                end: end ?? .max))
        return given
    }

    /// The place of a partition that is read.
    func index(of partition: KafkaPartition) -> Int? {
        guard let index = places[partition], !splits[index].isGone else { return nil }
        return index
    }

    /// Whether a partition was ours and is another's now.
    func wasGivenUp(_ partition: KafkaPartition) -> Bool { places[partition].map { splits[$0].isGone } ?? false }

    /// The place of the partition that a message is from.
    mutating func index(of message: KafkaMessage) -> Int? {
        let key = RunKey(topic: message.pointee.rkt, partition: message.pointee.partition)
        if let index = runs[key] { return index }
        guard let topic = key.topic, let name = rd_kafka_topic_name(topic),
            let index = index(of: KafkaPartition(String(cString: name), key.partition))
        else { return nil }
        runs[key] = index
        return index
    }

    /// Lends the splits for changes in a loop over rows.
    mutating func withUnsafeSplits<R>(_ body: (UnsafeMutableBufferPointer<Split>) -> R) -> R {
        splits.withUnsafeMutableBufferPointer { body($0) }
    }

    /// Forgets a partition: it is another's now. Its number is never used again.
    mutating func giveUp(_ index: Int) {
        splits[index].isClosed = true
        splits[index].isGone = true
        runs.removeAll()
    }

    /// Emits nothing more of a partition, which stays ours until it is given up.
    mutating func close(_ index: Int) { splits[index].isClosed = true }

    /// Notes the end of a partition as the brokers tell it: `offset` is the next one, behind marks of transactions, too.
    mutating func reachedEnd(_ index: Int, _ offset: Int64) {
        splits[index].next = max(splits[index].next, min(offset, splits[index].end))
        splits[index].isAtEnd = true
    }

    /// Whether every partition has come to its end, and that has been told.
    var allEnded: Bool { splits.allSatisfy { $0.hasEnded || $0.isGone } }

    /// The splits that have come to their end since the last call.
    mutating func takeEnded() -> [Int] {
        let found = splits.indices.filter { index in
            !splits[index].hasEnded && !splits[index].isGone && splits[index].next >= splits[index].end
        }
        for index in found { splits[index].hasEnded = true }
        return found
    }

    /// The splits of which nothing more is there, since the last call; ended ones left out.
    mutating func takeIdle() -> [Int] {
        let found = splits.indices.filter { splits[$0].isAtEnd && !splits[$0].hasEnded && !splits[$0].isClosed }
        for index in found { splits[index].isAtEnd = false }
        return found
    }

    /// What a checkpoint keeps.
    var positions: [PartitionPosition] {
        splits.filter { !$0.isGone }.map { split in
            PartitionPosition(
                partition: split.partition, next: split.next, end: split.end == .max ? nil : split.end,
                number: split.number)
        }
    }

    /// A commit has failed: which positions the group has is not known.
    mutating func forgetCommitted() {
        for index in splits.indices { splits[index].committed = nil }
    }

    /// Those of `positions` that the group does not know yet; now it counts as knowing them.
    mutating func takeUncommitted(_ positions: [(KafkaPartition, Int64)]) -> [(KafkaPartition, Int64)] {
        positions.filter { partition, next in
            guard let index = index(of: partition), splits[index].committed != next else { return false }
            splits[index].committed = next
            return true
        }
    }
}
