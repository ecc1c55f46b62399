public import DataflowEpochs
public import DataflowOperator
import DataflowPostgres
import DataflowText
import Logging

/// Writes rows into a PostgreSQL table, exactly once: `docs/exactly-once-postgresql.md` walks through the protocol.
///
/// Rows are encoded for a binary COPY and collected in a *segment*. A full segment goes into the epoch's open
/// transaction; what the server has accepted is appended to the epoch log, from which the transaction can be made again.
/// At the checkpoint the log is made durable, at the commit the epoch's number is written to `dataflow_commits` in the
/// transaction of its rows. The sink waits in libpq, so it runs on a thread of its own.
public final class PgSink: Sink {
    public typealias Committable = LoggedEpoch

    public static let info = OperatorInfo(
        "pg-sink", .sink, "Writes rows into a PostgreSQL table, exactly once; by key where the stream has one.",
        maxParallelism: 1, blocks: true)

    let config: PgSinkConfig
    let context: OperatorContext
    let table: PgName
    let commits: CommitTable
    let stream: Stream
    let session: PgSession
    let exactlyOnce: Bool
    /// What depends on the table as it is on the server; nil before `open`.
    var target: Target?
    var epochs = EpochState()
    /// Up to how many rows with a key are merged by arrays; other than usual in tests only.
    var arrayRows = ArrayMerge.maxRows
    /// The first transaction of this history deletes what it finds in the table.
    var deletesExistingRows = false

    private let rows = RowStore()
    private var keys = KeyIndex()
    /// Rows received since the last segment was written, replaced ones included.
    private var received = 0
    /// Bytes of the segment that were sent ahead.
    private var streamed = 0
    private var segmentStart: ContinuousClock.Instant?
    /// The accepted rows of this epoch, or of the one that is to be committed; empty or nil if there are none.
    private var log: EpochLog?
    /// The epoch in the log is prepared and not committed.
    private var isPending = false

    struct Target {
        var writer: SegmentWriter
        var encoder: CopyEncoder
        var statements: PgStatements { writer.statements }
    }

    public init(_ config: PgSinkConfig, _ context: OperatorContext) throws(OperatorError) {
        guard let stream = context.inputs.first else {
            throw OperatorError(.engine, .never, "no_input", "pg-sink was built without its input")
        }
        let settings: PgSettings
        do {
            table = try PgName(parsing: config.table)
            commits = CommitTable(
                table: try PgName(parsing: config.commitsTable), pipeline: context.pipeline, node: context.node)
            settings = try PgSettings(parsing: config.connection.revealed)
        } catch {
            throw OperatorError(.user, .never, "invalid_setting", "pg-sink: \(error)")
        }
        self.config = config
        self.context = context
        self.stream = stream
        exactlyOnce = context.exactlyOnce
        session = PgSession(
            settings.withDefaults(
                applicationName: "dataflow \(context.pipeline)/\(context.node)",
                connectTimeout: max(1, Int(config.connectTimeout.components.seconds))),
            statementTimeout: config.statementTimeout, lockTimeout: config.lockTimeout, logger: context.logger)
    }

    // MARK: Rows

    public func write(_ batch: RecordBatch, errors: inout OutputBuffer) async throws(OperatorError) {
        guard batch.rowCount > 0 else { return }
        if rows.count == 0 { segmentStart = context.clock.now }
        let refusals = try withTarget { $0.encoder.encode(batch, into: rows) }
        if !refusals.isEmpty {
            var table = ErrorRows(context)
            let json = JSONRows(batch.schema)
            json.prepare(batch)
            var text = TextBuffer()
            for refusal in refusals {
                text.removeAll()
                json.write(refusal.row, into: &text)
                text.withUnsafeBytes {
                    table.append(code: .init(rawValue: refusal.code), reason: refusal.reason, raw: $0)
                }
            }
            errors.emit(table.finish(), to: .errors)
            context.counters.add(errors: refusals.count)
        }
        received += batch.rowCount - refusals.count
        let isUpsert = try withTarget { $0.statements.isUpsert }
        if isUpsert {
            keys.update(from: rows)
            // Replaced rows are squeezed out when they are half of a large segment.
            if keys.deadBytes * 2 > rows.byteCount && rows.byteCount > config.maxBatch.bytes / 4 { keys.compact(rows) }
        }
        let isDue = !exactlyOnce && (segmentStart.map { context.clock.now - $0 >= config.linger } ?? false)
        if rows.byteCount >= config.maxBatch.bytes || isDue {
            try await settle(&errors)
        } else if exactlyOnce, !isUpsert,
            rows.byteCount - streamed >= min(PgSink.streamBytes, config.maxBatch.bytes / 4)
        {
            let writer = try withTarget { $0.writer }
            let log = try openLog()
            try await session.run("write rows to \(table)", limit: config.reconnectTimeout) { link in
                try begin(link, writer)
                try writer.stream(rows, to: link)
                try logged { () throws(EpochLog.Failure) in try log.stage(rows.bytes[0..<rows.byteCount]) }
            }
            streamed = rows.byteCount
        }
    }

