public import DataflowConfig

/// A plugin's operator without its types: what the engine calls.
public struct OperatorDescriptor: Sendable {
    /// How an instance is made, by role.
    public enum Factory: Sendable {
        case source(@Sendable (any OperatorConfig, OperatorContext) throws(OperatorError) -> any Source)
        case transform(TransformFactory)
        case sink(
            commits: Bool, @Sendable (any OperatorConfig, OperatorContext) throws(OperatorError) -> any Sink)
    }

    /// The parts of a transform that the planner asks for.
    public struct TransformFactory: Sendable {
        public let isStateful: Bool
        public let partitioning: @Sendable (any OperatorConfig, [Stream]) throws(ConfigError) -> Partitioning
        public let localStage: @Sendable (any OperatorConfig, [Stream]) throws(ConfigError) -> LocalStage?
        public let make: @Sendable (any OperatorConfig, OperatorContext) throws(OperatorError) -> any Transform
    }

    public let info: OperatorInfo
    public let factory: Factory
    /// Reads the node's settings, passing over the keys that every node has (the second argument).
    public let decode: @Sendable (ConfigNode, [String]) throws(ConfigError) -> any OperatorConfig
    /// Warnings about settings that decode.
    public let lint: @Sendable (ConfigNode) -> [Diagnostic]
    public let ports: @Sendable (any OperatorConfig) -> [ExtraPort]
    public let outputs: @Sendable (any OperatorConfig, [Stream]) throws(ConfigError) -> [Stream]
    public let warnings: @Sendable (any OperatorConfig, [Stream]) -> [Diagnostic]
    public let columnsUsed: @Sendable (any OperatorConfig, [Stream], ColumnSet) -> [ColumnSet]
    /// Of a source: see ``Source/weakness(_:)``.
    public private(set) var weakness: @Sendable (any OperatorConfig) -> String? = { _ in nil }
    /// The settings that define what the node's state means, as text; see ``FieldTraits/definesState``.
    public let stateSettings: @Sendable (any OperatorConfig) -> [(name: String, text: String)]
    /// The settings' JSON schema, reference page and commented template: all from the one declaration.
    public let jsonSchema: @Sendable () -> JSONSchema
    public let markdown: @Sendable () -> String
    public let template: @Sendable () -> String

    /// The descriptor of a source.
    public static func source<S: Source>(_ type: S.Type) -> OperatorDescriptor {
        var descriptor = make(
            type, .source { (config, context) throws(OperatorError) in try S(cast(config, S.self), context) })
        descriptor.weakness = { config in S.weakness(cast(config, S.self)) }
        return descriptor
    }

    /// The descriptor of a transform.
    public static func transform<T: Transform>(_ type: T.Type) -> OperatorDescriptor {
        make(
            type,
            .transform(
                TransformFactory(
                    isStateful: T.isStateful,
                    partitioning: { (config, inputs) throws(ConfigError) in
                        try T.partitioning(cast(config, T.self), inputs: inputs)
                    },
                    localStage: { (config, inputs) throws(ConfigError) in
                        try T.localStage(cast(config, T.self), inputs: inputs)
                    },
                    make: { (config, context) throws(OperatorError) in try T(cast(config, T.self), context) })))
    }

    /// The descriptor of a sink.
    public static func sink<S: Sink>(_ type: S.Type) -> OperatorDescriptor {
        make(
            type,
            .sink(commits: S.commits) { (config, context) throws(OperatorError) in
                try S(cast(config, S.self), context)
            })
    }

    private static func make<O: Operator>(_ type: O.Type, _ factory: Factory) -> OperatorDescriptor {
        OperatorDescriptor(
            info: O.info, factory: factory,
            decode: { (node, otherKeys) throws(ConfigError) in
                try O.Config.schema.decode(node, otherKeys: otherKeys)
            },
            lint: { node in O.Config.schema.lint(node) },
            ports: { config in O.ports(cast(config, O.self)) },
            outputs: { (config, inputs) throws(ConfigError) in try O.outputs(cast(config, O.self), inputs: inputs) },
            warnings: { config, inputs in O.warnings(cast(config, O.self), inputs: inputs) },
            columnsUsed: { config, inputs, downstream in
                O.columnsUsed(cast(config, O.self), inputs: inputs, downstream: downstream)
            },
            stateSettings: { config in O.Config.schema.stateSettings(cast(config, O.self)) },
            jsonSchema: { O.Config.schema.jsonSchema }, markdown: { O.Config.schema.markdown },
            template: { O.Config.schema.template() })
    }

    private static func cast<O: Operator>(_ config: any OperatorConfig, _ type: O.Type) -> O.Config {
        guard let config = config as? O.Config else {
            preconditionFailure("\(O.info.name) was given the settings of another operator")
        }
        return config
    }
}

/// A list of operators that belong together; plugins are linked statically and listed explicitly.
public protocol Plugin {
    static var operators: [OperatorDescriptor] { get }
}

/// The operators of this build, by name.
public struct OperatorRegistry: Sendable {
    private let byName: [String: OperatorDescriptor]

    /// Traps when two plugins give an operator the same name: that is a mistake of the build.
    public init(_ plugins: [any Plugin.Type]) {
        byName = Dictionary(plugins.flatMap { $0.operators.map { ($0.info.name, $0) } }) { first, _ in
            preconditionFailure("two plugins have an operator named \(first.info.name)")
        }
    }

    /// The operator of that name, or nil. O(1).
    public subscript(name: String) -> OperatorDescriptor? { byName[name] }

    /// All operators, by name.
    public var all: [OperatorDescriptor] { byName.values.sorted { $0.info.name < $1.info.name } }
}
