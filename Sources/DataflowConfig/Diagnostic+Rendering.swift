extension Diagnostic {
    public enum Rendering: Sendable {
        /// One line: `file:line:column: error: message`.
        case short
        /// The line, the source line with carets, the hint and related places.
        case human
        /// As `human`, with terminal colours.
        case coloured
    }

    /// The finding as text, without a final line break.
    public func rendered(_ rendering: Rendering = .human) -> String {
        let place = mark.isKnown ? "\(mark): " : mark.file.isEmpty ? "" : "\(mark.file): "
        let subject = mark.isKnown || path == nil ? "" : "\(path ?? ""): "
        let message = Self.printable(message)
        guard rendering != .short else { return "\(place)\(severity.rawValue): \(subject)\(message)" }
        let paint = Paint(isOn: rendering == .coloured)
        var text = paint.bold(place) + paint.severity(severity) + paint.bold(": \(subject)\(message)")
        if !hidesSource { text += excerpt(at: mark, length: length, paint) }
        if let hint { text += "\n  \(paint.blue("help:")) \(Self.printable(hint))" }
        for other in related {
            text +=
                "\n  \(paint.blue("note:")) \(other.mark): \(Self.printable(other.message))"
                + excerpt(at: other.mark, length: 0, paint)
        }
        return text
    }

    /// Longer lines are not shown: nobody wrote them by hand, and to mask the secrets in megabytes takes seconds.
    private static let longestLine = 16 << 10

    /// The text with `\u{FFFD}` in place of control characters, which would reach the terminal and could move its cursor.
    private static func printable(_ text: String) -> String {
        func isControl(_ scalar: Unicode.Scalar) -> Bool {
            scalar.properties.generalCategory == .control && scalar != "\t" && scalar != "\n"
        }
        guard text.unicodeScalars.contains(where: isControl) else { return text }
        return String(String.UnicodeScalarView(text.unicodeScalars.map { isControl($0) ? "\u{FFFD}" : $0 }))
    }

    private func excerpt(at mark: Mark, length: Int, _ paint: Paint) -> String {
        guard mark.isKnown, let line = mark.source.line(mark.line), line.utf8.count <= Self.longestLine else {
            return ""
        }
        let shown = SecretMask.masked(line)
        let scalars = Array(shown.unicodeScalars)
        guard !scalars.isEmpty else { return "" }
        // A long line shows the part around the mark.
        let width = 120
        let from = mark.column > width - 20 ? mark.column - 60 : 0
        let window = scalars.dropFirst(from).prefix(width)
        let number = "\(mark.line)"
        let margin = String(repeating: " ", count: max(5 - number.count, 1))
        let cut = from > 0 ? "…" : ""
        let source = Self.printable(String(String.UnicodeScalarView(window)))
        let lead = window.prefix(max(mark.column - 1 - from, 0)).map { $0 == "\t" ? "\t" : " " }.joined()
        let room = max(window.count - (mark.column - 1 - from), 1)
        // A masked line may be shorter than the written one: then the caret alone has to do.
        let covered = shown.count == line.count ? min(max(length, 1), room) : 1
        let caret = "^" + String(repeating: "~", count: covered - 1)
        let blank = String(repeating: " ", count: margin.count + number.count)
        return "\n\(paint.blue("\(margin)\(number) |")) \(cut)\(source)"
            + "\n\(paint.blue("\(blank) |")) \(cut.isEmpty ? "" : " ")\(lead)\(paint.caret(caret, severity))"
    }
}

extension [Diagnostic] {
    /// In the order of the files' text, those without a place first.
    public func sortedByPlace() -> [Diagnostic] {
        enumerated().sorted { ($0.element.mark, $0.offset) < ($1.element.mark, $1.offset) }.map(\.element)
    }
}

private struct Paint {
    var isOn: Bool

    private func colour(_ code: String, _ text: String) -> String { isOn ? "\u{1B}[\(code)m\(text)\u{1B}[0m" : text }

    func bold(_ text: String) -> String { colour("1", text) }
    func blue(_ text: String) -> String { colour("34", text) }
    func caret(_ text: String, _ severity: Diagnostic.Severity) -> String { colour(code(severity), text) }
    func severity(_ severity: Diagnostic.Severity) -> String { colour(code(severity), severity.rawValue) }

    private func code(_ severity: Diagnostic.Severity) -> String {
        switch severity {
        case .error: "1;31"
        case .warning: "1;33"
        case .note: "1;36"
        }
    }
}

/// Keeps what a pipeline file should not have held out of logs: passwords in URLs and the values of keys that name a secret.
public enum SecretMask {
    private static let words = [
        "password", "passwd", "pwd", "secret", "token", "bearer", "passphrase", "api_key", "apikey", "authorization",
        "credential", "cookie",
    ]

    /// The line with each password replaced by `***`.
    public static func masked(_ line: some StringProtocol) -> String {
        maskedKeys(maskedURLs(String(line)))
    }

    /// `scheme://user:password@host` → `scheme://user:***@host`.
    public static func maskedURLs(_ text: String) -> String {
        var result = ""
        var rest = Substring(text)
        while let scheme = rest.firstRange(of: "://") {
            result += rest[..<scheme.upperBound]
            rest = rest[scheme.upperBound...]
            let authority = rest.prefix { !$0.isWhitespace && !"/?#\"'`,".contains($0) }
            guard let at = authority.lastIndex(of: "@"), let colon = authority[..<at].firstIndex(of: ":") else {
                continue
            }
            result += authority[...colon] + "***"
            rest = rest[at...]
        }
        return result + rest
    }

    private static func maskedKeys(_ line: String) -> String {
        let lowered = line.lowercased()
        guard lowered.count == line.count else { return line }
        var start: String.Index?
        for word in words {
            var rest = lowered[...]
            while let found = rest.firstRange(of: word) {
                rest = rest[found.upperBound...]
                guard let separator = rest.firstIndex(where: { $0 == ":" || $0 == "=" }),
                    rest[..<separator].allSatisfy({ $0 == "\"" || $0 == "'" || $0 == "_" || $0 == "-" || $0.isLetter })
                else { continue }
                let keep = line.index(
                    line.startIndex, offsetBy: lowered.distance(from: lowered.startIndex, to: separator) + 1)
                let value = line[keep...].drop { $0 == " " }
                // A reference to the environment is no secret, and the reader needs it.
                guard !value.isEmpty, !value.hasPrefix("${"), !value.hasPrefix("\"${") else { continue }
                start = min(start ?? keep, keep)
                break
            }
        }
        guard let start else { return line }
        return line[..<start] + " ***"
    }
}

extension StringProtocol where SubSequence == Substring {
    /// The first occurrence of a non-empty text. Cost: O(n · m).
    fileprivate func firstRange(of needle: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(needle) { return start..<index(start, offsetBy: needle.count) }
            start = index(after: start)
        }
        return nil
    }
}
