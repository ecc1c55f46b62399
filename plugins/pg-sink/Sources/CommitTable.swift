import DataflowColumnar
import DataflowEpochs
import DataflowPostgres

/// The table `dataflow_commits` on the server: reads, claims and advances the row of one sink.
struct CommitTable {
    let table: PgName
    let pipeline: String
    let node: String

    /// Two sessions that create the same tables at once would fail; this lock puts them in line.
    static let creationLock = "select pg_advisory_xact_lock(4923045176345687111)"

    /// Creates the table if it is missing. To be called in a transaction.
    func ensure(_ connection: PgConnection) throws(PgFailure) {
        guard try PgCatalog.oid(of: table, connection) == nil else { return }
        try connection.execute(CommitTable.creationLock)
        try connection.execute(
            """
            create table if not exists \(table.sql) (
              pipeline text not null, node text not null, lineage text not null,
              generation bigint not null, epoch bigint not null, primary key (pipeline, node))
            """)
    }

    /// A number for the sink's row in this very table, for an advisory lock.
    func mark(_ connection: PgConnection) throws(PgFailure) -> Int64? {
        guard let oid = try PgCatalog.oid(of: table, connection) else { return nil }
        let identity = Array("\(oid)/\(pipeline)/\(node)".utf8)
        return Int64(bitPattern: identity.withUnsafeBytes { RowHash.hash($0) })
    }

    /// Reads and locks the sink's row; nil if there is none.
    func lock(_ connection: PgConnection) throws(PgFailure) -> CommitMarker? {
        let rows = try connection.query(
            "select lineage, generation, epoch from \(table.sql) where pipeline = $1 and node = $2 for update",
            [pipeline, node])
        guard rows.rowCount > 0 else { return nil }
        return CommitMarker(
            lineage: rows[0, 0] ?? "", generation: UInt64(clamping: rows.integer(0, 1) ?? 0),
            epoch: UInt64(clamping: rows.integer(0, 2) ?? 0))
    }

    /// Writes the sink's row whatever it was.
    func claim(_ marker: CommitMarker, _ connection: PgConnection) throws(PgFailure) {
        try connection.query(
            """
            insert into \(table.sql) as c (pipeline, node, lineage, generation, epoch) values ($1, $2, $3, $4, $5)
            on conflict (pipeline, node) do update
            set lineage = excluded.lineage, generation = excluded.generation, epoch = excluded.epoch
            """, [pipeline, node, marker.lineage, String(marker.generation), String(marker.epoch)])
    }

    /// Locks the row and moves it from `previous` to `epoch`, if it still says what this run wrote there.
    ///
    /// - Returns: false if the row says something else, or is gone.
    func advance(
        from previous: UInt64, to epoch: UInt64, lineage: String, generation: UInt64, _ connection: PgConnection
    ) throws(PgFailure) -> Bool {
        try connection.query(
            """
            update \(table.sql) set epoch = $5
            where pipeline = $1 and node = $2 and lineage = $3 and generation = $4 and epoch = $6
            """, [pipeline, node, lineage, String(generation), String(epoch), String(previous)]
        ).affectedRows == 1
    }
}
