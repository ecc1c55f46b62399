import DataflowKafka
import DataflowKafkaTesting
import DataflowOperator
import DataflowTesting
import Foundation
import Logging
import Testing

@testable import KafkaSource

/// A topic of its own for a test, at the tests' broker; it is deleted when it is let go.
final class TestTopic {
    let broker: String
    let name: String
    let admin: KafkaTestAdmin
    let producer: KafkaTestProducer

    init(partitions: Int32 = 1, prefix: String = "source", broker: String? = KafkaTestBroker.address) throws {
        self.broker = try #require(broker)
        name = KafkaTestBroker.uniqueName(prefix)
        admin = try KafkaTestAdmin(self.broker)
        producer = try KafkaTestProducer(self.broker)
        try admin.createTopic(name, partitions: partitions)
    }

    deinit { try? admin.deleteTopic(name) }

    /// Sends texts to a partition, or to any, and waits until the broker has them. A producer keeps for a while what it
    /// knows of a topic: one that has changed needs another.
    func send(_ texts: some Sequence<String>, partition: Int32 = -1, by other: KafkaTestProducer? = nil) throws {
        let producer = other ?? producer
        for text in texts { try producer.send(name, partition: partition, text) }
        try producer.flush()
    }

    /// Settings that read the topic to its present end.
    func config(_ change: (inout KafkaSourceConfig) -> Void = { _ in }) -> KafkaSourceConfig {
        var config = KafkaSourceConfig()
        config.connection.brokers = OneOrMany([broker])
        config.topic = name
        config.group = name
        config.stop = .latest
        config.openTimeout = .seconds(20)
        change(&config)
        return config
    }
}

/// A message as the source emits it.
struct Row: Hashable, Comparable {
    var key: String?
    var value: String?
    var headers: [Value]
    var timestamp: Int64?
    var topic: String
    var partition: Int
    var offset: Int

    init(_ row: [Value]) {
        func text(_ value: Value) -> String? {
            if case .bytes(let bytes) = value { String(decoding: bytes, as: UTF8.self) } else { nil }
        }
        func number(_ value: Value) -> Int { if case .int(let number) = value { Int(number) } else { -1 } }
        key = text(row[0])
        value = text(row[1])
        headers = if case .list(let headers) = row[2] { headers } else { [] }
        timestamp = if case .timestamp(let time) = row[3] { time } else { nil }
        topic = if case .string(let topic) = row[4] { topic } else { "" }
        partition = number(row[5])
        offset = number(row[6])
    }

    static func < (a: Row, b: Row) -> Bool { (a.topic, a.partition, a.offset) < (b.topic, b.partition, b.offset) }
}

extension Emitted {
    /// What came out, by topic, partition and offset.
    var messages: [Row] { rows().map(Row.init).sorted() }
    /// The values alone, in that order.
    var values: [String] { messages.map { $0.value ?? "null" } }
}

typealias Harness = SourceHarness<KafkaSource>

/// Reads all that the settings want, and closes.
func readAll(_ config: KafkaSourceConfig, restoring state: StateSnapshot = []) async throws -> Emitted {
    let source = try await Harness(KafkaSource.self, config, restoring: state)
    try await source.readAll()
    #expect(source.hasEnded)
    await source.close()
    return source.output
}

extension SourceHarness {
    /// Polls until so many rows have come; gives up after about half a minute.
    func poll(untilRows count: Int) async throws {
        var polls = 0
        while output.batches().reduce(0, { $0 + $1.rowCount }) < count, polls < 300 {
            try await poll()
            polls += 1
        }
    }

    /// Polls until something has happened; gives up after about half a minute.
    func poll(until isDone: (Emitted) throws -> Bool) async throws {
        var polls = 0
        while try !isDone(output), polls < 300 {
            try await poll()
            polls += 1
        }
    }
}

extension [StateTable] {
    /// What several subtasks have written, as a restart at another parallelism gets it: tables of one name are one.
    var merged: StateSnapshot {
        var tables: StateSnapshot = []
        for table in self {
            if let index = tables.firstIndex(where: { $0.name == table.name }) {
                tables[index].batches += table.batches
            } else {
                tables.append(table)
            }
        }
        return tables
    }
}

/// Runs a command with some text as its input; its output, nil if it fails.
func shell(_ command: String, input: String = "") throws -> String? {
    let process = Process()
    process.executableURL = URL(filePath: "/bin/bash")
    process.arguments = ["-c", command]
    let (standardInput, standardOutput) = (Pipe(), Pipe())
    process.standardInput = standardInput
    process.standardOutput = standardOutput
    process.standardError = FileHandle.nullDevice
    try process.run()
    try standardInput.fileHandleForWriting.write(contentsOf: Data(input.utf8))
    try standardInput.fileHandleForWriting.close()
    let output = try standardOutput.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    return process.terminationStatus == 0 ? String(decoding: output, as: UTF8.self) : nil
}
