import CKafka
import DataflowKafka
import DataflowOperator

/// Takes what librdkafka hands out apart: rows by split, ends of partitions, failures. Keeps its memory from call to call.
struct MessageSorter {
    /// What came in place of a message.
    struct Failure {
        var failure: KafkaFailure
        var split: Int?
        /// The partition, or what is known of it.
        var place: String
        var offset: Int64
    }

    private var rows: [KafkaMessage] = []
    /// For each row the place of its topic's name.
    private var topics: [Int32] = []
    /// For each row the place of its split.
    private var owners: [Int32] = []
    private var keepsSplits = false

    /// Rows of the last call.
    var rowCount: Int { rows.count }

    /// Sorts messages and moves the splits' positions behind them. Messages that were read before, stand behind the end of
    /// a bounded run or are of partitions that were given up are left out.
    ///
    /// - Parameter bySplit: whether rows of different splits must not stand in one batch.
    mutating func sort(
        _ messages: UnsafeBufferPointer<KafkaMessage?>, _ table: inout SplitTable, bySplit: Bool
    ) -> [Failure] {
        rows.removeAll(keepingCapacity: true)
        topics.removeAll(keepingCapacity: true)
        owners.removeAll(keepingCapacity: true)
        keepsSplits = bySplit
        var failures: [Failure] = []
        var start = 0
        // Messages come in runs of one partition.
        while start < messages.count {
            guard let first = messages[start] else {
                start += 1
                continue
            }
            let topic = first.pointee.rkt
            let partition = first.pointee.partition
            let index = topic == nil ? nil : table.index(of: first)
            if first.pointee.err != RD_KAFKA_RESP_ERR_NO_ERROR {
                if let failure = MessageSorter.event(first, index, &table) { failures.append(failure) }
                start += 1
                continue
            }
            var end = start + 1
            while end < messages.count, let next = messages[end], next.pointee.rkt == topic,
                next.pointee.partition == partition, next.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR
            {
                end += 1
            }
            if let index { take(messages[start..<end], index, &table) }
            start = end
        }
        if bySplit, owners.contains(where: { $0 != owners[0] }) { group(by: table.splits.count) }
        return failures
    }

    private mutating func take(
        _ run: Slice<UnsafeBufferPointer<KafkaMessage?>>, _ index: Int, _ table: inout SplitTable
    ) {
        var split = table[index]
        guard !split.isClosed else { return }
        let before = rows.count
        for case let message? in run {
            let offset = message.pointee.offset
            guard offset >= split.next else { continue }
            guard offset < split.end else {
                split.next = split.end
                break
            }
            split.next = offset + 1
            rows.append(message)
        }
        let count = rows.count - before
        if count > 0 { split.isAtEnd = false }
        topics.append(contentsOf: repeatElement(split.topic, count: count))
        owners.append(contentsOf: repeatElement(Int32(truncatingIfNeeded: index), count: count))
        table[index] = split
    }

    /// Stable, by counting: the rows of each split together.
    private mutating func group(by splitCount: Int) {
        var starts = [Int](repeating: 0, count: splitCount + 1)
        for owner in owners { starts[Int(owner) + 1] += 1 }
        for index in 1...splitCount { starts[index] += starts[index - 1] }
        let (oldRows, oldTopics, oldOwners) = (rows, topics, owners)
        for (row, owner) in oldOwners.enumerated() {
            let place = starts[Int(owner)]
            starts[Int(owner)] += 1
            rows[place] = oldRows[row]
            topics[place] = oldTopics[row]
            owners[place] = owner
        }
    }

    private static func event(_ message: KafkaMessage, _ index: Int?, _ table: inout SplitTable) -> Failure? {
        let code = message.pointee.err
        if code == RD_KAFKA_RESP_ERR__PARTITION_EOF {
            if let index, !table[index].isClosed { table.reachedEnd(index, message.pointee.offset) }
            return nil
        }
        let text = rd_kafka_message_errstr(message).map { String(cString: $0) }
        let topic = message.pointee.rkt.flatMap { rd_kafka_topic_name($0) }.map { String(cString: $0) }
        return Failure(
            failure: KafkaFailure(code, text), split: index,
            place: topic.map { KafkaPartition($0, message.pointee.partition).description } ?? "the topics",
            offset: message.pointee.offset)
    }

    /// The rows as batches of at most ``RecordBatch/defaultRowCount`` rows or ``RecordBatch/defaultByteCount`` bytes.
    func batches(_ columns: MessageColumns, _ table: SplitTable, _ body: (RecordBatch) -> Void) {
        var start = 0
        while start < rows.count {
            var end = start
            var byteCount = 0
            let owner = owners[start]
            var isMixed = false
            repeat {
                byteCount += rows[end].pointee.len + rows[end].pointee.key_len
                isMixed = isMixed || owners[end] != owner
                end += 1
            } while end < rows.count && end - start < RecordBatch.defaultRowCount
                && byteCount < RecordBatch.defaultByteCount && (!keepsSplits || owners[end] == owner)
            body(
                columns.batch(
                    rows[start..<end], topics: topics[start..<end], names: table.names,
                    split: isMixed ? -1 : table[Int(owner)].number))
            start = end
        }
    }
}
