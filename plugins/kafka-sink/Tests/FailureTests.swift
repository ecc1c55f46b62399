import CKafka
import DataflowKafka
import DataflowKafkaTesting
import DataflowOperator
import DataflowTesting
import Foundation
import Testing

@testable import KafkaSink

/// Lets one step of the protocol fail, counted over all clients of a scenario.
final class Saboteur {
    enum Act: CaseIterable {
        /// The client fails and is made again.
        case connectionLost
        /// The sink's process dies; its transaction stays open at the broker.
        case processKilled
        /// The sink's process stands still, and goes on when another has taken its place.
        case processFrozen
    }

    struct Crash: Error {}

    let act: Act
    let moment: Int
    private(set) var count = 0
    private(set) var isDone = false
    private(set) var step: KafkaSession.Step?

    init(_ act: Act, at moment: Int) {
        self.act = act
        self.moment = moment
    }

    func watch(_ sink: KafkaSink) {
        sink.session.observe = { [unowned self] step in
            count += 1
            guard count == moment else { return }
            isDone = true
            self.step = step
            switch act {
            case .connectionLost: throw KafkaFailure(RD_KAFKA_RESP_ERR__TRANSPORT, "injected")
            case .processKilled, .processFrozen: throw Crash()
            }
        }
    }
}

/// Four epochs, one of them empty, with a message that the brokers refuse, interrupted at every step.
struct Scenario {
    static let schema = Schema([Field("t", .string)])
    static let input = DataflowOperator.Stream(schema)
    static let big = "big" + String(repeating: "x", count: 1_500_000)

    static let epochs: [[[String]]] = [
        [["a", "b", "c"], ["d", "e"]],
        [],
        [["f"], ["g", big, "h"], (0..<20).map { "i\($0)" }],
        [["j"]],
    ]

    static var expected: [String?] { epochs.flatMap { $0 }.flatMap { $0 }.filter { $0 != big } }

    let place: Workplace

    /// Runs the scenario to its end, starting again from the last durable checkpoint after each death.
    ///
    /// - Returns: the rows on the errors port of all runs.
    func run(_ saboteur: Saboteur) async throws -> Int {
        let config = place.config {
            $0.value = .column("t")
            $0.maxMessage = .mebibytes(8)
            // Chunks of one batch, and an open transaction from the second on.
            $0.maxBatch = ByteSize(bytes: 128)
        }
        var durable: SinkHarness<KafkaSink>.Checkpoint?
        var isPending = false
        var lineage: UInt64 = 1
        var next = 0
        var generation: UInt64 = 1
        var number: UInt64 = 1
        var errors = 0
        var left: SinkHarness<KafkaSink>?
        var isOpen = false
        var wasOpen = false
        while true {
            if durable == nil { lineage = generation }
            let driver = try SinkHarness(
                building: KafkaSink.self, config, input: Scenario.input, restoring: durable, commitPending: isPending,
                lineage: "lineage-\(lineage)", generation: generation, stateDirectory: place.folder)
            saboteur.watch(driver.sink)
            do {
                isOpen = false
                try await driver.open()
                isOpen = true
                isPending = false
                while next < Scenario.epochs.count {
                    for texts in Scenario.epochs[next] {
                        try await driver.write(RecordBatch(Scenario.schema, [.string(texts)]))
                    }
                    let checkpoint = try await driver.prepare(number)
                    number += 1
                    // Rows that went out of a port before the barrier are in the checkpoint.
                    errors += driver.take().errors.count
                    durable = checkpoint
                    isPending = true
                    next += 1
                    try await driver.commit(checkpoint)
                    isPending = false
                }
                await driver.close()
                break
            } catch let error as OperatorError {
                guard saboteur.isDone, generation == 1 else { throw error }
                // Not closed: what it has at the broker stays there, as when a process dies.
                (left, wasOpen) = (driver, isOpen)
                generation += 1
                // An interrupted epoch's number is not used again.
                number += 1
            }
        }
        #expect(try place.logs.isEmpty, "after \(saboteur.act) at moment \(saboteur.moment)")
        // One that stood still while it was opened has nothing to write yet.
        if let frozen = left, wasOpen, saboteur.act == .processFrozen {
            // It wakes up: whatever it tries is refused, and nothing of it is read.
            frozen.sink.session.observe = nil
            let failure = await failure {
                try await frozen.write(RecordBatch(Scenario.schema, [.string(["zombie", "zombie"])]))
                try await frozen.checkpoint(100)
            }
            #expect(failure?.code == "fenced", "\(failure?.message ?? "no error")")
            #expect(failure?.domain == .user && failure?.retry == .never)
        }
        await left?.sink.close()
        return errors
    }
}

