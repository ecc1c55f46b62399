import CKafka
import DataflowKafka
import DataflowOperator
import Logging

/// A producer of librdkafka, what it has of ours, and the open transaction. What a failure leaves behind is not mended: the link
/// is dropped and another one made, whose first call (`init_transactions`) ends what this one had begun.
///
/// Delivery reports come as events, many at a time, and are taken where the sink waits or hands over messages; nothing runs on
/// librdkafka's threads.
final class ProducerLink {
    /// Messages that the brokers refused, or may have.
    struct Refusals: Error {
        /// The code that the brokers gave last.
        var failure: KafkaFailure
    }

    let client: KafkaClient
    private let topic: OpaquePointer
    private let queue: OpaquePointer
    /// The values that describe one message to librdkafka; used again for each.
    private let values: UnsafeMutablePointer<rd_kafka_vu_t>
    private static let valueCount = 7
    /// Chunks of which librdkafka has messages, by number.
    private var inFlight: [MessageChunk] = []
    private var nextNumber: UInt32 = 1
    /// What went wrong with a message or with the client as a whole.
    private var failure: KafkaFailure?
    private var sawRefusals = false
    /// What was last reported of the connections, for messages.
    private(set) var lastReport: KafkaFailure?

    /// The sink has put the epoch so far into it.
    var isPrepared = false
    /// When the open transaction began; nil where none is open.
    var transactionStart: ContinuousClock.Instant?
    /// What the marker said when this link was made.
    var marker: GroupMarker.Reading = .none

    /// How long a link that has failed waits for answers to what is on its way. A transaction is aborted anyhow; without one, what
    /// is not known to be written is sent again by the next link, and brokers know no message of another producer again.
    private let answerWait: Duration

    /// Makes the client. Nothing is waited for.
    init(
        _ settings: KafkaSettings, topic name: String, inTransactions: Bool, logger: Logger
    ) throws(OperatorError) {
        client = try KafkaClient(.producer, settings, logger: logger) { configuration in
            rd_kafka_conf_set_events(configuration, Int32(RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR))
        }
        guard let topic = rd_kafka_topic_new(client.handle, name, nil),
            let queue = rd_kafka_queue_get_main(client.handle)
        else {
            throw KafkaFailure(rd_kafka_last_error()).operatorError("cannot use the topic \(name)")
        }
        self.topic = topic
        self.queue = queue
        // A request that has no answer after librdkafka's minute may never have one.
        answerWait = inTransactions ? .milliseconds(500) : .seconds(60)
        values = .allocate(capacity: ProducerLink.valueCount)
        values.initialize(repeating: rd_kafka_vu_t(), count: ProducerLink.valueCount)
        values[0].vtype = RD_KAFKA_VTYPE_RKT
        values[0].u.rkt = topic
        // Neither copied nor freed: the chunk lives until the report.
        values[1].vtype = RD_KAFKA_VTYPE_MSGFLAGS
        values[1].u.i = 0
        values[2].vtype = RD_KAFKA_VTYPE_VALUE
        values[3].vtype = RD_KAFKA_VTYPE_KEY
        values[4].vtype = RD_KAFKA_VTYPE_OPAQUE
        values[5].vtype = RD_KAFKA_VTYPE_TIMESTAMP
        values[6].vtype = RD_KAFKA_VTYPE_HEADERS
    }

    deinit {
        abandon()
        values.deallocate()
        // What is still queued is given up, so that the end does not wait for it; chunks outlive this call.
        rd_kafka_purge(client.handle, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT)
        rd_kafka_topic_destroy(topic)
        rd_kafka_queue_destroy(queue)
    }

    var isInTransaction: Bool { transactionStart != nil }

    /// Chunks whose memory librdkafka may still read: to be kept until this object is gone.
    var chunksInFlight: [MessageChunk] { inFlight }

    // MARK: Sending

    /// Hands over the messages of `chunk` that were not yet; those that were refused are left out, suspects go alone.
    ///
    /// Returns before the brokers have them. Waits where librdkafka has no room.
    func send(_ chunk: MessageChunk) throws {
        try observe?(.send)
        if chunk.number == 0 || !inFlight.contains(where: { $0 === chunk }) {
            chunk.number = nextNumber
            nextNumber = nextNumber == .max ? 1 : nextNumber + 1
            inFlight.append(chunk)
        }
        while chunk.sentBytes < chunk.byteCount {
            let offset = chunk.sentBytes
            let status = chunk.status(at: offset)
            if status == .refused || status == .accepted {
                chunk.sentBytes = chunk.next(after: offset)
                continue
            }
            if status == .suspect { try settle() }
            try hand(over: chunk.message(at: offset), of: chunk)
            chunk.sentBytes = chunk.next(after: offset)
            if status == .suspect {
                isAlone = true
                defer { isAlone = false }
                try settle()
            }
        }
    }

    /// The message in flight is the only one: a refusal is its own.
    private var isAlone = false

