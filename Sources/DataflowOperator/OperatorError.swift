/// What went wrong in an operator, who must act, and whether trying again can help.
///
/// The message says what happened and what was expected, without secrets; the runtime adds the node's name.
public struct OperatorError: Error, Sendable {
    /// Who must act.
    public enum Domain: String, Sendable {
        /// The author of the pipeline file: configuration, an expression, a target that does not fit. Exit code 78.
        case user
        /// A system outside: a server that refuses, a disk that is full. Exit code 69.
        case external
        /// Rows that cannot be processed where `on_error: fail` is set. Exit code 65.
        case data
        /// The engine itself: a bug. Exit code 70.
        case engine
    }

    /// What the runtime does about it.
    public enum Retry: Sendable {
        /// The run ends.
        case never
        /// The pipeline is started again from its last checkpoint, after a growing pause.
        case withBackoff
    }

    /// A short, stable name from a bounded set, e.g. `connection_lost`: a metric label.
    public struct Code: Hashable, Sendable, RawRepresentable, ExpressibleByStringLiteral {
        public let rawValue: String
        public init(rawValue: String) { self.rawValue = rawValue }
        public init(stringLiteral value: String) { rawValue = value }
    }

    public var domain: Domain
    public var retry: Retry
    public var code: Code
    public var message: String
    public var underlying: (any Error)?

    public init(_ domain: Domain, _ retry: Retry, _ code: Code, _ message: String, underlying: (any Error)? = nil) {
        self.domain = domain
        self.retry = retry
        self.code = code
        self.message = message
        self.underlying = underlying
    }
}

extension OperatorError: CustomStringConvertible {
    public var description: String { "\(message) [\(code.rawValue)]" }
}