    /// How many bytes are collected before they are sent ahead.
    private static let streamBytes = 256 << 10

    public func idle(errors: inout OutputBuffer) async throws(OperatorError) {
        if !exactlyOnce { try await settle(&errors) }
    }

    public func flush(_ checkpoint: CheckpointID, errors: inout OutputBuffer) async throws(OperatorError) {
        try await settle(&errors, endsEpoch: true)
    }

    /// Hands the collected rows to the server. When this returns they are accepted or refused.
    private func settle(_ errors: inout OutputBuffer, endsEpoch: Bool = false) async throws(OperatorError) {
        guard rows.count > 0 || deletesExistingRows else { return }
        let (writer, columns) = try withTarget { ($0.writer, $0.encoder.columns) }
        if writer.statements.isUpsert { keys.compact(rows) }
        let log = exactlyOnce ? try openLog() : nil
        let outcome = try await session.run("write rows to \(table)", limit: config.reconnectTimeout) { link in
            try begin(link, writer)
            var failure: EpochLog.Failure?
            // The log is written, and the disk waited for, while the server works.
            let outcome = try writer.write(rows, to: link) {
                guard let log else { return }
                do throws(EpochLog.Failure) {
                    try log.stage(writer.frame(rows, 0..<rows.count), rows.bytes[0..<rows.byteCount])
                    if endsEpoch { try log.sync() }
                } catch { failure = error }
            }
            if let failure { throw failure.operatorError }
            if !exactlyOnce { try link.commit() }
            return outcome
        }
        if let log {
            if outcome.accepted == [0..<rows.count] {
                log.accept()
            } else {
                for range in outcome.accepted {
                    try logged { () throws(EpochLog.Failure) in
                        try log.append(writer.frame(rows, range), rows.bytes[rows.range(of: range)])
                    }
                }
                log.discard()
            }
        }
        deletesExistingRows = false
        if !outcome.refused.isEmpty {
            let decoder = RowText(columns: columns)
            var text = TextBuffer()
            var table = ErrorRows(context)
            for (row, failure) in outcome.refused {
                text.removeAll()
                decoder.write(rows.bytes[rows.range(of: row)], into: &text)
                text.withUnsafeBytes {
                    table.append(
                        code: .init(rawValue: "sqlstate_\(failure.sqlState ?? "unknown")"),
                        reason: failure.description, raw: $0)
                }
            }
            errors.emit(table.finish(), to: .errors)
        }
        context.counters.add(passed: received - outcome.refused.count, errors: outcome.refused.count)
        received = 0
        streamed = 0
        rows.removeAll()
        keys.removeAll()
        segmentStart = nil
    }

    /// Opens the epoch's transaction if it is not open, with all rows of the epoch so far in it.
    private func begin(_ link: PgLink, _ writer: SegmentWriter) throws {
        guard !link.isInTransaction else { return }
        if writer.statements.isUpsert && !link.hasStage {
            try link.connection.execute(writer.statements.createStage)
            link.hasStage = true
        }
        // Deferred constraints are checked at once, so that a row cannot fail at the commit.
        link.begin("set constraints all immediate; ")
        if let log, !log.isEmpty { try replay(log, to: link, writer) }
        if deletesExistingRows { try link.execute(writer.statements.deleteAll) }
    }

