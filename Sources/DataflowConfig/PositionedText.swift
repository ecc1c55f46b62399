/// A scalar's text with the place in the file of each of its characters: what a field that holds a language of its own
/// (an expression, a path) keeps, so that its errors point into the YAML file.
public struct PositionedText: Sendable {
    private struct Segment {
        var start: Int
        var writtenOffset: Int
        var isSubstituted: Bool
    }

    public let text: String
    /// Where the scalar starts.
    public let mark: Mark
    private let scalar: Scalar
    private let segments: [Segment]

    /// The text as any field reads it.
    public init(plain scalar: Scalar, mark: Mark) {
        self.init(scalar, mark: mark) { value, _ in value }
    }

    /// A text that no file declares.
    public init(_ text: String) {
        self.init(plain: Scalar(text), mark: .unknown)
    }

    /// The text as SQL: an interpolated value becomes a literal (a number if it looks like one, else a quoted string),
    /// and within a quoted string or identifier its quotes are doubled, so it can never become SQL text.
    public init(sql scalar: Scalar, mark: Mark) {
        self.init(scalar, mark: mark) { value, before in
            switch SQLContext(endOf: before) {
            case .string: value.replacingQuotes("'")
            case .identifier: value.replacingQuotes("\"")
            case .comment: ""
            case .code: isNumber(value) ? value : "'" + value.replacingQuotes("'") + "'"
            }
        }
    }

    private init(_ scalar: Scalar, mark: Mark, substitute: (_ value: String, _ before: String) -> String) {
        self.scalar = scalar
        self.mark = mark
        var text = ""
        var segments: [Segment] = []
        for part in scalar.parts {
            switch part {
            case .written(let piece, let offset):
                segments.append(Segment(start: text.utf8.count, writtenOffset: offset, isSubstituted: false))
                text += piece
            case .value(let value, _, _, let offset):
                segments.append(Segment(start: text.utf8.count, writtenOffset: offset, isSubstituted: true))
                text += substitute(value, text)
            }
        }
        self.text = scalar.parts.isEmpty ? scalar.text : text
        self.segments = segments
    }

    /// The place in the file of the character at the UTF-8 offset of `text`. An offset within an interpolated value gives
    /// the place of its `${`; one past the end gives the place behind the last character. Falls back to `mark`.
    public func mark(atUTF8Offset offset: Int) -> Mark {
        guard mark.isKnown, offset >= 0 else { return mark }
        var written = offset
        if let segment = segments.last(where: { $0.start <= offset }) {
            written = segment.isSubstituted ? segment.writtenOffset : segment.writtenOffset + offset - segment.start
        }
        return ScalarPositions.locate(utf8Offset: written, of: scalar, startingAt: mark)
    }
}

extension String {
    fileprivate func replacingQuotes(_ quote: Character) -> String {
        var result = ""
        for character in self {
            result.append(character)
            if character == quote { result.append(character) }
        }
        return result
    }
}

/// Whether SQL reads the text as a number: digits, at most one point, an optional exponent and sign.
private func isNumber(_ text: String) -> Bool {
    var rest = Substring(text)
    if rest.first == "-" { rest.removeFirst() }
    func digits() -> Int {
        let run = rest.utf8.prefix { UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }.count
        rest = rest.dropFirst(run)
        return run
    }
    guard digits() > 0 else { return false }
    if rest.first == "." {
        rest.removeFirst()
        guard digits() > 0 else { return false }
    }
    if rest.first == "e" || rest.first == "E" {
        rest.removeFirst()
        if rest.first == "-" || rest.first == "+" { rest.removeFirst() }
        guard digits() > 0 else { return false }
    }
    return rest.isEmpty
}

/// Where in SQL a text ends.
private enum SQLContext {
    case code, string, identifier, comment

    init(endOf text: String) {
        let bytes = Array(text.utf8)
        var state = SQLContext.code
        var isBlockComment = false
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            let next = index + 1 < bytes.count ? bytes[index + 1] : 0
            switch state {
            case .code:
                if byte == UInt8(ascii: "'") {
                    state = .string
                } else if byte == UInt8(ascii: "\"") {
                    state = .identifier
                } else if byte == UInt8(ascii: "-"), next == byte {
                    (state, isBlockComment) = (.comment, false)
                } else if byte == UInt8(ascii: "/"), next == UInt8(ascii: "*") {
                    (state, isBlockComment) = (.comment, true)
                    index += 1
                }
            // A doubled quote leaves the state and enters it again.
            case .string: if byte == UInt8(ascii: "'") { state = .code }
            case .identifier: if byte == UInt8(ascii: "\"") { state = .code }
            case .comment:
                if isBlockComment, byte == UInt8(ascii: "*"), next == UInt8(ascii: "/") {
                    state = .code
                    index += 1
                } else if !isBlockComment, byte == UInt8(ascii: "\n") {
                    state = .code
                }
            }
            index += 1
        }
        self = state
    }
}
