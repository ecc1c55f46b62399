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

    /// Makes ``advance(from:to:)`` ready for a connection: planning it each time would cost a small epoch dearly.
    func prepareAdvance(lineage: String, generation: UInt64) -> String {
        """
        prepare dataflow_advance(bigint, bigint) as with moved as (update \(table.sql) set epoch = $2
        where pipeline = \(PgName.literal(pipeline)) and node = \(PgName.literal(node))
        and lineage = \(PgName.literal(lineage)) and generation = \(generation) and epoch = $1 returning 1)
        select 1 / count(*) from moved;\u{20}
        """
    }

    /// Locks the row and moves it from `previous` to `epoch`, if it still says what this run wrote there; else it fails with
    /// ``didNotAdvance``, so that a `commit` behind it in the same message is not carried out.
    func advance(from previous: UInt64, to epoch: UInt64) -> String {
        "execute dataflow_advance(\(previous), \(epoch)); "
    }

    /// The SQLSTATE of a marker that says something else, or is gone: division by zero.
    static let didNotAdvance = "22012"
}
