import DataflowPostgres

/// The connection in use and what is known of it; a lost connection takes all of that with it.
///
/// Small statements that need no answer of their own (the start of a transaction, savepoints) wait in ``lead`` and go out in
/// front of the next one: a small epoch takes three round trips.
final class PgLink {
    let connection: PgConnection
    /// A transaction is open that holds all rows of the epoch log; its start may still stand in ``lead``.
    private(set) var isInTransaction = false
    var hasStage = false
    /// The statement that moves the marker is prepared.
    var hasAdvance = false
    /// Other statements that are prepared.
    private var prepared: Set<String> = []
    /// Bytes of the segment that an open COPY has got already; nil if no COPY is open.
    var streamedBytes: Int?
    /// Rows in the stage that were put there in this transaction.
    var stageRows = 0
    /// What goes out in front of the next statement.
    private var lead = ""
    /// The server knows of the transaction.
    private var isBegun = false

    init(_ connection: PgConnection) {
        self.connection = connection
    }

    /// Starts a transaction with the next statement. `setup` follows the start, with a semicolon at its end.
    func begin(_ setup: String = "") {
        lead = "begin isolation level read committed read write; " + setup
        isInTransaction = true
        isBegun = false
        stageRows = 0
    }

    /// Starts a transaction at once, for statements that go past the link.
    func beginNow() throws(PgFailure) {
        begin()
        try execute("")
    }

    /// Sets the savepoint to which ``undo()`` goes back, with the next statement.
    func mark() { lead += "savepoint dataflow; " }

    /// Keeps what was done since ``mark()``.
    func keep() { lead += "release savepoint dataflow; " }

    /// Takes back what was done since ``mark()``.
    func undo() throws(PgFailure) { try connection.execute("rollback to savepoint dataflow") }

    @discardableResult
    func execute(_ sql: String, meanwhile: () -> Void = {}) throws(PgFailure) -> PgResult {
        try connection.execute(taken() + sql, meanwhile: meanwhile)
    }

    /// Executes a prepared statement with binary values; `prepare` makes it where the connection has not got it yet.
    func executePrepared(
        _ name: String, _ prepare: String, _ values: [UnsafeRawBufferPointer], meanwhile: () -> Void
    ) throws(PgFailure) {
        if prepared.contains(name) {
            if !lead.isEmpty { try execute("") }
        } else {
            try execute(prepare)
            prepared.insert(name)
        }
        try connection.executePrepared(name, values, meanwhile: meanwhile)
    }

    func startCopy(_ sql: String) throws(PgFailure) { try connection.startCopy(taken() + sql) }

    /// Commits, after `sql`, which ends with a semicolon; where that fails the transaction is still open.
    func commit(_ sql: String = "") throws(PgFailure) {
        try execute(sql + "commit")
        ended()
    }

    func rollBack() throws(PgFailure) {
        if isBegun { try connection.execute("rollback") }
        ended()
    }

    private func taken() -> String {
        defer { lead = "" }
        isBegun = isInTransaction
        return lead
    }

    private func ended() {
        isInTransaction = false
        isBegun = false
        lead = ""
        stageRows = 0
    }
}
