public import DataflowConfig

/// How the bytes of a file become rows.
public enum FileFormat: String, ConfigEnum {
    /// A JSON document a line, handed on as bytes: `json-parse` reads them.
    case ndjson
    /// A text a line.
    case text
    /// RFC 4180, with a header line unless `header: false`.
    case csv
}

/// Settings of `file-source`.
public struct FileSourceConfig: OperatorConfig {
    public var path = OneOrMany<String>()
    public var format = FileFormat.ndjson
    public var columns: [Located<String>] = []
    public var header = true
    public var delimiter = ","
    public var maxRecord = ByteSize.mebibytes(64)
    public var chunk = ByteSize.mebibytes(1)
    public var allowMissing = false
    public var follow = false
    public var scanInterval = Duration.milliseconds(250)
    public var lineTimeout: Duration?
    public var rotateWait = Duration.seconds(10)

    public init() {}

    private static let positive: @Sendable (Duration) -> String? = { $0 > .zero ? nil : "must be positive" }

    public static let schema = ConfigSchema<Self> {
        ConfigField(
            "path", \.path, .required,
            "A file, a pattern such as `data/*.ndjson`, or a list of them. Files ending in `.gz` are decompressed.",
            examples: [OneOrMany(["data/*.ndjson"])])
        ConfigField("format", \.format, "How the bytes become rows.")
        ConfigField(
            "columns", \.columns,
            "Names of the columns to read, for `csv`: looked up in the header, or in this order where there is none.")
        ConfigField("header", \.header, "Whether the first line of a `csv` file names its columns.")
        ConfigField("delimiter", \.delimiter, "What stands between the fields of `csv`: one ASCII character.") {
            $0.utf8.count == 1 && $0 != "\"" && $0 != "\n" ? nil : "must be one ASCII character"
        }
        ConfigField(
            "max_record", \.maxRecord, .advanced, "A longer record goes to `errors` and is passed over."
        ) {
            $0.bytes > 0 && $0.bytes <= 1 << 30 ? nil : "must lie between 1B and 1GiB"
        }
        ConfigField("chunk", \.chunk, .advanced, "Bytes read at once; the memory of a reader is about twice that.") {
            $0.bytes >= 4096 && $0.bytes <= 1 << 28 ? nil : "must lie between 4KiB and 256MiB"
        }
        ConfigField(
            "follow", \.follow,
            "Whether files are read on as they grow, and new ones that match are taken up. Files ending in `.gz` are passed over."
        )
        ConfigField(
            "scan_interval", \.scanInterval, .advanced,
            "How often followed files are looked at, and new ones looked for.", check: positive)
        ConfigField(
            "line_timeout", \.lineTimeout, .advanced,
            "With `follow`: a last line without line end that has not grown for so long is a record. Without it, such a line waits.",
            check: { $0.flatMap(positive) })
        ConfigField(
            "rotate_wait", \.rotateWait, .advanced,
            "With `follow`: how long a file that was renamed or deleted is read on after it last grew.", check: positive
        )
        ConfigField("allow_missing", \.allowMissing, .advanced, "Whether a pattern that matches no file is accepted.")
    }

    public func validate() -> [Diagnostic] {
        var findings: [Diagnostic] = []
        if path.elements.isEmpty || path.elements.contains("") {
            findings.append(.error(field: "path", "`path` must name at least one file"))
        }
        if format == .csv, columns.isEmpty {
            findings.append(.error(field: "format", "`format: csv` needs `columns`, the names of the columns to read"))
        }
        if format != .csv, !columns.isEmpty {
            findings.append(.error(field: "columns", "`columns` goes with `format: csv` only"))
        }
        let compressed = path.elements.filter { $0.hasSuffix(".gz") }
        if follow, let first = compressed.first {
            findings.append(
                .error(
                    field: "follow", "\(first) is compressed, and compressed files are not followed",
                    hint: "read it with another file-source without `follow`"))
        }
        let names = columns.map(\.value)
        for reserved in ["path", "offset"] where names.contains(reserved) {
            findings.append(.error(field: "columns", "the column `\(reserved)` is the source's own"))
        }
        if Set(names).count != names.count {
            findings.append(.error(field: "columns", "`columns` names a column twice"))
        }
        return findings
    }
}