    private func hand(over message: MessageChunk.Message, of chunk: MessageChunk) throws {
        values[2].u.mem.ptr = UnsafeMutableRawPointer(mutating: message.value?.baseAddress)
        values[2].u.mem.size = message.value?.count ?? 0
        values[3].u.mem.ptr = UnsafeMutableRawPointer(mutating: message.key?.baseAddress)
        values[3].u.mem.size = message.key?.count ?? 0
        let opaque = UInt(chunk.number) << 32 | UInt(truncatingIfNeeded: message.offset)
        values[4].u.ptr = UnsafeMutableRawPointer(bitPattern: opaque)
        values[5].u.i64 = message.timestamp
        var count = 5
        if message.timestamp != 0 || !message.headers.isEmpty { count = 6 }
        while true {
            // librdkafka takes the headers with the message, and only if it takes that.
            var headers: OpaquePointer?
            if !message.headers.isEmpty {
                headers = ProducerLink.headers(message.headers)
                values[6].u.headers = headers
                count = 7
            }
            guard let failure = KafkaFailure(taking: rd_kafka_produceva(client.handle, values, count)) else { break }
            if let headers { rd_kafka_headers_destroy(headers) }
            switch failure.code {
            case RD_KAFKA_RESP_ERR__QUEUE_FULL:
                try take(100)
                try check()
            case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
                refuse(chunk, at: message.offset, failure)
                return
            default:
                throw client.fatalFailure ?? self.failure ?? failure
            }
        }
        chunk.pending += 1
        handedOver &+= 1
        // Reports are taken now and then, so that librdkafka's memory is freed.
        if handedOver & 1023 == 0 { try take(0) }
    }

    private var handedOver = 0

    private static func headers(_ bytes: UnsafeRawBufferPointer) -> OpaquePointer? {
        let made = rd_kafka_headers_new(4)
        var at = 0
        while at + 8 <= bytes.count, let base = bytes.baseAddress {
            let name = Int(bytes.loadUnaligned(fromByteOffset: at, as: Int32.self))
            let value = Int(bytes.loadUnaligned(fromByteOffset: at + 4, as: Int32.self))
            let start = base + at + 8
            rd_kafka_header_add(
                made, start.assumingMemoryBound(to: CChar.self), name, start + name, value)
            at += 8 + name + value
        }
        return made
    }

    // MARK: Reports

    /// Returns when the brokers have everything that was handed over.
    ///
    /// - Throws: `Refusals` where they refused messages: these are marked in their chunks. In a transaction nothing that was sent
    ///   counts then. `KafkaFailure` for what is no message's fault.
    func settle() throws {
        while inFlight.contains(where: { $0.pending > 0 }) {
            try take(100)
            try check()
        }
        try check()
        inFlight.removeAll { $0.sentBytes == $0.byteCount }
    }

    /// Waits until `chunk` has been reported on; the same otherwise.
    func settle(_ chunk: MessageChunk) throws {
        while chunk.pending > 0 || failure != nil {
            try take(100)
            try check()
        }
        inFlight.removeAll { $0 === chunk }
    }

    /// Takes what has come, or waits a while for it.
    private func take(_ milliseconds: Int32) throws {
        if Task.isCancelled { throw KafkaFailure(RD_KAFKA_RESP_ERR__DESTROY, "the pipeline is being stopped") }
        var wait = milliseconds
        while let event = rd_kafka_queue_poll(queue, wait) {
            wait = 0
            defer { rd_kafka_event_destroy(event) }
            switch rd_kafka_event_type(event) {
            case RD_KAFKA_EVENT_DR: takeReports(event)
            case RD_KAFKA_EVENT_ERROR:
                let code = rd_kafka_event_error(event)
                let text = rd_kafka_event_error_string(event).map { String(cString: $0) }
                if code == RD_KAFKA_RESP_ERR__FATAL {
                    failure = client.fatalFailure ?? failure
                } else {
                    lastReport = KafkaFailure(code, text)
                }
            default: break
            }
        }
    }

    private func takeReports(_ event: OpaquePointer) {
        withUnsafeTemporaryAllocation(of: UnsafePointer<rd_kafka_message_t>?.self, capacity: 1024) { messages in
            guard let base = messages.baseAddress else { return }
            base.initialize(repeating: nil, count: messages.count)
            while true {
                let count = rd_kafka_event_message_array(event, base, messages.count)
                if count == 0 { return }
                var chunk: MessageChunk?
                for index in 0..<count {
                    guard let message = messages[index] else { continue }
                    let opaque = UInt(bitPattern: message.pointee._private)
                    let number = UInt32(truncatingIfNeeded: opaque >> 32)
                    if chunk?.number != number { chunk = inFlight.first { $0.number == number } }
                    guard let chunk else { continue }
                    chunk.pending -= 1
                    let offset = Int(opaque & 0xffff_ffff)
                    if message.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR {
                        chunk.setStatus(.accepted, at: offset)
                        lastReport = nil
                    } else {
                        fail(message.pointee, chunk, offset)
                    }
                }
            }
        }
    }

    /// What the brokers say of a single message, whatever else is in its batch.
    private static let rowErrors: Set<rd_kafka_resp_err_t> = [
        RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE, RD_KAFKA_RESP_ERR_INVALID_RECORD,
        RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP,
    ]

