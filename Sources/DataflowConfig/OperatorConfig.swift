/// A typed section of the pipeline file: an operator's settings, or a section within them. One declaration gives decoding,
/// linting, the reference page, the JSON schema and a template.
///
///     public struct KafkaSourceConfig: OperatorConfig {
///         public var brokers: [String] = []
///         public var linger: Duration = .milliseconds(50)
///         public init() {}
///         public static let schema = ConfigSchema<Self> {
///             ConfigField("brokers", \.brokers, .required, "Bootstrap brokers, each `host:port`.", examples: [["a:9092"]])
///             ConfigField("linger", \.linger, .advanced, "Longest wait before a part-full batch is sent.") {
///                 $0 < .zero ? "must not be negative" : nil
///             }
///         }
///     }
///
/// A section is a `ConfigValue` itself, so it nests.
public protocol OperatorConfig: ConfigValue {
    /// Every default lives here and nowhere else.
    init()
    static var schema: ConfigSchema<Self> { get }
    /// Checks across fields; no I/O. Called after every field was read without error. Place findings with
    /// `Diagnostic.error(field:_:)`.
    func validate() -> [Diagnostic]
}

extension OperatorConfig {
    public func validate() -> [Diagnostic] { [] }

    public static var typeName: String { "section" }
    public static var jsonSchema: JSONSchema { schema.jsonSchema }
    public init(decoding node: ConfigNode) throws(ConfigError) { self = try Self.schema.decode(node) }
    public var encoded: ConfigNode { Self.schema.encode(self) }
    public static func lint(_ node: ConfigNode) -> [Diagnostic] { schema.lint(node) }
    public static var fieldReferences: [FieldReference] { schema.fieldReferences }
    public static var holdsSecrets: Bool { schema.fields.contains { $0.holdsSecrets() } }
}
