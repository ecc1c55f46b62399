public import DataflowConfig
import DataflowHTTP

/// Where a schema registry is, and how to talk to it.
public struct SchemaRegistryConfig: OperatorConfig {
    public var url = OneOrMany<String>()
    public var user: String?
    public var password: Secret?
    public var token: Secret?
    public var caFile: String?
    public var certificate: String?
    public var key: String?
    public var timeout: Duration = .seconds(10)
    public var retryFor: Duration = .seconds(30)

    public init() {}

    public static let schema = ConfigSchema<Self>(
        shorthands: [.field("url")],
        rules: [
            .key("user", requires: "password"), .key("password", requires: "user"), .atMostOne(of: "user", "token"),
            .key("certificate", requires: "key"), .key("key", requires: "certificate"),
        ]
    ) {
        ConfigField(
            "url", \.url, .required,
            "The registry's address, or several of one cluster: where one does not answer the next is asked.",
            examples: [OneOrMany(["http://localhost:8081"])])
        ConfigField("user", \.user, "Who asks, by HTTP basic authentication.")
        ConfigField("password", \.password, "The user's password.")
        ConfigField("token", \.token, "A bearer token, in place of user and password.")
        ConfigField(
            "ca_file", \.caFile, .advanced, "A PEM file of the certificates to trust, in place of the system's.")
        ConfigField(
            "certificate", \.certificate, .advanced, "A PEM file with a certificate of our own, for mutual TLS.")
        ConfigField("key", \.key, .advanced, "A PEM file with the certificate's key.")
        ConfigField("timeout", \.timeout, .advanced, "Longest time for one request.") {
            $0 <= .zero ? "must be longer than zero" : nil
        }
        ConfigField(
            "retry_for", \.retryFor, .advanced,
            "How long a request that fails is tried again before the run is started again from its checkpoint.",
            check: { $0 < .zero ? "must not be negative" : nil })
    }

    public func validate() -> [Diagnostic] {
        var found: [Diagnostic] = []
        if url.elements.isEmpty { found.append(.error(field: "url", "must name at least one address")) }
        for url in url.elements {
            guard let parsed = URLHandle(url) else {
                found.append(.error(field: "url", "expected a URL that begins with http:// or https:// and has a host"))
                continue
            }
            if parsed.hasUserInfo {
                found.append(
                    .error(
                        field: "url", "`url` must not carry a user or password",
                        hint: "write them as `user` and `password`"))
            }
        }
        return found
    }
}
