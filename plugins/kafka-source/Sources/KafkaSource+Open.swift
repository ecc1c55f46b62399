import CKafka
import DataflowKafka
import DataflowOperator
import Logging

extension KafkaSource {
    public func open(restoring state: StateSnapshot) async throws(OperatorError) {
        let restored = try SourceState(state, mode: config.mode)
        let client = try KafkaClient(
            config.mode == .group ? .member : .consumer, settings, logger: context.logger)
        let consumer = try KafkaConsumer(client)
        let topics = try findTopics(client, limit: config.openTimeout)
        cluster = client.clusterID(timeout: 1000)
        if let cluster, let former = restored?.cluster, former != cluster {
            throw OperatorError(
                .user, .never, "other_cluster",
                "the checkpoint's offsets are of the Kafka cluster \(former), the brokers \(client.brokers) are of \(cluster), where they mean other messages; connect to the former, or start with --restore none"
            )
        }
        if config.mode == .group {
            splits.nextNumber = restored?.nextNumber ?? 0
            do throws(KafkaFailure) {
                try consumer.subscribe(config.topicNames)
            } catch { throw error.operatorError("cannot join the group \(groupName)") }
            self.consumer = consumer
            return
        }
        try takeUp(restored, topics, client)
        try begin(consumer)
        self.consumer = consumer
        unannounced = splits.splits.filter { !$0.hasEnded }.map(\.number)
        if config.stop == nil { scheduleDiscovery() }
    }

    /// The properties of librdkafka.
    private var settings: KafkaSettings {
        var settings = KafkaSettings(config, context)
        settings.set("group.id", groupName)
        settings.set("enable.auto.commit", "false")
        settings.set("enable.auto.offset.store", "false")
        settings.set("auto.offset.reset", "error")
        settings.set("enable.partition.eof", "true")
        settings.set("queued.max.messages.kbytes", String(config.buffer.bytes >> 10))
        settings.setDefault("isolation.level", "read_committed")
        // As many as fit into the buffer: a lower number lets the fetching pause while the buffer is half empty.
        settings.setDefault("queued.min.messages", "1000000")
        settings.setDefault("fetch.message.max.bytes", String(min(8 << 20, config.buffer.bytes >> 2)))
        if config.mode == .group {
            settings.setDefault("partition.assignment.strategy", "cooperative-sticky")
            if let discover = config.discover {
                let milliseconds = min(3_600_000, max(100, discover.nanoseconds / 1_000_000))
                settings.setDefault("topic.metadata.refresh.interval.ms", String(milliseconds))
            }
        }
        return settings
    }

    // MARK: Topics

    /// The topics that are to be read and are there.
    func findTopics(_ client: KafkaClient, limit: Duration) throws(OperatorError) -> [KafkaTopic] {
        let found = try client.retrying("read the metadata", limit: limit) { (timeout) throws(KafkaFailure) in
            let topics =
                selection.hasPatterns
                ? try client.allTopics(timeout: timeout)
                : try client.topics(named: selection.names, timeout: timeout)
            // A topic that is being made has no leaders yet: asked again.
            for topic in topics where selection.contains(topic.name) {
                if let failure = topic.failure, failure.isRetriable { throw failure }
            }
            return topics
        }
        let there = found.filter { $0.failure == nil && selection.contains($0.name) && !$0.partitions.isEmpty }
        for topic in found where selection.isNamed(topic.name) {
            if let failure = topic.failure, !failure.isUnknownTopic {
                throw failure.operatorError("cannot read the topic \(topic.name) of the brokers \(client.brokers)")
            }
        }
        for name in selection.names where !there.contains(where: { $0.name == name }) {
            let all = try client.retrying("read the metadata", limit: limit) { (timeout) throws(KafkaFailure) in
                try client.allTopics(timeout: timeout)
            }
            let suggestion = Suggestion.phrase(for: name, among: all.map(\.name).filter { !$0.hasPrefix("__") })
            throw OperatorError(
                .user, .never, "unknown_topic",
                "there is no topic \(name) at the brokers \(client.brokers)\(suggestion.isEmpty ? "." : suggestion) Create it, or correct the name"
            )
        }
        return there
    }

    // MARK: Positions

