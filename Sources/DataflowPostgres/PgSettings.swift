import CPostgreSQL
import Glibc

/// What libpq needs to connect: a checked connection string with this sink's defaults for what it leaves open.
///
/// Every setting of libpq may stand in the string (hosts, TLS, service, target_session_attrs …); what is not there
/// comes from libpq's environment variables and files as usual.
package struct PgSettings: Sendable {
    /// Keywords and values in libpq's order. Holds the password: never print it.
    package private(set) var parameters: [(keyword: String, value: String)]

    /// Checks a connection URL (`postgresql://…`) or keyword string (`host=… dbname=…`). Does no I/O.
    ///
    /// - Throws: a `configuration` failure whose message shows nothing of the string but what is wrong with it.
    package init(parsing connection: String) throws(PgFailure) {
        if connection.utf8.contains(0) {
            throw PgFailure(.configuration, "the connection string holds a U+0000")
        }
        var message: UnsafeMutablePointer<CChar>?
        guard let options = PQconninfoParse(connection, &message) else {
            let text = message.map { String(cString: $0) } ?? "out of memory"
            PQfreemem(message)
            throw PgFailure(.configuration, "not a libpq connection URL or string: \(PgSettings.hidingQuotes(text))")
        }
        defer { PQconninfoFree(options) }
        parameters = []
        var option = options
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val {
                parameters.append((String(cString: keyword), String(cString: value)))
            }
            option += 1
        }
        try checkPorts()
    }

    /// libpq takes any text for a port until it connects. The text is not shown: it may be a part of a password.
    private func checkPorts() throws(PgFailure) {
        for port in parameters.first(where: { $0.keyword == "port" })?.value.split(separator: ",") ?? [] {
            let text = port.trimmingSpaces
            guard text.isEmpty || Int(text).map({ (1...65535).contains($0) }) == true else {
                throw PgFailure(
                    .configuration,
                    "the connection's port must be a number from 1 to 65535; in a URL, the characters / : @ of a user or "
                        + "password are written %2F %3A %40")
            }
        }
    }

    /// The settings with our own values: text is UTF-8, and a dead peer is noticed within about a minute.
    package func withDefaults(applicationName: String, connectTimeout: Int) -> PgSettings {
        var copy = self
        copy.parameters.removeAll { $0.keyword == "client_encoding" }
        copy.parameters.append(("client_encoding", "UTF8"))
        copy.setDefault("fallback_application_name", applicationName, environment: nil)
        copy.setDefault("connect_timeout", String(connectTimeout), environment: "PGCONNECT_TIMEOUT")
        copy.setDefault("keepalives_idle", "30", environment: nil)
        copy.setDefault("keepalives_interval", "10", environment: nil)
        copy.setDefault("keepalives_count", "3", environment: nil)
        copy.setDefault("tcp_user_timeout", "60000", environment: nil)
        return copy
    }

    private mutating func setDefault(_ keyword: String, _ value: String, environment: String?) {
        guard !parameters.contains(where: { $0.keyword == keyword }) else { return }
        if let environment, getenv(environment) != nil { return }
        parameters.append((keyword, value))
    }

    /// Where the connection goes, for messages: `user@host:port/database` as far as the string says so.
    package var summary: String {
        func value(_ keyword: String) -> String? {
            parameters.first { $0.keyword == keyword }.map(\.value).flatMap { $0.isEmpty ? nil : $0 }
        }
        let host = value("host") ?? value("hostaddr") ?? value("service").map { "service \($0)" } ?? "local socket"
        var text = value("user").map { "\($0)@\(host)" } ?? host
        if let port = value("port") { text += ":\(port)" }
        if let database = value("dbname") { text += "/\(database)" }
        return text
    }

    /// Lends the keywords and values as the null-terminated arrays of `PQconnectdbParams`.
    package func withKeywordsAndValues<R>(
        _ body: (UnsafePointer<UnsafePointer<CChar>?>, UnsafePointer<UnsafePointer<CChar>?>) -> R
    ) -> R {
        func duplicates(_ texts: [String]) -> [UnsafePointer<CChar>?] {
            texts.map { UnsafePointer(strdup($0)) } + [nil]
        }
        let keywords = duplicates(parameters.map(\.keyword))
        let values = duplicates(parameters.map(\.value))
        defer {
            for text in keywords + values { free(UnsafeMutablePointer(mutating: text)) }
        }
        return keywords.withUnsafeBufferPointer { keywordBuffer in
            values.withUnsafeBufferPointer { valueBuffer in
                guard let keywordBase = keywordBuffer.baseAddress, let valueBase = valueBuffer.baseAddress else {
                    preconditionFailure("an array that ends with nil is not empty")
                }
                return body(keywordBase, valueBase)
            }
        }
    }

    /// libpq quotes parts of the string, sometimes all of it with the password, in what it says about a mistake.
    package static func hidingQuotes(_ text: String) -> String {
        var result = ""
        var inside = false
        for character in PgResult.oneLine(text) {
            if character == "\"" {
                result += inside ? "…\"" : "\""
                inside.toggle()
            } else if !inside {
                result.append(character)
            }
        }
        return result
    }
}

extension Substring {
    fileprivate var trimmingSpaces: Substring {
        var text = drop { $0.isWhitespace }
        while text.last?.isWhitespace == true { text.removeLast() }
        return text
    }
}
