import DataflowKafka
import DataflowKafkaTesting
import DataflowOperator
import DataflowTesting
import Testing

@testable import KafkaSource

/// The error that opening a source ends with.
private func openingError(_ config: KafkaSourceConfig, restoring state: StateSnapshot = []) async -> OperatorError? {
    do {
        let source = try await Harness(KafkaSource.self, config, restoring: state)
        await source.close()
        return nil
    } catch { return error as? OperatorError }
}

/// The error that reading ends with.
private func readingError(_ config: KafkaSourceConfig, restoring state: StateSnapshot = []) async throws
    -> OperatorError?
{
    let source = try await Harness(KafkaSource.self, config, restoring: state)
    var found: OperatorError?
    for _ in 0..<300 where found == nil && !source.hasEnded {
        do { try await source.poll() } catch { found = error as? OperatorError }
    }
    await source.close()
    return found
}

@Suite(.enabled(if: KafkaTestBroker.isThere)) struct `kafka-source begins` {
    private func values(_ topic: TestTopic, _ start: String) async throws -> [String] {
        var config = topic.config()
        let node: ConfigNode =
            switch start {
            case "earliest", "latest": .text(start)
            case "offsets":
                .mapping([("offsets", .mapping([(topic.name, .mapping([("0", .text("7"))]))]))])
            default: .mapping([("timestamp", .text(start))])
            }
        config.start = try StartConfig(decoding: node)
        return try await readAll(config).values
    }

    @Test func `where the settings say`() async throws {
        let topic = try TestTopic(partitions: 2)
        for index in 0..<10 {
            try topic.producer.send(
                topic.name, partition: 0, Array("\(index)".utf8), timestamp: 4_102_444_800_000 + Int64(index) * 1000)
        }
        try topic.producer.send(topic.name, partition: 1, Array("other".utf8), timestamp: 4_102_444_803_000)
        try topic.producer.flush()
        #expect(try await values(topic, "earliest").count == 11)
        #expect(try await values(topic, "latest") == [])
        #expect(try await values(topic, "offsets") == ["7", "8", "9", "other"])
        #expect(try await values(topic, "2100-01-01T00:00:05Z") == ["5", "6", "7", "8", "9"])
        #expect(try await values(topic, "2100-01-01T00:00:02.5Z") == ["3", "4", "5", "6", "7", "8", "9", "other"])
        #expect(try await values(topic, "2101-01-01T00:00:00Z") == [])
    }

    @Test func `at the end of the topic, and keeps that over a restart`() async throws {
        let topic = try TestTopic()
        try topic.send(["old"])
        let latest = try StartConfig(decoding: .text("latest"))
        let source = try await Harness(KafkaSource.self, topic.config { ($0.start, $0.stop) = (latest, nil) })
        let state = try source.checkpoint()
        await source.close()
        try topic.send(["new"])
        #expect(try await readAll(topic.config { $0.start = latest }, restoring: state).values == ["new"])
    }

    @Test func `only where a topic of that name is`() async throws {
        let topic = try TestTopic(prefix: "orders-of-today")
        let error = await openingError(topic.config { $0.topic = topic.name.replacing("today", with: "todya") })
        #expect(error?.code == "unknown_topic")
        #expect(error?.message.contains("? Create it, or correct the name") == true)
        #expect(error?.message.contains("did you mean `\(topic.name)`") == true, "\(error?.message ?? "")")
        #expect(error?.domain == .user)
    }

    @Test func `not before the brokers are there, and says which`() async throws {
        let topic = try TestTopic()
        let error = await openingError(
            topic.config {
                $0.connection.brokers = OneOrMany(["127.0.0.1:1"])
                $0.openTimeout = .seconds(1)
            })
        #expect(error?.code == "broker_unreachable")
        #expect(error?.retry == .withBackoff)
        #expect(error?.message.contains("127.0.0.1:1") == true)
    }
}

