/// Finds where a character of a scalar's value stands in the file.
///
/// YAML folds lines, strips indentation and unescapes, so an offset in a value is no offset in the file. This reads the
/// scalar a second time from its source, keeping the place of each character; where the result is not the value that
/// libyaml gave (an exotic header, say), the start of the scalar is the answer. Runs only for diagnostics.
enum ScalarPositions {
    static func locate(utf8Offset offset: Int, of scalar: Scalar, startingAt mark: Mark) -> Mark {
        let prefix = scalar.written.utf8.prefix(offset)
        let index = String(decoding: prefix, as: UTF8.self).unicodeScalars.count
        var reader = ScalarReader(source: mark.source, line: mark.line, column: mark.column)
        guard reader.skipProperties() else { return mark }
        let expected = Array(scalar.written.unicodeScalars)
        switch scalar.style {
        case .plain: reader.readFlow(quote: nil, limit: expected.count)
        case .singleQuoted: reader.readFlow(quote: "'", limit: expected.count)
        case .doubleQuoted: reader.readFlow(quote: "\"", limit: expected.count)
        case .literal: reader.readBlock(folded: false)
        case .folded: reader.readBlock(folded: true)
        }
        guard reader.output.count >= expected.count, zip(reader.output, expected).allSatisfy({ $0.scalar == $1 }) else {
            return mark
        }
        if index < expected.count {
            return Mark(source: mark.source, line: reader.output[index].line, column: reader.output[index].column)
        }
        guard let last = expected.isEmpty ? nil : reader.output[expected.count - 1] else { return mark }
        return Mark(source: mark.source, line: last.line, column: last.column + 1)
    }
}

private struct ScalarReader {
    struct Placed {
        var scalar: Unicode.Scalar
        var line: Int
        var column: Int
    }

    let lines: [[Unicode.Scalar]]
    let firstLine: Int
    var line: Int
    var column: Int
    var output: [Placed] = []

    init(source: SourceFile, line: Int, column: Int) {
        let start = source.text.split(separator: "\n", maxSplits: line - 1, omittingEmptySubsequences: false)
        let rest = start.count == line ? start[line - 1] : ""
        lines = rest.unicodeScalars.split(separator: "\n", omittingEmptySubsequences: false).map {
            $0.last == "\r" ? Array($0.dropLast()) : Array($0)
        }
        firstLine = line
        self.line = 0
        self.column = column - 1
    }

    var current: Unicode.Scalar? {
        line < lines.count && column < lines[line].count ? lines[line][column] : nil
    }

    mutating func emit(_ scalar: Unicode.Scalar, line: Int, column: Int) {
        output.append(Placed(scalar: scalar, line: firstLine + line, column: column + 1))
    }

    /// Skips an anchor and a tag in front of the value; false if the place is not in the text.
    mutating func skipProperties() -> Bool {
        guard line < lines.count, column <= lines[line].count else { return false }
        while let first = current, first == "&" || first == "!" {
            while let next = current, next != " ", next != "\t" { column += 1 }
            while let next = current, next == " " || next == "\t" { column += 1 }
            while current == nil, line + 1 < lines.count {
                line += 1
                column = lines[line].firstIndex { $0 != " " && $0 != "\t" } ?? lines[line].count
            }
        }
        return true
    }

    mutating func readFlow(quote: Unicode.Scalar?, limit: Int) {
        if let quote {
            guard current == quote else { return }
            column += 1
        }
        var blanks: [Placed] = []
        while line < lines.count {
            guard quote != nil || output.count < limit else { return }
            guard let scalar = current else {
                fold(&blanks, joined: false)
                continue
            }
            if scalar == " " || scalar == "\t" {
                blanks.append(Placed(scalar: scalar, line: firstLine + line, column: column + 1))
                column += 1
                continue
            }
            if scalar == quote {
                let isDoubled = quote == "'" && column + 1 < lines[line].count && lines[line][column + 1] == "'"
                output += blanks
                guard isDoubled else { return }
                blanks = []
                emit("'", line: line, column: column)
                column += 2
                continue
            }
            output += blanks
            blanks = []
            if quote == "\"", scalar == "\\" {
                guard readEscape(&blanks) else { return }
            } else {
                emit(scalar, line: line, column: column)
                column += 1
            }
        }
    }

