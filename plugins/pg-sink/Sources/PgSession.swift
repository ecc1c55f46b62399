import DataflowOperator
import DataflowPostgres
import Logging

/// How long to wait before the next attempt: doubling, with full jitter in the upper half, up to a limit.
struct Backoff {
    private var ceiling: Duration = .milliseconds(100)
    private let limit: Duration

    init(limit: Duration = .seconds(5)) {
        self.limit = limit
    }

    mutating func next() -> Duration {
        let pause = ceiling * Double.random(in: 0.5...1)
        ceiling = min(ceiling * 2, limit)
        return pause
    }
}

/// Keeps a connection: makes it, makes it again when it is lost, and repeats what was under way.
final class PgSession {
    private let settings: PgSettings
    private let statementTimeout: Duration
    private let lockTimeout: Duration
    private let logger: Logger
    private var link: PgLink?
    /// An advisory lock that every connection of this sink holds (shared), so that a later run can find the connections
    /// of an earlier one that hangs; nil before the sink knows it.
    var mark: Int64?
    /// Passed on to every connection; nil but in tests.
    var observe: ((PgConnection.Moment) throws(PgFailure) -> Void)?
    /// The server's process behind the connection that was lost, and when it started: it may still hold locks.
    private var predecessor: (pid: Int, started: String)?

    init(_ settings: PgSettings, statementTimeout: Duration, lockTimeout: Duration, logger: Logger) {
        self.settings = settings
        self.statementTimeout = statementTimeout
        self.lockTimeout = lockTimeout
        self.logger = logger
    }

    /// Runs `body`, which starts from whatever the link says is done already. When the connection is lost or the
    /// transaction must be repeated, rolls back, waits, connects again where needed and runs `body` again.
    ///
    /// - Parameters:
    ///   - doing: what is being done, for messages: "write rows".
    ///   - limit: how long failed attempts may last altogether.
    /// - Throws: `OperatorError`s of `body` as they are; failures of the server that repeating cannot help.
    func run<R>(
        _ doing: String, limit: Duration, _ body: (PgLink) throws -> R
    ) async throws(OperatorError) -> R {
        var backoff = Backoff()
        var firstFailure: ContinuousClock.Instant?
        while true {
            let failure: PgFailure
            do {
                let link = try currentLink()
                let result = try body(link)
                if firstFailure != nil { logger.info("PostgreSQL: going on", metadata: ["after": "\(doing)"]) }
                return result
            } catch let error as PgFailure {
                failure = error
            } catch let error as OperatorError {
                rollBack()
                throw error
            } catch {
                throw OperatorError(.engine, .never, "pg_unexpected", "cannot \(doing): \(error)")
            }
            switch failure.kind {
            case .connection: drop()
            case .transaction: rollBack()
            case .row, .configuration, .unexpected, .cancelled:
                rollBack()
                throw final(failure, doing)
            }
            let now = ContinuousClock.now
            let start = firstFailure ?? now
            let pause = backoff.next()
            guard now + pause - start < limit else {
                throw OperatorError(
                    .external, .withBackoff, failure.kind == .connection ? "connection_lost" : "transaction_failed",
                    "cannot \(doing) in \(settings.summary) after trying for \(limit.unitDescription): \(failure)",
                    underlying: failure)
            }
            logger.log(
                level: firstFailure == nil ? .warning : .info, "PostgreSQL: cannot \(doing), trying again",
                metadata: [
                    "server": "\(settings.summary)", "reason": "\(failure)", "pause": "\(pause.roundedDescription)",
                ])
            firstFailure = start
            do { try await Task.sleep(for: pause) } catch {
                throw final(PgFailure(.cancelled, "the pipeline is being stopped"), doing)
            }
        }
    }

    /// Ends the connection; an open transaction is rolled back by the server.
    func close() {
        link = nil
    }

