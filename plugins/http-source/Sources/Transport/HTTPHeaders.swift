/// The header lines of an answer, in order. Names compare without case.
struct HTTPHeaders: Sendable, Equatable {
    private(set) var lines: [(name: String, value: String)] = []

    init(_ lines: [(String, String)] = []) {
        self.lines = lines.map { (name: $0.0, value: $0.1) }
    }

    /// The first value of `name`, or nil. O(lines).
    subscript(name: String) -> String? {
        lines.first { $0.name.equalsIgnoringCase(name) }?.value
    }

    /// Every value of `name`, in order: headers such as `Link` may stand several times. O(lines).
    func all(_ name: String) -> [String] {
        lines.filter { $0.name.equalsIgnoringCase(name) }.map(\.value)
    }

    /// Takes one line as libcurl hands it over. A status line begins a new answer (after `100 Continue`): what came
    /// before is forgotten. A line without a colon is ignored.
    mutating func receive(_ line: String) {
        if line.hasPrefix("HTTP/") {
            lines.removeAll(keepingCapacity: true)
            return
        }
        guard let colon = line.firstIndex(of: ":") else { return }
        let value = line[line.index(after: colon)...].trimmed()
        lines.append((String(line[..<colon].trimmed()), String(value)))
    }

    static func == (left: HTTPHeaders, right: HTTPHeaders) -> Bool {
        left.lines.count == right.lines.count && zip(left.lines, right.lines).allSatisfy { $0 == $1 }
    }
}

extension StringProtocol {
    /// Without the blanks, tabs and line ends on both sides.
    func trimmed() -> Substring {
        var rest = Substring(self).unicodeScalars
        while let first = rest.first, first.isBlank { rest.removeFirst() }
        while let last = rest.last, last.isBlank { rest.removeLast() }
        return Substring(rest)
    }

    /// Compares ASCII letters without case.
    func equalsIgnoringCase(_ other: some StringProtocol) -> Bool {
        func lower(_ byte: UInt8) -> UInt8 { byte >= 65 && byte <= 90 ? byte | 0x20 : byte }
        return utf8.count == other.utf8.count && zip(utf8, other.utf8).allSatisfy { lower($0) == lower($1) }
    }
}

extension Unicode.Scalar {
    fileprivate var isBlank: Bool { self == " " || self == "\t" || self == "\r" || self == "\n" }
}
