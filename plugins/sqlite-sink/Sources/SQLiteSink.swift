public import DataflowEpochs
public import DataflowOperator
import DataflowText
import Logging

/// Writes rows into a table of a SQLite database, exactly once.
///
/// The rows of an epoch stand in the epoch log, batch by batch, until the checkpoint is durable; the commit writes them and
/// the epoch's row in `dataflow_commits` in one transaction. Between commits the database is not locked, so several sinks and
/// other programs can share it. Where the table may refuse rows, `flush` tries them in a transaction that is rolled back,
/// and sends the refused ones to `errors`.
public final class SQLiteSink: Sink {
    public typealias Committable = LoggedEpoch

    public static let info = OperatorInfo(
        "sqlite-sink", .sink,
        "Writes rows into a table of a SQLite file, exactly once; by key where the stream has one.",
        maxParallelism: 1, blocks: true)

    /// What a frame of the log holds.
    enum FrameKind {
        /// A batch, encoded.
        static let batch: UInt8 = 1
        /// Removes all rows of the table: the first frame of a history that replaces what it finds.
        static let deleteAll: UInt8 = 2
    }

    /// What depends on the table as it is in the database.
    struct Target {
        var columns: [TargetColumn]
        var statements: RowWriter.Statements
        var writer: RowWriter
        /// A row of the right types may be refused.
        var mayRefuse: Bool
    }

    let config: SQLiteSinkConfig
    let context: OperatorContext
    let stream: Stream
    let session: SQLiteSession
    let commits: CommitTable
    let exactlyOnce: Bool
    var target: Target?
    var epochs = EpochState()
    /// The first transaction of this history deletes what it finds in the table.
    var deletesExistingRows = false

    /// The rows of this epoch, or of the one that is to be committed; empty or nil if there are none.
    private var log: EpochLog?
    /// The epoch in the log is prepared and not committed.
    private var isPending = false
    private var logCount = 0
    /// With `at_least_once`: rows that are not committed yet.
    private var held: [RecordBatch] = []
    private var heldBytes = 0
    private var heldSince: ContinuousClock.Instant?
    private var bytes: [UInt8] = []

    public init(_ config: SQLiteSinkConfig, _ context: OperatorContext) throws(OperatorError) {
        guard let stream = context.inputs.first else {
            throw OperatorError(.engine, .never, "no_input", "sqlite-sink was built without its input")
        }
        self.config = config
        self.context = context
        self.stream = stream
        exactlyOnce = context.exactlyOnce
        commits = CommitTable(table: config.commitsTable, pipeline: context.pipeline, node: context.node)
        session = SQLiteSession(path: config.path, busyTimeout: config.busyTimeout, logger: context.logger)
    }

    func opened() throws(OperatorError) -> Target {
        guard let target else {
            throw OperatorError(.engine, .never, "not_open", "sqlite-sink was given rows before it was opened")
        }
        return target
    }

    // MARK: Rows

    public func write(_ batch: RecordBatch, errors: inout OutputBuffer) async throws(OperatorError) {
        let target = try opened()
        let kept = checked(batch, target, &errors)
        guard kept.rowCount > 0 else { return }
        if exactlyOnce {
            try append(kept, to: openLog())
            if !target.mayRefuse { context.counters.add(passed: kept.rowCount) }
            return
        }
        if held.isEmpty { heldSince = context.clock.now }
        held.append(kept)
        heldBytes += kept.byteCount
        let isDue = heldSince.map { context.clock.now - $0 >= config.linger } ?? false
        if heldBytes >= config.maxBatch.bytes || isDue { try await writeHeld(&errors) }
    }

    public func idle(errors: inout OutputBuffer) async throws(OperatorError) { try await writeHeld(&errors) }

    public func flush(_ checkpoint: CheckpointID, errors: inout OutputBuffer) async throws(OperatorError) {
        guard exactlyOnce else { return try await writeHeld(&errors) }
        // The rows of an older history go with the first epoch, also when that has none of its own.
        if deletesExistingRows { _ = try openLog() }
        if try opened().mayRefuse { try await tryOut(&errors) }
    }

    /// Sends the rows that cannot be stored as they are to `errors`; the others.
    private func checked(_ batch: RecordBatch, _ target: Target, _ errors: inout OutputBuffer) -> RecordBatch {
        let refusals = ValueCheck.refusals(target.columns, batch)
        guard !refusals.isEmpty else { return batch }
        var table = ErrorRows(context)
        for refusal in refusals {
            table.append(
                batch.slice(refusal.row..<refusal.row + 1), code: .init(rawValue: refusal.code), reason: refusal.reason)
        }
        errors.emit(table.finish(), to: .errors)
        context.counters.add(errors: refusals.count)
        let refused = Set(refusals.map(\.row))
        return batch.filter(Bitmap(count: batch.rowCount) { !refused.contains($0) })
    }

