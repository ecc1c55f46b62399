public import DataflowEpochs
public import DataflowOperator

/// The settings of `sqlite-sink`.
public struct SQLiteSinkConfig: TableSinkConfig {
    public var path = ""
    public var table = ""
    public var key: [String] = []
    public var create = TableCreation.ifMissing
    public var existingRows = ExistingRows.keep
    public var commitsTable = "dataflow_commits"
    public var linger: Duration = .milliseconds(200)
    public var maxBatch = ByteSize.mebibytes(8)
    public var busyTimeout: Duration = .seconds(30)

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField(
            "path", \.path, .required,
            """
            The database's file, on a local disk. Created if it is missing; its folder must be there. Two more files stand \
            beside it while it is used (`-wal`, `-shm`).
            """, examples: ["out/orders.db"]
        ) {
            $0.isEmpty
                ? "must not be empty"
                : $0.contains(":memory:") ? "must be a file: a database in memory is gone with the process" : nil
        }
        ConfigField(
            "table", \.table, .required, "The table. SQLite takes capitals and small letters of a name for the same.",
            examples: ["orders"]
        ) { problem(ofTable: $0) }
        tableFields
        ConfigField(
            "max_batch", \.maxBatch, .advanced,
            "With `at_least_once`: how many bytes of rows are held in memory before they are committed."
        ) { (64 << 10)...(1 << 30) ~= $0.bytes ? nil : "must be between 64KiB and 1GiB" }
        ConfigField(
            "busy_timeout", \.busyTimeout, .advanced,
            """
            How long the sink waits for another program, or another node, that writes to the same database, before the run \
            fails and starts again from its last checkpoint.
            """, check: positive)
    }

    package static func problem(ofTable name: String) -> String? { SQLiteName.problem(name) }

    public func validate() -> [Diagnostic] {
        var found = keyFindings
        if SQLiteName.isSame(table, commitsTable) {
            found.append(.error(field: "commits_table", "`commits_table` and `table` are the same table"))
        }
        return found
    }
}

/// Names of tables and columns.
enum SQLiteName {
    /// Why a text cannot be a name, nil if it can.
    static func problem(_ name: String) -> String? {
        if name.isEmpty { return "is not the name of a table: it is empty" }
        if name.utf8.contains(0) { return "is not the name of a table: it holds the character U+0000" }
        if name.lowercased().hasPrefix("sqlite_") {
            return "is not the name of a table: SQLite keeps `sqlite_…` to itself"
        }
        return nil
    }

    /// SQLite folds the case of ASCII letters only.
    static func isSame(_ left: String, _ right: String) -> Bool { folded(left) == folded(right) }

    static func folded(_ name: String) -> String {
        String(decoding: name.utf8.map { 65...90 ~= $0 ? $0 + 32 : $0 }, as: UTF8.self)
    }

    static func quote(_ name: String) -> String {
        "\"" + name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
    }
}
