import CKafka
import DataflowEpochs
import DataflowKafka
import DataflowOperator
import Glibc
import Logging

/// How long to wait before the next attempt: doubling, with jitter in the upper half, up to a limit.
private struct Backoff {
    private var ceiling: Duration = .milliseconds(100)

    mutating func next() -> Duration {
        let pause = ceiling * Double.random(in: 0.5...1)
        ceiling = min(ceiling * 2, .seconds(5))
        return pause
    }
}

/// Keeps a producer: makes it, makes it again when something went wrong, and repeats what was under way.
final class KafkaSession {
    private let config: KafkaSinkConfig
    private let context: OperatorContext
    private let logger: Logger
    let marker: GroupMarker
    private var link: ProducerLink?
    /// The largest message that the topic takes, once it is known.
    private(set) var maxMessage: Int?
    /// The marker is this run's: whoever changes it takes over.
    var isClaimed = false
    /// Called with every message that the brokers have refused for good.
    var onRefusal: ((MessageChunk.Message, KafkaFailure) -> Void)?
    /// Called at each step of the protocol; nil but in tests. What it throws is taken for the step's failure.
    var observe: ((Step) throws -> Void)?

    /// The steps between which a process or a broker may die.
    enum Step: CaseIterable {
        case connect, begin, send, settle, storeMarker, commit, committed
    }

    /// Kafka's default, for brokers that do not tell.
    static let defaultMaxMessage = 1_048_588
    /// More messages refused by the brokers themselves than this end the run: the limit or the topic's settings are not what they
    /// should be, and each one costs the epoch's messages once more.
    private static let maxRefusals = 100

    init(_ config: KafkaSinkConfig, _ context: OperatorContext) {
        self.config = config
        self.context = context
        logger = context.logger
        marker = GroupMarker(
            group: config.transactionalID ?? "dataflow.\(context.pipeline).\(context.node)", topic: config.topic.value)
    }

    var brokers: String { config.connection.brokerText }

    /// Runs `body`, which starts from whatever the link says is done already; with another link, again from the beginning.
    ///
    /// - Parameters:
    ///   - doing: what is being done, for messages: "write to the topic orders".
    ///   - limit: how long failed attempts may last altogether.
    func run<R>(
        _ doing: String, limit: Duration, _ body: (ProducerLink) throws -> R
    ) async throws(OperatorError) -> R {
        var backoff = Backoff()
        var firstFailure: ContinuousClock.Instant?
        var refusals = 0
        while true {
            let failure: KafkaFailure
            do {
                let link = try currentLink()
                let result = try body(link)
                if firstFailure != nil { logger.info("Kafka: going on", metadata: ["after": "\(doing)"]) }
                return result
            } catch let error as KafkaFailure {
                failure = error
            } catch let refused as ProducerLink.Refusals {
                drop()
                refusals += 1
                guard refusals <= KafkaSession.maxRefusals else {
                    throw OperatorError(
                        .user, .never, "messages_refused",
                        "the brokers \(brokers) refuse more than \(KafkaSession.maxRefusals) messages of one epoch, the last with: "
                            + "\(refused.failure); look at `max_message` and at the settings of the topic \(config.topic.value)"
                    )
                }
                continue
            } catch let error as OperatorError {
                guard case .withBackoff = error.retry, let cause = error.underlying as? KafkaFailure else {
                    throw error
                }
                failure = cause
            } catch {
                throw OperatorError(.engine, .never, "kafka_unexpected", "cannot \(doing): \(error)")
            }
            drop()
            if Task.isCancelled { throw KafkaSession.cancelled(doing) }
            let final = finalError(failure, doing)
            guard case .withBackoff = final.retry else { throw final }
            let now = ContinuousClock.now
            let start = firstFailure ?? now
            let pause = backoff.next()
            guard now + pause - start < limit else {
                throw OperatorError(
                    final.domain, final.retry, final.code, "\(final.message); tried for \(limit.unitDescription)",
                    underlying: failure)
            }
            logger.log(
                level: firstFailure == nil ? .warning : .info, "Kafka: cannot \(doing), trying again",
                metadata: ["brokers": "\(brokers)", "reason": "\(failure)", "pause": "\(pause.roundedDescription)"])
            firstFailure = start
            do { try await Task.sleep(for: pause) } catch { throw KafkaSession.cancelled(doing) }
        }
    }

