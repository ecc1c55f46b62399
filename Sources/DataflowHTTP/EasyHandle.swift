package import CCurl

/// One libcurl easy handle: `init` acquires it, `deinit` releases it. It belongs to the thread of its ``HTTPClient``.
package final class EasyHandle {
    /// The handle itself. Lent to ``MultiHandle`` and to the option setters below, never kept elsewhere.
    package let pointer: UnsafeMutableRawPointer
    private var headers: UnsafeMutablePointer<curl_slist>?

    /// libcurl's process-wide state, made once; `false` when libcurl could not be initialised.
    private static let globalState: Bool = curl_global_init(dataflow_curl_global_all) == CURLE_OK

    /// - Throws: ``CurlError`` when libcurl cannot be initialised or has no memory.
    package init() throws(CurlError) {
        guard EasyHandle.globalState, let pointer = curl_easy_init() else {
            throw CurlError(code: CURLE_FAILED_INIT, detail: "libcurl could not be initialised")
        }
        self.pointer = pointer
    }

    deinit {
        curl_easy_cleanup(pointer)
        curl_slist_free_all(headers)
    }

    /// Forgets every option and keeps connections and caches, so that the handle can carry another request.
    package func reset() {
        curl_easy_reset(pointer)
        curl_slist_free_all(headers)
        headers = nil
    }

    package func set(_ option: CURLoption, _ value: Int) throws(CurlError) {
        try check(dataflow_curl_set_long(pointer, option, value))
    }

    /// libcurl copies the string.
    package func set(_ option: CURLoption, _ value: String) throws(CurlError) {
        try check(dataflow_curl_set_string(pointer, option, value))
    }

    /// The address must stay valid until the transfer has been removed from its multi handle.
    package func set(_ option: CURLoption, _ value: UnsafeMutableRawPointer) throws(CurlError) {
        try check(dataflow_curl_set_pointer(pointer, option, value))
    }

    package func set(
        _ option: CURLoption,
        _ function:
            @convention(c) (UnsafeMutablePointer<CChar>?, Int, Int, UnsafeMutableRawPointer?) -> Int
    ) throws(CurlError) {
        try check(dataflow_curl_set_function(pointer, option, function))
    }

    /// Ends the transfer within a second or so after its task was cancelled. For transfers that run on their task's thread.
    package func observeCancellation() throws(CurlError) {
        try set(CURLOPT_NOPROGRESS, 0)
        try check(dataflow_curl_set_progress(pointer) { _, _, _, _, _ in Task.isCancelled ? 1 : 0 })
    }

    /// Sets the request's header lines (`Name: value`). The handle owns the list.
    package func setHeaders(_ lines: [String]) throws(CurlError) {
        curl_slist_free_all(headers)
        headers = nil
        for line in lines {
            guard let longer = curl_slist_append(headers, line) else {
                throw CurlError(code: CURLE_OUT_OF_MEMORY, detail: nil)
            }
            headers = longer
        }
        try check(dataflow_curl_set_headers(pointer, headers))
    }

    /// The status of the last answer, 0 when there was none.
    package var status: Int {
        var value = 0
        _ = dataflow_curl_get_long(pointer, CURLINFO_RESPONSE_CODE, &value)
        return value
    }

    private func check(_ code: CURLcode) throws(CurlError) {
        guard code == CURLE_OK else { throw CurlError(code: code, detail: nil) }
    }
}

/// A return code of libcurl with its text.
package struct CurlError: Error, Sendable {
    package var code: CURLcode
    /// What libcurl wrote into the error buffer, when it did.
    package var detail: String?

    package init(code: CURLcode, detail: String?) {
        self.code = code
        self.detail = detail
    }

    /// libcurl's sentence for the code, followed by the detail where there is one.
    package var message: String {
        let text = String(cString: curl_easy_strerror(code))
        guard let detail, !detail.isEmpty, detail != text else { return text }
        return "\(text) (\(detail))"
    }
}

extension Duration {
    /// Rounded up, at least 1 for a positive duration, at most what libcurl takes.
    package var wholeMilliseconds: Int {
        let (seconds, attoseconds) = components
        guard seconds < 2_000_000 else { return 2_000_000_000 }
        return Int(seconds) * 1000 + Int((attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
    }
}
