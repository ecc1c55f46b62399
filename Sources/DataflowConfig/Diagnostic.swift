/// One finding about a configuration: what is wrong, where, and what to do.
public struct Diagnostic: Sendable, Hashable {
    public enum Severity: String, Sendable, Comparable {
        case note, warning, error

        public static func < (a: Severity, b: Severity) -> Bool { a.rank < b.rank }

        private var rank: Int {
            switch self {
            case .note: 0
            case .warning: 1
            case .error: 2
            }
        }
    }

    /// Another place that explains the finding: "first defined here".
    public struct Related: Sendable, Hashable {
        public var mark: Mark
        public var message: String

        public init(mark: Mark, message: String) {
            self.mark = mark
            self.message = message
        }
    }

    public var severity: Severity
    /// A stable kebab-case word for the kind of finding: `unknown-key`, `type-mismatch`. Tools key on it.
    public var code: String
    /// What happened, then what was expected. One sentence without a final period, no secret.
    public var message: String
    public var mark: Mark
    /// How many characters from `mark` the finding covers on its line; 0 marks the one character.
    public var length: Int
    /// What to do about it, if the message does not say.
    public var hint: String?
    /// The dotted path of the setting, as `--set` takes it: `nodes.pages.rate_limit`.
    public var path: String?
    public var related: [Related]
    /// Whether the line at `mark` may hold a secret, and is not to be shown.
    public var hidesSource = false

    public init(
        _ severity: Severity = .error, _ code: String, _ message: String, at mark: Mark = .unknown, length: Int = 0,
        hint: String? = nil, path: String? = nil, related: [Related] = []
    ) {
        self.severity = severity
        self.code = code
        self.message = message
        self.mark = mark
        self.length = length
        self.hint = hint
        self.path = path
        self.related = related
    }

    /// An error about a field of the section that `validate()` belongs to, named by its dotted path from that section.
    /// The schema puts it at the field's value, or at the section where the field is not written.
    public static func error(field: String, code: String = "invalid-value", _ message: String, hint: String? = nil)
        -> Diagnostic
    {
        Diagnostic(.error, code, message, hint: hint, path: field)
    }

    /// An error about the whole section that `validate()` belongs to.
    public static func error(code: String = "invalid-value", _ message: String, hint: String? = nil) -> Diagnostic {
        Diagnostic(.error, code, message, hint: hint)
    }

    /// A warning about a field of the section that `validate()` belongs to.
    public static func warning(
        field: String, code: String = "questionable-value", _ message: String, hint: String? = nil
    )
        -> Diagnostic
    {
        Diagnostic(.warning, code, message, hint: hint, path: field)
    }
}

/// Everything that is wrong with a configuration. Never empty.
public struct ConfigError: Error, Sendable, CustomStringConvertible {
    public let diagnostics: [Diagnostic]

    public init(_ diagnostics: [Diagnostic]) {
        self.diagnostics =
            diagnostics.isEmpty
            ? [Diagnostic(.error, "invalid", "the configuration was refused without a reason")] : diagnostics
    }

    public init(_ diagnostic: Diagnostic) {
        diagnostics = [diagnostic]
    }

    /// A single error at a place.
    public init(_ code: String, _ message: String, at mark: Mark = .unknown, length: Int = 0, hint: String? = nil) {
        diagnostics = [Diagnostic(.error, code, message, at: mark, length: length, hint: hint)]
    }

    /// A single error of type `type-mismatch`: "expected X, found Y".
    public static func expected(_ expectation: String, found node: ConfigNode, hint: String? = nil) -> ConfigError {
        ConfigError(
            "type-mismatch", "expected \(expectation), found \(node.displayed)", at: node.mark,
            length: node.scalar.map { $0.style == .plain ? $0.written.unicodeScalars.count : 0 } ?? 0,
            hint: hint ?? environmentHint(node))
    }

    /// The diagnostics as one line each.
    public var description: String {
        diagnostics.map { $0.rendered(.short) }.joined(separator: "\n")
    }
}

/// Values from outside of the file are not shown; the reader learns which one to look at.
private func environmentHint(_ node: ConfigNode) -> String? {
    let names = (node.scalar?.parts ?? []).compactMap { part -> String? in
        if case .value(_, let name, isPublic: false, _) = part { "${\(name)}" } else { nil }
    }
    return names.isEmpty ? nil : "look at the value of \(names.joined(separator: ", ")), which is not shown here"
}

/// Collects the errors of several steps, so that all are reported at once.
public struct DiagnosticCollector: Sendable {
    public private(set) var diagnostics: [Diagnostic] = []

    public init() {}

    public var hasErrors: Bool { diagnostics.contains { $0.severity == .error } }

    public mutating func append(_ diagnostic: Diagnostic) { diagnostics.append(diagnostic) }

    public mutating func append(contentsOf more: [Diagnostic]) { diagnostics += more }

    /// The step's result, or nil after its errors have been collected.
    public mutating func attempt<T>(_ step: () throws(ConfigError) -> T) -> T? {
        do throws(ConfigError) {
            return try step()
        } catch {
            diagnostics += error.diagnostics
            return nil
        }
    }

    /// Throws everything collected if an error is among it.
    public func throwErrors() throws(ConfigError) {
        if hasErrors { throw ConfigError(diagnostics) }
    }
}
