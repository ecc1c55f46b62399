/// A text that configuration was read from: a pipeline file, or the argument of `--set`.
///
/// Marks refer to it, so that a diagnostic can show the line it speaks of without reading the file again.
public final class SourceFile: Sendable {
    /// The name that diagnostics show: the path as the user gave it.
    public let path: String
    /// The whole text; empty where only the name is known.
    public let text: String

    public init(path: String, text: String = "") {
        self.path = path
        self.text = text
    }

    /// The line with the 1-based number, without its line break; nil past the end. Cost: O(length of the text).
    public func line(_ number: Int) -> Substring? {
        guard number > 0 else { return nil }
        var current = 1
        var start = text.utf8.startIndex
        while current < number {
            guard let next = text.utf8[start...].firstIndex(of: UInt8(ascii: "\n")) else { return nil }
            start = text.utf8.index(after: next)
            current += 1
        }
        guard start < text.utf8.endIndex || number == 1 else { return nil }
        var end = text.utf8[start...].firstIndex(of: UInt8(ascii: "\n")) ?? text.utf8.endIndex
        if end > start, text.utf8[text.utf8.index(before: end)] == UInt8(ascii: "\r") {
            end = text.utf8.index(before: end)
        }
        return text[start..<end]
    }

    static let nowhere = SourceFile(path: "")
}

/// A place in a configuration text. Lines and columns count from 1; a column is a Unicode scalar.
public struct Mark: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// The text that the mark points into.
    public var source: SourceFile
    public var line: Int
    public var column: Int

    public init(source: SourceFile, line: Int, column: Int) {
        self.source = source
        self.line = line
        self.column = column
    }

    /// A mark into a file of which only the name is known: diagnostics show no source line.
    public init(file: String, line: Int, column: Int) {
        self.init(source: SourceFile(path: file), line: line, column: column)
    }

    /// The mark of a value that no text declares: a default, or a value made by a program.
    public static let unknown = Mark(source: .nowhere, line: 0, column: 0)

    /// Whether the mark points at a text at all.
    public var isKnown: Bool { line > 0 }

    /// The name of the file, as the user gave it.
    public var file: String { source.path }

    /// `file:line:column`, or the empty string for an unknown mark.
    public var description: String { isKnown ? "\(file):\(line):\(column)" : "" }

    public static func == (a: Mark, b: Mark) -> Bool {
        a.line == b.line && a.column == b.column && a.file == b.file
    }

    public static func < (a: Mark, b: Mark) -> Bool {
        (a.file, a.line, a.column) < (b.file, b.line, b.column)
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(file)
        hasher.combine(line)
        hasher.combine(column)
    }
}