    private func writeHeld(_ errors: inout OutputBuffer) async throws(OperatorError) {
        guard !held.isEmpty || (deletesExistingRows && !exactlyOnce) else { return }
        let target = try opened()
        let batches = held
        var refused: [Refused] = []
        try await session.transaction("write rows to \(config.table)") { database in
            refused.removeAll()
            if deletesExistingRows { try database.execute(target.statements.deleteAll) }
            for (index, batch) in batches.enumerated() {
                try SQLiteSink.checkCancelled()
                try target.writer.write(batch) { (row, failure) throws(SQLiteFailure) in
                    refused.append(Refused(batch: index, row: row, failure: failure))
                }
            }
        }
        deletesExistingRows = false
        report(refused, &errors) { batches[$0] }
        context.counters.add(passed: batches.reduce(0) { $0 + $1.rowCount } - refused.count)
        held.removeAll(keepingCapacity: true)
        heldBytes = 0
        heldSince = nil
    }

    /// A row that the database has refused.
    struct Refused {
        var batch: Int
        var row: Int
        var failure: SQLiteFailure
    }

    private func report(_ refused: [Refused], _ errors: inout OutputBuffer, _ batch: (Int) -> RecordBatch) {
        guard !refused.isEmpty else { return }
        var table = ErrorRows(context)
        for row in refused {
            table.append(
                batch(row.batch).slice(row.row..<row.row + 1), code: .init(rawValue: row.failure.codeName),
                reason: row.failure.description)
        }
        errors.emit(table.finish(), to: .errors)
        context.counters.add(errors: refused.count)
    }

    // MARK: The log

    private func openLog() throws(OperatorError) -> EpochLog {
        let log: EpochLog
        if let opened = self.log {
            log = opened
        } else {
            log = try makeLog()
            self.log = log
        }
        if deletesExistingRows {
            try logged { () throws(EpochLog.Failure) in
                try log.append(
                    EpochLog.Frame(kind: FrameKind.deleteAll, rowCount: 0),
                    UnsafeRawBufferPointer(start: nil, count: 0))
            }
            deletesExistingRows = false
        }
        return log
    }

    private func makeLog() throws(OperatorError) -> EpochLog {
        logCount += 1
        let name = "epochs-\(context.generation)-\(logCount).log"
        return try logged { () throws(EpochLog.Failure) in
            try EpochLog(creatingIn: context.stateDirectory, named: name)
        }
    }

    private func append(_ batch: RecordBatch, to log: EpochLog) throws(OperatorError) {
        bytes.removeAll(keepingCapacity: true)
        RecordBatchCoder.encode(batch, into: &bytes)
        let frame = EpochLog.Frame(kind: FrameKind.batch, rowCount: batch.rowCount)
        let result = bytes.withUnsafeBytes { bytes in
            Result { () throws(EpochLog.Failure) in try log.append(frame, bytes) }
        }
        try logged { () throws(EpochLog.Failure) in try result.get() }
    }

    /// Goes through the log: `deleteAll` and every batch with its number.
    private func replay(
        _ log: EpochLog, deleteAll: () throws -> Void, _ body: (Int, RecordBatch) throws -> Void
    ) throws {
        var number = 0
        let result = try log.replay { (frame, bytes) throws in
            try SQLiteSink.checkCancelled()
            switch frame.kind {
            case FrameKind.deleteAll: try deleteAll()
            case FrameKind.batch:
                let batch: RecordBatch
                do { batch = try RecordBatchCoder.decode(bytes) } catch {
                    throw log.damaged("\(error)").operatorError
                }
                guard batch.schema == stream.schema else {
                    throw OperatorError(
                        .user, .never, "state_mismatch",
                        "the rows of the epoch that is to be committed have the columns \(batch.schema.names), expected "
                            + "\(stream.schema.names): run the pipeline as it was once more, or start with --restore none"
                    )
                }
                try body(number, batch)
                number += 1
            default:
                throw OperatorError(
                    .user, .never, "state_version",
                    "the epoch log asks for \(frame.kind), which a newer version of sqlite-sink has written")
            }
        }
        try logged { () throws(EpochLog.Failure) in try result.get() }
    }

