public import DataflowConfig

/// How rows are printed.
public enum PrintFormat: String, ConfigEnum {
    /// A JSON object a line.
    case ndjson
    /// RFC 4180 with a header line.
    case csv
    /// Columns side by side, for people.
    case table
}

/// Settings of `stdout-sink`.
public struct StdoutSinkConfig: OperatorConfig {
    public var format = PrintFormat.ndjson

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField("format", \.format, "How rows are printed.")
    }
}
