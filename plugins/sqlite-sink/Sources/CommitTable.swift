import DataflowEpochs

/// The table `dataflow_commits` in the database: reads and writes the row of one sink, in the transaction that is open.
struct CommitTable {
    let table: String
    let pipeline: String
    let node: String

    private var target: String { SQLiteName.quote(table) }

    /// Creates the table if it is missing.
    func ensure(_ database: SQLiteDatabase) throws(SQLiteFailure) {
        try database.execute(
            """
            create table if not exists \(target) (pipeline text not null, node text not null, lineage text not null,
              generation integer not null, epoch integer not null, primary key (pipeline, node)) strict
            """)
    }

    /// The sink's row; nil if there is none.
    func read(_ database: SQLiteDatabase) throws(SQLiteFailure) -> CommitMarker? {
        let rows = try database.query(
            "select lineage, generation, epoch from \(target) where pipeline = ?1 and node = ?2", [pipeline, node])
        guard let row = rows.first else { return nil }
        return CommitMarker(
            lineage: row[0] ?? "", generation: row[1].flatMap { UInt64($0) } ?? 0,
            epoch: row[2].flatMap { UInt64($0) } ?? 0)
    }

    /// Writes the sink's row whatever it was.
    func write(_ marker: CommitMarker, _ database: SQLiteDatabase) throws(SQLiteFailure) {
        _ = try database.query(
            """
            insert into \(target) (pipeline, node, lineage, generation, epoch)
            values (?1, ?2, ?3, cast(?4 as integer), cast(?5 as integer))
            on conflict (pipeline, node) do update
            set lineage = excluded.lineage, generation = excluded.generation, epoch = excluded.epoch
            """, [pipeline, node, marker.lineage, String(marker.generation), String(marker.epoch)])
    }
}
