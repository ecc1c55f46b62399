import CKafka
import DataflowKafka
import DataflowKafkaTesting
import DataflowOperator
import DataflowTesting
import Testing

@testable import KafkaSource

@Suite struct `a member of a group` {
    private let a = KafkaPartition("a", 0)
    private let b = KafkaPartition("b", 1)

    @Test func `takes what it is given`() {
        var member = GroupMembership()
        #expect(member.handle(.assigned([a, b])) { _ in true } == [.take([a, b])])
    }

    @Test func `gives up at once what the group has the position of`() {
        var member = GroupMembership()
        #expect(member.handle(.revoked([a], isLost: false)) { _ in true } == [.close([a]), .giveUp([a])])
        #expect(member.commitsDone() == [])
    }

    @Test func `gives up the rest when a checkpoint that covers it is complete and committed`() {
        var member = GroupMembership()
        member.snapshot(CheckpointID(1))
        #expect(member.handle(.revoked([a, b], isLost: false)) { $0 == a } == [.close([a, b])])
        member.completed(CheckpointID(1))
        #expect(member.commitsDone() == [], "checkpoint 1 was before the last rows")
        member.snapshot(CheckpointID(2))
        member.snapshot(CheckpointID(3))
        #expect(member.commitsDone() == [])
        member.completed(CheckpointID(2))
        #expect(member.commitsDone() == [.giveUp([a, b])])
        #expect(member.commitsDone() == [])
    }

    @Test func `waits for the next checkpoint where the group does not take a position`() {
        var member = GroupMembership()
        _ = member.handle(.revoked([a], isLost: false)) { _ in false }
        for id in 1...2 {
            member.snapshot(CheckpointID(UInt64(id)))
            member.completed(CheckpointID(UInt64(id)))
            if id == 1 { member.commitFailed() }
            #expect(member.commitsDone() == (id == 1 ? [] : [.giveUp([a])]))
        }
    }

    @Test func `gives up on leaving what it still held back`() {
        var member = GroupMembership()
        #expect(member.leave() == nil)
        _ = member.handle(.revoked([a, b], isLost: false)) { _ in false }
        #expect(member.leave() == [a, b])
        #expect(member.leave() == nil)
    }

    @Test func `gives up at once what it has lost`() {
        var member = GroupMembership()
        #expect(member.handle(.revoked([a], isLost: false)) { _ in false } == [.close([a])])
        #expect(member.handle(.revoked([a], isLost: true)) { _ in false } == [.close([a]), .giveUp([a])])
        member.snapshot(CheckpointID(1))
        member.completed(CheckpointID(1))
        #expect(member.commitsDone() == [])
    }
}

@Suite struct `several kafka-sources of one group` {
    private func config(_ brokers: String, _ topic: String, _ strategy: String) -> KafkaSourceConfig {
        var config = KafkaSourceConfig()
        config.connection.brokers = OneOrMany([brokers])
        config.topic = topic
        config.group = topic
        config.mode = .group
        config.connection.properties = KafkaProperties([
            .init("session.timeout.ms", "6000"), .init("heartbeat.interval.ms", "300"),
            .init("partition.assignment.strategy", strategy),
        ])
        return config
    }

    /// One of them with its checkpoints.
    private final class Member {
        let source: Harness
        private var checkpoint: UInt64 = 0

        init(_ config: KafkaSourceConfig) async throws { source = try await Harness(KafkaSource.self, config) }

        /// A checkpoint, complete everywhere.
        func complete() async throws {
            checkpoint += 1
            _ = try source.checkpoint()
            try await source.checkpointCompleted(CheckpointID(checkpoint))
        }

        var rows: [Row] { source.output.messages }
    }

