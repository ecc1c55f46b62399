import DataflowEndToEnd
import DataflowKafkaTesting
import Foundation
import Glibc
import Testing

/// Two processes that share a topic of four partitions as members of one group, each with a checkpoint folder of its own.
///
/// With Tansu, not with `noida-db`: that refuses the positions of a generation as soon as a member comes or goes, which librdkafka takes for
/// the loss of its partitions, and it never gives the partitions of a dead member to another.
@Suite(.serialized, .enabled(if: KafkaTestBroker.isThere, "needs the broker of scripts/kafka.sh"))
struct KafkaGroupTests {
    private static let rounds = Repository.isSoak ? 8 : 1

    private let folder: TemporaryFolder

    init() throws { folder = try TemporaryFolder() }

    /// A topic, and a third process that writes numbers to it until it is stopped.
    private final class Feed {
        let topic = "numbers"
        let brokers: String
        private var process: ChildProcess

        init(_ brokers: String, _ folder: String) throws {
            self.brokers = brokers
            try KafkaTestAdmin(brokers).createTopic(topic, partitions: 4)
            try """
            pipeline: feed
            checkpoint: { interval: 200ms, directory: \(folder)/feed }
            nodes:
              numbers: { type: generate-source, rate: 2000/s, columns: { n: { sequence: {} } } }
              topic: { type: kafka-sink, from: numbers, brokers: "\(brokers)", topic: \(topic), key: n, delivery: at_least_once }

            """.write(toFile: folder + "/feed.yaml", atomically: true, encoding: .utf8)
            process = try ChildProcess(Repository.program("dataflow"), ["run", folder + "/feed.yaml"])
        }

        /// Ends it; what is in the topic.
        func stop() throws -> [Int] {
            process.send(SIGTERM)
            try process.succeed(within: .seconds(60))
            return try kcat(topic, at: brokers).compactMap { Int($0.dropFirst(5).dropLast()) }.sorted()
        }
    }

    /// One that reads.
    private final class Member {
        let name: String
        private let folder: String
        private(set) var process: ChildProcess
        /// What processes that have ended wrote to their logs.
        private var logs = ""

        init(
            _ name: String, of feed: Feed, _ folder: String, _ strategy: String = "cooperative-sticky",
            session: String = "4000"
        ) throws {
            self.name = name
            self.folder = folder + "/" + name
            try FileManager.default.createDirectory(atPath: self.folder, withIntermediateDirectories: true)
            try """
            pipeline: \(name)
            checkpoint: { interval: 100ms, directory: \(self.folder)/state }
            nodes:
              messages:
                type: kafka-source
                brokers: "\(feed.brokers)"
                topic: \(feed.topic)
                group: \(feed.topic)
                mode: group
                properties: { session.timeout.ms: \(session), heartbeat.interval.ms: 200, partition.assignment.strategy: \(strategy) }
              rows: { type: json-parse, from: messages, columns: { n: int64 } }
              out: { type: file-sink, from: rows, path: \(self.folder)/out, delivery: at_least_once }

            """.write(toFile: self.folder + "/p.yaml", atomically: true, encoding: .utf8)
            process = try Member.run(self.folder)
        }

        private static func run(_ folder: String) throws -> ChildProcess {
            try ChildProcess(Repository.program("dataflow"), ["run", folder + "/p.yaml", "--parallelism", "1"])
        }

        func start() throws { process = try Member.run(folder) }

        /// What it has written, in all its lives.
        var numbers: [Int] {
            let names = (try? FileManager.default.contentsOfDirectory(atPath: folder + "/out")) ?? []
            return names.filter { $0.hasPrefix("part-") }.flatMap { name in
                let data = FileManager.default.contents(atPath: "\(folder)/out/\(name)") ?? Data()
                return String(decoding: data, as: UTF8.self).split(separator: "\n").compactMap {
                    Int($0.dropFirst(5).dropLast())
                }
            }
        }

        var partCount: Int {
            ((try? FileManager.default.contentsOfDirectory(atPath: folder + "/out")) ?? [])
                .count { $0.hasPrefix("part-") }
        }

        /// Waits until it has written more than now.
        func writes(within timeout: Duration = .seconds(60)) throws {
            let (before, deadline) = (partCount, ContinuousClock.now + timeout)
            while partCount <= before {
                guard process.wait(timeout: .milliseconds(20)) == nil, ContinuousClock.now < deadline else {
                    throw ChildProcess.Failure(description: "\(name) writes nothing\n\(log)")
                }
            }
        }

        /// As a user stops it: with a last checkpoint.
        func stop() throws {
            process.send(SIGTERM)
            let exit = process.wait(timeout: .seconds(60))
            logs += process.errors
            guard exit == .code(0) else {
                throw ChildProcess.Failure(description: "\(name): \(exit.map(\.description) ?? "does not end")\n\(log)")
            }
        }

        func kill() {
            process.send(SIGKILL)
            _ = process.wait(timeout: .seconds(10))
            logs += process.errors
        }

        var log: String { String((logs + process.errors).suffix(6000)) }
    }

    /// Waits until each number is in one of the outputs, and stops both.
    private func finish(_ members: [Member], _ feed: Feed) throws -> (expected: [Int], found: [Int]) {
        let expected = try feed.stop()
        let deadline = ContinuousClock.now + .seconds(90)
        while Set(members.flatMap(\.numbers)).count < expected.count, ContinuousClock.now < deadline {
            _ = members[0].process.wait(timeout: .milliseconds(100))
        }
        for member in members { try member.stop() }
        return (expected, members.flatMap(\.numbers).sorted())
    }

    @Test(arguments: ["cooperative-sticky"] + (Repository.isSoak ? ["range", "roundrobin"] : []))
    func `process each row once while one is stopped and started again`(strategy: String) throws {
        let server = try KafkaServer("mesh")
        defer { withExtendedLifetime(server) {} }
        let feed = try Feed(server.address, folder.path)
        let first = try Member("first", of: feed, folder.path, strategy)
        try first.writes()
        let second = try Member("second", of: feed, folder.path, strategy)
        for round in 1...Self.rounds {
            try second.writes()
            try first.writes()
            try second.stop()
            try first.writes()
            try second.start()
            // Now and then while partitions are on their way.
            if round % 3 == 0 {
                _ = second.process.wait(timeout: .milliseconds(Int.random(in: 0...1500)))
                try second.stop()
                try second.start()
            }
        }
        try second.writes()
        let (expected, found) = try finish([first, second], feed)
        #expect(expected.count > 1000)
        #expect(!first.numbers.isEmpty && !second.numbers.isEmpty)
        #expect(
            found.count == expected.count && Set(found) == Set(expected),
            "expected \(expected.count) found \(found.count)\n\(first.log)\n\(second.log)")
    }

    @Test func `process each row at least once while one is killed`() throws {
        let server = try KafkaServer("mesh")
        defer { withExtendedLifetime(server) {} }
        let feed = try Feed(server.address, folder.path)
        // Soon enough given to the other when one is dead.
        let first = try Member("first", of: feed, folder.path, session: "3000")
        let second = try Member("second", of: feed, folder.path, session: "3000")
        for _ in 0..<Self.rounds {
            try second.writes()
            second.kill()
            try first.writes()
            try second.start()
        }
        let (expected, found) = try finish([first, second], feed)
        #expect(Set(found) == Set(expected), "\(first.log)\n\(second.log)")
    }
}