/// Stops the broker of a folder, and starts it again on a thread of its own. Not by kill -9: `noida-db` writes what it has to the
/// disk about once a second, so that it would lose what it has acknowledged.
struct Restart {
    private let isUp = DispatchSemaphore(value: 0)

    init(_ folder: String) {
        KafkaTestBroker.script("stop", folder)
        Thread { [isUp] in
            KafkaTestBroker.script("start", folder)
            isUp.signal()
        }.start()
    }

    /// Returns when it takes connections again.
    func wait() { isUp.wait() }
}

@Suite(.enabled(if: KafkaTestBroker.isThere), .serialized)
struct FailureTests {
    @Test(arguments: Saboteur.Act.allCases)
    func `whatever fails at whichever step, a reader of committed messages gets every row once and in order`(
        act: Saboteur.Act
    ) async throws {
        let counter = Saboteur(act, at: .max)
        let straight = try Scenario(place: Workplace())
        #expect(try await straight.run(counter) == 1)
        #expect(try straight.place.values() == Scenario.expected)
        #expect(counter.count > 25)
        for moment in 1...counter.count {
            let scenario = try Scenario(place: Workplace())
            let saboteur = Saboteur(act, at: moment)
            let errors = try await scenario.run(saboteur)
            #expect(saboteur.isDone)
            let step = saboteur.step.map { "\($0)" } ?? "none"
            #expect(try scenario.place.values() == Scenario.expected, "after \(act) at moment \(moment), \(step)")
            #expect(errors == 1, "after \(act) at moment \(moment), \(step)")
        }
    }

    @Test func `readers see whole epochs, and nothing of an epoch before its commit`() async throws {
        let place = try Workplace()
        let driver = try await SinkHarness(
            KafkaSink.self, place.config { $0.maxBatch = ByteSize(bytes: 4096) }, input: Scenario.input,
            stateDirectory: place.folder)
        for epoch in 1...3 {
            let before = (epoch - 1) * 500
            for part in 0..<5 {
                try await driver.write(
                    RecordBatch(Scenario.schema, [.string((0..<100).map { "\(epoch)-\(part)-\($0)" })]))
                #expect(try place.values().count == before)
            }
            let checkpoint = try await driver.prepare(UInt64(epoch))
            #expect(try place.values().count == before)
            // All of it is at the brokers already.
            #expect(try place.messages(committed: false).count == before + 500)
            try await driver.commit(checkpoint)
            #expect(try place.values().count == before + 500)
        }
        await driver.close()
    }

    @Test func `an epoch without rows costs no transaction`() async throws {
        let place = try Workplace()
        let driver = try await SinkHarness(
            KafkaSink.self, place.config(), input: Scenario.input, stateDirectory: place.folder)
        var steps = 0
        driver.sink.session.observe = { _ in steps += 1 }
        for number in 1...5 {
            try await driver.write(RecordBatch(Scenario.schema, [.string([])]))
            try await driver.checkpoint(UInt64(number))
        }
        #expect(steps == 0)
        await driver.close()
        #expect(try place.values().isEmpty)
    }

    @Test func `at least once writes rows before the barrier and keeps neither log nor marker`() async throws {
        let place = try Workplace()
        let driver = try await SinkHarness(
            KafkaSink.self, place.config { $0.value = .column("t") }, input: Scenario.input,
            stateDirectory: place.folder, exactlyOnce: false)
        try await driver.write(RecordBatch(Scenario.schema, [.string(["a", "b"])]))
        let checkpoint = try await driver.prepare(1)
        #expect(try place.values() == ["a", "b"])
        #expect(checkpoint.committables.isEmpty && checkpoint.state.isEmpty)
        try await driver.commit(checkpoint)
        #expect(driver.context.counters.total == 2)
        try await driver.write(RecordBatch(Scenario.schema, [.string(["c"])]))
        try await driver.idle()
        try await driver.checkpoint(2)
        await driver.close()
        #expect(try place.values() == ["a", "b", "c"])
        #expect(try place.logs.isEmpty)
    }

