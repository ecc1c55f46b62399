public import DataflowConfig

/// How rows become text.
public enum RowFormat: String, ConfigEnum {
    /// A JSON object a line.
    case ndjson
    /// RFC 4180, with a header line unless `header: false`.
    case csv
}

/// Settings of `file-sink`.
public struct FileSinkConfig: OperatorConfig {
    public var path = ""
    public var format = RowFormat.ndjson
    public var singleFile = false
    public var maxPartSize = ByteSize.mebibytes(256)
    public var header = true

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField(
            "path", \.path, .required,
            "The folder that gets the parts, or with `single_file` the file. Folders are made where they are missing.",
            examples: ["out/orders"]
        ) {
            $0.isEmpty ? "must not be empty" : nil
        }
        ConfigField("format", \.format, "How rows become text.")
        ConfigField(
            "single_file", \.singleFile,
            "One file in place of parts: each checkpoint appends its rows. A run without checkpoint writes it anew.")
        ConfigField(
            "max_part_size", \.maxPartSize, .advanced,
            "A part that has grown to this size is closed and another one begun; all of a checkpoint appear together."
        ) {
            $0.bytes < 4096 ? "must be at least 4KiB" : nil
        }
        ConfigField("header", \.header, "Whether a `csv` file begins with the columns' names.")
    }

    public func validate() -> [Diagnostic] {
        singleFile && path.hasSuffix("/")
            ? [
                .error(
                    field: "path", "`path` is a folder, but `single_file` writes a file", hint: "leave out the last /")
            ]
            : []
    }
}
