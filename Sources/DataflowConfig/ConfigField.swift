/// What a field is beyond its type: `.required`, `[.required, .advanced]`, `.deprecated("use `b`")`.
public struct FieldTraits: Sendable, ExpressibleByArrayLiteral {
    public var isRequired = false
    public var isAdvanced = false
    public var definesState = false
    public var deprecation: String?

    public init() {}

    public init(arrayLiteral elements: FieldTraits...) {
        for element in elements {
            isRequired = isRequired || element.isRequired
            isAdvanced = isAdvanced || element.isAdvanced
            definesState = definesState || element.definesState
            deprecation = deprecation ?? element.deprecation
        }
    }

    /// The key must be written.
    public static var required: FieldTraits {
        var traits = FieldTraits()
        traits.isRequired = true
        return traits
    }

    /// Few users need it: the reference page lists it apart.
    public static var advanced: FieldTraits {
        var traits = FieldTraits()
        traits.isAdvanced = true
        return traits
    }

    /// What the node keeps in checkpoints means something only with the same value: another one is refused at a restore.
    public static var definesState: FieldTraits {
        var traits = FieldTraits()
        traits.definesState = true
        return traits
    }

    /// Its use is a warning that ends with the given advice.
    public static func deprecated(_ advice: String) -> FieldTraits {
        var traits = FieldTraits()
        traits.deprecation = advice
        return traits
    }
}

/// One key of a section: its name, where its value goes, its text and its check.
public struct ConfigField<Root: OperatorConfig>: Sendable {
    public let name: String
    public let summary: String
    public let traits: FieldTraits

    let typeName: @Sendable () -> String
    let schema: @Sendable () -> JSONSchema
    let decode: @Sendable (ConfigNode, inout Root) throws(ConfigError) -> Void
    let encode: @Sendable (Root) -> ConfigNode
    let lint: @Sendable (ConfigNode) -> [Diagnostic]
    let references: @Sendable () -> [FieldReference]
    let holdsSecrets: @Sendable () -> Bool
    let examples: @Sendable () -> [ConfigNode]

    /// - Parameters:
    ///   - name: the key, in snake_case.
    ///   - path: the property that holds the value; its default is what `Root()` has there.
    ///   - summary: one or two sentences of Markdown for the reference page.
    ///   - check: nil if the value is right, else what is wrong with it, as a phrase behind the key's name: "must be positive".
    public init<Value: ConfigValue>(
        _ name: String, _ path: any WritableKeyPath<Root, Value> & Sendable, _ traits: FieldTraits,
        _ summary: String,
        examples: @autoclosure @escaping @Sendable () -> [Value] = [],
        check: (@Sendable (Value) -> String?)? = nil
    ) {
        self.name = name
        self.summary = summary
        self.traits = traits
        typeName = { Value.typeName }
        schema = { Value.jsonSchema }
        decode = { (node, root) throws(ConfigError) in
            let value = try Value(decoding: node)
            if let problem = check?(value) {
                throw ConfigError(
                    "invalid-value", "`\(name)` \(problem), found \(node.displayed)", at: node.mark,
                    length: node.scalar?.written.unicodeScalars.count ?? 0)
            }
            root[keyPath: path] = value
        }
        encode = { $0[keyPath: path].encoded }
        lint = { Value.lint($0) }
        references = { Value.fieldReferences }
        holdsSecrets = { Value.holdsSecrets }
        self.examples = { examples().map(\.encoded) }
    }

    /// A field without traits.
    public init<Value: ConfigValue>(
        _ name: String, _ path: any WritableKeyPath<Root, Value> & Sendable, _ summary: String,
        examples: @autoclosure @escaping @Sendable () -> [Value] = [],
        check: (@Sendable (Value) -> String?)? = nil
    ) {
        self.init(name, path, [], summary, examples: examples(), check: check)
    }
}

@resultBuilder
public enum ConfigFieldsBuilder<Root: OperatorConfig> {
    public static func buildExpression(_ field: ConfigField<Root>) -> [ConfigField<Root>] { [field] }
    public static func buildExpression(_ fields: [ConfigField<Root>]) -> [ConfigField<Root>] { fields }
    public static func buildBlock(_ parts: [ConfigField<Root>]...) -> [ConfigField<Root>] { parts.flatMap { $0 } }
}

/// A section's other spelling: a scalar that stands for a whole mapping.
public struct ConfigShorthand<Root: OperatorConfig>: Sendable {
    enum Form: Sendable {
        case word(String, @Sendable () -> Root)
        case field(String)
    }

    let form: Form
    let summary: String

    /// A fixed word: `window: global`.
    public static func word(_ word: String, _ summary: String, _ make: @escaping @Sendable () -> Root)
        -> ConfigShorthand
    {
        ConfigShorthand(form: .word(word, make), summary: summary)
    }

    /// Any value that is no mapping is the value of one field: `code: string` for `code: { type: string }`.
    public static func field(_ name: String) -> ConfigShorthand {
        ConfigShorthand(form: .field(name), summary: "")
    }
}

/// A rule about which keys of a section go together; checked on what is written, before values are looked at.
public struct ConfigRule: Sendable {
    enum Kind: Sendable {
        case exactlyOne([String]), atMostOne([String]), atLeastOne([String])
        case requires(String, [String])
    }

    let kind: Kind

    public static func exactlyOne(of names: String...) -> ConfigRule { ConfigRule(kind: .exactlyOne(names)) }
    public static func atMostOne(of names: String...) -> ConfigRule { ConfigRule(kind: .atMostOne(names)) }
    public static func atLeastOne(of names: String...) -> ConfigRule { ConfigRule(kind: .atLeastOne(names)) }
    /// Where `name` is written the others must be, too.
    public static func key(_ name: String, requires others: String...) -> ConfigRule {
        ConfigRule(kind: .requires(name, others))
    }
}
