import DataflowOperator
import Logging

/// The database in use: waits for its lock, and says what went wrong in the user's terms.
final class SQLiteSession {
    let path: String
    private let busyTimeout: Duration
    private let logger: Logger
    private(set) var database: SQLiteDatabase?
    /// Called each time the lock was not free; nil but in tests.
    var onWait: (() -> Void)?

    init(path: String, busyTimeout: Duration, logger: Logger) {
        self.path = path
        self.busyTimeout = busyTimeout
        self.logger = logger
    }

    /// Opens the file, with a write-ahead log and commits that are on the disk when they return.
    func open(create: Bool) async throws(OperatorError) {
        let opened: SQLiteDatabase
        do throws(SQLiteFailure) {
            opened = try SQLiteDatabase(path: path, create: create)
        } catch { throw self.error(error, "open the database") }
        var mode = ""
        try await waiting("open the database") { () throws(SQLiteFailure) in
            // With a write-ahead log readers go on reading the last commit while the next is written.
            mode = try opened.query("pragma journal_mode = wal").first?[0] ?? ""
            try opened.execute("pragma synchronous = full")
        }
        if mode != "wal" {
            logger.notice(
                "SQLite: the database has no write-ahead log, so readers and this sink wait for each other",
                metadata: ["path": "\(path)", "journal_mode": "\(mode)"])
        }
        database = opened
    }

    /// Runs `body` in a transaction that has the lock for writing from its start, and commits it.
    ///
    /// - Parameters:
    ///   - doing: what is being done, for messages: "write rows".
    ///   - discards: roll back instead: what `body` found out is all that is wanted.
    /// - Throws: `OperatorError`s of `body` as they are; the transaction is rolled back then.
    func transaction<R>(
        _ doing: String, discards: Bool = false, _ body: (SQLiteDatabase) throws -> R
    ) async throws(OperatorError) -> R {
        guard let database else {
            throw OperatorError(.engine, .never, "not_open", "sqlite-sink was given rows before it was opened")
        }
        try await waiting(doing) { () throws(SQLiteFailure) in try database.execute("begin immediate") }
        do {
            if database.isReplaced {
                throw OperatorError(
                    .user, .never, "target_replaced",
                    "the target was replaced: another file stands at \(path), or none, since it was opened. Bring it back as it "
                        + "was, or start new with --restore none")
            }
            let result = try body(database)
            if discards { database.rollBack() } else { try database.execute("commit") }
            return result
        } catch let error as OperatorError {
            database.rollBack()
            throw error
        } catch let error as SQLiteFailure {
            database.rollBack()
            throw self.error(error, doing)
        } catch {
            database.rollBack()
            throw OperatorError(.engine, .never, "sqlite_unexpected", "cannot \(doing) in \(path): \(error)")
        }
    }

    func close() { database = nil }

    /// Repeats `body` while another connection holds the lock, up to the time that is allowed.
    private func waiting(
        _ doing: String, _ body: () throws(SQLiteFailure) -> Void
    ) async throws(OperatorError) {
        let start = ContinuousClock.now
        var isTold = false
        while true {
            do throws(SQLiteFailure) {
                try body()
                return
            } catch {
                guard error.kind == .locked, ContinuousClock.now - start < busyTimeout else {
                    throw self.error(error, doing)
                }
                onWait?()
                if !isTold, ContinuousClock.now - start > .seconds(2) {
                    isTold = true
                    logger.info(
                        "SQLite: waiting for the lock of the database",
                        metadata: [
                            "path": "\(path)", "holder": "\(LockHolder.names(of: path).joined(separator: ", "))",
                        ])
                }
            }
            do { try await Task.sleep(for: .milliseconds(10)) } catch {
                throw OperatorError(
                    .engine, .never, "cancelled", "cannot \(doing) in \(path): the pipeline is being stopped")
            }
        }
    }

    /// What the user is told of a failure.
    func error(_ failure: SQLiteFailure, _ doing: String) -> OperatorError {
        let what = "cannot \(doing) in \(path): \(failure)"
        switch failure.kind {
        case .locked:
            let holders = LockHolder.names(of: path)
            let who = holders.isEmpty ? "a program that is not seen from here" : holders.joined(separator: ", ")
            return OperatorError(
                .external, .withBackoff, "database_locked",
                "\(what); the lock was not free for \(busyTimeout.unitDescription), it is held by \(who). End its transaction, or raise "
                    + "`busy_timeout`", underlying: failure)
        case .full:
            return OperatorError(
                .external, .withBackoff, "disk_full",
                "\(what); there is no room on the disk, or the database has reached its largest size (pragma max_page_count)",
                underlying: failure)
        case .inputOutput:
            return OperatorError(.external, .withBackoff, "disk_failed", what, underlying: failure)
        case .damaged:
            return OperatorError(
                .user, .never, "database_damaged",
                "\(what); expected a SQLite database. Bring it back from a backup that fits the checkpoint, or move it away and "
                    + "start new with --restore none", underlying: failure)
        case .permission:
            return OperatorError(
                .user, .never, "database_not_writable",
                "\(what); file and folder must be there and writable for this user, because SQLite makes files beside it",
                underlying: failure)
        case .schema:
            return OperatorError(
                .user, .never, "table_mismatch", "\(what); the table was changed since it was opened",
                underlying: failure)
        case .row:
            return OperatorError(.user, .never, "row_refused", what, underlying: failure)
        case .unexpected:
            return OperatorError(.external, .withBackoff, "sqlite_failed", what, underlying: failure)
        }
    }
}