    /// A line break within a flow scalar: blanks around it are dropped, one break is a space, n are n - 1 breaks.
    private mutating func fold(_ blanks: inout [Placed], joined: Bool) {
        blanks = []
        let (breakLine, breakColumn) = (line, column)
        var emptyLines = 0
        line += 1
        while line < lines.count, lines[line].allSatisfy({ $0 == " " || $0 == "\t" }) {
            emptyLines += 1
            line += 1
        }
        guard line < lines.count else { return }
        column = lines[line].firstIndex { $0 != " " && $0 != "\t" } ?? 0
        if emptyLines > 0 {
            for _ in 0..<emptyLines { emit("\n", line: breakLine, column: breakColumn) }
        } else if !joined {
            emit(" ", line: breakLine, column: breakColumn)
        }
    }

    private mutating func readEscape(_ blanks: inout [Placed]) -> Bool {
        let (startLine, start) = (line, column)
        column += 1
        guard let letter = current else {
            fold(&blanks, joined: true)
            return true
        }
        column += 1
        let digits: Int
        switch letter {
        case "x": digits = 2
        case "u": digits = 4
        case "U": digits = 8
        default:
            guard let scalar = Self.escapes[letter] else { return false }
            emit(scalar, line: startLine, column: start)
            return true
        }
        guard column + digits <= lines[line].count else { return false }
        let text = String(String.UnicodeScalarView(lines[line][column..<column + digits]))
        guard let code = UInt32(text, radix: 16), let scalar = Unicode.Scalar(code) else { return false }
        column += digits
        emit(scalar, line: startLine, column: start)
        return true
    }

    private static let escapes: [Unicode.Scalar: Unicode.Scalar] = [
        "0": "\0", "a": "\u{7}", "b": "\u{8}", "t": "\t", "\t": "\t", "n": "\n", "v": "\u{B}", "f": "\u{C}",
        "r": "\r", "e": "\u{1B}", " ": " ", "\"": "\"", "/": "/", "\\": "\\", "N": "\u{85}", "_": "\u{A0}",
        "L": "\u{2028}", "P": "\u{2029}",
    ]

    /// A literal or folded block: the rules of libyaml's `yaml_parser_scan_block_scalar`, indentation found from the
    /// first line that has text.
    mutating func readBlock(folded: Bool) {
        line += 1
        func indentation(_ line: [Unicode.Scalar]) -> Int { line.prefix { $0 == " " }.count }
        guard let first = lines[line...].first(where: { !$0.allSatisfy { $0 == " " } }) else { return }
        let indent = indentation(first)
        var hasLeadingBreak = false
        var hadLeadingBlank = false
        var trailingBreaks: [Int] = []
        var breakPlace = (line: line, column: 0)
        while line < lines.count {
            let text = lines[line]
            if text.count <= indent, text.allSatisfy({ $0 == " " }) {
                trailingBreaks.append(line)
                line += 1
                continue
            }
            guard indentation(text) >= indent else { break }
            let startsBlank = text[indent] == " " || text[indent] == "\t"
            if folded, hasLeadingBreak, !hadLeadingBlank, !startsBlank {
                if trailingBreaks.isEmpty { emit(" ", line: breakPlace.line, column: breakPlace.column) }
            } else if hasLeadingBreak {
                emit("\n", line: breakPlace.line, column: breakPlace.column)
            }
            for place in trailingBreaks { emit("\n", line: place, column: 0) }
            trailingBreaks = []
            hadLeadingBlank = startsBlank
            for index in indent..<text.count { emit(text[index], line: line, column: index) }
            breakPlace = (line, text.count)
            hasLeadingBreak = true
            line += 1
        }
        if hasLeadingBreak { emit("\n", line: breakPlace.line, column: breakPlace.column) }
        for place in trailingBreaks { emit("\n", line: place, column: 0) }
    }
}
