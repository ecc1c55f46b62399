/// Builds the URLs of pages, and shows them without what is secret.
struct PageURL: Sendable {
    /// As configured, absolute; it may have a query already.
    var base: String
    /// The configured query.
    var query: [URLParameter]
    /// Parameters whose values never appear in messages and rows.
    var secretQuery: [URLParameter]

    /// The URL of a page.
    func url(_ request: Paginator.Request) -> String {
        if case .link(let link) = request.position { return link }
        return PageURL.adding(query + secretQuery + request.parameters, to: base)
    }

    /// `url` as messages and the `url` column show it: values of secret parameters as `***`, no password.
    ///
    /// Secret are the parameters in ``secretQuery`` and those whose name says so (`token`, `api_key`, `signature` …).
    func redacted(_ url: String) -> String {
        var shown = url
        if let scheme = shown.range(ofText: "://") {
            let authority = shown[scheme.upperBound...].prefix { $0 != "/" && $0 != "?" && $0 != "#" }
            if let at = authority.lastIndex(of: "@") {
                shown.replaceSubrange(authority.startIndex..<at, with: "***")
            }
        }
        guard let mark = shown.firstIndex(of: "?") else { return shown }
        let parameters = shown[shown.index(after: mark)...].split(separator: "&", omittingEmptySubsequences: false)
        let clean = parameters.map { parameter -> String in
            guard let equals = parameter.firstIndex(of: "=") else { return String(parameter) }
            let name = String(parameter[..<equals])
            return isSecret(name) ? "\(name)=***" : String(parameter)
        }
        return shown[...mark] + clean.joined(separator: "&")
    }

    private static let secretWords = [
        "token", "secret", "password", "passwd", "apikey", "api_key", "api-key", "access_key", "signature",
        "credential",
    ]
    private static let secretNames: Set<String> = ["key", "sig", "auth", "pwd", "pass", "code", "jwt", "session"]

    private func isSecret(_ encodedName: String) -> Bool {
        let name = encodedName.lowercased()
        return PageURL.secretNames.contains(name) || PageURL.secretWords.contains { name.range(ofText: $0) != nil }
            || secretQuery.contains { PageURL.encoded($0.name) == encodedName || $0.name == encodedName }
    }

    /// `url` with further parameters, percent-encoded.
    static func adding(_ parameters: [URLParameter], to url: String) -> String {
        guard !parameters.isEmpty else { return url }
        let text = parameters.map { "\(encoded($0.name))=\(encoded($0.value))" }.joined(separator: "&")
        let bare = url.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false)[0]
        if bare.hasSuffix("?") || bare.hasSuffix("&") { return "\(bare)\(text)" }
        return "\(bare)\(bare.contains("?") ? "&" : "?")\(text)"
    }

    /// Percent-encodes all but the unreserved characters of RFC 3986.
    static func encoded(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count)
        for byte in text.utf8 {
            switch byte {
            case 48...57, 65...90, 97...122, 45, 46, 95, 126: bytes.append(byte)
            default: bytes += [37, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

extension String {
    /// The first place where `text` stands.
    func range(ofText text: String) -> Range<String.Index>? {
        guard !text.isEmpty else { return nil }
        var start = startIndex
        while let candidate = self[start...].firstIndex(of: text[text.startIndex]) {
            if self[candidate...].hasPrefix(text) { return candidate..<index(candidate, offsetBy: text.count) }
            start = index(after: candidate)
        }
        return nil
    }
}
