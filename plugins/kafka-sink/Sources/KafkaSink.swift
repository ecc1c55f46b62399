import DataflowEpochs
import DataflowKafka
public import DataflowOperator
import Logging

/// Writes rows to a topic of Kafka, exactly once: decision 13 tells the protocol and why it is so.
///
/// Rows become messages in chunks of memory. A small epoch is sent at its barrier, a large one as it comes, in one transaction;
/// what the brokers have accepted is appended to the epoch log, from which the transaction can be made again. At the checkpoint the
/// log is made durable; at the commit the same transaction stores the epoch as the marker. The sink waits in librdkafka, so it runs on a thread of its own.
public final class KafkaSink: Sink {
    /// What a later process needs to commit an epoch.
    public struct Committable: Codable, Sendable {
        var epoch: UInt64
        /// The epoch before, which the marker must say.
        var previous: UInt64
        var topic: String
        /// The log's file in the node's folder.
        var file: String
        var length: Int
        var rowCount: Int
    }

    public static let info = OperatorInfo(
        "kafka-sink", .sink, "Writes rows to a topic of Kafka, exactly once.", maxParallelism: 1, blocks: true)

    let config: KafkaSinkConfig
    let context: OperatorContext
    let session: KafkaSession
    private let plan: MessagePlan
    private var encoder: MessageEncoder
    var epochs = EpochState()
    /// The messages of the epoch that the brokers have accepted; nil if there are none yet.
    private var log: EpochLog?
    /// Chunks that are not accepted yet, oldest first.
    private var chunks: [MessageChunk] = []
    /// The chunk that is being filled.
    private var current: MessageChunk?
    private var spare: [MessageChunk] = []
    /// Messages refused by the brokers, for the errors port.
    private var refused: [Refused] = []

    private struct Refused {
        var code: OperatorError.Code
        var reason: String
        var raw: [UInt8]
    }

    private static let chunkBytes = 1 << 20
    private static let frameKind: UInt8 = 1

    public static func outputs(_ config: KafkaSinkConfig, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        guard let stream = inputs.first else { return [] }
        _ = try MessagePlan(config, stream)
        return []
    }

    public static func columnsUsed(_ config: KafkaSinkConfig, inputs: [Stream], downstream: ColumnSet) -> [ColumnSet] {
        guard let stream = inputs.first, let plan = try? MessagePlan(config, stream) else { return [.all] }
        return [.some(plan.columnsUsed.union(stream.kind.key ?? []))]
    }

    public init(_ config: KafkaSinkConfig, _ context: OperatorContext) throws(OperatorError) {
        guard let stream = context.inputs.first else {
            throw OperatorError(.engine, .never, "no_input", "kafka-sink was built without its input")
        }
        do throws(ConfigError) { plan = try MessagePlan(config, stream) } catch {
            throw OperatorError(.user, .never, "invalid_configuration", error.description)
        }
        self.config = config
        self.context = context
        session = KafkaSession(config, context)
        encoder = MessageEncoder(plan, maxByteCount: KafkaSession.defaultMaxMessage)
        session.onRefusal = { [unowned self] message, failure in refuse(message, failure) }
    }

    var topic: String { config.topic.value }

    /// Called when the session knows the topic.
    func takeLimit() {
        encoder.maxByteCount = session.maxMessage ?? KafkaSession.defaultMaxMessage
    }

    // MARK: Rows

    public func write(_ batch: RecordBatch, errors: inout OutputBuffer) async throws(OperatorError) {
        guard batch.rowCount > 0 else { return }
        let chunk = current ?? spare.popLast() ?? MessageChunk()
        current = chunk
        var table = ErrorRows(context)
        let count = encoder.encode(batch, now: context.clock.wallMicroseconds, into: chunk, refused: &table)
        if count > 0 {
            context.counters.add(errors: count)
            errors.emit(table.finish(), to: .errors)
        }
        if chunk.byteCount >= min(KafkaSink.chunkBytes, config.maxBatch.bytes / 4) || !context.exactlyOnce { seal() }
        if context.exactlyOnce {
            let collected = chunks.reduce(0) { $0 + $1.byteCount }
            if collected >= config.maxBatch.bytes / 2 || session.isInTransaction { try await pump(&errors) }
        } else {
            try await pump(&errors)
        }
    }