    private static func checkCancelled() throws(OperatorError) {
        if Task.isCancelled { throw OperatorError(.engine, .never, "cancelled", "the pipeline is being stopped") }
    }

    /// Writes the epoch in a transaction that is rolled back, to know which rows are refused; these leave the log.
    private func tryOut(_ errors: inout OutputBuffer) async throws(OperatorError) {
        guard let log, log.rowCount > 0 else { return }
        let target = try opened()
        var refused: [Refused] = []
        try await session.transaction("try rows of \(config.table)", discards: true) { database in
            refused.removeAll()
            try replay(log, deleteAll: { try database.execute(target.statements.deleteAll) }) { number, batch in
                try target.writer.write(batch) { (row, failure) throws(SQLiteFailure) in
                    refused.append(Refused(batch: number, row: row, failure: failure))
                }
            }
        }
        context.counters.add(passed: log.rowCount - refused.count)
        guard !refused.isEmpty else { return }
        let kept = try makeLog()
        let byBatch = Dictionary(grouping: refused, by: \.batch)
        do {
            try replay(
                log,
                deleteAll: {
                    try kept.append(
                        EpochLog.Frame(kind: FrameKind.deleteAll, rowCount: 0),
                        UnsafeRawBufferPointer(start: nil, count: 0))
                }
            ) { number, batch in
                guard let rows = byBatch[number] else { return try append(batch, to: kept) }
                report(rows, &errors) { _ in batch }
                let numbers = Set(rows.map(\.row))
                let rest = batch.filter(Bitmap(count: batch.rowCount) { !numbers.contains($0) })
                if rest.rowCount > 0 { try append(rest, to: kept) }
            }
        } catch let failure as EpochLog.Failure {
            throw failure.operatorError
        } catch let error as OperatorError {
            throw error
        } catch { throw OperatorError(.engine, .never, "sqlite_unexpected", "\(error)") }
        log.remove()
        self.log = kept
    }

    // MARK: Epochs

    public func prepareCommit(_ checkpoint: CheckpointID) async throws(OperatorError) -> [Committable] {
        guard let log, !log.isEmpty else { return [] }
        try logged { () throws(EpochLog.Failure) in try log.seal() }
        isPending = true
        return [epochs.advance(to: checkpoint.number, log)]
    }

    public func commit(_ committables: [Committable], _ checkpoint: CheckpointID) async throws(OperatorError) {
        for committable in committables { try await commit(committable) }
    }

    private func commit(_ committable: Committable) async throws(OperatorError) {
        let target = try opened()
        try await session.transaction("commit epoch \(committable.epoch) to \(config.table)") { database in
            let marker = try commits.read(database)
            if MarkerDecision.holds(marker, committable.epoch, context) { return }
            if let refusal = MarkerDecision.refusal(of: marker, expected: committable.previous, context) {
                throw refusal.operatorError(target: "table \(config.table)", commits: config.commitsTable, context)
            }
            let log: EpochLog
            if isPending, let own = self.log {
                log = own
            } else {
                log = try logged { () throws(EpochLog.Failure) in
                    try EpochLog(opening: committable, in: context.stateDirectory)
                }
            }
            try replay(log, deleteAll: { try database.execute(target.statements.deleteAll) }) { _, batch in
                try target.writer.write(batch) { (row, failure) throws(SQLiteFailure) in
                    throw SQLiteFailure(
                        code: failure.code,
                        message:
                            "\(failure.message), for a row that was accepted before the checkpoint: what another program has "
                            + "written since is in its way. Remove that and start again; the row is \(text(of: row, batch))"
                    )
                }
            }
            try commits.write(
                CommitMarker(lineage: context.lineage, generation: context.generation, epoch: committable.epoch),
                database
            )
        }
        if isPending {
            isPending = false
            log?.reset()
        } else {
            // An epoch of an earlier run, or one that was committed before.
            log = nil
            EpochLog.removeAll(in: context.stateDirectory)
        }
    }

    private func text(of row: Int, _ batch: RecordBatch) -> String {
        guard let text = JSONRows.column(batch.slice(row..<row + 1)).viewValues else { return "" }
        return text.withUnsafeViews { String(decoding: $0.bytes(0).prefix(1000), as: UTF8.self) }
    }

    public func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot {
        exactlyOnce ? epochs.snapshot : []
    }

    public func close() async {
        target = nil
        session.close()
        if !isPending { log?.remove() }
        log = nil
    }
}

/// `sqlite-sink`.
public enum SQLiteSinkPlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.sink(SQLiteSink.self)]
}
