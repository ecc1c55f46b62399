public import DataflowConfig
import DataflowHTTP

/// The settings of `http-source`.
public struct HTTPSourceConfig: OperatorConfig {
    public var url = ""
    public var query = ConfigMap<String>()
    public var secretQuery = ConfigMap<Secret>()
    public var headers = ConfigMap<String>()
    public var secretHeaders = ConfigMap<Secret>()
    public var auth: HTTPAuthConfig?
    public var paginate: PaginateConfig?
    public var rateLimit: Rate?
    public var retry = HTTPRetryConfig()
    public var poll: Duration?
    public var conditional = true
    public var concurrency = 1
    public var connectTimeout: Duration = .seconds(10)
    public var timeout: Duration = .seconds(120)
    public var stallTimeout: Duration = .seconds(30)
    public var maxBody = ByteSize.mebibytes(64)
    public var maxRedirects = 5
    public var compression = true
    public var caFile: String?
    public var userAgent = "dataflow/0.1.0 (http-source)"
    public var revisionHeader = "X-Revision"

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField(
            "url", \.url, .required, "What to read: `http` or `https`. It may have a query; `query` is added to it.",
            examples: ["https://datasets-server.huggingface.co/rows"])
        ConfigField("query", \.query, "Parameters of every request, percent-encoded for you.")
        ConfigField(
            "secret_query", \.secretQuery,
            "As `query`, for values that must not be seen: they are `***` in messages and in the `url` column.")
        ConfigField("headers", \.headers, "Headers of every request. They are not sent to another host.")
        ConfigField("secret_headers", \.secretHeaders, "As `headers`, for values that must not be seen.")
        ConfigField(
            "auth", \.auth, "Who asks: `bearer` or `basic`. Never sent to another host, not even by a redirect.")
        ConfigField(
            "paginate", \.paginate,
            "How to get from page to page: `offset`, `page`, `cursor` or `next_link`. Without it the URL is one document."
        )
        ConfigField(
            "rate_limit", \.rateLimit,
            "Most requests in a time, retries and redirects included: evenly spaced, without bursts, across restarts.",
            examples: [Rate(30, per: .seconds(60))])
        ConfigField("retry", \.retry, "What is tried again, and how patiently. A page that fails is never skipped.")
        ConfigField(
            "poll", \.poll,
            "Read again after this time. One document is emitted if it has changed; `offset` and `page` go on behind their end; "
                + "`cursor` and `next_link` begin again at the first page. Without it the source ends.",
            check: positive)
        ConfigField(
            "conditional", \.conditional, .advanced,
            "Polling one document, ask for it only if it has changed (`If-None-Match`, `If-Modified-Since`).")
        ConfigField(
            "concurrency", \.concurrency,
            "How many pages to ask for at once, with `offset` and `page`. They are emitted in order.",
            check: { (1...64).contains($0) ? nil : "must be between 1 and 64" })
        ConfigField(
            "connect_timeout", \.connectTimeout, .advanced, "Longest wait for a connection.", check: positive)
        ConfigField(
            "timeout", \.timeout, "Longest time for one request, to the last byte of its body.", check: positive)
        ConfigField(
            "stall_timeout", \.stallTimeout, .advanced, "A request on which no byte moves for so long is given up.",
            check: { $0 < .seconds(1) ? "must be at least 1s" : nil })
        ConfigField(
            "max_body", \.maxBody, .advanced, "Longest body, unpacked. A longer one ends the run.",
            check: { (1...(1 << 30)).contains($0.bytes) ? nil : "must be between 1B and 1GiB" })
        ConfigField(
            "max_redirects", \.maxRedirects, .advanced, "How many redirects in a row are followed; 0 follows none.",
            check: { (0...50).contains($0) ? nil : "must be between 0 and 50" })
        ConfigField("compression", \.compression, .advanced, "Ask for compressed bodies and unpack them.")
        ConfigField(
            "ca_file", \.caFile, .advanced, "A PEM file of the certificates to trust, in place of the system's.")
        ConfigField(
            "user_agent", \.userAgent,
            "How to introduce yourself; many APIs want a name and an address here, e.g. `my-app/1.0 (me@example.org)`.")
        ConfigField(
            "revision_header", \.revisionHeader, .advanced,
            "The header that names the data set's revision: a change is reported, and stands in the `revision` column.")
    }

    public func validate() -> [Diagnostic] {
        var found: [Diagnostic] = []
        if let parsed = URLHandle(url) {
            if parsed.hasUserInfo {
                found.append(
                    .error(
                        field: "url", "`url` must not carry a user or password", hint: "write them under `auth.basic`"))
            }
        } else {
            found.append(.error(field: "url", "expected a URL that begins with http:// or https:// and has a host"))
        }
        if auth?.bearer != nil, auth?.basic != nil {
            found.append(.error(field: "auth", "takes `bearer` or `basic`, not both"))
        }
        for (field, names) in [("headers", headers.keys), ("secret_headers", secretHeaders.keys)] {
            for name in names where !HTTPSourceConfig.isHeaderName(name) {
                found.append(.error(field: field, "`\(name)` is not the name of a header"))
            }
        }
        for entry in headers where !HTTPSourceConfig.isHeaderValue(entry.value) {
            found.append(.error(field: "headers.\(entry.key)", "must be one line"))
        }
        for entry in secretHeaders where !HTTPSourceConfig.isHeaderValue(entry.value.revealed) {
            found.append(.error(field: "secret_headers.\(entry.key)", "must be one line"))
        }
        if !HTTPSourceConfig.isHeaderValue(userAgent) { found.append(.error(field: "user_agent", "must be one line")) }
        if concurrency > 1, !pagination.isNumbered {
            found.append(
                .error(
                    field: "concurrency", "above 1 needs `paginate.offset` or `paginate.page`",
                    hint:
                        "with \(pagination.kind == "none" ? "one document" : "`\(pagination.kind)`") the next page is not known in advance"
                ))
        }
        for parameter in pagination.parameters
        where query.keys.contains(parameter) || secretQuery.keys.contains(parameter) {
            found.append(
                .error(field: "query.\(parameter)", "is set by `paginate` for each page", hint: "remove one of the two")
            )
        }
        return found
    }

    private static let positive: @Sendable (Duration?) -> String? = { value in
        if let value, value <= .zero { "must be longer than zero" } else { nil }
    }

    private static func isHeaderName(_ name: String) -> Bool {
        !name.isEmpty
            && name.utf8.allSatisfy { byte in
                switch byte {
                case 48...57, 65...90, 97...122: true
                default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
                }
            }
    }

    private static func isHeaderValue(_ value: String) -> Bool {
        value.utf8.allSatisfy { $0 >= 32 && $0 != 127 || $0 == 9 }
    }
}