    public func idle(errors: inout OutputBuffer) async throws(OperatorError) {
        if !context.exactlyOnce { try await pump(&errors) }
    }

    public func flush(_ checkpoint: CheckpointID, errors: inout OutputBuffer) async throws(OperatorError) {
        seal()
        guard !chunks.isEmpty || log != nil else { return }
        try await pump(&errors, all: true)
    }

    private func seal() {
        guard let chunk = current else { return }
        current = nil
        if chunk.rowCount > 0 { chunks.append(chunk) } else { spare.append(chunk) }
    }

    /// Hands chunks over and takes those back that the brokers have, until no more than half of `max_batch` is on its way.
    ///
    /// - Parameter all: until nothing is on its way: every message is accepted or refused.
    private func pump(_ errors: inout OutputBuffer, all: Bool = false) async throws(OperatorError) {
        if context.exactlyOnce { session.refresh(now: .now) }
        defer { report(&errors) }
        try await session.run("write to the topic \(topic)", limit: config.reconnectTimeout) { link in
            try prepare(link)
            for chunk in chunks where chunk.sentBytes < chunk.byteCount { try link.send(chunk) }
            try session.observe?(.settle)
            var held = chunks.reduce(0) { $0 + $1.byteCount }
            while let oldest = chunks.first,
                all || held > config.maxBatch.bytes / 2 || oldest.pending == 0 && oldest.sentBytes == oldest.byteCount
            {
                try link.settle(oldest)
                held -= oldest.byteCount
                try finish(oldest)
            }
        }
    }

    /// With a new link: opens the epoch's transaction, with all that was accepted in it, and begins again with the rest.
    private func prepare(_ link: ProducerLink) throws {
        guard !link.isPrepared else { return }
        if context.exactlyOnce {
            try begin(link)
            for chunk in chunks { chunk.rewind(again: true) }
        } else {
            for chunk in chunks { chunk.rewind(again: false) }
        }
        link.isPrepared = true
    }

    private func begin(_ link: ProducerLink) throws {
        try session.observe?(.begin)
        try link.beginTransaction(now: .now)
        guard let log else { return }
        let result = try log.replay { frame, bytes in
            let chunk = MessageChunk(copying: bytes, rowCount: frame.rowCount)
            chunk.rewind(again: true)
            do {
                try link.send(chunk)
                try link.settle()
            } catch let refused as ProducerLink.Refusals {
                throw OperatorError(
                    .external, .withBackoff, "messages_refused",
                    "the brokers \(session.brokers) refuse a message that they had accepted in this epoch: \(refused.failure); look at the "
                        + "settings of the topic \(topic)")
            }
        }
        try logged { () throws(EpochLog.Failure) in try result.get() }
    }

    /// The brokers have the chunk's messages: they go into the log.
    private func finish(_ chunk: MessageChunk) throws {
        if context.exactlyOnce {
            let accepted = chunk.accepted()
            if accepted.rowCount > 0 {
                if log == nil {
                    log = try logged { () throws(EpochLog.Failure) in
                        try EpochLog(creatingIn: context.stateDirectory)
                    }
                }
                try logged { () throws(EpochLog.Failure) in
                    try log?.append(
                        EpochLog.Frame(kind: KafkaSink.frameKind, rowCount: accepted.rowCount), accepted.bytes)
                }
            }
        }
        context.counters.add(passed: chunk.rowCount - chunk.refusedCount, errors: chunk.refusedCount)
        chunks.removeFirst()
        // Not those that a large message has made large.
        if spare.count < 2, chunk.byteCount <= 4 * KafkaSink.chunkBytes {
            chunk.reuse()
            spare.append(chunk)
        }
    }

