import DataflowEpochs
public import DataflowOperator
import DataflowPostgres
import Logging

extension PgSink {
    public static func outputs(_ config: PgSinkConfig, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        var found = DiagnosticCollector()
        guard let stream = inputs.first else { return [] }
        let names = stream.schema.names
        for column in names {
            if let problem = PgName.problem(column) {
                found.append(
                    .error(code: "invalid-column", "the stream's column cannot be a column of PostgreSQL: \(problem)"))
            }
        }
        for finding in config.keyFindings(stream) { found.append(finding) }
        try found.throwErrors()
        return []
    }

    public func open(restoring state: StateSnapshot) async throws(OperatorError) {
        let restoredEpochs = try EpochState(restoring: state)
        epochs = restoredEpochs ?? EpochState()
        let fields = stream.schema.fields
        let columns = try await session.run("open \(table)", limit: config.openTimeout) { link in
            let connection = link.connection
            try link.beginNow()
            let oid = try existingTable(connection, fields)
            let catalog = try PgCatalog.read(oid, connection)
            let columns: [PgColumn]
            switch catalog.fit(table, fields: fields, key: config.key) {
            case .fits(let fitted): columns = fitted
            case .mismatch(let problems): throw OperatorError.tableMismatch("\(table)", problems)
            }
            if context.restored == nil || restoredEpochs == nil { try meetExistingRows(connection) }
            if exactlyOnce { try claimMarker(restoredEpochs, connection) }
            try link.commit()
            if let mark = session.mark {
                try PgSession.take(mark, connection)
                let ended = try PgSession.endOthers(with: mark, connection)
                if ended > 0 {
                    context.logger.notice("ended \(ended) connections of earlier runs that still wrote to \(table)")
                }
            }
            return columns
        }
        let keyMayBeNull = fields.contains { config.key.contains($0.name) && $0.nullable }
        let statements = PgStatements(table: table, columns: columns, keyMayBeNull: keyMayBeNull)
        target = Target(
            writer: SegmentWriter(statements: statements, arrayRows: arrayRows),
            encoder: CopyEncoder(columns: columns, marksDeletes: statements.isUpsert))
        // The log of an epoch whose commit is pending stays until it is committed.
        if exactlyOnce, context.restored?.commitPending != true { EpochLog.removeAll(in: context.stateDirectory) }
    }

    /// Finds the table, or creates it.
    private func existingTable(_ connection: PgConnection, _ fields: [Field]) throws -> Int64 {
        if let oid = try PgCatalog.oid(of: table, connection) {
            try checkRelation(oid, connection)
            return oid
        }
        if config.create == .never {
            throw OperatorError.tableMissing(
                "\(table)", create: PgStatements.createTable(table, fields: fields, key: config.key))
        }
        if connection.serverVersion < 150_000, fields.contains(where: { config.key.contains($0.name) && $0.nullable }) {
            throw OperatorError(
                .user, .never, "server_too_old",
                "the key (\(config.key.joined(separator: ", "))) can be null, which needs PostgreSQL 15 or newer "
                    + "(unique nulls not distinct); the server is \(connection.serverVersion / 10_000). "
                    + "Make the key not null, e.g. with coalesce")
        }
        try connection.execute(CommitTable.creationLock)
        // Another sink may have been faster, which only the statement itself is sure to see.
        try connection.execute(PgStatements.createTable(table, fields: fields, key: config.key, ifMissing: true))
        context.logger.info("PostgreSQL: created the table", metadata: ["table": "\(table)"])
        guard let oid = try PgCatalog.oid(of: table, connection) else {
            throw PgFailure(.configuration, "table \(table) was created but is not found; look at search_path")
        }
        return oid
    }

    private func checkRelation(_ oid: Int64, _ connection: PgConnection) throws {
        let kind = try connection.query("select relkind::text from pg_class where oid = $1::int8::oid", [String(oid)])
        let word = kind.rowCount > 0 ? kind[0, 0] ?? "" : ""
        guard word != "r", word != "p", !(word == "f" && config.key.isEmpty) else { return }
        let names = [
            "v": "a view", "m": "a materialized view", "S": "a sequence", "i": "an index", "f": "a foreign table",
        ]
        throw OperatorError(
            .user, .never, "not_a_table",
            "\(table) is \(names[word] ?? "no table"); expected a table\(word == "f" ? ", because there is a key" : "")"
        )
    }

    /// A new history begins: the rows that are there are not its own.
    private func meetExistingRows(_ connection: PgConnection) throws {
        guard try connection.query("select 1 from \(table.sql) limit 1", []).rowCount > 0 else { return }
        deletesExistingRows = try config.existingRows.meet(in: "\(table)", context)
    }

    /// Compares the target's marker with the checkpoint, and writes this run into it.
    private func claimMarker(_ restoredEpochs: EpochState?, _ connection: PgConnection) throws {
        try commits.ensure(connection)
        session.mark = try commits.mark(connection)
        let epoch = try MarkerDecision.claim(
            try commits.lock(connection), state: restoredEpochs,
            isIdempotent: !config.key.isEmpty && !stream.deletes, target: "table \(table)",
            commits: "\(commits.table)", context)
        try commits.claim(
            CommitMarker(lineage: context.lineage, generation: context.generation, epoch: epoch), connection)
    }
}
