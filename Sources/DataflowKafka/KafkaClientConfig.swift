public import DataflowOperator

/// What `kafka-source` and `kafka-sink` have in common in their settings.
///
///     public struct KafkaSinkConfig: KafkaClientConfig {
///         public var connection = KafkaConnectionConfig()
///         public static let schema = ConfigSchema<Self> {
///             connectionFields
///             ConfigField("topic", \.topic, …)
///         }
///         public static let ownProperties = ["transactional.id": "it is made of the pipeline's name"]
///         public func validate() -> [Diagnostic] { connectionFindings + … }
///     }
public protocol KafkaClientConfig: OperatorConfig {
    var connection: KafkaConnectionConfig { get set }
    /// Properties that the operator sets itself, besides those of every client, and what to use instead: a phrase.
    static var ownProperties: [String: String] { get }
}

/// Where the brokers are and how to talk to them.
public struct KafkaConnectionConfig: Sendable {
    public var brokers = OneOrMany<String>()
    public var clientID: String?
    public var properties = KafkaProperties()
    public var oauthTokenFile: String?

    public init() {}
}

extension KafkaClientConfig {
    /// `brokers`, `client_id`, `properties` and `oauth_token_file`, for the operator's schema.
    public static var connectionFields: [ConfigField<Self>] {
        [
            ConfigField(
                "brokers", \.connection.brokers, .required,
                "Brokers to ask first, each `host:port`: a list, or one text with commas. The others are learnt from them.",
                examples: [OneOrMany(["kafka-1:9092", "kafka-2:9092"])]),
            ConfigField(
                "properties", \.connection.properties,
                """
                Any other setting of librdkafka, by its own name, such as `security.protocol: SASL_SSL`, \
                `sasl.mechanisms: SCRAM-SHA-512`, `sasl.username`, `sasl.password: "${KAFKA_PASSWORD}"` and \
                `ssl.ca.location`. Checked when the file is read. What has a setting of its own here cannot stand in it.
                """),
            ConfigField(
                "client_id", \.connection.clientID, .advanced,
                "How the client names itself to the brokers, for their logs and quotas. Default: `dataflow-<pipeline>-<node>`."
            ) { $0?.isEmpty == true ? "must not be empty" : nil },
            ConfigField(
                "oauth_token_file", \.connection.oauthTokenFile, .advanced,
                """
                For `sasl.mechanisms: OAUTHBEARER`: a file that holds the bearer token and that somebody else keeps fresh. \
                It is read again before the token expires (the `exp` of a JWT; every minute where there is none).
                """
            ) { $0?.isEmpty == true ? "must not be empty" : nil },
        ]
    }

    /// What is wrong with the connection's settings as a whole: for `validate()`.
    public var connectionFindings: [Diagnostic] {
        var found: [Diagnostic] = []
        let addresses = connection.addresses
        if addresses.isEmpty { found.append(.error(field: "brokers", "`brokers` must name at least one broker")) }
        for address in addresses {
            if let problem = KafkaConnectionConfig.problem(address) {
                found.append(.error(field: "brokers", "`brokers` \(problem)", hint: "write `host:port`"))
            }
        }
        let own = KafkaConnectionConfig.ownProperties.merging(Self.ownProperties) { _, last in last }
        for entry in connection.properties.entries {
            let advice =
                own[entry.name]
                ?? (entry.name.hasSuffix("_cb") || entry.name == "opaque" ? "it is for programs" : nil)
            guard let advice else { continue }
            found.append(
                Diagnostic(
                    .error, "own-setting", "the property `\(entry.name)` cannot be set here: \(advice)", at: entry.mark,
                    length: entry.name.count, path: "properties.\(entry.name)"))
        }
        let mechanism = connection.properties["sasl.mechanisms"] ?? connection.properties["sasl.mechanism"]
        if connection.oauthTokenFile != nil, mechanism != "OAUTHBEARER" {
            found.append(
                .error(field: "oauth_token_file", "`oauth_token_file` goes with `sasl.mechanisms: OAUTHBEARER` only"))
        }
        if mechanism == "OAUTHBEARER", connection.oauthTokenFile == nil,
            connection.properties["sasl.oauthbearer.method"]?.lowercased() != "oidc",
            connection.properties["enable.sasl.oauthbearer.unsecure.jwt"] != "true"
        {
            found.append(
                .error(
                    field: "properties", "`sasl.mechanisms: OAUTHBEARER` needs a way to get a token",
                    hint: "set `oauth_token_file`, or `sasl.oauthbearer.method: oidc` and its properties"))
        }
        if let problem = connection.saslProblem(mechanism) { found.append(problem) }
        return found
    }
}

extension KafkaConnectionConfig {
    /// What librdkafka would refuse when it makes the client.
    fileprivate func saslProblem(_ mechanism: String?) -> Diagnostic? {
        guard properties["security.protocol"]?.lowercased().hasPrefix("sasl_") == true else { return nil }
        switch mechanism {
        case nil where !properties.entries.contains(where: { $0.name.hasPrefix("sasl.kerberos.") }):
            return .error(
                field: "properties", "`security.protocol` with SASL needs `sasl.mechanisms`",
                hint:
                    "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER; Kerberos (GSSAPI) needs `sasl.kerberos.keytab`"
            )
        case "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512":
            let missing = ["sasl.username", "sasl.password"].filter { properties[$0] == nil }
            guard !missing.isEmpty else { return nil }
            return .error(
                field: "properties", "`sasl.mechanisms` needs \(missing.map { "`\($0)`" }.joined(separator: " and "))",
                hint: "set `sasl.username` and `sasl.password`, such as \"${KAFKA_PASSWORD}\"")
        default: return nil
        }
    }

    /// The brokers one by one.
    package var addresses: [String] {
        brokers.elements.flatMap { $0.split { $0 == "," || $0.isWhitespace } }.map(String.init)
    }

    /// The brokers for messages.
    package var brokerText: String { addresses.joined(separator: ",") }

    static let ownProperties = [
        "bootstrap.servers": "use `brokers`", "metadata.broker.list": "use `brokers`", "client.id": "use `client_id`",
        "builtin.features": "it only tells what librdkafka can do", "log.queue": "the log goes to our own",
        "log.thread.name": "the log goes to our own", "enabled_events": "it is for programs",
    ]

    static func problem(_ address: String) -> String? {
        let host = address.split(separator: "/", omittingEmptySubsequences: true).last.map(String.init) ?? ""
        guard let colon = host.lastIndex(of: ":"), !host.hasSuffix("]") else {
            return host.isEmpty ? "has an address without a host: \(address)" : nil
        }
        let port = host[host.index(after: colon)...]
        guard let number = Int(port), 1...65535 ~= number else {
            return "has an address with the port \(port), expected a number from 1 to 65535"
        }
        return colon == host.startIndex ? "has an address without a host: \(address)" : nil
    }
}