    private static func cancelled(_ doing: String) -> OperatorError {
        OperatorError(.engine, .never, "cancelled", "cannot \(doing): the pipeline is being stopped")
    }

    /// A failure as the run reports it. Whoever was fenced looks at the marker before it gives up, so that is no end yet.
    private func finalError(_ failure: KafkaFailure, _ doing: String) -> OperatorError {
        if ProducerLink.isFenced(failure) {
            return OperatorError(
                .external, .withBackoff, "transaction_lost", "cannot \(doing) at \(brokers): \(failure)",
                underlying: failure)
        }
        if failure.code == RD_KAFKA_RESP_ERR_INVALID_TRANSACTION_TIMEOUT {
            return OperatorError(
                .user, .never, "transaction_timeout",
                "the brokers \(brokers) do not allow a `transaction_timeout` of \(config.transactionTimeout.unitDescription); "
                    + "set it to their `transaction.max.timeout.ms` or less", underlying: failure)
        }
        let error = failure.operatorError("cannot \(doing) at \(brokers)")
        guard error.code == "not_authorized" else { return error }
        return OperatorError(
            .user, .never, "not_authorized",
            "\(error.message): to describe and write the topic \(config.topic.value)"
                + (context.exactlyOnce
                    ? ", to describe and write the transactional id \(marker.group), and to read the group \(marker.group)"
                    : ""),
            underlying: failure)
    }

    /// A link whose transaction has come near its end is given up: the next one begins a new transaction.
    func refresh(now: ContinuousClock.Instant) {
        guard let start = link?.transactionStart, now - start > config.transactionTimeout * 0.8 else { return }
        logger.notice(
            "Kafka: the epoch lasts nearly as long as `transaction_timeout`; its messages are sent again in a new transaction",
            metadata: ["transaction_timeout": "\(config.transactionTimeout.unitDescription)"])
        drop()
    }

    /// Whether an open transaction holds the epoch so far.
    var isInTransaction: Bool { link?.isInTransaction ?? false }

    /// Gives up an open transaction and ends the client.
    func close() { drop() }

    private func drop() {
        // librdkafka reads their memory until its client is gone.
        let chunks = link?.chunksInFlight
        link?.abandon()
        link = nil
        withExtendedLifetime(chunks) {}
    }

    // MARK: Connecting

    private func currentLink() throws -> ProducerLink {
        if let link { return link }
        try observe?(.connect)
        var settings = KafkaSettings(config, context)
        var reading = settings
        reading.set("group.id", marker.group)
        reading.set("isolation.level", "read_committed")
        reading.set("enable.auto.commit", "false")
        reading.set("allow.auto.create.topics", "true")
        let inspector = try KafkaClient(.consumer, reading, logger: logger)
        try checkTopic(inspector)
        // Before the transactional id is taken: a run that was overtaken must not fence its successor.
        if context.exactlyOnce, isClaimed { try checkClaim(marker.read(inspector, timeout: 5000)) }
        if maxMessage == nil { maxMessage = config.maxMessage?.bytes ?? topicLimit(inspector) }
        let limit = maxMessage ?? KafkaSession.defaultMaxMessage
        settings.set("enable.idempotence", "true")
        settings.set("compression.codec", config.compression.rawValue)
        settings.set("linger.ms", "\(config.linger.nanoseconds / 1_000_000)")
        settings.set("partitioner", config.partitioner.rawValue)
        // librdkafka's count is rougher than the brokers', so ours comes first; a batch of several must fit as well.
        settings.set("message.max.bytes", "\(limit + 4096)")
        settings.setDefault("batch.size", "\(min(limit, 1_000_000))")
        settings.setDefault("queue.buffering.max.messages", "1000000")
        settings.setDefault("queue.buffering.max.kbytes", "\(max(1 << 20, 2 * config.maxBatch.bytes / 1024))")
        if context.exactlyOnce {
            settings.set("transactional.id", marker.group)
            settings.set("transaction.timeout.ms", "\(config.transactionTimeout.nanoseconds / 1_000_000)")
        }
        let made = try ProducerLink(
            settings, topic: config.topic.value, inTransactions: context.exactlyOnce, logger: logger)
        made.onRefusal = onRefusal
        made.observe = observe
        if context.exactlyOnce {
            try made.initialiseTransactions(limit: .seconds(60))
            made.marker = try marker.read(inspector, timeout: 10_000)
            if isClaimed { try checkClaim(made.marker) }
        }
        link = made
        return made
    }