    private func fail(_ message: rd_kafka_message_t, _ chunk: MessageChunk, _ offset: Int) {
        let failure = KafkaFailure(message.err)
        if ProducerLink.rowErrors.contains(message.err) {
            if isAlone { refuse(chunk, at: offset, failure) } else { suspect(chunk, at: offset, failure) }
        } else if message.err != RD_KAFKA_RESP_ERR__PURGE_QUEUE, message.err != RD_KAFKA_RESP_ERR__PURGE_INFLIGHT {
            self.failure = self.failure ?? client.fatalFailure ?? failure
        } else if self.failure == nil {
            // Given up because of another message, whose report comes.
            self.failure = failure
        }
    }

    /// See ``KafkaSession/observe``.
    var observe: ((KafkaSession.Step) throws -> Void)?

    /// Called with a message that is refused for good: its row, size and the brokers' words.
    var onRefusal: ((MessageChunk.Message, KafkaFailure) -> Void)?

    private func refuse(_ chunk: MessageChunk, at offset: Int, _ failure: KafkaFailure) {
        chunk.setStatus(.refused, at: offset)
        chunk.refusedCount += 1
        sawRefusals = true
        if self.failure == nil { self.failure = failure }
        onRefusal?(chunk.message(at: offset), failure)
    }

    private func suspect(_ chunk: MessageChunk, at offset: Int, _ failure: KafkaFailure) {
        chunk.setStatus(.suspect, at: offset)
        chunk.hasSuspects = true
        sawRefusals = true
        if self.failure == nil { self.failure = failure }
    }

    /// Throws what went wrong, when all that was sent with it has been reported on.
    private func check() throws {
        guard let failure else {
            if let report = lastReport, report.isAuthentication { throw report }
            return
        }
        // What is not sent yet would wait for ever; what is under way may tell of more messages.
        rd_kafka_purge(client.handle, RD_KAFKA_PURGE_F_QUEUE)
        let deadline = ContinuousClock.now + answerWait
        while inFlight.contains(where: { $0.pending > 0 }), ContinuousClock.now < deadline { try take(50) }
        if sawRefusals { throw Refusals(failure: failure) }
        throw self.failure ?? failure
    }

    /// Another client has taken the transactional id, or the brokers have ended the transaction by its timeout: they give the same
    /// answer, and the marker tells which it is.
    static func isFenced(_ failure: KafkaFailure) -> Bool {
        switch failure.code {
        case RD_KAFKA_RESP_ERR__FENCED, RD_KAFKA_RESP_ERR_PRODUCER_FENCED, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
            true
        default: false
        }
    }

    // MARK: Transactions

    func initialiseTransactions(limit: Duration) throws(KafkaFailure) {
        try attempt(limit: limit) { rd_kafka_init_transactions(client.handle, $0) }
    }

    func beginTransaction(now: ContinuousClock.Instant) throws(KafkaFailure) {
        try KafkaFailure.check(rd_kafka_begin_transaction(client.handle))
        transactionStart = now
    }

    func commitTransaction(limit: Duration) throws(KafkaFailure) {
        try attempt(limit: limit) { rd_kafka_commit_transaction(client.handle, $0) }
        transactionStart = nil
        isPrepared = false
    }

    /// Gives the open transaction up, so that readers need not wait for its timeout; within two seconds, or not at all.
    ///
    /// Also because librdkafka 2.0.2 stops the process (`rd_kafka_txn_handle_AddPartitionsToTxn: Assertion … txn_req_cnt > 0`) when a
    /// client is destroyed just as it tells the coordinator of a transaction's partitions: an aborted one has none.
    func abandon() {
        guard isInTransaction else { return }
        transactionStart = nil
        rd_kafka_purge(client.handle, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT)
        let deadline = ContinuousClock.now + .milliseconds(500)
        while inFlight.contains(where: { $0.pending > 0 }), ContinuousClock.now < deadline {
            guard let event = rd_kafka_queue_poll(queue, 50) else { continue }
            if rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR { takeReports(event) }
            rd_kafka_event_destroy(event)
        }
        _ = KafkaFailure(taking: rd_kafka_abort_transaction(client.handle, 1500))
    }

    // MARK: Calls

    /// Repeats a call until it succeeds, fails for good or the time is up; ends soon when the run is stopped.
    func attempt(limit: Duration, _ call: (Int32) -> OpaquePointer?) throws(KafkaFailure) {
        let deadline = ContinuousClock.now + limit
        while let failure = KafkaFailure(taking: call(1000)) {
            if Task.isCancelled { throw KafkaFailure(RD_KAFKA_RESP_ERR__DESTROY, "the pipeline is being stopped") }
            // Only events of connections come here: nothing is in flight.
            do { try take(0) } catch {}
            if let report = lastReport, report.isAuthentication { throw report }
            guard failure.isRetriable, !failure.isFatal, !failure.requiresAbort, ContinuousClock.now < deadline else {
                if failure.isUnreachable, let report = lastReport, !failure.requiresAbort { throw report }
                throw failure
            }
        }
    }
}