    /// The tests' broker starts a new generation as soon as a member comes or goes and refuses commits of the one before,
    /// which Apache Kafka takes until all have joined again: so checkpoints wait here until a rebalance is through.
    @Test(.enabled(if: KafkaTestBroker.isThere))
    func `read each row once while one comes and goes`() async throws {
        let topic = try TestTopic(partitions: 4, prefix: "group")
        let settings = config(topic.broker, topic.name, "cooperative-sticky")
        var sent = 0
        func send(_ count: Int) throws {
            for index in sent..<(sent + count) {
                try topic.producer.send(topic.name, partition: Int32(index % 4), "row \(index)")
            }
            try topic.producer.flush()
            sent += count
        }
        try send(400)
        let first = try await Member(settings)
        try await first.source.poll(untilRows: 400)
        let second = try await Member(settings)
        func takeTurns(atMost count: Int, while isOpen: () -> Bool) async throws {
            var turns = 0
            while isOpen(), turns < count {
                try await first.source.poll(for: .milliseconds(25))
                try await second.source.poll(for: .milliseconds(25))
                turns += 1
            }
        }
        // The second has joined when it has been told that nothing is free yet.
        try await takeTurns(atMost: 600) { second.source.output.splitEvents.count < 2 }
        try await takeTurns(atMost: 20) { true }
        #expect(second.rows.isEmpty, "the first keeps its partitions until a checkpoint covers its rows")
        try await first.complete()
        try await takeTurns(atMost: 600) { second.source.output.splitEvents.count < 3 }
        try send(400)
        try await takeTurns(atMost: 600) { first.rows.count + second.rows.count < sent }
        #expect(!first.rows.isEmpty && !second.rows.isEmpty)
        // The first goes: its last checkpoint, then it leaves.
        try await first.complete()
        try await second.complete()
        await first.source.close()
        try send(400)
        try await second.source.poll(untilRows: sent - first.rows.count)
        let rows = first.rows + second.rows
        #expect(rows.count == sent)
        #expect(Set(rows).count == sent, "none twice")
        func committed() throws -> Int64 {
            try (0..<4).reduce(0) { try $0 + (topic.admin.committed(topic.name, topic.name, $1) ?? 0) }
        }
        for _ in 0..<100 where try committed() < Int64(sent) {
            try await second.complete()
            try await second.source.poll()
        }
        #expect(try committed() == Int64(sent))
        await second.source.close()
    }

    @Test(.enabled(if: KafkaTestBroker.isThere))
    func `read on what comes back to them`() async throws {
        let topic = try TestTopic(partitions: 4, prefix: "group")
        let settings = config(topic.broker, topic.name, "cooperative-sticky")
        func send(_ numbers: Range<Int>) throws {
            for number in numbers { try topic.producer.send(topic.name, partition: Int32(number % 4), "row \(number)") }
            try topic.producer.flush()
        }
        try send(0..<40)
        let first = try await Member(settings)
        try await first.source.poll(untilRows: 40)
        try await first.complete()
        let second = try await Member(settings)
        func takeTurns(while isOpen: () -> Bool) async throws {
            for _ in 0..<600 where isOpen() {
                try await first.source.poll(for: .milliseconds(25))
                try await second.source.poll(for: .milliseconds(25))
            }
        }
        // It has joined, and has been given the partitions that the first has given up.
        try await takeTurns { second.source.output.splitEvents.count < 3 }
        try send(40..<80)
        try await takeTurns { first.rows.count + second.rows.count < 80 }
        #expect(first.rows.count == 60 && second.rows.count == 20)
        try await second.complete()
        await second.source.close()
        try send(80..<120)
        try await first.source.poll(untilRows: 100)
        #expect(Set(first.rows + second.rows).count == 120)
        #expect(first.rows.count == 100)
        await first.source.close()
    }

    @Test(.enabled(if: KafkaTestBroker.isThere))
    func `begin where the group stands, and at their start where it stands nowhere`() async throws {
        let topic = try TestTopic(partitions: 1, prefix: "group")
        let settings = config(topic.broker, topic.name, "cooperative-sticky")
        try topic.send(["a", "b"])
        let first = try await Member(settings)
        try await first.source.poll(untilRows: 2)
        try await first.complete()
        await first.source.close()
        try topic.send(["c"])
        let second = try await Member(settings)
        try await second.source.poll(untilRows: 1)
        #expect(second.source.output.values == ["c"])
        // Without a checkpoint: the next member reads it again.
        await second.source.close()
        let third = try await Member(settings)
        try await third.source.poll(untilRows: 1)
        #expect(third.source.output.values == ["c"])
        await third.source.close()
    }

    /// With librdkafka's mock brokers, which refuse as they are told.
    @Test func `leave only when the group has their last positions`() async throws {
        let cluster = try #require(KafkaMockCluster())
        cluster.createTopic("orders", partitions: 1)
        let producer = try KafkaTestProducer(cluster.brokers)
        for number in 0..<10 { try producer.send("orders", "row \(number)") }
        try producer.flush()
        let settings = config(cluster.brokers, "orders", "cooperative-sticky")
        let first = try await Member(settings)
        try await first.source.poll(untilRows: 10)
        // As it is while the members' leader deals out the partitions.
        cluster.refuse(api: 8, with: Array(repeating: RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, count: 2))
        try await first.complete()
        await first.source.close()
        try producer.send("orders", "last")
        try producer.flush()
        let second = try await Member(settings)
        try await second.source.poll(untilRows: 1)
        #expect(second.source.output.values == ["last"])
        await second.source.close()
    }
}