    /// Makes this subtask's splits out of the checkpoint and of what the brokers have.
    private func takeUp(
        _ restored: SourceState?, _ topics: [KafkaTopic], _ client: KafkaClient
    ) throws(OperatorError) {
        splits.nextNumber = restored?.nextNumber ?? 0
        var known: [KafkaPartition: PartitionPosition] = [:]
        for position in restored?.partitions ?? [] { known[position.partition] = position }
        let there = Set(topics.flatMap { topic in topic.partitions.map { KafkaPartition(topic.name, $0) } })
        try checkVanished(known, there)
        let own = there.filter { owner(of: $0, parallelism: context.parallelism) == context.subtask }.sorted()

        let knownTopics = Set(known.keys.map(\.topic))
        let fresh = own.filter { known[$0] == nil }
        // A topic that is new by name begins as the user says; what came up by itself is read whole.
        let begins = { (partition: KafkaPartition) -> Bool in
            restored == nil || (!knownTopics.contains(partition.topic) && self.selection.isNamed(partition.topic))
        }
        var starts = try resolve(config.start, fresh.filter(begins), client)
        starts.merge(try resolve(StartConfig(), fresh.filter { !begins($0) }, client)) { first, _ in first }

        var ends: [KafkaPartition: Int64] = [:]
        if config.stop != nil {
            // A run that was interrupted keeps its ends, one that was finished gets new ones.
            let keeps = restored.map { !$0.isFinished } ?? false
            ends = try offsets(own.map { ($0, Int64(RD_KAFKA_OFFSET_END)) }, client)
            if keeps { for partition in own { if let end = known[partition]?.end { ends[partition] = end } } }
        }
        for partition in own {
            let position = known[partition]
            splits.add(
                partition, next: position?.next ?? starts[partition] ?? 0, end: ends[partition],
                number: position?.number, subtask: context.subtask, parallelism: context.parallelism)
        }
    }

    /// Positions of partitions that are not there mean that the topic was deleted, or made again with fewer.
    private func checkVanished(
        _ known: [KafkaPartition: PartitionPosition], _ there: Set<KafkaPartition>
    ) throws(OperatorError) {
        for partition in known.keys.sorted() where !there.contains(partition) {
            guard selection.contains(partition.topic) else {
                if context.subtask == 0 {
                    context.logger.info(
                        "the position of \(partition) is forgotten: the pipeline does not read it any more")
                }
                continue
            }
            let count = there.count { $0.topic == partition.topic }
            let what =
                count == 0
                ? "the topic is not there any more"
                : "the topic has \(count) partition\(count == 1 ? "" : "s") now: it was deleted and made again"
            guard config.onLostOffset != .fail else {
                throw OperatorError(
                    .user, .never, "partition_vanished",
                    "the checkpoint stands at offset \(known[partition]?.next ?? 0) of \(partition), but \(what); start with --restore none, or set `on_lost_offset` to go on without it"
                )
            }
            if context.subtask == 0 { context.logger.warning("\(partition) is given up: \(what)") }
        }
    }

    /// Where partitions begin for which there is no position.
    func resolve(
        _ start: StartConfig, _ partitions: [KafkaPartition], _ client: KafkaClient
    ) throws(OperatorError) -> [KafkaPartition: Int64] {
        let beginning = Int64(RD_KAFKA_OFFSET_BEGINNING)
        let end = Int64(RD_KAFKA_OFFSET_END)
        switch start.position {
        case .earliest: return try offsets(partitions.map { ($0, beginning) }, client)
        case .latest: return try offsets(partitions.map { ($0, end) }, client)
        case .timestamp(let time):
            var found = try offsets(partitions.map { ($0, time) }, client)
            let late = partitions.filter { found[$0] ?? -1 < 0 }
            found.merge(try offsets(late.map { ($0, end) }, client)) { $1 }
            return found
        case .offsets:
            var found: [KafkaPartition: Int64] = [:]
            for partition in partitions {
                if let offset = start.offsets[partition.topic]?[String(partition.number)] {
                    found[partition] = Int64(offset)
                }
            }
            let others = partitions.filter { found[$0] == nil }
            found.merge(try offsets(others.map { ($0, beginning) }, client)) { first, _ in first }
            return found
        }
    }

    private func offsets(
        _ times: [(KafkaPartition, Int64)], _ client: KafkaClient
    ) throws(OperatorError) -> [KafkaPartition: Int64] {
        guard !times.isEmpty else { return [:] }
        let found = try client.retrying("list the offsets", limit: config.openTimeout) {
            (timeout) throws(KafkaFailure) in try client.offsets(at: times, timeout: timeout)
        }
        return Dictionary(found.map { ($0.partition, $0.offset) }) { first, _ in first }
    }

