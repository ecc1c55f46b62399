import DataflowEpochs
public import DataflowOperator
import Logging

extension SQLiteSink {
    public static func outputs(_ config: SQLiteSinkConfig, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        var found = DiagnosticCollector()
        guard let stream = inputs.first else { return [] }
        let names = stream.schema.names
        if names.isEmpty {
            found.append(.error(code: "invalid-column", "the stream has no columns, and a table needs at least one"))
        }
        for (index, column) in names.enumerated() {
            if column.utf8.contains(0) || column.isEmpty {
                found.append(
                    .error(code: "invalid-column", "the stream's column “\(column)” cannot be a column of SQLite"))
            } else if let other = names[..<index].first(where: { SQLiteName.isSame($0, column) }) {
                found.append(
                    .error(
                        code: "invalid-column",
                        "the stream's columns \(other) and \(column) are the same to SQLite, which does not tell capitals from "
                            + "small letters", hint: "rename one with select"))
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
        if exactlyOnce, let restoredEpochs { try refuseMissingFile(restoredEpochs) }
        try await session.open(create: config.create == .ifMissing)
        target = try await session.transaction("open table \(config.table)") { database in
            let table = try existingTable(database, fields)
            let columns: [TargetColumn]
            switch table.fit(config.table, fields: fields, key: config.key) {
            case .fits(let fitted): columns = fitted
            case .mismatch(let problems):
                throw OperatorError.tableMismatch("\(config.table) in \(config.path)", problems)
            }
            if context.restored == nil || restoredEpochs == nil { try meetExistingRows(database) }
            if exactlyOnce { try claimMarker(restoredEpochs, database) }
            let statements = RowWriter.Statements(
                table: config.table, columns: columns,
                keyMayBeNull: fields.contains { config.key.contains($0.name) && $0.nullable })
            return Target(
                columns: columns, statements: statements,
                writer: try RowWriter(database, columns: columns, statements),
                mayRefuse: table.mayRefuse(fields: fields, key: config.key))
        }
        // The log of an epoch whose commit is pending stays until it is committed.
        if exactlyOnce, context.restored?.commitPending != true { EpochLog.removeAll(in: context.stateDirectory) }
    }

    /// A checkpoint has rows in the database: where its file is gone, an empty one must not stand in its place.
    private func refuseMissingFile(_ epochs: EpochState) throws(OperatorError) {
        guard let restored = context.restored, !restored.acceptDuplicates, SQLiteDatabase.isMissing(config.path) else {
            return
        }
        throw OperatorError(
            .user, .never, "target_replaced",
            "the target was replaced: checkpoint \(restored.id) has committed epoch \(epochs.last) to table \(config.table), "
                + "but there is no file \(config.path). Bring the database back as it was, or start new with --restore none"
        )
    }

    /// Finds the table, or creates it.
    private func existingTable(_ database: SQLiteDatabase, _ fields: [Field]) throws -> TableSchema {
        switch try TableSchema.kind(of: config.table, database) {
        case "table": break
        case nil:
            let create = TableSchema.createTable(config.table, fields: fields, key: config.key)
            guard config.create == .ifMissing else {
                throw OperatorError.tableMissing("\(config.table) in \(config.path)", create: create)
            }
            try database.execute(create)
            context.logger.info(
                "SQLite: created the table", metadata: ["table": "\(config.table)", "path": "\(config.path)"])
        case .some(let kind):
            throw OperatorError(
                .user, .never, "not_a_table",
                "\(config.table) in \(config.path) is a \(kind == "virtual" ? "virtual table" : kind); expected a table"
            )
        }
        return try TableSchema(of: config.table, database)
    }

    /// A new history begins: the rows that are there are not its own.
    private func meetExistingRows(_ database: SQLiteDatabase) throws {
        guard try !database.query("select 1 from \(SQLiteName.quote(config.table)) limit 1").isEmpty else { return }
        deletesExistingRows = try config.existingRows.meet(in: "\(config.table) in \(config.path)", context)
    }

    /// Compares the database's marker with the checkpoint, and writes this run into it.
    private func claimMarker(_ restoredEpochs: EpochState?, _ database: SQLiteDatabase) throws {
        try commits.ensure(database)
        let epoch = try MarkerDecision.claim(
            try commits.read(database), state: restoredEpochs,
            isIdempotent: !config.key.isEmpty && !stream.deletes, target: "table \(config.table)",
            commits: config.commitsTable, context)
        try commits.write(
            CommitMarker(lineage: context.lineage, generation: context.generation, epoch: epoch), database)
    }
}
