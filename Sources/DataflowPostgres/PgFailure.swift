/// What went wrong between us and PostgreSQL, in the terms in which one decides what to do next.
///
/// A failure never holds a password: libpq does not print one, and ``PgSettings`` hides what a malformed connection
/// string would show.
package struct PgFailure: Error, CustomStringConvertible {
    /// What to do about a failure.
    package enum Kind: Equatable {
        /// There is no usable connection (lost, refused, the server starts up, shuts down or is full): connect again.
        case connection
        /// The transaction must be repeated on the same server: serialization, deadlock, cancelled statement, lock timeout.
        case transaction
        /// The server refused a value or a row: integrity, data exception, program limit, an exception of a trigger.
        case row
        /// Somebody must change the configuration, the permissions or the target.
        case configuration
        /// The task is being stopped.
        case cancelled
        /// Neither the user nor the server is to blame as far as one can see: a protocol violation, an internal error.
        case unexpected
    }

    package var kind: Kind
    /// The five characters of the server's SQLSTATE; nil when the message is the client's.
    package var sqlState: String?
    package var message: String
    package var detail: String?
    package var hint: String?
    /// The row, counted from 1, that the server names in the context of a failed COPY.
    package var copyRow: Int?

    package init(
        _ kind: Kind, _ message: String, sqlState: String? = nil, detail: String? = nil, hint: String? = nil,
        copyRow: Int? = nil
    ) {
        self.kind = kind
        self.message = message
        self.sqlState = sqlState
        self.detail = detail
        self.hint = hint
        self.copyRow = copyRow
    }

    /// The class of a server's SQLSTATE (PostgreSQL 15, appendix A).
    package static func kind(ofSQLState state: String) -> Kind {
        switch state {
        case "57014", "55P03", "55006": return .transaction
        case "57P01", "57P02", "57P03", "57P05", "25P03", "25006": return .connection
        // Invalid password and peer authentication failures need a person; "no pg_hba.conf entry" too.
        case "57P04": return .configuration
        case "P0001": return .row
        default: break
        }
        switch state.prefix(2) {
        case "08", "53", "58": return .connection
        case "40": return .transaction
        case "22", "23", "44", "54": return .row
        case "0A", "28", "3D", "3F", "42", "2F", "55": return .configuration
        default: return .unexpected
        }
    }

    /// The message with the SQLSTATE, the detail and the hint of the server, on one line.
    package var description: String {
        var text = message
        if let sqlState { text += " (SQLSTATE \(sqlState))" }
        if let detail { text += "; \(detail)" }
        if let hint { text += "; hint: \(hint)" }
        return text
    }
}
