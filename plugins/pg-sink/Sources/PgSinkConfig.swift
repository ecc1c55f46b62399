public import DataflowEpochs
public import DataflowOperator
import DataflowPostgres

/// The settings of `pg-sink`.
public struct PgSinkConfig: TableSinkConfig {
    public var connection = Secret()
    public var table = ""
    public var key: [String] = []
    public var create = TableCreation.ifMissing
    public var existingRows = ExistingRows.keep
    public var commitsTable = "dataflow_commits"
    public var linger: Duration = .milliseconds(200)
    public var maxBatch = ByteSize.mebibytes(8)
    public var connectTimeout: Duration = .seconds(10)
    public var openTimeout: Duration = .seconds(30)
    public var reconnectTimeout: Duration = .seconds(300)
    public var statementTimeout: Duration = .seconds(300)
    public var lockTimeout: Duration = .seconds(60)

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField(
            "connection", \.connection, .required,
            """
            Where the server is: a libpq URL (`postgresql://user:password@host:5432/database?sslmode=verify-full`) or \
            keyword string (`host=… dbname=…`). Every connection setting of libpq may stand in it; what does not comes \
            from libpq's environment variables, `~/.pgpass` and service files. \
            Keep the password out of the file: `${PG_URL}`.
            """)
        ConfigField(
            "table", \.table, .required,
            """
            The table, `table` or `schema.table`; a name with a dot or a quote in it stands in double quotes. Names are \
            taken as they stand, so `Orders` is not `orders`.
            """, examples: ["analytics.orders"]
        ) { problem(ofTable: $0) }
        tableFields
        ConfigField(
            "max_batch", \.maxBatch, .advanced,
            "How many bytes of rows are held in memory before they are sent to the server."
        ) { (64 << 10)...(1 << 30) ~= $0.bytes ? nil : "must be between 64KiB and 1GiB" }
        ConfigField(
            "connect_timeout", \.connectTimeout, .advanced,
            "How long one attempt to connect may take, if the connection string does not say.", check: positive)
        ConfigField(
            "open_timeout", \.openTimeout, .advanced,
            "How long the start waits for a server that is not there or still starts.", check: positive)
        ConfigField(
            "reconnect_timeout", \.reconnectTimeout, .advanced,
            """
            How long the sink tries to get a lost connection back before the run fails and starts again from its last \
            checkpoint.
            """, check: positive)
        ConfigField(
            "statement_timeout", \.statementTimeout, .advanced,
            "How long the server may take for one statement before the connection counts as lost.", check: positive)
        ConfigField(
            "lock_timeout", \.lockTimeout, .advanced,
            "How long a statement waits for rows that another session holds before it is tried again.",
            check: positive)
    }

    package static func problem(ofTable name: String) -> String? {
        do throws(PgName.Malformed) {
            _ = try PgName(parsing: name)
            return nil
        } catch { return "is not the name of a table: \(error.reason)" }
    }

    public func validate() -> [Diagnostic] {
        var found: [Diagnostic] = []
        do throws(PgFailure) {
            _ = try PgSettings(parsing: connection.revealed)
        } catch {
            found.append(.error(field: "connection", error.message))
        }
        if connection.isEmpty { found.append(.error(field: "connection", "`connection` is empty")) }
        return found + keyFindings
    }
}
