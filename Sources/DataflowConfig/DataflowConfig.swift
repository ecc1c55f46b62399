public protocol OperatorConfig: Sendable { init(); static var schema: ConfigSchema<Self> { get } }
public struct ConfigError: Error {}
public struct ConfigNode: Sendable {}
public struct ConfigSchema<Root: OperatorConfig>: Sendable {
  public func decode(_ node: ConfigNode) throws(ConfigError) -> Root { Root() }
  public var jsonSchema: String { "" }
  public var markdown: String { "" }
  public func template() -> String { "" }
}
