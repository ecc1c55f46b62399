import CKafka
import DataflowKafka
public import DataflowOperator
import Logging

/// Reads topics of Kafka, every message exactly once across restarts.
///
/// A partition is a split. The partitions are dealt out to the subtasks by topic and number, so that all agree without
/// talking. A checkpoint keeps the next offset of each; the group of the brokers gets it afterwards, for tools that show lag.
///
/// librdkafka fetches ahead, up to `buffer` bytes, into one queue; when the pipeline is slow nobody empties it and
/// the fetching stops.
public final class KafkaSource: Source {
    public typealias Config = KafkaSourceConfig

    public static let info = OperatorInfo("kafka-source", .source, "Reads topics of Kafka.", blocks: true)

    public static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        [Stream(MessageColumns.schema)]
    }

    let config: Config
    let context: OperatorContext
    let selection: TopicSelection
    private let columns: MessageColumns
    var consumer: KafkaConsumer?
    var splits = SplitTable()
    var cluster: String?
    /// Splits whose number has not been told yet.
    var unannounced: [Int32]? = []
    var nextDiscovery: ContinuousClock.Instant?
    var discoveryFails = false
    var membership = GroupMembership()
    private var brokersAreDown = false
    /// The positions of checkpoints that are not complete yet, oldest first.
    var pendingCommits: [(checkpoint: CheckpointID, positions: [(KafkaPartition, Int64)])] = []
    /// The positions of the last complete checkpoint.
    var completed: [(KafkaPartition, Int64)] = []
    private var sorter = MessageSorter()

    public init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        self.config = config
        self.context = context
        columns = MessageColumns(used: context.usedColumns)
        do throws(TopicPattern.Malformed) {
            selection = try TopicSelection(config.topicNames)
        } catch { throw OperatorError(.user, .never, "invalid_configuration", error.reason) }
    }

    // MARK: Rows

    public func poll(
        until deadline: ContinuousClock.Instant, into output: inout OutputBuffer
    ) async throws(OperatorError) -> PollResult {
        guard let consumer else { return .endOfInput }
        try serve(consumer)
        if config.mode == .group { try serveGroup(consumer, into: &output) }
        if let due = nextDiscovery, context.clock.now >= due { try discover(consumer) }
        announce(&output)
        if config.stop != nil, splits.allEnded { return .endOfInput }

        var failures: [MessageSorter.Failure] = []
        let count = consumer.consume(limit: output.rowLimit ?? .max, until: deadline) { messages in
            failures = sorter.sort(messages, &splits, bySplit: context.eventTimeDownstream)
            sorter.batches(columns, splits) { output.emit($0) }
            return messages.count
        }
        context.counters.add(passed: sorter.rowCount)
        if sorter.rowCount > 0, brokersAreDown {
            brokersAreDown = false
            context.logger.info("Kafka: going on")
        }
        for failure in failures { try handle(failure, consumer) }
        let ended = splits.takeEnded()
        do throws(KafkaFailure) {
            try consumer.remove(ended.map { splits[$0].partition })
        } catch { throw error.operatorError("cannot stop reading") }
        for index in ended { output.emit(.ended(splits[index].number)) }
        for index in splits.takeIdle() { output.emit(.idle(splits[index].number)) }
        return count > 0 ? .emitted : .idle
    }

    private func announce(_ output: inout OutputBuffer) {
        guard let numbers = unannounced else { return }
        unannounced = nil
        output.emit(.assigned(numbers))
    }

    /// Serves what librdkafka has to tell besides messages.
    private func serve(_ consumer: KafkaConsumer) throws(OperatorError) {
        consumer.client.poll()
        for failure in consumer.client.takeFailures() {
            if failure.code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN {
                if !brokersAreDown {
                    context.logger.warning(
                        "Kafka: the brokers \(consumer.client.brokers) are down; trying again until they are back")
                }
                brokersAreDown = true
            } else if failure.isAuthentication {
                var error = failure.operatorError("the brokers \(consumer.client.brokers) refuse us")
                error.retry = .withBackoff
                throw error
            } else {
                context.logger.debug("Kafka: \(failure)")
            }
        }
        if let failure = consumer.client.fatalFailure {
            var error = failure.operatorError("the consumer of the brokers \(consumer.client.brokers) cannot go on")
            if error.code != "fenced" { error.retry = .withBackoff }
            throw error
        }
        reportCommits(consumer.commitFailures())
    }

    /// Follows up on what came in place of a message.
    private func handle(_ event: MessageSorter.Failure, _ consumer: KafkaConsumer) throws(OperatorError) {
        let failure = event.failure
        switch failure.code {
        case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
            if let split = event.split { try recoverLostOffset(split, consumer) }
        case RD_KAFKA_RESP_ERR__BAD_MSG, RD_KAFKA_RESP_ERR_INVALID_MSG, RD_KAFKA_RESP_ERR__BAD_COMPRESSION,
            RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
            // Passed over by librdkafka: to go on would lose what stood there without a word.
            throw OperatorError(
                .external, .withBackoff, "corrupt_messages",
                "\(event.place): messages at offset \(event.offset) cannot be read: \(failure)")
        default:
            let error = failure.operatorError("cannot read \(event.place)")
            if failure.isUnknownTopic {
                // The start that follows says whether it is gone for good.
                throw OperatorError(.external, .withBackoff, error.code, error.message, underlying: failure)
            }
            if error.domain == .user { throw error }
            context.logger.warning("\(error.message); librdkafka tries again")
        }
    }

    // MARK: Checkpoints

    public func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot {
        var state = SourceState()
        state.partitions = splits.positions
        state.nextNumber = splits.nextNumber
        state.cluster = cluster
        pendingCommits.append((checkpoint, state.partitions.map { ($0.partition, $0.next) }))
        membership.snapshot(checkpoint)
        // A group has the positions itself: what a member reads changes behind its checkpoint's back.
        if config.mode == .group { state.partitions = [] }
        return state.snapshot(mode: config.mode)
    }

    public func checkpointCompleted(_ checkpoint: CheckpointID) async throws(OperatorError) {
        guard let consumer, let last = pendingCommits.last(where: { $0.checkpoint <= checkpoint }) else { return }
        pendingCommits.removeAll { $0.checkpoint <= checkpoint }
        completed = last.positions
        membership.completed(checkpoint)
        do throws(KafkaFailure) {
            try consumer.commit(splits.takeUncommitted(completed))
        } catch { reportCommits([error]) }
    }

    /// Mostly commits are for tools that show the lag: a failure is told, and the next one stands for all before it.
    func reportCommits(_ failures: [KafkaFailure]) {
        guard !failures.isEmpty else { return }
        splits.forgetCommitted()
        membership.commitFailed()
        for failure in failures {
            context.logger.warning(
                "Kafka: the positions could not be committed to the group \(groupName): \(failure); the next checkpoint tries again"
            )
        }
    }

    var groupName: String { config.group ?? "dataflow.\(context.pipeline).\(context.node)" }

    public func close() async {
        guard let consumer else { return }
        switch config.mode {
        case .fixed: reportCommits(consumer.commitFailures(waitingUntil: .now.advanced(by: .seconds(5))))
        case .group: leaveGroup(consumer)
        }
        self.consumer = nil
    }
}

/// `kafka-source`.
public enum KafkaSourcePlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.source(KafkaSource.self)]
}
