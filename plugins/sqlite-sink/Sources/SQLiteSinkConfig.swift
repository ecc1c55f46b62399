public import DataflowOperator

/// The settings of `sqlite-sink`.
public struct SQLiteSinkConfig: OperatorConfig {
    /// Whether the sink makes a file and a table that are not there.
    public enum Creation: String, ConfigEnum {
        case ifMissing = "if_missing"
        case never
    }

    /// What becomes of rows that stand in the table when a new history of checkpoints begins.
    public enum ExistingRows: String, ConfigEnum {
        case keep, delete, refuse
    }

    public var path = ""
    public var table = ""
    public var key: [String] = []
    public var create = Creation.ifMissing
    public var existingRows = ExistingRows.keep
    public var commitsTable = "dataflow_commits"
    public var linger: Duration = .milliseconds(200)
    public var maxBatch = ByteSize.mebibytes(8)
    public var busyTimeout: Duration = .seconds(30)

    public init() {}

    private static let positive: @Sendable (Duration) -> String? = { $0 > .zero ? nil : "must be longer than 0s" }

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
        ) { SQLiteName.problem($0) }
        ConfigField(
            "key", \.key,
            """
            Columns that identify a row: a later row replaces the earlier one with the same key. Behind an upsert stream \
            it must be the stream's key; behind an append stream it may be left out, then every row is added.
            """, examples: [["country"]])
        ConfigField(
            "create", \.create,
            """
            `if_missing`: file and table are created from the stream's schema, with a unique key where there is a `key`. \
            `never`: they must be there. A table that is there is checked against the stream in either case.
            """)
        ConfigField(
            "existing_rows", \.existingRows, .advanced,
            """
            What becomes of the table's rows at a start without checkpoint. `keep`: they stay, an upsert replaces those \
            whose keys it writes. `delete`: they are deleted in the transaction of the first epoch, so that readers see \
            the old rows or the new ones. `refuse`: the run ends with an error if there are any.
            """)
        ConfigField(
            "commits_table", \.commitsTable, .advanced,
            "The table that holds one row a sink: the last epoch that was committed. Created if it is missing."
        ) { SQLiteName.problem($0) }
        ConfigField(
            "linger", \.linger, .advanced,
            "With `at_least_once`: the longest time that a row waits for others before it is committed.",
            check: positive)
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

    public func validate() -> [Diagnostic] {
        var found: [Diagnostic] = []
        for (index, column) in key.enumerated() where key[..<index].contains(column) {
            found.append(.error(field: "key", "`key` names the column \(column) twice"))
        }
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
