import CKafka
import DataflowKafka
import DataflowOperator
import Logging

/// A message lent by librdkafka.
typealias KafkaMessage = UnsafeMutablePointer<rd_kafka_message_t>

/// librdkafka's consumer through its queue: what is assigned, messages by the batch, and commits that wait for nobody.
final class KafkaConsumer {
    /// The most messages that one call hands out.
    static let capacity = RecordBatch.defaultRowCount

    let client: KafkaClient
    private let queue: OpaquePointer
    private let commitQueue: OpaquePointer
    private let messages = UnsafeMutablePointer<KafkaMessage?>.allocate(capacity: capacity)
    /// Commits whose outcome has not come yet.
    private(set) var openCommits = 0

    init(_ client: KafkaClient) throws(OperatorError) {
        guard let queue = rd_kafka_queue_get_consumer(client.handle) else {
            messages.deallocate()
            throw OperatorError(.engine, .never, "no_queue", "librdkafka made a consumer without a queue")
        }
        self.client = client
        self.queue = queue
        commitQueue = rd_kafka_queue_new(client.handle)
    }

    deinit {
        rd_kafka_queue_destroy(commitQueue)
        rd_kafka_queue_destroy(queue)
        messages.deallocate()
    }

    // MARK: Assignment

    /// Begins to fetch from these offsets. The partitions must not be assigned yet.
    func add(_ partitions: [(KafkaPartition, Int64)]) throws(KafkaFailure) {
        guard !partitions.isEmpty else { return }
        try KafkaFailure.check(
            KafkaPartitionList(partitions).withHandle { rd_kafka_incremental_assign(client.handle, $0) })
    }

    /// Stops fetching. Messages that were fetched already may still come.
    func remove(_ partitions: [KafkaPartition]) throws(KafkaFailure) {
        guard !partitions.isEmpty else { return }
        try KafkaFailure.check(
            KafkaPartitionList(partitions).withHandle { rd_kafka_incremental_unassign(client.handle, $0) })
    }

    // MARK: Groups

    /// Joins the group for these topics; a pattern begins with `^`. What is to be read comes by rebalances.
    func subscribe(_ topics: [String]) throws(KafkaFailure) {
        let list = KafkaPartitionList(topics.map { KafkaPartition($0, -1) })
        try KafkaFailure.check(list.withHandle { rd_kafka_subscribe(client.handle, $0) })
    }

    /// Whether a rebalance tells only what changes; otherwise all is given up and dealt out anew.
    private var isCooperative: Bool {
        rd_kafka_rebalance_protocol(client.handle).map { String(cString: $0) } == "COOPERATIVE"
    }

    /// Answers that partitions are ours: fetches from these offsets.
    func acceptAssignment(_ partitions: [(KafkaPartition, Int64)]) throws(KafkaFailure) {
        let list = KafkaPartitionList(partitions)
        if isCooperative {
            try KafkaFailure.check(list.withHandle { rd_kafka_incremental_assign(client.handle, $0) })
        } else {
            try KafkaFailure.check(list.withHandle { rd_kafka_assign(client.handle, $0) })
        }
    }

    /// Answers that partitions are given up.
    func acceptRevocation(_ partitions: [KafkaPartition]) throws(KafkaFailure) {
        if isCooperative {
            let list = KafkaPartitionList(partitions)
            try KafkaFailure.check(list.withHandle { rd_kafka_incremental_unassign(client.handle, $0) })
        } else {
            try KafkaFailure.check(rd_kafka_assign(client.handle, nil))
        }
    }

    /// Stops the fetching of partitions that are about to be given up.
    func pause(_ partitions: [KafkaPartition]) throws(KafkaFailure) {
        try KafkaFailure.check(
            KafkaPartitionList(partitions).withHandle { rd_kafka_pause_partitions(client.handle, $0) })
    }

