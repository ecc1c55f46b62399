import DataflowConfig
import Glibc
import Synchronization

/// The terminal: text on stderr with at most one live line below it, and the product on stdout.
package final class Console: Sendable {
    /// What one of the two streams is.
    package struct Stream: Sendable {
        var isTerminal: Bool
        var write: @Sendable (String) -> Void

        /// A stream that goes to `write`, for tests.
        package init(isTerminal: Bool = false, write: @escaping @Sendable (String) -> Void) {
            self.isTerminal = isTerminal
            self.write = write
        }

        init(descriptor: Int32) {
            isTerminal = isatty(descriptor) == 1
            write = { text in Console.write(descriptor, text) }
        }
    }

    private let product: Stream
    private let messages: Stream
    private let allowsColours: Bool
    private let live = Mutex("")

    package init(product: Stream, messages: Stream, allowsColours: Bool = false) {
        self.product = product
        self.messages = messages
        self.allowsColours = allowsColours
    }

    /// That of the process. Colours are for terminals, unless `NO_COLOR` or `TERM=dumb` says otherwise.
    convenience init() {
        let term = getenv("TERM").map { String(cString: $0) }
        self.init(
            product: Stream(descriptor: 1), messages: Stream(descriptor: 2),
            allowsColours: getenv("NO_COLOR") == nil && term != "dumb")
    }

    /// Whether there can be a live line.
    var isTerminal: Bool { messages.isTerminal }
    /// Whether the product may have colours.
    var productHasColours: Bool { allowsColours && product.isTerminal }

    /// A line on stderr, above the live line.
    func line(_ text: String) {
        live.withLock { live in
            messages.write(live.isEmpty ? text + "\n" : "\r\u{1B}[K\(text)\n\(live)")
        }
    }

    /// Replaces the live line; the empty text takes it away. Cut to the terminal's width.
    func setLive(_ text: String) {
        var size = winsize()
        let width = ioctl(2, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : 120
        let shown = text.count > width - 1 ? String(text.prefix(width - 2)) + "…" : text
        live.withLock { live in
            guard !(live.isEmpty && shown.isEmpty) else { return }
            live = shown
            messages.write("\r\u{1B}[K\(shown)")
        }
    }

    func diagnostics(_ diagnostics: [Diagnostic]) {
        for diagnostic in diagnostics { line(diagnostic.rendered(allowsColours && isTerminal ? .coloured : .human)) }
    }

    /// The product, on stdout, with a line break at its end.
    func output(_ text: String) {
        product.write(text.hasSuffix("\n") ? text : text + "\n")
    }

    private static func write(_ descriptor: Int32, _ text: String) {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return }
            bytes = bytes.dropFirst(count)
        }
    }
}
