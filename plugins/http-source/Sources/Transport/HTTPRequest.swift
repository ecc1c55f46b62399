import DataflowColumnar

/// One GET request, complete: what the client sends is written here and nowhere else.
struct HTTPRequest: Sendable, Equatable {
    /// Absolute, `http` or `https`.
    var url: String
    /// Header lines besides those that the client adds itself (`User-Agent`, `Accept-Encoding`).
    var headers: [HTTPHeader] = []
    /// Sent only where ``sendsCredentials`` is true.
    var credentials: HTTPCredentials?
    /// False behind a redirect or link to another origin: no credentials and no private headers are sent there.
    var sendsCredentials = true
}

/// A header of a request.
struct HTTPHeader: Sendable, Equatable {
    var name: String
    var value: String
    /// True for what the user configured: it may carry a key, so it is kept from other origins.
    var isPrivate = false
}

/// Who asks.
enum HTTPCredentials: Sendable, Equatable {
    case bearer(String)
    case basic(user: String, password: String)
}

/// A complete answer: its body was received to the end and is within the limit.
struct HTTPResponse: Sendable {
    var status: Int
    var headers: HTTPHeaders
    /// After `Content-Encoding` was undone.
    var body: Buffer
    /// Until the last byte of the body.
    var elapsed: Duration
}

/// Why there is no complete answer.
struct HTTPFailure: Error, Sendable, Equatable {
    enum Kind: Sendable, Equatable {
        /// Another attempt may succeed: name resolution, connection, timeout, a connection cut in the middle.
        case transient
        /// Another attempt would meet the same: a wrong URL, a certificate that does not verify, a body over the limit.
        case final
    }
    var kind: Kind
    /// What happened, without the URL.
    var message: String
}
