import CKafka
import DataflowKafka
import DataflowKafkaTesting
import DataflowOperator
import DataflowTesting
import Testing

@testable import KafkaSource

/// With librdkafka's mock brokers, which answer as they are told.
@Suite struct `kafka-source and brokers that refuse` {
    private let cluster: KafkaMockCluster
    private let producer: KafkaTestProducer
    private let wanted = (0..<300).map { "row \($0)" }

    init() throws {
        cluster = try #require(KafkaMockCluster())
        cluster.createTopic("orders", partitions: 2)
        producer = try KafkaTestProducer(cluster.brokers)
        for (index, text) in wanted.enumerated() {
            try producer.send("orders", partition: Int32(index % 2), text)
        }
        try producer.flush()
    }

    private func config(_ change: (inout KafkaSourceConfig) -> Void = { _ in }) -> KafkaSourceConfig {
        var config = KafkaSourceConfig()
        config.connection.brokers = OneOrMany([cluster.brokers])
        config.connection.properties = KafkaProperties([.init("fetch.error.backoff.ms", "10")])
        config.topic = "orders"
        config.stop = .latest
        change(&config)
        return config
    }

    @Test(
        arguments: [
            (Int16(1), RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION), (1, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE),
            (1, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT), (1, RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR),
            (2, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE), (2, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT),
        ] as [(Int16, rd_kafka_resp_err_t)]) func `asks again and reads everything once`(
            api: Int16, error: rd_kafka_resp_err_t
        ) async throws
    {
        cluster.refuse(api: api, with: Array(repeating: error, count: 3))
        #expect(try await readAll(config()).values.sorted() == wanted.sorted())
    }

    @Test func `ends with what the broker says where it may not read`() async throws {
        cluster.refuse(api: 1, with: Array(repeating: RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, count: 4))
        let source = try await Harness(KafkaSource.self, config())
        let error = await #expect(throws: OperatorError.self) { try await source.readAll() }
        #expect(error?.code == "not_authorized")
        #expect(error?.message.contains("orders[") == true, "\(error?.message ?? "")")
        await source.close()
    }

    @Test func `goes on when the broker comes back`() async throws {
        let source = try await Harness(KafkaSource.self, config { $0.stop = nil })
        try await source.poll(untilRows: wanted.count)
        cluster.setBroker(1, isUp: false)
        for _ in 0..<3 { try await source.poll() }
        cluster.setBroker(1, isUp: true)
        for index in 0..<10 { try producer.send("orders", "late \(index)") }
        try producer.flush()
        try await source.poll(untilRows: wanted.count + 10)
        #expect(source.output.values.sorted() == (wanted + (0..<10).map { "late \($0)" }).sorted())
        await source.close()
    }

    @Test func `only warns where the group does not take the positions`() async throws {
        let source = try await Harness(KafkaSource.self, config())
        try await source.readAll()
        cluster.refuse(api: 8, with: [RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED])
        _ = try source.checkpoint()
        try await source.checkpointCompleted(CheckpointID(1))
        await source.close()
    }
}
