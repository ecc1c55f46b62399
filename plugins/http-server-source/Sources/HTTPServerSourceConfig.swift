public import DataflowConfig

/// How the body of a request becomes rows.
public enum BodyFormat: String, ConfigEnum {
    /// By the request's content type: `application/x-ndjson`, `application/ndjson` and `application/jsonl` are lines, everything
    /// else is one document.
    case auto
    /// One JSON document, one row.
    case json
    /// A JSON document a line, a row each.
    case ndjson
    /// Any bytes, one row; nothing is checked.
    case raw
}

/// `auth: { bearer: … }`
public struct ServerAuthConfig: OperatorConfig {
    public var bearer = Secret()

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField(
            "bearer", \.bearer, .required, "The token that requests must bring as `Authorization: Bearer …`.",
            check: { $0.isEmpty ? "must not be empty" : nil })
    }
}

/// Settings of `http-server-source`.
public struct HTTPServerSourceConfig: OperatorConfig {
    public var listen = "127.0.0.1:8080"
    public var path = OneOrMany<String>(["/"])
    public var format = BodyFormat.auto
    public var auth: ServerAuthConfig?
    public var buffer = ByteSize.mebibytes(256)
    public var maxBody = ByteSize.mebibytes(10)
    public var maxConnections = 1024
    public var requestTimeout = Duration.seconds(30)
    public var keepAlive = Duration.seconds(60)

    public init() {}

    private static let positive: @Sendable (Duration) -> String? = { $0 > .zero ? nil : "must be positive" }

    public static let schema = ConfigSchema<Self> {
        ConfigField(
            "listen", \.listen,
            "Address and port: `127.0.0.1:8080`, `0.0.0.0:8080` for all of IPv4, `[::]:8080`. Port 0 takes a free one.",
            check: { ListenAddress($0) == nil ? "must be an IP address and a port, such as `127.0.0.1:8080`" : nil })
        ConfigField(
            "path", \.path,
            "Paths that take rows; one that ends in `/*` stands for all below it. Others are answered with 404.",
            examples: [OneOrMany(["/events", "/hooks/*"])])
        ConfigField("format", \.format, "How the body of a request becomes rows.")
        ConfigField("auth", \.auth, "What a request must show. Without it, everybody may send.")
        ConfigField(
            "buffer", \.buffer,
            "Bytes of accepted requests that may wait on the disk for a checkpoint; above that requests are answered with 429.",
            check: { $0.bytes >= 1 << 20 ? nil : "must be at least 1MiB" })
        ConfigField(
            "max_body", \.maxBody, "A larger body, also one that is larger when decompressed, is answered with 413.",
            check: { $0.bytes > 0 && $0.bytes <= 1 << 30 ? nil : "must lie between 1B and 1GiB" })
        ConfigField(
            "max_connections", \.maxConnections, .advanced, "Further connections are answered with 503 and closed.",
            check: { (1...100_000).contains($0) ? nil : "must lie between 1 and 100000" })
        ConfigField(
            "request_timeout", \.requestTimeout, .advanced,
            "How long a client may take to send a request, from its first byte to its last.", check: positive)
        ConfigField(
            "keep_alive", \.keepAlive, .advanced, "How long a connection without a request stays open.", check: positive
        )
    }

    public func validate() -> [Diagnostic] {
        var findings: [Diagnostic] = []
        if path.elements.isEmpty { findings.append(.error(field: "path", "`path` must name at least one path")) }
        for path in path.elements where !path.hasPrefix("/") || path.contains("?") {
            findings.append(.error(field: "path", "`\(path)` is not a path", hint: "write it as `/\(path)`"))
        }
        if path.elements.contains("/healthz") {
            findings.append(.error(field: "path", "`/healthz` is the source's own: it tells whether it takes requests"))
        }
        if buffer.bytes < maxBody.bytes {
            findings.append(
                .error(field: "buffer", "`buffer` (\(buffer)) is smaller than `max_body` (\(maxBody))"))
        }
        return findings
    }
}