    @Test func `at least once sends nothing again that the brokers are about to acknowledge`() async throws {
        let cluster = try #require(KafkaMockCluster())
        let place = try Workplace(brokers: cluster.brokers, isMade: false)
        cluster.createTopic(place.topic, partitions: 1)
        let driver = try await SinkHarness(
            KafkaSink.self,
            place.config {
                $0.value = .column("t")
                $0.linger = .zero
                $0.maxMessage = .mebibytes(1)
                $0.connection.properties = KafkaProperties([.init("batch.num.messages", "1")])
            }, input: Scenario.input, stateDirectory: place.folder, exactlyOnce: false
        )
        // The first message is refused while the second, a request of its own, is on its way for long.
        cluster.answer(api: 0, (RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, 0), (RD_KAFKA_RESP_ERR_NO_ERROR, 1500))
        try await driver.write(RecordBatch(Scenario.schema, [.string(["refused at first", "slow"])]))
        try await driver.checkpoint(1)
        await driver.close()
        #expect(try place.values() == ["slow", "refused at first"])
        #expect(driver.take().errors.isEmpty)
    }

    @Test(arguments: [true, false])
    func `a broker that goes away costs time, not rows`(exactlyOnce: Bool) async throws {
        let folder = "/var/tmp/dataflow-kafka-restart-\(UInt32.random(in: 0 ... .max))"
        let address = try #require(KafkaTestBroker.script("start", folder, "0"))
        defer { KafkaTestBroker.remove(folder) }
        let place = try Workplace(brokers: address)
        let driver = try await SinkHarness(
            KafkaSink.self,
            place.config {
                $0.value = .column("t")
                $0.maxBatch = ByteSize(bytes: 4096)
                $0.reconnectTimeout = .seconds(120)
            }, input: Scenario.input, stateDirectory: place.folder, exactlyOnce: exactlyOnce)
        func rows(_ range: Range<Int>) -> RecordBatch {
            RecordBatch(Scenario.schema, [.string(range.map { "\($0)" })])
        }
        try await driver.write(rows(0..<500))
        try await driver.checkpoint(1)
        // `noida-db` forgets over a restart that a transaction is open, and takes its commit for good all the same: only a
        // broker that keeps them may go away in the middle of one.
        if !exactlyOnce { try await driver.write(rows(500..<1000)) }
        // The sink finds nobody at first; the broker comes back while it tries.
        let restart = Restart(folder)
        if exactlyOnce { try await driver.write(rows(500..<1000)) }
        try await driver.write(rows(1000..<1500))
        try await driver.checkpoint(2)
        restart.wait()
        await driver.close()
        let values = try place.values().compactMap { $0.flatMap(Int.init) }
        if exactlyOnce {
            #expect(values == Array(0..<1500))
        } else {
            #expect(Set(values) == Set(0..<1500))
        }
    }

    // MARK: What ends the run

    private func openFailure(_ place: Workplace, _ change: (inout KafkaSinkConfig) throws -> Void) async throws
        -> OperatorError?
    {
        let driver = try SinkHarness(
            building: KafkaSink.self, place.config(change), input: Scenario.input, stateDirectory: place.folder)
        let started = ContinuousClock.now
        let failure = await failure { try await driver.open() }
        await driver.close()
        #expect(ContinuousClock.now - started < .seconds(25))
        return failure
    }

    @Test func `brokers that stay away end the run with a retryable error that names them`() async throws {
        let failure = try await openFailure(Workplace()) {
            $0.connection.brokers = OneOrMany(["127.0.0.1:1"])
            $0.openTimeout = .milliseconds(500)
        }
        #expect(failure?.domain == .external && failure?.code == "broker_unreachable")
        #expect(failure?.message.contains("127.0.0.1:1") == true, "\(failure?.message ?? "")")
        #expect(failure?.message.contains("Connection refused") == true, "\(failure?.message ?? "")")
    }

    @Test func `a topic that the brokers refuse to make is the user's error and says how to make it`() async throws {
        let cluster = try #require(KafkaMockCluster())
        let place = try Workplace(brokers: cluster.brokers, isMade: false)
        cluster.failTopic(place.topic, RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        let failure = try await openFailure(place) { _ in }
        #expect(failure?.domain == .user && failure?.retry == .never && failure?.code == "unknown_topic")
        #expect(failure?.message.contains("kafka-topics.sh --create --topic \(place.topic)") == true)
    }

    @Test func `closing while the broker is gone ends soon`() async throws {
        let cluster = try #require(KafkaMockCluster())
        let place = try Workplace(brokers: cluster.brokers, isMade: false)
        cluster.createTopic(place.topic, partitions: 1)
        let driver = try await SinkHarness(
            KafkaSink.self, place.config { $0.maxBatch = ByteSize(bytes: 64) }, input: Scenario.input,
            stateDirectory: place.folder)
        try await driver.write(RecordBatch(Scenario.schema, [.string(["a", "b"])]))
        #expect(driver.sink.session.isInTransaction)
        cluster.setBroker(1, isUp: false)
        let started = ContinuousClock.now
        await driver.close()
        #expect(ContinuousClock.now - started < .seconds(8))
    }
}
