import CSQLite
import Glibc

/// What went wrong in SQLite, in the terms in which one decides what to do next.
struct SQLiteFailure: Error, CustomStringConvertible {
    /// What to do about a failure.
    enum Kind: Equatable {
        /// Another connection has the lock: wait, try again.
        case locked
        /// No room on the disk, or the database has reached its largest size.
        case full
        /// The disk or the file system failed.
        case inputOutput
        /// The file is no database, or is damaged.
        case damaged
        /// The file or its folder cannot be opened or written to.
        case permission
        /// The row is refused: a constraint, a trigger, a value of the wrong type or too large.
        case row
        /// The statement does not fit the database: a table or column is gone, or was changed.
        case schema
        case unexpected
    }

    var kind: Kind
    /// SQLite's extended result code.
    var code: Int32
    var message: String

    init(code: Int32, message: String) {
        self.code = code
        self.message = message
        kind =
            switch code & 0xff {
            case SQLITE_BUSY, SQLITE_LOCKED, SQLITE_PROTOCOL: .locked
            case SQLITE_FULL: .full
            case SQLITE_IOERR: .inputOutput
            case SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_FORMAT: .damaged
            case SQLITE_READONLY, SQLITE_CANTOPEN, SQLITE_PERM, SQLITE_AUTH: .permission
            case SQLITE_CONSTRAINT, SQLITE_MISMATCH, SQLITE_TOOBIG, SQLITE_RANGE: .row
            case SQLITE_ERROR, SQLITE_SCHEMA: .schema
            default: .unexpected
            }
    }

    /// The name of a result code for metrics and dead letters: `constraint_unique`.
    var codeName: String {
        switch code {
        case 275: "constraint_check"
        case 787: "constraint_foreignkey"
        case 1299: "constraint_notnull"
        case 1555: "constraint_primarykey"
        case 1811: "constraint_trigger"
        case 2067: "constraint_unique"
        case 3091: "constraint_datatype"
        default: code & 0xff == SQLITE_TOOBIG ? "too_big" : "sqlite_\(code)"
        }
    }

    var description: String { "\(message) (SQLite \(code))" }
}

/// Who may hold a lock on a database.
enum LockHolder {
    /// The processes that hold a lock on the file or on the files beside it, from the kernel's table of locks. The files
    /// themselves are not opened: closing one would give up SQLite's own locks of this process.
    static func names(of path: String) -> [String] {
        var inodes: Set<String> = []
        for name in [path, path + "-shm", path + "-wal"] {
            var status = stat()
            if stat(name, &status) == 0 { inodes.insert(String(status.st_ino)) }
        }
        var holders: [Int32] = []
        for line in text(of: "/proc/locks").split(separator: "\n") {
            // 1: POSIX  ADVISORY  WRITE 4711 08:01:1234 120 120
            let words = line.split(separator: " ")
            guard let place = words.first(where: { $0.split(separator: ":").count == 3 }),
                let inode = place.split(separator: ":").last, inodes.contains(String(inode)),
                words.contains("WRITE"), let index = words.firstIndex(of: place), index > 0,
                let process = Int32(words[index - 1]), process > 0, !holders.contains(process)
            else { continue }
            holders.append(process)
        }
        return holders.map { process in
            if process == getpid() { return "this process itself (another node, or a frozen one)" }
            let program = text(of: "/proc/\(process)/comm").filter { $0 != "\n" }
            return program.isEmpty ? "process \(process)" : "process \(process) (\(program))"
        }
    }

    private static func text(of path: String) -> String {
        guard let file = fopen(path, "re") else { return "" }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = fread(&buffer, 1, buffer.count, file)
            if count == 0 { break }
            bytes += buffer[..<count]
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