    // MARK: Refused messages

    private func refuse(_ message: MessageChunk.Message, _ failure: KafkaFailure) {
        let size = MessageSize.alone(key: message.key?.count, value: message.value?.count, headers: message.headers)
        let isSize = failure.name.hasSuffix("SIZE_TOO_LARGE")
        refused.append(
            Refused(
                code: isSize ? "message_too_large" : "message_refused",
                reason: isSize
                    ? "the message takes \(size) bytes, which the brokers refuse: \(failure); see `max_message` and the "
                        + "topic's `max.message.bytes`"
                    : "the brokers refuse the message: \(failure)",
                raw: Array(message.value ?? message.key ?? UnsafeRawBufferPointer(start: nil, count: 0))))
        // Larger ones would be refused as well, unless compression makes them small.
        if isSize, config.compression == .none { encoder.maxByteCount = min(encoder.maxByteCount, size - 1) }
    }

    private func report(_ errors: inout OutputBuffer) {
        guard !refused.isEmpty else { return }
        var table = ErrorRows(context)
        for entry in refused {
            entry.raw.withUnsafeBytes { table.append(code: entry.code, reason: entry.reason, raw: $0) }
        }
        refused.removeAll()
        errors.emit(table.finish(), to: .errors)
    }

    // MARK: Epochs

    public func prepareCommit(_ checkpoint: CheckpointID) async throws(OperatorError) -> [Committable] {
        guard let log else { return [] }
        let name = EpochLog.name(lineage: context.lineage, epoch: checkpoint.number)
        try logged { () throws(EpochLog.Failure) in
            try log.seal(as: name)
        }
        let committable = Committable(
            epoch: checkpoint.number, previous: epochs.last, topic: topic, file: name, length: log.length,
            rowCount: log.rowCount)
        epochs = EpochState(last: checkpoint.number, previous: epochs.last)
        return [committable]
    }

    public func commit(_ committables: [Committable], _ checkpoint: CheckpointID) async throws(OperatorError) {
        for committable in committables { try await commit(committable) }
    }

    private func commit(_ committable: Committable) async throws(OperatorError) {
        guard committable.topic == topic else {
            throw OperatorError(
                .user, .never, "topic_changed",
                "epoch \(committable.epoch) is still to be committed to the topic \(committable.topic), but `topic` is \(topic) now; start once "
                    + "with the old one, or begin anew with --restore none")
        }
        let claim = CommitMarker(
            lineage: context.lineage, generation: context.generation, epoch: committable.epoch)
        session.refresh(now: .now)
        try await session.run("commit epoch \(committable.epoch) to the topic \(topic)", limit: config.reconnectTimeout)
        {
            link in
            if !link.isPrepared {
                // A new link: either the commit got through before the old one was lost, or all is to be done again.
                if let found = link.marker.value, found.lineage == claim.lineage, found.epoch >= claim.epoch { return }
                if log == nil {
                    log = try logged { () throws(EpochLog.Failure) in
                        try EpochLog(
                            opening: committable.file, in: context.stateDirectory, length: committable.length)
                    }
                }
                try begin(link)
                link.isPrepared = true
            }
            try store(claim, link)
        }
        log = nil
        EpochLog.remove(committable.file, in: context.stateDirectory)
    }

    /// Ends the open transaction, with the marker in it.
    func store(_ claim: CommitMarker, _ link: ProducerLink) throws {
        try session.observe?(.storeMarker)
        try session.marker.store(claim, link, limit: .seconds(60))
        try session.observe?(.commit)
        try link.commitTransaction(limit: .seconds(60))
        link.marker = .marker(claim)
        try session.observe?(.committed)
    }

    public func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot {
        context.exactlyOnce ? epochs.snapshot : []
    }

    public func close() async {
        session.close()
        log = nil
    }
}

/// `kafka-sink`.
public enum KafkaSinkPlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.sink(KafkaSink.self)]
}
