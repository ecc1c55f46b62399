internal import CCurl

/// One parsed URL (libcurl's `CURLU`): `init` acquires it, `deinit` releases it.
package final class URLHandle {
    private let pointer: OpaquePointer

    /// Nil when `url` is not an absolute `http` or `https` URL with a host.
    package init?(_ url: String) {
        guard let pointer = curl_url() else { return nil }
        self.pointer = pointer
        guard curl_url_set(pointer, CURLUPART_URL, url, 0) == CURLUE_OK, let scheme = part(CURLUPART_SCHEME),
            scheme == "http" || scheme == "https", part(CURLUPART_HOST)?.isEmpty == false
        else { return nil }
    }

    deinit {
        curl_url_cleanup(pointer)
    }

    /// The URL that `reference`, absolute or relative, means seen from this one; nil when it is none.
    package func resolving(_ reference: String) -> String? {
        guard let copy = curl_url_dup(pointer) else { return nil }
        defer { curl_url_cleanup(copy) }
        let reference = reference.split(separator: "#", maxSplits: 1, omittingEmptySubsequences: false).first ?? ""
        guard curl_url_set(copy, CURLUPART_URL, String(reference), UInt32(CURLU_URLENCODE)) == CURLUE_OK else {
            return nil
        }
        guard let scheme = URLHandle.part(copy, CURLUPART_SCHEME), scheme == "http" || scheme == "https" else {
            return nil
        }
        return URLHandle.part(copy, CURLUPART_URL)
    }

    /// Scheme, host and port: credentials never go to another origin.
    package var origin: String {
        let port = part(CURLUPART_PORT, UInt32(CURLU_DEFAULT_PORT)) ?? ""
        return "\(part(CURLUPART_SCHEME) ?? "")://\(part(CURLUPART_HOST)?.lowercased() ?? ""):\(port)"
    }

    package var scheme: String { part(CURLUPART_SCHEME) ?? "" }

    /// True for `https://user:password@host`.
    package var hasUserInfo: Bool { part(CURLUPART_USER) != nil || part(CURLUPART_PASSWORD) != nil }

    private func part(_ what: CURLUPart, _ flags: UInt32 = 0) -> String? { URLHandle.part(pointer, what, flags) }

    private static func part(_ pointer: OpaquePointer, _ what: CURLUPart, _ flags: UInt32 = 0) -> String? {
        var text: UnsafeMutablePointer<CChar>?
        guard curl_url_get(pointer, what, &text, flags) == CURLUE_OK, let text else { return nil }
        defer { curl_free(text) }
        return String(cString: text)
    }
}