    /// Has librdkafka fetch what is not at its end.
    private func begin(_ consumer: KafkaConsumer) throws(OperatorError) {
        _ = splits.takeEnded()
        do throws(KafkaFailure) {
            try consumer.add(splits.splits.filter { !$0.hasEnded }.map { ($0.partition, $0.next) })
        } catch { throw error.operatorError("cannot begin to read from the brokers \(consumer.client.brokers)") }
    }

    // MARK: While running

    func scheduleDiscovery() {
        nextDiscovery = config.discover.map { context.clock.now.advanced(by: $0) }
    }

    /// Looks for new partitions and topics, and for those that are gone.
    func discover(_ consumer: KafkaConsumer) throws(OperatorError) {
        scheduleDiscovery()
        let client = consumer.client
        let topics: [KafkaTopic]
        do throws(OperatorError) {
            topics = try findTopics(client, limit: .seconds(1))
        } catch {
            if error.code == "unknown_topic" {
                throw OperatorError(.external, .withBackoff, error.code, error.message, underlying: error)
            }
            // The brokers are away or busy: reading says so, and the next look comes.
            if !discoveryFails { context.logger.warning("looking for new partitions failed: \(error.message)") }
            discoveryFails = true
            return
        }
        discoveryFails = false
        let there = Set(topics.flatMap { topic in topic.partitions.map { KafkaPartition(topic.name, $0) } })
        if let gone = splits.splits.first(where: { !$0.isGone && !there.contains($0.partition) }) {
            throw OperatorError(
                .external, .withBackoff, "partition_vanished",
                "\(gone.partition) is not there any more: the topic was deleted or made again")
        }
        let fresh = there.filter {
            owner(of: $0, parallelism: context.parallelism) == context.subtask && splits.index(of: $0) == nil
        }.sorted()
        guard !fresh.isEmpty else { return }
        let starts = try resolve(StartConfig(), fresh, client)
        for partition in fresh {
            let number = splits.add(
                partition, next: starts[partition] ?? 0, end: nil, subtask: context.subtask,
                parallelism: context.parallelism)
            unannounced = (unannounced ?? []) + [number]
        }
        context.logger.info("new partitions: \(fresh.map(\.description).joined(separator: ", "))")
        do throws(KafkaFailure) {
            try consumer.add(fresh.map { ($0, starts[$0] ?? 0) })
        } catch { throw error.operatorError("cannot begin to read new partitions") }
    }

    /// Decides what to do where the message at a position is not there.
    func recoverLostOffset(_ index: Int, _ consumer: KafkaConsumer) throws(OperatorError) {
        let partition = splits[index].partition
        let next = splits[index].next
        let first =
            try offsets([(partition, Int64(RD_KAFKA_OFFSET_BEGINNING))], consumer.client)[partition] ?? 0
        let last = try offsets([(partition, Int64(RD_KAFKA_OFFSET_END))], consumer.client)[partition] ?? 0
        if first...max(first, last) ~= next {
            // A leader that was behind; or the position is just at the end.
            try move(index, to: next, consumer)
            return
        }
        let what =
            next < first
            ? "\(first - next) messages were deleted before they were read"
            : "the topic was cut off or made again"
        let text =
            "\(partition): there is no message at offset \(next), the partition holds \(first)..<\(last): \(what)"
        switch config.onLostOffset {
        case .fail:
            throw OperatorError(
                .user, .never, "lost_offset",
                "\(text); set `on_lost_offset` to `earliest` or `latest` to go on without them, or start with --restore none"
            )
        case .earliest:
            context.logger.warning("\(text); going on at \(first)")
            try move(index, to: first, consumer)
        case .latest:
            context.logger.warning("\(text); going on at \(last)")
            try move(index, to: last, consumer)
        }
    }

    private func move(_ index: Int, to offset: Int64, _ consumer: KafkaConsumer) throws(OperatorError) {
        splits[index].next = offset
        let partition = splits[index].partition
        do throws(KafkaFailure) {
            try consumer.remove([partition])
            try consumer.add([(partition, offset)])
        } catch { throw error.operatorError("cannot go on reading \(partition) at \(offset)") }
    }
}
