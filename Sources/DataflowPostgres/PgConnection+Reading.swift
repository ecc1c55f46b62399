import CPostgreSQL
import Glibc

/// A column of what a query gives.
package struct PgResultColumn {
    package var name: String
    /// The number of its type in the server's catalog; that of a domain's base type.
    package var typeOID: UInt32
}

extension PgConnection {
    /// What a statement without parameters would give, without running it; none for one that gives no rows.
    package func columns(of sql: String) throws(PgFailure) -> [PgResultColumn] {
        try send(PQsendPrepare(handle, "", sql, 0, nil))
        _ = try finishStatement()
        try send(PQsendDescribePrepared(handle, ""))
        let described = try finishStatement()
        return described.columns
    }

    /// Runs a `COPY … TO STDOUT` and lends each piece of its stream (a row; in binary format the header comes with the
    /// first one).
    ///
    /// - Parameter body: false stops the copy; the connection is of no use then.
    package func copyOut(_ sql: String, _ body: (UnsafeRawBufferPointer) -> Bool) throws(PgFailure) {
        try send(PQsendQuery(handle, sql))
        while true {
            guard let result = try nextResult() else { throw connectionFailure() }
            if result.status == PGRES_COPY_OUT { break }
            if let failure = result.failure {
                try drain()
                throw located(failure)
            }
        }
        while true {
            var memory: UnsafeMutablePointer<CChar>?
            let count = PQgetCopyData(handle, &memory, 1)
            defer { PQfreemem(memory) }
            switch count {
            case 1...:
                guard body(UnsafeRawBufferPointer(start: memory, count: Int(count))) else { return }
            case 0:
                _ = try wait(for: Int16(POLLIN), until: ContinuousClock.now + timeout)
                if PQconsumeInput(handle) == 0 { throw connectionFailure() }
            case -1:
                _ = try finishStatement()
                return
            default: throw connectionFailure()
            }
        }
    }
}

extension PgResult {
    /// The columns, of a statement that was described or run.
    var columns: [PgResultColumn] {
        (0..<Int32(columnCount)).map { column in
            PgResultColumn(name: columnName(column), typeOID: columnType(column))
        }
    }
}