    /// Goes on with partitions that were paused before they were given up: librdkafka keeps that over an assignment.
    func resume(_ partitions: [KafkaPartition]) throws(KafkaFailure) {
        guard !partitions.isEmpty else { return }
        try KafkaFailure.check(
            KafkaPartitionList(partitions).withHandle { rd_kafka_resume_partitions(client.handle, $0) })
    }

    /// Leaves the group, so that others need not wait for our session to time out. Waits until `deadline` at most.
    func leave(until deadline: ContinuousClock.Instant) {
        guard let closing = rd_kafka_queue_new(client.handle) else { return }
        defer { rd_kafka_queue_destroy(closing) }
        guard KafkaFailure(taking: rd_kafka_consumer_close_queue(client.handle, closing)) == nil else { return }
        while rd_kafka_consumer_closed(client.handle) == 0, ContinuousClock.now < deadline {
            // As messages are consumed: any other call does not know what to do with those that still stand in the queue.
            let count = max(0, rd_kafka_consume_batch_queue(closing, 50, messages, KafkaConsumer.capacity))
            for index in 0..<count { rd_kafka_message_destroy(messages[index]) }
            for case .revoked(let partitions, _) in client.takeRebalances() { try? acceptRevocation(partitions) }
        }
    }

    // MARK: Messages

    /// Takes what has been fetched; waits until `deadline` where that is nothing. Calls back for errors on the way.
    ///
    /// - Parameter body: gets the messages, errors among them, which are freed behind it.
    func consume<R>(
        limit: Int, until deadline: ContinuousClock.Instant, _ body: (UnsafeBufferPointer<KafkaMessage?>) throws -> R
    ) rethrows -> R {
        let limit = min(max(1, limit), KafkaConsumer.capacity)
        // With a timeout the call waits until its room is full: so one message is waited for, the rest is what is there.
        var count = rd_kafka_consume_batch_queue(queue, 0, messages, limit)
        if count <= 0 {
            let milliseconds = Int32(clamping: ContinuousClock.now.duration(to: deadline).nanoseconds / 1_000_000)
            if milliseconds > 0 {
                count = rd_kafka_consume_batch_queue(queue, milliseconds, messages, 1)
                if count == 1, limit > 1 {
                    count += max(0, rd_kafka_consume_batch_queue(queue, 0, messages + 1, limit - 1))
                }
            }
        }
        count = max(0, count)
        defer { for index in 0..<count { rd_kafka_message_destroy(messages[index]) } }
        return try body(UnsafeBufferPointer(start: messages, count: count))
    }

    // MARK: Positions

    /// Sends positions to the group and does not wait; the outcome comes by ``commitFailures(waitingUntil:)``.
    func commit(_ positions: [(KafkaPartition, Int64)]) throws(KafkaFailure) {
        guard !positions.isEmpty else { return }
        try KafkaFailure.check(
            KafkaPartitionList(positions).withHandle {
                rd_kafka_commit_queue(client.handle, $0, commitQueue, nil, nil)
            })
        openCommits += 1
    }

    /// The failures of commits that have come back; waits for outstanding ones until `deadline`, if there is one.
    func commitFailures(waitingUntil deadline: ContinuousClock.Instant? = nil) -> [KafkaFailure] {
        var failures: [KafkaFailure] = []
        while openCommits > 0 {
            let wait = deadline.map { max(0, ContinuousClock.now.duration(to: $0).nanoseconds / 1_000_000) } ?? 0
            guard let event = rd_kafka_queue_poll(commitQueue, Int32(clamping: wait)) else { break }
            defer { rd_kafka_event_destroy(event) }
            guard rd_kafka_event_type(event) == RD_KAFKA_EVENT_OFFSET_COMMIT else { continue }
            openCommits -= 1
            let code = rd_kafka_event_error(event)
            if code != RD_KAFKA_RESP_ERR_NO_ERROR { failures.append(KafkaFailure(code)) }
        }
        return failures
    }
}
