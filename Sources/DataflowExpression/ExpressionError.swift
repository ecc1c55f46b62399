/// One thing that is wrong with the text of an expression.
///
/// Positions are offsets inside the text; whoever owns the file the text came from turns them into lines and columns.
public struct ExpressionError: Error, Hashable, Sendable {
    /// Where the trouble starts, in UTF-8 bytes from the beginning of the text. Never behind its end.
    public var offset: Int
    /// How many UTF-8 bytes the offending part has; zero at the end of the text.
    public var length: Int
    /// What happened and what was expected, e.g. `cannot compare string with int64`.
    public var message: String
    /// What to do about it, e.g. `write cast(price as int64)`.
    public var hint: String?

    public init(offset: Int, length: Int = 0, _ message: String, hint: String? = nil) {
        self.offset = offset
        self.length = length
        self.message = message
        self.hint = hint
    }
}

extension ExpressionError: CustomStringConvertible {
    /// The offset, the message and the hint in one line, e.g. `7: unknown column "prize"; did you mean "price"?`.
    public var description: String { "\(offset): \(text)" }

    /// The message and the hint in one line.
    public var text: String { hint.map { "\(message); \($0)" } ?? message }
}

/// Everything that is wrong with an expression, in the order of the text. Never empty.
public struct ExpressionErrors: Error, Hashable, Sendable, CustomStringConvertible {
    public var errors: [ExpressionError]

    public init(_ errors: [ExpressionError]) {
        self.errors = errors
    }

    public init(_ error: ExpressionError) {
        self.init([error])
    }

    public var description: String { errors.map(\.description).joined(separator: "\n") }

    /// The same errors, `distance` bytes further on: for a text that is part of a longer one.
    public func moved(by distance: Int) -> ExpressionErrors {
        ExpressionErrors(
            errors.map {
                var error = $0
                error.offset += distance
                return error
            })
    }
}