    private func replay(_ log: EpochLog, to link: PgLink, _ writer: SegmentWriter) throws {
        let result = try log.replay { (frame, bytes) throws(PgFailure) in try writer.apply(frame, bytes, to: link) }
        try logged { () throws(EpochLog.Failure) in try result.get() }
    }

    private func openLog() throws(OperatorError) -> EpochLog {
        let log: EpochLog
        if let opened = self.log {
            log = opened
        } else {
            log = try logged { () throws(EpochLog.Failure) in
                try EpochLog(creatingIn: context.stateDirectory, named: "epochs-\(context.generation).log")
            }
            self.log = log
        }
        if deletesExistingRows, log.isEmpty {
            try logged { () throws(EpochLog.Failure) in
                try log.append(
                    EpochLog.Frame(.deleteAll, rowCount: 0),
                    UnsafeRawBufferPointer(start: nil, count: 0))
            }
        }
        return log
    }

    func withTarget<R>(_ body: (inout Target) -> R) throws(OperatorError) -> R {
        guard var target else {
            throw OperatorError(.engine, .never, "not_open", "pg-sink was given rows before it was opened")
        }
        // The encoder keeps its scratch memory between batches.
        self.target = nil
        defer { self.target = target }
        return body(&target)
    }

    // MARK: Epochs

    public func prepareCommit(_ checkpoint: CheckpointID) async throws(OperatorError) -> [Committable] {
        guard let log, !log.isEmpty else { return [] }
        try logged { () throws(EpochLog.Failure) in try log.seal() }
        isPending = true
        return [epochs.advance(to: checkpoint.number, log)]
    }

    public func commit(_ committables: [Committable], _ checkpoint: CheckpointID) async throws(OperatorError) {
        for committable in committables {
            try await commit(committable)
        }
    }

    private func commit(_ committable: Committable) async throws(OperatorError) {
        let writer = try withTarget { $0.writer }
        try await session.run("commit epoch \(committable.epoch) to \(table)", limit: config.reconnectTimeout) { link in
            if !link.isInTransaction {
                // A new connection: either the commit got through before the old one was lost, or all is to be done again.
                let marker = try marker(link)
                if MarkerDecision.holds(marker, committable.epoch, context) { return }
                if let refusal = MarkerDecision.refusal(of: marker, expected: committable.previous, context) {
                    throw error(for: refusal)
                }
                if log == nil {
                    log = try logged { () throws(EpochLog.Failure) in
                        try EpochLog(opening: committable, in: context.stateDirectory)
                    }
                }
                try begin(link, writer)
            }
            if !link.hasAdvance {
                try link.execute(commits.prepareAdvance(lineage: context.lineage, generation: context.generation))
                link.hasAdvance = true
            }
            do throws(PgFailure) {
                try link.commit(commits.advance(from: committable.previous, to: committable.epoch))
            } catch {
                guard error.sqlState == CommitTable.didNotAdvance else { throw error }
                throw try explain(committable, link)
            }
        }
        if isPending {
            isPending = false
            log?.reset()
        } else {
            // An epoch of an earlier run.
            log = nil
            EpochLog.removeAll(in: context.stateDirectory)
        }
    }

    /// Reads the marker when everything that was under way with it is over.
    private func marker(_ link: PgLink) throws(PgFailure) -> CommitMarker? {
        try link.beginNow()
        let marker = try commits.lock(link.connection)
        try link.rollBack()
        return marker
    }

    /// Why the marker could not be moved on.
    private func explain(_ committable: Committable, _ link: PgLink) throws(PgFailure) -> OperatorError {
        try link.rollBack()
        // A marker that says what is expected by now was changed and changed back in between.
        let refusal =
            MarkerDecision.refusal(of: try marker(link), expected: committable.previous, context)
            ?? .behind(marker: committable.previous, expected: committable.previous)
        return error(for: refusal)
    }

    private func error(for refusal: MarkerDecision.Refusal) -> OperatorError {
        refusal.operatorError(target: "table \(table)", commits: "\(commits.table)", context)
    }

    public func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot {
        exactlyOnce ? epochs.snapshot : []
    }

    public func close() async {
        session.close()
        if !isPending { log?.remove() }
        log = nil
    }
}

/// `pg-sink`.
public enum PgSinkPlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.sink(PgSink.self)]
}