/// `auth: { bearer: … }` or `auth: { basic: { user: …, password: … } }`.
public struct HTTPAuthConfig: OperatorConfig {
    public var bearer: Secret?
    public var basic: HTTPBasicAuthConfig?

    public init() {}

    public static let schema = ConfigSchema<Self>(rules: [.exactlyOne(of: "bearer", "basic")]) {
        ConfigField("bearer", \.bearer, "A token, sent as `Authorization: Bearer …`.")
        ConfigField("basic", \.basic, "A user and a password.")
    }
}

/// A user and a password.
public struct HTTPBasicAuthConfig: OperatorConfig {
    public var user = ""
    public var password = Secret()

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField("user", \.user, .required, "The user's name.")
        ConfigField("password", \.password, .required, "The password.")
    }
}

/// `retry: …`
public struct HTTPRetryConfig: OperatorConfig {
    public var initialDelay: Duration = .seconds(1)
    public var maxDelay: Duration = .seconds(60)
    public var maxRetryAfter: Duration = .seconds(900)
    public var maxAttempts: Int?
    public var maxElapsed: Duration? = .seconds(3600)
    public var statuses: [StatusWord] = ["408", "425", "429", "5xx"]
    public var finalStatuses: [StatusWord] = ["501"]
    public var errorCodeHeader = "X-Error-Code"
    public var finalErrorCodes = ["TooBigContentError"]

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField(
            "initial_delay", \.initialDelay,
            "Longest pause after the first failure; doubles with each further one. The pause itself is drawn from zero to this.",
            check: { $0 <= .zero ? "must be longer than zero" : nil })
        ConfigField(
            "max_delay", \.maxDelay, "No pause is longer, but for `Retry-After`.",
            check: { $0 <= .zero ? "must be longer than zero" : nil })
        ConfigField(
            "max_retry_after", \.maxRetryAfter, "A longer `Retry-After` of the server is cut to this.",
            check: { $0 < .zero ? "must not be negative" : nil })
        ConfigField(
            "max_attempts", \.maxAttempts, "Most requests for one page. Without it, as many as `max_elapsed` allows.",
            check: { ($0 ?? 1) < 1 ? "must be at least 1" : nil })
        ConfigField(
            "max_elapsed", \.maxElapsed,
            "Longest time for one page; then the pipeline is restarted from its checkpoint with its own backoff. `null`: for ever.",
            check: { ($0 ?? .seconds(1)) < .zero ? "must not be negative" : nil })
        ConfigField("statuses", \.statuses, .advanced, "Statuses that are tried again.")
        ConfigField(
            "final_statuses", \.finalStatuses, .advanced, "Statuses that end the run although `statuses` has them.")
        ConfigField(
            "error_code_header", \.errorCodeHeader, .advanced, "The header that carries the server's own error code.")
        ConfigField(
            "final_error_codes", \.finalErrorCodes, .advanced, "Error codes that end the run whatever the status.")
    }

    /// As the fetcher takes it.
    var policy: RetryPolicy {
        RetryPolicy(
            initialDelay: initialDelay, maxDelay: maxDelay, maxRetryAfter: maxRetryAfter, maxAttempts: maxAttempts,
            maxElapsed: maxElapsed, statuses: StatusSet(statuses.map(\.member)),
            finalStatuses: StatusSet(finalStatuses.map(\.member)), errorCodeHeader: errorCodeHeader,
            finalErrorCodes: finalErrorCodes)
    }
}
