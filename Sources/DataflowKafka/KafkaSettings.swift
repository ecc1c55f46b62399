internal import CKafka
package import DataflowOperator

/// What a client is made with: the user's properties, and what the operator needs.
package struct KafkaSettings {
    /// By librdkafka's names; a later entry wins. Holds secrets: never print it.
    private var properties: [(name: String, value: String)] = []
    /// The brokers, for messages.
    package let brokers: String
    let oauthTokenFile: String?

    /// The settings of a node's client.
    package init(_ config: some KafkaClientConfig, _ context: OperatorContext) {
        let connection = config.connection
        brokers = connection.brokerText
        oauthTokenFile = connection.oauthTokenFile
        set("bootstrap.servers", brokers)
        set("client.id", connection.clientID ?? "dataflow-\(context.pipeline)-\(context.node)")
        for entry in connection.properties.entries { set(entry.name, entry.value) }
    }

    /// The settings of a client without a node, for tests and tools.
    package init(brokers: String, _ properties: [String: String] = [:]) {
        self.brokers = brokers
        oauthTokenFile = nil
        set("bootstrap.servers", brokers)
        for (name, value) in properties.sorted(by: { $0.key < $1.key }) { set(name, value) }
    }

    /// Sets a property, whatever the user wrote.
    package mutating func set(_ name: String, _ value: String) { properties.append((name, value)) }

    /// Sets a property that the user left open.
    package mutating func setDefault(_ name: String, _ value: String) {
        if self[name] == nil { set(name, value) }
    }

    /// The value that has been set, if any.
    package subscript(name: String) -> String? { properties.last { $0.name == name }?.value }

    /// librdkafka's configuration; it belongs to the caller.
    func makeConfiguration() throws(OperatorError) -> OpaquePointer {
        guard let configuration = rd_kafka_conf_new() else {
            preconditionFailure("librdkafka gives a configuration or aborts the process")
        }
        var text = [CChar](repeating: 0, count: 512)
        for (name, value) in properties {
            guard rd_kafka_conf_set(configuration, name, value, &text, text.count) == RD_KAFKA_CONF_OK else {
                rd_kafka_conf_destroy(configuration)
                let said = KafkaProperties.isSecret(name) ? "its value is refused" : cString(text)
                throw OperatorError(
                    .user, .never, "invalid_configuration",
                    "librdkafka does not take the property `\(name)`: \(KafkaFailure.oneLine(said))")
            }
        }
        return configuration
    }
}
