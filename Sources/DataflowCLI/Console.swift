import DataflowConfig
import Glibc
import Synchronization

/// The terminal: text on stderr with at most one live line below it, and the product on stdout.
final class Console: Sendable {
    static let shared = Console()

    /// Whether stderr is a terminal.
    let isTerminal = isatty(2) == 1
    /// Whether stderr takes colours: a terminal, unless `NO_COLOR` or `TERM=dumb` says otherwise.
    let hasColours: Bool
    /// Whether stdout is a terminal.
    static let outputIsTerminal = isatty(1) == 1
    private let live = Mutex("")

    private init() {
        let term = getenv("TERM").map { String(cString: $0) }
        hasColours = isTerminal && getenv("NO_COLOR") == nil && term != "dumb"
    }

    /// A line on stderr, above the live line.
    func line(_ text: String) {
        live.withLock { live in
            Self.write(2, live.isEmpty ? text + "\n" : "\r\u{1B}[K\(text)\n\(live)")
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
            Self.write(2, "\r\u{1B}[K\(shown)")
        }
    }

    func diagnostics(_ diagnostics: [Diagnostic]) {
        for diagnostic in diagnostics { line(diagnostic.rendered(hasColours ? .coloured : .human)) }
    }

    /// The product, on stdout, with a line break at its end.
    static func output(_ text: String) {
        write(1, text.hasSuffix("\n") ? text : text + "\n")
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
