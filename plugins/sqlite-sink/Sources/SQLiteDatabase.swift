import CSQLite
import Glibc

/// One connection to a database file: owns SQLite's handle.
///
/// Every call runs on the calling thread (one of our own). Not `Sendable`; one transaction at a time.
final class SQLiteDatabase {
    let path: String
    private let handle: OpaquePointer
    /// The file that was opened, to notice when another one stands in its place.
    private let identity: (device: UInt64, inode: UInt64)?

    /// Opens the file, or creates it.
    init(path: String, create: Bool) throws(SQLiteFailure) {
        self.path = path
        var opened: OpaquePointer?
        let flags =
            SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | (create ? SQLITE_OPEN_CREATE : 0)
        let result = sqlite3_open_v2(path, &opened, flags, nil)
        guard let opened else { throw SQLiteFailure(code: SQLITE_NOMEM, message: "out of memory") }
        guard result == SQLITE_OK else {
            let reason = String(cString: sqlite3_errmsg(opened))
            let system = sqlite3_system_errno(opened)
            sqlite3_close_v2(opened)
            throw SQLiteFailure(
                code: result, message: system == 0 ? reason : "\(reason): \(String(cString: strerror(system)))")
        }
        handle = opened
        identity = SQLiteDatabase.identity(of: path)
        sqlite3_busy_timeout(handle, 250)
    }

    deinit {
        sqlite3_close_v2(handle)
    }

    /// The file is no longer the one at `path`: it was moved or deleted, and what is written to it is lost.
    var isReplaced: Bool {
        guard let identity else { return false }
        return SQLiteDatabase.identity(of: path).map { $0 != identity } ?? true
    }

    /// Nothing stands at the path: to open it would make a new database.
    static func isMissing(_ path: String) -> Bool { access(path, F_OK) != 0 && errno == ENOENT }

    private static func identity(of path: String) -> (device: UInt64, inode: UInt64)? {
        var status = stat()
        return stat(path, &status) == 0 ? (UInt64(status.st_dev), UInt64(status.st_ino)) : nil
    }

    /// No transaction is open: also after a failure that ended it.
    var isOutsideTransaction: Bool { sqlite3_get_autocommit(handle) != 0 }

    /// Rows that the last statement has changed.
    var changes: Int { Int(sqlite3_changes64(handle)) }

    /// Runs statements without values and without results.
    func execute(_ sql: String) throws(SQLiteFailure) {
        let result = sqlite3_exec(handle, sql, nil, nil, nil)
        if result != SQLITE_OK { throw failure(result) }
    }

    func prepare(_ sql: String) throws(SQLiteFailure) -> SQLiteStatement {
        var statement: OpaquePointer?
        let result = sqlite3_prepare_v3(handle, sql, -1, UInt32(SQLITE_PREPARE_PERSISTENT), &statement, nil)
        guard result == SQLITE_OK, let statement else { throw failure(result) }
        return SQLiteStatement(statement, self)
    }

    /// All rows of a query, as text; nil is null.
    func query(_ sql: String, _ values: [String] = []) throws(SQLiteFailure) -> [[String?]] {
        let statement = try prepare(sql)
        for (index, value) in values.enumerated() { try statement.bind(text: value, at: Int32(index + 1)) }
        var rows: [[String?]] = []
        while try statement.step() { rows.append(statement.texts) }
        return rows
    }

    /// Ends an open transaction without its rows.
    func rollBack() {
        if !isOutsideTransaction { _ = sqlite3_exec(handle, "rollback", nil, nil, nil) }
    }

    func failure(_ code: Int32) -> SQLiteFailure {
        SQLiteFailure(code: code, message: String(cString: sqlite3_errmsg(handle)))
    }
}

/// A prepared statement.
final class SQLiteStatement {
    private let handle: OpaquePointer
    private let database: SQLiteDatabase

    fileprivate init(_ handle: OpaquePointer, _ database: SQLiteDatabase) {
        self.handle = handle
        self.database = database
    }

    deinit {
        sqlite3_finalize(handle)
    }

    // Binding fails only for an index that the statement does not have, or without memory; `step` tells of both.

    @inline(__always) func bindNull(at index: Int32) { sqlite3_bind_null(handle, index) }

    @inline(__always) func bind(integer value: Int64, at index: Int32) { sqlite3_bind_int64(handle, index, value) }

    @inline(__always) func bind(real value: Double, at index: Int32) { sqlite3_bind_double(handle, index, value) }

    /// Copies the bytes, as UTF-8 text. A null pointer would bind null.
    @inline(__always) func bind(text bytes: UnsafeRawBufferPointer, at index: Int32) {
        guard let start = bytes.baseAddress else {
            sqlite3_bind_text(handle, index, "", 0, SQLiteStatement.transient)
            return
        }
        sqlite3_bind_text64(
            handle, index, start.assumingMemoryBound(to: CChar.self), UInt64(bytes.count), SQLiteStatement.transient,
            UInt8(SQLITE_UTF8))
    }

    /// Copies the bytes.
    @inline(__always) func bind(blob bytes: UnsafeRawBufferPointer, at index: Int32) {
        guard let start = bytes.baseAddress else {
            sqlite3_bind_zeroblob(handle, index, 0)
            return
        }
        sqlite3_bind_blob64(handle, index, start, UInt64(bytes.count), SQLiteStatement.transient)
    }

    /// SQLITE_TRANSIENT, a cast that Swift does not import: SQLite makes a copy of its own.
    private static var transient: sqlite3_destructor_type { unsafeBitCast(-1, to: sqlite3_destructor_type.self) }

    /// Copies the text.
    func bind(text: String, at index: Int32) throws(SQLiteFailure) {
        let result = sqlite3_bind_text(handle, index, text, Int32(text.utf8.count), SQLiteStatement.transient)
        if result != SQLITE_OK { throw database.failure(result) }
    }

    /// Runs the statement up to its next row; false when it is through.
    func step() throws(SQLiteFailure) -> Bool {
        switch sqlite3_step(handle) {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        default:
            // The reset tells the extended code, and leaves the statement usable.
            let failure = database.failure(sqlite3_reset(handle))
            throw failure
        }
    }

    /// Runs the statement to its end and makes it ready for other values.
    @inline(__always) func run() throws(SQLiteFailure) {
        while try step() {}
        sqlite3_reset(handle)
    }

    var texts: [String?] {
        (0..<sqlite3_column_count(handle)).map { column in
            sqlite3_column_text(handle, column).map { String(cString: $0) }
        }
    }
}