@Suite(.enabled(if: KafkaTestBroker.isThere)) struct `kafka-source goes on` {
    @Test func `behind the last row, at any parallelism, each message once`() async throws {
        let topic = try TestTopic(partitions: 5)
        let wanted = (0..<4000).map { "row \($0)" }
        try topic.send(wanted)
        var state: StateSnapshot = []
        var seen: [String] = []
        var numbers: [Int: Set<Int32>] = [:]
        for (piece, parallelism) in [1, 3, 4, 2, 1].enumerated() {
            var tables: StateSnapshot = []
            for subtask in 0..<parallelism {
                let config = topic.config { $0.stop = piece == 4 ? .latest : nil }
                let source = try await Harness(
                    KafkaSource.self,
                    config, restoring: state, subtask: subtask, parallelism: parallelism)
                if piece == 4 {
                    try await source.readAll()
                } else {
                    for _ in 0..<4 { try await source.poll(rowLimit: 70) }
                }
                for batch in source.output.batches() {
                    for row in batch.rows.map(Row.init) where batch.split >= 0 {
                        numbers[row.partition, default: []].insert(batch.split)
                    }
                }
                seen += source.output.values
                tables += try source.checkpoint()
                await source.close()
            }
            state = tables.merged
        }
        #expect(seen.sorted() == wanted.sorted())
        #expect(numbers.values.allSatisfy { $0.count == 1 }, "a partition keeps the number of its split")
    }

    @Test func `a run that was interrupted to its own end, a finished one to a new end`() async throws {
        let topic = try TestTopic()
        try topic.send(["a", "b", "c"])
        let first = try await Harness(KafkaSource.self, topic.config())
        try await first.poll(rowLimit: 1)
        while first.output.rows().isEmpty { try await first.poll(rowLimit: 1) }
        let interrupted = try first.checkpoint()
        await first.close()
        try topic.send(["d"])
        let second = try await Harness(KafkaSource.self, topic.config(), restoring: interrupted)
        try await second.readAll()
        #expect(second.output.values == ["b", "c"])
        let finished = try second.checkpoint()
        await second.close()
        #expect(try await readAll(topic.config(), restoring: finished).values == ["d"])
    }

    @Test func `and tells the group after a checkpoint`() async throws {
        let topic = try TestTopic(partitions: 2)
        try topic.send(["a", "b", "c"], partition: 0)
        let source = try await Harness(KafkaSource.self, topic.config())
        try await source.readAll()
        _ = try source.checkpoint()
        #expect(try topic.admin.committed(topic.name, topic.name, 0) == nil)
        try await source.checkpointCompleted(CheckpointID(1))
        await source.close()
        #expect(try topic.admin.committed(topic.name, topic.name, 0) == 3)
        #expect(try topic.admin.committed(topic.name, topic.name, 1) == 0)
    }

    @Test func `only at the cluster that the offsets are of`() async throws {
        let topic = try TestTopic()
        let source = try await Harness(KafkaSource.self, topic.config())
        var state = try #require(try SourceState(source.checkpoint(), mode: .fixed))
        await source.close()
        try #require(state.cluster != nil)
        state.cluster = "another"
        let error = await openingError(topic.config(), restoring: state.snapshot(mode: .fixed))
        #expect(error?.code == "other_cluster")
    }

    @Test(arguments: LostOffsetPolicy.allCases)
    func `where messages were deleted, as the policy says`(policy: LostOffsetPolicy) async throws {
        let topic = try TestTopic()
        try topic.send((0..<20).map { "\($0)" })
        let first = try await Harness(KafkaSource.self, topic.config { $0.stop = nil })
        try await first.poll(rowLimit: 5)
        while first.output.rows().isEmpty { try await first.poll(rowLimit: 5) }
        let state = try first.checkpoint()
        await first.close()
        try topic.admin.deleteRecords(topic.name, 0, before: 12)
        let config = topic.config { ($0.onLostOffset, $0.stop) = (policy, nil) }
        switch policy {
        case .fail:
            let error = try await readingError(config, restoring: state)
            #expect(error?.code == "lost_offset")
            #expect(error?.message.contains("the partition holds 12..<20") == true, "\(error?.message ?? "")")
            #expect(error?.retry == .never)
        case .earliest:
            let source = try await Harness(KafkaSource.self, config, restoring: state)
            try await source.poll(untilRows: 8)
            #expect(source.output.values == (12..<20).map { "\($0)" })
            await source.close()
        case .latest:
            let source = try await Harness(KafkaSource.self, config, restoring: state)
            try await source.poll { !$0.splitEvents.filter { $0 == .idle(0) }.isEmpty }
            try topic.send(["new"])
            try await source.poll(untilRows: 1)
            #expect(source.output.values == ["new"])
            await source.close()
        }
    }

    @Test func `not where the topic was deleted, or made again with fewer partitions`() async throws {
        let topic = try TestTopic(partitions: 3)
        try topic.send(["a"], partition: 2)
        let first = try await Harness(KafkaSource.self, topic.config())
        try await first.readAll()
        let state = try first.checkpoint()
        await first.close()
        try topic.admin.deleteTopic(topic.name)
        try topic.admin.createTopic(topic.name, partitions: 1)
        let fewer = await openingError(topic.config(), restoring: state)
        #expect(fewer?.code == "partition_vanished")
        #expect(fewer?.message.contains("the topic has 1 partition now") == true, "\(fewer?.message ?? "")")
        try topic.send(["b"], by: KafkaTestProducer(topic.broker))
        let config = topic.config { $0.onLostOffset = .earliest }
        #expect(try await readAll(config, restoring: state).values == ["b"])
    }

    @Test func `with partitions and topics that come while it runs`() async throws {
        let topic = try TestTopic(partitions: 1, prefix: "grows")
        let clock = ManualClock()
        let number = topic.name.dropFirst("grows-".count)
        let config = topic.config {
            $0.topic = nil
            $0.topics = [Located("^grows-\(number)")]
            $0.stop = nil
        }
        let source = try await Harness(KafkaSource.self, config, clock: clock)
        try topic.send(["old"])
        try await source.poll(untilRows: 1)
        try topic.admin.addPartitions(topic.name, total: 2)
        let late = topic.name + "-late"
        try topic.admin.createTopic(late, partitions: 1)
        let producer = try KafkaTestProducer(topic.broker)
        try topic.send(["added"], partition: 1, by: producer)
        try producer.send(late, "late")
        try producer.flush()
        clock.advance(by: .seconds(61))
        try await source.poll(untilRows: 3)
        #expect(source.output.values == ["old", "added", "late"])
        #expect(Set(source.output.splitEvents).isSuperset(of: [.assigned([0]), .assigned([1, 2])]))
        try topic.admin.deleteTopic(late)
        clock.advance(by: .seconds(61))
        let error = await #expect(throws: OperatorError.self) { try await source.poll() }
        #expect(error?.code == "partition_vanished")
        await source.close()
    }

    @Test func `after the broker was killed, losing and repeating nothing`() async throws {
        let folder = try TemporaryDirectory()
        let address = try #require(KafkaTestBroker.script("start", folder.path, "0"))
        defer { KafkaTestBroker.script("remove", folder.path) }
        let topic = try TestTopic(partitions: 2, broker: address)
        try topic.send((0..<500).map { "before \($0)" })
        let source = try await Harness(KafkaSource.self, topic.config { $0.stop = nil })
        try await source.poll(untilRows: 500)
        try KafkaTestBroker.awaitDurability(of: folder.path, at: address)
        KafkaTestBroker.script("stop", folder.path, "KILL")
        for _ in 0..<5 { #expect(try await source.poll() != .endOfInput) }
        #expect(KafkaTestBroker.script("start", folder.path, "0") == address)
        try topic.send((0..<500).map { "behind \($0)" })
        try await source.poll(untilRows: 1000)
        let wanted = (0..<500).map { "before \($0)" } + (0..<500).map { "behind \($0)" }
        #expect(source.output.values.sorted() == wanted.sorted())
        await source.close()
    }
}

@Suite(.enabled(if: KafkaTestBroker.isThere)) struct `kafka-source and the rules of operators` {
    @Test func `keeps them`() async throws {
        let topic = try TestTopic(partitions: 2)
        try topic.send((0..<300).map { "\($0)" })
        #expect(try await OperatorConformance.check(KafkaSource.self) { topic.config() } == [])
    }
}