    private func checkClaim(_ reading: GroupMarker.Reading) throws {
        guard let marker = reading.value else { return }
        guard marker.lineage == context.lineage, marker.generation <= context.generation else {
            throw fenced(by: marker.generation)
        }
    }

    func fenced(by generation: UInt64) -> OperatorError {
        OperatorError(
            .user, .never, "fenced",
            "another run of pipeline \(context.pipeline) (generation \(generation)) has taken over the topic \(config.topic.value) "
                + "by the transactional id \(marker.group); this run (generation \(context.generation)) may not write any more"
        )
    }

    private func checkTopic(_ client: KafkaClient) throws {
        let name = config.topic.value
        let deadline = ContinuousClock.now + .seconds(5)
        while true {
            let topic = try client.retrying("read the metadata of the topic \(name)", limit: .seconds(5)) {
                (milliseconds) throws(KafkaFailure) in try client.topics(named: [name], timeout: milliseconds).first
            }
            guard let failure = topic?.failure else { return }
            // A broker that creates topics says so, or that it has none, until it is done.
            let isCreated = failure.code == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE
            if isCreated || failure.isUnknownTopic, ContinuousClock.now < deadline, !Task.isCancelled {
                usleep(100_000)
                continue
            }
            if failure.isUnknownTopic {
                throw OperatorError(
                    .user, .never, "unknown_topic",
                    "there is no topic \(name) at \(brokers), and the brokers do not create it; create it, for example with "
                        + "kafka-topics.sh --create --topic \(name) --partitions 4 --bootstrap-server \(brokers)",
                    underlying: failure)
            }
            throw failure
        }
    }

    /// The topic's `max.message.bytes`; nil where the brokers do not say.
    private func topicLimit(_ client: KafkaClient) -> Int? {
        guard let queue = rd_kafka_queue_new(client.handle) else { return nil }
        defer { rd_kafka_queue_destroy(queue) }
        let options = rd_kafka_AdminOptions_new(client.handle, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS)
        defer { rd_kafka_AdminOptions_destroy(options) }
        var text = [CChar](repeating: 0, count: 256)
        rd_kafka_AdminOptions_set_request_timeout(options, 5000, &text, text.count)
        guard var resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, config.topic.value) else {
            return nil
        }
        defer { rd_kafka_ConfigResource_destroy(resource) }
        withUnsafeMutablePointer(to: &resource) { pointer in
            pointer.withMemoryRebound(to: OpaquePointer?.self, capacity: 1) {
                rd_kafka_DescribeConfigs(client.handle, $0, 1, options, queue)
            }
        }
        guard let event = rd_kafka_queue_poll(queue, 6000) else { return nil }
        defer { rd_kafka_event_destroy(event) }
        guard let result = rd_kafka_event_DescribeConfigs_result(event) else { return nil }
        var count = 0
        guard let resources = rd_kafka_DescribeConfigs_result_resources(result, &count), count > 0 else { return nil }
        var entryCount = 0
        guard let entries = rd_kafka_ConfigResource_configs(resources[0], &entryCount) else { return nil }
        for index in 0..<entryCount {
            guard let name = rd_kafka_ConfigEntry_name(entries[index]), String(cString: name) == "max.message.bytes",
                let value = rd_kafka_ConfigEntry_value(entries[index])
            else { continue }
            return Int(String(cString: value))
        }
        return nil
    }
}
