import DataflowKafka
import DataflowKafkaTesting
import DataflowOperator
import DataflowTesting
import Testing

@testable import KafkaSink

struct KafkaSinkConfigTests {
    private static let append = Stream(Schema([Field("k", .string), Field("n", .int64), Field("l", .list(.int64))]))
    private static let upsert = Stream(append.schema, kind: .upsert(key: ["k"]), deletes: true)

    private func findings(
        _ stream: DataflowOperator.Stream, _ change: (inout KafkaSinkConfig) throws -> Void
    ) rethrows -> [String] {
        var config = KafkaSinkConfig()
        config.connection.brokers = OneOrMany(["127.0.0.1:9092"])
        config.topic = "t"
        try change(&config)
        do {
            _ = try KafkaSink.outputs(config, inputs: [stream])
            return []
        } catch {
            return error.diagnostics.map { "\($0.code): \($0.message)" }
        }
    }

    @Test func `columns that are not there or named twice are found, all at once`() throws {
        let found = try findings(Self.append) {
            $0.value = .columns(["k", "m", "k"])
            $0.key = try ExpressionText("j")
        }
        #expect(found.count == 3)
        #expect(found.contains { $0.contains("no column `m`") } && found.contains { $0.contains("twice") })
    }

    @Test func `a value that is no text is refused as it is, and a key that is a list`() throws {
        #expect(findings(Self.append) { $0.value = .column("n") }.first?.contains("`n` is int64") == true)
        #expect(findings(Self.append) { $0.value = .columns(["n", "l"]) }.isEmpty)
        #expect(try !findings(Self.append) { $0.key = try ExpressionText("l") }.isEmpty)
        #expect(try !findings(Self.append) { $0.timestamp = try ExpressionText("n") }.isEmpty)
    }

    @Test func `the key of an upsert stream's messages depends on the stream's key only`() throws {
        #expect(
            try findings(Self.upsert) { $0.key = try ExpressionText("k || '/' || n") }.first?.contains("`n`") == true)
        #expect(try findings(Self.upsert) { $0.key = try ExpressionText("upper(k)") }.isEmpty)
        #expect(findings(Self.upsert) { _ in }.isEmpty)
    }

    @Test func `only the columns that messages need are asked for`() throws {
        var config = KafkaSinkConfig()
        config.value = .columns(["n"])
        #expect(KafkaSink.columnsUsed(config, inputs: [Self.append], downstream: .all) == [.some(["n"])])
        #expect(KafkaSink.columnsUsed(config, inputs: [Self.upsert], downstream: .all) == [.some(["k", "n"])])
    }

    @Test(arguments: ["", "..", "a b", "a/b", String(repeating: "x", count: 250)])
    func `what cannot be the name of a topic is refused`(name: String) {
        let node = ConfigNode.mapping([("brokers", .text("b:9092")), ("topic", .text(name, quoted: true))])
        let error = #expect(throws: ConfigError.self) { try KafkaSinkConfig.schema.decode(node) }
        #expect(error?.diagnostics.first?.message.contains("topic") == true)
    }

    @Test func `a property that has a setting of its own is refused with its name`() {
        var config = KafkaSinkConfig()
        config.connection.brokers = OneOrMany(["b:9092"])
        config.connection.properties = KafkaProperties([.init("transactional.id", "x"), .init("acks", "all")])
        #expect(
            config.validate().map(\.message) == [
                "the property `transactional.id` cannot be set here: use `transactional_id`"
            ])
    }

    @Test(.enabled(if: KafkaTestBroker.isThere), arguments: [true, false])
    func `the sink conforms`(isUpsert: Bool) async throws {
        let place = try Workplace()
        #expect(
            try await OperatorConformance.check(
                KafkaSink.self, place.config(), input: isUpsert ? Self.upsert : Self.append,
                stateDirectory: place.folder) == [])
    }
}
