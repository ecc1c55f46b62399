import CKafka
import DataflowOperator
import Testing

@testable import DataflowKafka

private struct SomeConfig: KafkaClientConfig {
    var connection = KafkaConnectionConfig()
    static let ownProperties = ["group.id": "use `group`"]
    static let schema = ConfigSchema<Self> { connectionFields }
    func validate() -> [Diagnostic] { connectionFindings }
}

private func node(_ entries: [(String, ConfigNode)]) -> ConfigNode { .mapping(entries) }

private func text(_ text: String) -> ConfigNode { .text(text) }

/// The messages of what is wrong with a configuration.
private func problems(brokers: String = "a:9092", _ properties: [(String, String)], token: String? = nil) -> [String] {
    var entries = [("brokers", text(brokers)), ("properties", node(properties.map { ($0.0, text($0.1)) }))]
    if let token { entries.append(("oauth_token_file", text(token))) }
    do throws(ConfigError) {
        _ = try SomeConfig.schema.decode(node(entries))
        return []
    } catch { return error.diagnostics.map(\.message) }
}

@Suite struct `settings of a Kafka client` {
    @Test func `properties of librdkafka are taken by their own names`() throws {
        let config = try SomeConfig.schema.decode(
            node([
                ("brokers", text("a:9092, b:9093")),
                ("properties", node([("security.protocol", text("ssl")), ("fetch.min.bytes", text("7"))])),
            ]))
        #expect(config.connection.addresses == ["a:9092", "b:9093"])
        #expect(config.connection.properties["fetch.min.bytes"] == "7")
    }

    @Test func `an unknown property is an error that suggests the right one`() {
        #expect(
            problems([("sasl.pasword", "x")]) == [
                "librdkafka has no property `sasl.pasword`, did you mean `sasl.password`?"
            ])
    }

    @Test func `a value out of range is refused with what librdkafka says`() {
        let found = problems([("fetch.min.bytes", "0")])
        #expect(found.count == 1)
        #expect(found.first?.contains("fetch.min.bytes") == true)
    }

    @Test func `a setting of ours cannot be contradicted`() {
        #expect(
            problems([("bootstrap.servers", "b:1"), ("group.id", "g")]) == [
                "the property `bootstrap.servers` cannot be set here: use `brokers`",
                "the property `group.id` cannot be set here: use `group`",
            ])
    }

    @Test(arguments: [
        ("a:99999", "has an address with the port 99999, expected a number from 1 to 65535"),
        (":9092", "has an address without a host: :9092"),
    ]) func `an address that cannot be one is refused`(address: String, problem: String) {
        #expect(problems(brokers: address, []) == ["`brokers` \(problem)"])
    }

    @Test(arguments: ["kafka", "kafka:9092", "PLAINTEXT://kafka:9092", "[::1]:9092", "[::1]", "10.0.0.1:9092"])
    func `addresses of every form are taken`(address: String) {
        #expect(problems(brokers: address, []) == [])
    }

    @Test func `secrets are neither shown nor printed`() {
        let properties = KafkaProperties([.init("sasl.password", "hunter2"), .init("sasl.username", "me")])
        #expect(!properties.encoded.plainDescription.contains("hunter2"))
        #expect(properties.encoded.plainDescription.contains("me"))
        #expect(!problems([("sasl.password", "hunter2"), ("nonsense", "1")]).joined().contains("hunter2"))
    }

    @Test func `OAUTHBEARER needs a way to get a token`() {
        #expect(
            problems([("sasl.mechanisms", "OAUTHBEARER")]) == [
                "`sasl.mechanisms: OAUTHBEARER` needs a way to get a token"
            ])
        #expect(problems([("sasl.mechanisms", "OAUTHBEARER")], token: "/run/token") == [])
        #expect(problems([], token: "/run/token").count == 1)
    }

    @Test(arguments: [
        ([], "`security.protocol` with SASL needs `sasl.mechanisms`"),
        ([("sasl.mechanisms", "PLAIN")], "`sasl.mechanisms` needs `sasl.username` and `sasl.password`"),
        (
            [("sasl.mechanism", "SCRAM-SHA-512"), ("sasl.username", "me")],
            "`sasl.mechanisms` needs `sasl.password`"
        ),
    ])
    func `SASL without what it needs is an error of the file`(properties: [(String, String)], problem: String) {
        #expect(problems([("security.protocol", "sasl_ssl")] + properties) == [problem])
        #expect(problems([("security.protocol", "ssl")] + properties) == [])
    }

    @Test(arguments: [
        [("sasl.mechanisms", "SCRAM-SHA-256"), ("sasl.username", "me"), ("sasl.password", "hunter2")],
        [("sasl.kerberos.keytab", "/etc/me.keytab")], [("sasl.mechanisms", "GSSAPI")],
    ])
    func `SASL with what it needs is taken`(properties: [(String, String)]) {
        #expect(problems([("security.protocol", "SASL_PLAINTEXT")] + properties) == [])
    }
}
