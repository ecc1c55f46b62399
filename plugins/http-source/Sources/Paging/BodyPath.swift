/// The place of a value in a JSON body: `$`, then members (`.name`, `['any name']`) and elements (`[0]`).
///
/// A subset of JSONPath (RFC 9535) that names exactly one value.
struct BodyPath: Sendable, Hashable {
    enum Step: Sendable, Hashable {
        case member(String)
        case element(Int)
    }

    let steps: [Step]
    /// As the user wrote it, for messages.
    let text: String

    /// Why a text is not a path.
    struct SyntaxError: Error, Equatable {
        var message: String
        /// Characters from the start of the text.
        var offset: Int
    }

    init(_ text: String) throws(SyntaxError) {
        self.text = text
        let scalars = Array(text.unicodeScalars)
        guard scalars.first == "$" else {
            throw SyntaxError(message: "a path begins with `$`, as in `$.rows`", offset: 0)
        }
        var steps: [Step] = []
        var i = 1
        while i < scalars.count {
            switch scalars[i] {
            case ".":
                let start = i + 1
                i = start
                while i < scalars.count, scalars[i] != ".", scalars[i] != "[" { i += 1 }
                guard i > start else { throw SyntaxError(message: "a name is missing behind `.`", offset: start) }
                let name = BodyPath.string(scalars[start..<i])
                guard name != "*" else { throw BodyPath.manyValues(start) }
                steps.append(.member(name))
            case "[":
                steps.append(try BodyPath.bracket(scalars, &i))
            default:
                throw SyntaxError(message: "expected `.name` or `[index]`", offset: i)
            }
        }
        self.steps = steps
    }

    private static func bracket(_ scalars: [Unicode.Scalar], _ i: inout Int) throws(SyntaxError) -> Step {
        let open = i
        i += 1
        if i < scalars.count, scalars[i] == "'" || scalars[i] == "\"" {
            let quote = scalars[i]
            let start = i + 1
            i = start
            while i < scalars.count, scalars[i] != quote { i += 1 }
            guard i + 1 < scalars.count, scalars[i + 1] == "]" else {
                throw SyntaxError(message: "`[\(quote)` is not closed by `\(quote)]`", offset: open)
            }
            let name = string(scalars[start..<i])
            i += 2
            return .member(name)
        }
        let start = i
        while i < scalars.count, scalars[i] != "]" { i += 1 }
        guard i < scalars.count else { throw SyntaxError(message: "`[` is not closed by `]`", offset: open) }
        let digits = string(scalars[start..<i])
        guard digits != "*" else { throw manyValues(start) }
        guard let index = Int(digits), index >= 0, digits.first != "+" else {
            throw SyntaxError(message: "expected an index from 0 or a quoted name in brackets", offset: start)
        }
        i += 1
        return .element(index)
    }

    private static func manyValues(_ offset: Int) -> SyntaxError {
        SyntaxError(message: "the path must name one value; `*` names many", offset: offset)
    }

    private static func string(_ scalars: ArraySlice<Unicode.Scalar>) -> String {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        return String(view)
    }
}
