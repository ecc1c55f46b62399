internal import CKafka
public import DataflowOperator

/// `properties:` — librdkafka's settings by their own names, each checked by librdkafka when the file is read.
///
/// Values count as secrets: messages show neither them nor the line in which they stand.
public struct KafkaProperties: ConfigValue {
    /// In the order of the file.
    public struct Entry: Sendable {
        public var name: String
        public var value: String
        public var mark: Mark

        public init(_ name: String, _ value: String, mark: Mark = .unknown) {
            self.name = name
            self.value = value
            self.mark = mark
        }
    }

    public var entries: [Entry]

    public init(_ entries: [Entry] = []) { self.entries = entries }

    /// The value of a property as it stands in the file, nil where it does not.
    public subscript(name: String) -> String? { entries.last { $0.name == name }?.value }

    public static var typeName: String { "mapping of librdkafka's properties to their values" }
    public static var holdsSecrets: Bool { true }
    public static var jsonSchema: JSONSchema {
        JSONSchema(["type": "object", "additionalProperties": String.jsonSchema.json])
    }

    public init(decoding node: ConfigNode) throws(ConfigError) {
        guard let written = node.entries else {
            throw .expected("a mapping (`security.protocol: SASL_SSL` and such)", found: node)
        }
        var collector = DiagnosticCollector()
        entries = []
        for entry in written {
            guard let scalar = entry.value.scalar, !entry.value.isNull else {
                collector.append(
                    Diagnostic(
                        .error, "type-mismatch", "`\(entry.key)`: expected a text, a number or a boolean",
                        at: entry.value.mark, path: entry.key))
                continue
            }
            if let problem = KafkaProperties.problem(entry.key, scalar) {
                let isUnknown = problem.code == "unknown-key"
                collector.append(
                    Diagnostic(
                        .error, problem.code, problem.message, at: isUnknown ? entry.keyMark : entry.value.mark,
                        length: isUnknown ? entry.key.count : 0, path: entry.key))
            }
            entries.append(Entry(entry.key, scalar.text, mark: entry.keyMark))
        }
        try collector.throwErrors()
    }

    public var encoded: ConfigNode {
        .mapping(entries.map { ($0.name, .text(KafkaProperties.isSecret($0.name) ? "***" : $0.value, quoted: true)) })
    }

    /// Whether a property's value must never be shown.
    package static func isSecret(_ name: String) -> Bool {
        ["password", "secret", ".pem", "token", "oauthbearer.config", "jaas"].contains { name.contains($0) }
    }

    /// What librdkafka says against a property, if anything.
    private static func problem(_ name: String, _ scalar: Scalar) -> (code: String, message: String)? {
        guard let scratch = rd_kafka_conf_new() else { return nil }
        defer { rd_kafka_conf_destroy(scratch) }
        var text = [CChar](repeating: 0, count: 512)
        switch rd_kafka_conf_set(scratch, name, scalar.text, &text, text.count) {
        case RD_KAFKA_CONF_OK: return nil
        case RD_KAFKA_CONF_UNKNOWN:
            return ("unknown-key", "librdkafka has no property `\(name)`\(Suggestion.phrase(for: name, among: names))")
        default:
            // librdkafka shows the value: only one that stands in the file and is no secret may be seen.
            let said = KafkaFailure.oneLine(cString(text))
            let mayShow = !isSecret(name) && !scalar.isInterpolated
            return ("invalid-value", mayShow ? said : "librdkafka refuses the value of `\(name)`")
        }
    }

    /// The properties that librdkafka has a value for, to suggest one.
    private static let names: [String] = {
        guard let conf = rd_kafka_conf_new(), let topic = rd_kafka_topic_conf_new() else { return [] }
        defer {
            rd_kafka_conf_destroy(conf)
            rd_kafka_topic_conf_destroy(topic)
        }
        var names = [
            "security.protocol", "sasl.username", "sasl.password", "ssl.ca.location", "ssl.key.location",
            "ssl.key.password", "ssl.certificate.location", "sasl.oauthbearer.config", "client.rack",
        ]
        var count = 0
        for list in [rd_kafka_conf_dump(conf, &count), rd_kafka_topic_conf_dump(topic, &count)] {
            guard let list else { continue }
            for index in 0..<count / 2 { if let name = list[index * 2] { names.append(String(cString: name)) } }
            rd_kafka_conf_dump_free(list, count)
        }
        return names
    }()
}

/// The text before the terminating zero.
func cString(_ characters: [CChar]) -> String {
    String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
