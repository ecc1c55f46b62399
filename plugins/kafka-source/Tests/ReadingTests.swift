import DataflowKafkaTesting
import DataflowKafka
import DataflowOperator
import DataflowTesting
import Testing

@testable import KafkaSource

@Suite(.enabled(if: KafkaTestBroker.isThere)) struct `kafka-source reads` {
    @Test func `key, value, headers, time and place of every message`() async throws {
        let topic = try TestTopic(partitions: 2)
        try topic.producer.send(
            topic.name, partition: 1, key: "short", Array("a value of more than twelve bytes".utf8),
            headers: [("trace", "1234567890 abcdef"), ("empty", nil)], timestamp: 4_102_444_800_123)
        try topic.producer.send(topic.name, partition: 1, key: "a key of more than twelve bytes", nil)
        try topic.producer.send(topic.name, partition: 0, [], timestamp: 4_102_444_800_001)
        try topic.producer.flush()
        let rows = try await readAll(topic.config()).messages
        #expect(rows.map(\.partition) == [0, 1, 1])
        #expect(rows.map(\.offset) == [0, 0, 1])
        #expect(rows.map(\.key) == [nil, "short", "a key of more than twelve bytes"])
        #expect(rows.map(\.value) == ["", "a value of more than twelve bytes", nil])
        #expect(rows[1].timestamp == 4_102_444_800_123_000)
        #expect(
            rows[1].headers == [
                .structure(["trace", .bytes(Array("1234567890 abcdef".utf8))]), .structure(["empty", nil]),
            ])
        #expect(rows.allSatisfy { $0.topic == topic.name })
    }

    @Test func `only the columns that somebody uses`() async throws {
        let topic = try TestTopic()
        try topic.send(["a"])
        let source = try await Harness(KafkaSource.self, topic.config(), usedColumns: .some(["value", "offset"]))
        try await source.readAll()
        #expect(source.output.rows() == [[nil, .bytes([97]), nil, nil, nil, nil, 0]])
        await source.close()
    }

    @Test func `what kcat writes`() async throws {
        let topic = try TestTopic(partitions: 3)
        let lines = (0..<5000).map { "key\($0 % 10):line \($0)" }
        _ = try shell(
            "kcat -P -b \(topic.broker) -t \(topic.name) -K: -z gzip", input: lines.joined(separator: "\n"))
        let rows = try await readAll(topic.config()).messages
        #expect(Set(rows.map { "\($0.key ?? ""):\($0.value ?? "")" }) == Set(lines))
        #expect(rows.count == lines.count)
    }

    @Test(arguments: ["lz4", "snappy", "zstd"]) func `every compression`(codec: String) async throws {
        let topic = try TestTopic()
        let producer = try KafkaTestProducer(topic.broker, ["compression.type": codec])
        for index in 0..<2000 { try producer.send(topic.name, "row \(index)") }
        try producer.flush()
        #expect(try await readAll(topic.config()).values == (0..<2000).map { "row \($0)" })
    }

    @Test func `messages of nearly one megabyte, more of them than the buffer holds`() async throws {
        let topic = try TestTopic()
        for index in 0..<40 {
            try topic.producer.send(topic.name, [UInt8](repeating: UInt8(index), count: 900_000 + index))
        }
        try topic.producer.flush()
        let source = try await Harness(KafkaSource.self, topic.config { $0.buffer = .mebibytes(4) })
        try await source.readAll()
        let rows = source.output.rows()
        #expect(
            rows.map { row in if case .bytes(let bytes) = row[1] { bytes.count } else { 0 } }
                == (0..<40).map { 900_000 + $0 })
        #expect(source.output.batches().allSatisfy { $0.byteCount < 3 << 20 })
        await source.close()
    }

    @Test func `several topics and all that match a pattern, once each`() async throws {
        let first = try TestTopic(prefix: "many-a")
        let second = try TestTopic(prefix: "many-b")
        let other = try TestTopic(prefix: "other")
        try first.send(["a"])
        try second.send(["b"])
        try other.send(["c"])
        let number = first.name.dropFirst("many-a-".count)
        let rows = try await readAll(
            first.config {
                $0.topic = nil
                $0.topics = [
                    Located(first.name), Located("^many-.-(\(number)|\(second.name.dropFirst(7)))$"),
                    Located(other.name),
                ]
            }
        ).messages
        #expect(rows.map(\.topic) == [first.name, second.name, other.name])
        #expect(rows.map(\.value) == ["a", "b", "c"])
    }

    @Test func `an empty topic to its end`() async throws {
        let topic = try TestTopic(partitions: 3)
        let output = try await readAll(topic.config())
        #expect(output.rows().isEmpty)
        #expect(output.splitEvents == [.assigned([])])
    }

    @Test func `nothing behind the end that the topic had at the start`() async throws {
        let topic = try TestTopic()
        try topic.send(["a", "b"])
        let source = try await Harness(KafkaSource.self, topic.config())
        try topic.send(["c"])
        try await source.readAll()
        #expect(source.output.values == ["a", "b"])
        #expect(source.output.splitEvents == [.assigned([0]), .ended(0)])
        await source.close()
    }

    @Test func `committed transactions only, and ends behind their marks`() async throws {
        let topic = try TestTopic()
        let producer = try KafkaTestProducer(topic.broker, transactionalID: topic.name)
        for (text, commits) in [("kept", true), ("dropped", false), ("also kept", true), ("dropped at the end", false)]
        {
            try producer.beginTransaction()
            for index in 0..<10 { try producer.send(topic.name, "\(text) \(index)") }
            try producer.flush()
            if commits { try producer.commitTransaction() } else { try producer.abortTransaction() }
        }
        let source = try await Harness(KafkaSource.self, topic.config())
        try await source.readAll()
        #expect(source.hasEnded, "the last messages are marks and aborted ones: no message stands at the end")
        #expect(source.output.values == (0..<10).map { "kept \($0)" } + (0..<10).map { "also kept \($0)" })
        let state = try #require(try SourceState(source.checkpoint(), mode: .fixed))
        #expect(state.partitions.map(\.next) == [try topic.admin.end(topic.name, 0)])
        await source.close()
    }

    @Test func `nothing of a transaction that is still open`() async throws {
        let topic = try TestTopic()
        try topic.send(["before"])
        let producer = try KafkaTestProducer(topic.broker, transactionalID: topic.name)
        try producer.beginTransaction()
        try producer.send(topic.name, "open")
        try producer.flush()
        try topic.send(["behind"])
        #expect(try await readAll(topic.config()).values == ["before"])
        try producer.commitTransaction()
        #expect(try await readAll(topic.config()).values == ["before", "open", "behind"])
    }

    @Test func `uncommitted messages where the properties say so`() async throws {
        let topic = try TestTopic()
        let producer = try KafkaTestProducer(topic.broker, transactionalID: topic.name)
        try producer.beginTransaction()
        try producer.send(topic.name, "aborted")
        try producer.flush()
        try producer.abortTransaction()
        let config = topic.config {
            $0.connection.properties = KafkaProperties([.init("isolation.level", "read_uncommitted")])
        }
        #expect(try await readAll(config).values == ["aborted"])
    }

    @Test func `a limited number of rows a poll`() async throws {
        let topic = try TestTopic()
        try topic.send((0..<10).map { "\($0)" })
        let source = try await Harness(KafkaSource.self, topic.config { $0.stop = nil })
        var seen = 0
        for _ in 0..<100 where seen < 10 {
            try await source.poll(rowLimit: 3)
            let count = source.take().rows().count
            #expect(count <= 3)
            seen += count
        }
        #expect(seen == 10)
        await source.close()
    }

    @Test func `splits that rest as idle, and wakes them`() async throws {
        let topic = try TestTopic(partitions: 2)
        try topic.send(["a"], partition: 1)
        let source = try await Harness(KafkaSource.self, topic.config { $0.stop = nil })
        try await source.poll { $0.splitEvents.count == 3 }
        #expect(Set(source.output.splitEvents) == [.assigned([0, 1]), .idle(0), .idle(1)])
        _ = source.take()
        try topic.send(["b"], partition: 0)
        try await source.poll { $0.splitEvents == [.idle(0)] }
        #expect(source.output.batches().map(\.split) == [0])
        await source.close()
    }
}
