import CCurl
import DataflowHTTP

/// One libcurl multi handle: it drives all transfers of an ``HTTPClient`` and keeps their connections open for reuse.
///
/// `@unchecked Sendable`: every method but ``wake()`` is called on the client's thread only; `wake()` is
/// `curl_multi_wakeup`, which libcurl documents as safe from any thread while the handle lives, and whoever holds this
/// object keeps the handle alive.
final class MultiHandle: @unchecked Sendable {
    private let pointer: UnsafeMutableRawPointer

    /// - Parameter maxConnections: connections kept open for reuse.
    init(maxConnections: Int) throws(CurlError) {
        guard let pointer = curl_multi_init() else { throw CurlError(code: CURLE_OUT_OF_MEMORY, detail: nil) }
        self.pointer = pointer
        _ = dataflow_curl_multi_set_long(pointer, CURLMOPT_MAXCONNECTS, maxConnections)
    }

    deinit {
        curl_multi_cleanup(pointer)
    }

    /// Starts the transfer at the next ``perform()``.
    func add(_ easy: EasyHandle) throws(CurlError) {
        try check(curl_multi_add_handle(pointer, easy.pointer))
    }

    /// Takes the transfer out, finished or not. A connection in the middle of a transfer is closed.
    func remove(_ easy: EasyHandle) {
        curl_multi_remove_handle(pointer, easy.pointer)
    }

    /// Moves all transfers on as far as they go without waiting.
    func perform() throws(CurlError) {
        var running: Int32 = 0
        try check(curl_multi_perform(pointer, &running))
    }

    /// Waits until a transfer can go on, ``wake()`` is called or `timeout` has passed. Rounded up to milliseconds.
    func poll(timeout: Duration) throws(CurlError) {
        let (seconds, attoseconds) = timeout.components
        let milliseconds =
            seconds >= 3600
            ? 3_600_000 : max(0, seconds * 1000 + (attoseconds + 999_999_999_999_999) / 1_000_000_000_000_000)
        try check(curl_multi_poll(pointer, nil, 0, Int32(milliseconds), nil))
    }

    /// Ends a ``poll(timeout:)``, the running one or the next. From any thread.
    func wake() {
        curl_multi_wakeup(pointer)
    }

    /// The next transfer that has ended, with its result; nil when there is none.
    func nextFinished() -> (easy: UnsafeMutableRawPointer, result: CURLcode)? {
        var remaining: Int32 = 0
        while let message = curl_multi_info_read(pointer, &remaining) {
            guard message.pointee.msg == CURLMSG_DONE, let easy = message.pointee.easy_handle else { continue }
            return (easy, message.pointee.data.result)
        }
        return nil
    }

    private func check(_ code: CURLMcode) throws(CurlError) {
        guard code == CURLM_OK else {
            throw CurlError(code: CURLE_FAILED_INIT, detail: String(cString: curl_multi_strerror(code)))
        }
    }
}