    private func currentLink() throws(PgFailure) -> PgLink {
        if let link { return link }
        let logger = logger
        let connection = try PgConnection(settings, timeout: statementTimeout) { severity, text in
            let level: Logger.Level = severity == "WARNING" ? .warning : severity == "NOTICE" ? .debug : .info
            logger.log(level: level, "PostgreSQL: \(text)")
        }
        // A role or database may have limits of its own for short queries; an epoch lasts as long as it lasts.
        var setup = """
            set statement_timeout = 0; set idle_in_transaction_session_timeout = 0; \
            set lock_timeout = \(PgSession.milliseconds(lockTimeout)); set standard_conforming_strings = on
            """
        if connection.serverVersion >= 140_000 { setup += "; set idle_session_timeout = 0" }
        if connection.serverVersion >= 170_000 { setup += "; set transaction_timeout = 0" }
        try connection.execute(setup)
        if let mark { try PgSession.take(mark, connection) }
        if let predecessor {
            // Its transaction may hold locks on the very rows that are written again now.
            do {
                try connection.query(
                    """
                    select pg_terminate_backend(pid) from pg_stat_activity
                    where pid = $1::int and backend_start::text = $2 and usename = current_user
                    """, [String(predecessor.pid), predecessor.started])
            } catch  where error.kind != .connection {
                logger.debug("PostgreSQL: the lost connection's process could not be ended: \(error)")
            }
        }
        let started = try connection.query(
            "select backend_start::text from pg_stat_activity where pid = pg_backend_pid()", [])
        predecessor = (started.rowCount > 0 ? started[0, 0] : nil).map { (connection.backendPID, $0) }
        logger.debug("PostgreSQL: connected", metadata: ["server": "\(connection.endpoint)"])
        connection.observe = observe
        let made = PgLink(connection)
        link = made
        return made
    }

    /// Takes the mark for the connection's life.
    static func take(_ mark: Int64, _ connection: PgConnection) throws(PgFailure) {
        try connection.query("select pg_advisory_lock_shared($1::int8)", [String(mark)])
    }

    /// Ends all other connections with the mark: those of runs that have been fenced off. An open transaction of theirs
    /// would hold locks on rows that this run writes, as long as their process hangs.
    static func endOthers(with mark: Int64, _ connection: PgConnection) throws(PgFailure) -> Int {
        try connection.query(
            """
            select pg_terminate_backend(l.pid) from pg_locks l
            join pg_stat_activity a on a.pid = l.pid and a.usename = current_user
            where l.locktype = 'advisory' and l.objsubid = 1 and l.pid <> pg_backend_pid()
              and l.database = (select oid from pg_database where datname = current_database())
              and (l.classid::int8 << 32 | l.objid::int8) = $1::int8
            """, [String(mark)]
        ).rowCount
    }

    private func drop() {
        link = nil
    }

    /// Leaves the link without a transaction; a link that cannot do that is dropped.
    private func rollBack() {
        guard let link, link.isInTransaction else { return }
        do throws(PgFailure) {
            try link.rollBack()
        } catch {
            // Also where a COPY is open: no statement can be sent then.
            drop()
        }
    }

    private func final(_ failure: PgFailure, _ doing: String) -> OperatorError {
        let message = "cannot \(doing) in \(settings.summary): \(failure)"
        return switch failure.kind {
        case .configuration: OperatorError(.user, .never, "pg_refused", message, underlying: failure)
        case .row: OperatorError(.external, .withBackoff, "row_refused", message, underlying: failure)
        case .cancelled: OperatorError(.engine, .never, "cancelled", message, underlying: failure)
        case .connection, .transaction, .unexpected:
            OperatorError(.external, .withBackoff, "pg_failed", message, underlying: failure)
        }
    }

    static func milliseconds(_ duration: Duration) -> Int64 {
        let (seconds, attoseconds) = duration.components
        return seconds * 1000 + attoseconds / 1_000_000_000_000_000
    }
}
