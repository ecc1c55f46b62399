/// An answer: a status with a JSON object as body.
struct Response {
    var status: Int
    var body: String
    var headers: [(String, String)] = []

    static func accepted(_ rows: Int) -> Response { Response(status: 202, body: #"{"accepted":\#(rows)}"#) }

    /// - Parameter reason: a text of ours, without quotes and control characters.
    static func problem(_ status: Int, _ reason: String, _ headers: [(String, String)] = []) -> Response {
        Response(status: status, body: #"{"error":"\#(reason)"}"#, headers: headers)
    }

    static func problem(_ problem: RequestProblem) -> Response { .problem(problem.status, problem.reason) }

    /// As it is sent.
    /// - Parameter withBody: false for an answer to HEAD.
    func bytes(keepsAlive: Bool, withBody: Bool = true) -> [UInt8] {
        var text = "HTTP/1.1 \(status) \(Response.phrases[status] ?? "Error")\r\nContent-Type: application/json\r\n"
        for (name, value) in headers { text += "\(name): \(value)\r\n" }
        if !keepsAlive { text += "Connection: close\r\n" }
        text += "Content-Length: \(body.utf8.count)\r\n\r\n"
        if withBody { text += body }
        return Array(text.utf8)
    }

    private static let phrases = [
        200: "OK", 202: "Accepted", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found",
        405: "Method Not Allowed",
        408: "Request Timeout", 413: "Content Too Large", 415: "Unsupported Media Type", 417: "Expectation Failed",
        429: "Too Many Requests", 431: "Request Header Fields Too Large", 500: "Internal Server Error",
        501: "Not Implemented", 503: "Service Unavailable", 505: "HTTP Version Not Supported",
    ]
}
