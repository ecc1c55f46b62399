import CKafka
import DataflowKafkaTesting
import DataflowOperator
import Logging
import Testing

@testable import DataflowKafka

@Suite struct `a Kafka client` {
    private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private func consumer(_ brokers: String, _ properties: [String: String] = [:]) throws -> KafkaClient {
        try KafkaClient(
            .consumer, KafkaSettings(brokers: brokers, ["group.id": "g"].merging(properties) { $1 }), logger: logger)
    }

    @Test func `tells of topics and their partitions`() throws {
        let cluster = try #require(KafkaMockCluster())
        cluster.createTopic("three", partitions: 3)
        let client = try consumer(cluster.brokers)
        let found = try client.retrying("read the metadata", limit: .seconds(20)) { (timeout) throws(KafkaFailure) in
            try client.topics(named: ["three"], timeout: timeout)
        }
        #expect(found.map(\.partitions) == [[0, 1, 2]])
        #expect(found.first?.failure == nil)
    }

    @Test func `tries again what the broker refuses for a while`() throws {
        let cluster = try #require(KafkaMockCluster())
        cluster.createTopic("t", partitions: 1)
        let client = try consumer(cluster.brokers)
        cluster.refuse(api: 2, with: Array(repeating: RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, count: 2))
        let end = (KafkaPartition("t", 0), Int64(RD_KAFKA_OFFSET_END))
        let found = try client.retrying("list offsets", limit: .seconds(20)) { (timeout) throws(KafkaFailure) in
            try client.offsets(at: [end], timeout: timeout)
        }
        #expect(found.first?.offset == 0)
    }

    @Test func `names the brokers and what the connection said when none is there`() throws {
        let client = try consumer("127.0.0.1:1")
        let error = #expect(throws: OperatorError.self) {
            try client.retrying("read the metadata", limit: .seconds(1)) { (timeout) throws(KafkaFailure) in
                try client.topics(named: ["t"], timeout: timeout)
            }
        }
        #expect(error?.message.contains("cannot read the metadata of the brokers 127.0.0.1:1") == true)
        #expect(error?.message.contains("onnect") == true)
        #expect(error?.code == "broker_unreachable")
        #expect(error?.retry == .withBackoff)
    }

    @Test func `that cannot be made says what librdkafka wants`() throws {
        let error = #expect(throws: OperatorError.self) {
            _ = try consumer("a:1", ["security.protocol": "ssl", "ssl.ca.location": "/nowhere/ca.pem"])
        }
        #expect(error?.message.contains("ssl.ca.location") == true, "\(error?.message ?? "")")
        #expect(error?.domain == .user)
    }

    @Test func `keeps partitions and offsets in a list`() {
        let list = KafkaPartitionList([(KafkaPartition("a", 1), 7), (KafkaPartition("b", 0), 9)])
        #expect(list.entries.map(\.partition.description) == ["a[1]", "b[0]"])
        #expect(list.entries.map(\.offset) == [7, 9])
    }
}

@Suite struct `failures of Kafka` {
    @Test(arguments: [
        (RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN, "broker_unreachable", OperatorError.Domain.external),
        (RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED, "authentication_failed", .user),
        (RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, "not_authorized", .user),
        (RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, "unknown_topic", .user),
        (RD_KAFKA_RESP_ERR__FENCED, "fenced", .external),
        (RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, "kafka_error", .external),
    ]) func `say who must act`(code: rd_kafka_resp_err_t, name: String, domain: OperatorError.Domain) {
        let error = KafkaFailure(code, "no\nway").operatorError("cannot write to orders[3]")
        #expect(error.code.rawValue == name)
        #expect(error.domain == domain)
        #expect(error.message.hasPrefix("cannot write to orders[3]: no way"))
    }
}

@Suite struct `a bearer token` {
    /// `{"sub":"me","nested":{"exp":1},"exp": 1700000000}`
    private static let claims = "eyJzdWIiOiJtZSIsIm5lc3RlZCI6eyJleHAiOjF9LCJleHAiOiAxNzAwMDAwMDAwfQ"

    @Test func `ends when its claims say so`() {
        let bytes = OAuthToken.base64URL(Self.claims.utf8)
        #expect(String(decoding: bytes, as: UTF8.self).hasPrefix(#"{"sub":"me""#))
        #expect(OAuthToken.expiry(claims: bytes) == 1_700_000_000)
    }

    @Test(arguments: ["{}", #"{"exp":"soon"}"#, #"{"exp""#, "", #"{"a\"#]) func `without a number has no end`(
        claims: String
    ) {
        #expect(OAuthToken.expiry(claims: Array(claims.utf8)) == nil)
    }

    @Test func `whose file is not there is a failure that names the file`() {
        let error = #expect(throws: KafkaFailure.self) { _ = try OAuthToken(path: "/nowhere/token") }
        #expect(error?.message.contains("/nowhere/token") == true)
    }
}

@Suite(.enabled(if: KafkaTestBroker.isThere)) struct `the broker of the tests` {
    @Test func `keeps topics, times and transactions`() throws {
        let address = try #require(KafkaTestBroker.address)
        let admin = try KafkaTestAdmin(address)
        let topic = KafkaTestBroker.uniqueName("room")
        try admin.createTopic(topic, partitions: 2)
        let producer = try KafkaTestProducer(address, transactionalID: topic)
        try producer.beginTransaction()
        try producer.send(
            topic, partition: 1, key: "k", Array("v".utf8), headers: [("h", "1")], timestamp: 1_700_000_000_000)
        try producer.commitTransaction()
        #expect(try admin.end(topic, 0) == 0)
        #expect(try admin.end(topic, 1) == 2, "a message and the mark of the commit")
        let client = try KafkaClient(
            .consumer, KafkaSettings(brokers: address, ["group.id": topic]),
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let partition = KafkaPartition(topic, 1)
        let found = try client.offsets(
            at: [(partition, 1_600_000_000_000), (KafkaPartition(topic, 0), -2)], timeout: 10_000)
        #expect(found.map(\.offset) == [0, 0])
        #expect(try admin.committed(topic, topic, 1) == nil)
        try admin.deleteTopic(topic)
        #expect(try client.topics(named: [topic], timeout: 10_000).first?.failure?.isUnknownTopic == true)
    }
}
