import CPostgreSQL

/// One result of a statement: owns libpq's `PGresult` and frees it.
package final class PgResult {
    private let handle: OpaquePointer

    /// Takes over `handle`.
    package init(taking handle: OpaquePointer) {
        self.handle = handle
    }

    deinit {
        PQclear(handle)
    }

    package var status: ExecStatusType { PQresultStatus(handle) }

    package var rowCount: Int { Int(PQntuples(handle)) }

    package var columnCount: Int { Int(PQnfields(handle)) }

    func columnName(_ column: Int32) -> String { PQfname(handle, column).map { String(cString: $0) } ?? "" }

    func columnType(_ column: Int32) -> UInt32 { PQftype(handle, column) }

    /// The number of rows which the statement wrote, 0 for statements that do not say.
    package var affectedRows: Int { PQcmdTuples(handle).flatMap { Int(String(cString: $0)) } ?? 0 }

    /// The text of a value, nil for null.
    package subscript(row: Int, column: Int) -> String? {
        guard PQgetisnull(handle, Int32(row), Int32(column)) == 0,
            let text = PQgetvalue(handle, Int32(row), Int32(column))
        else { return nil }
        return String(cString: text)
    }

    /// The value as an integer, nil for null.
    package func integer(_ row: Int, _ column: Int) -> Int64? { self[row, column].flatMap { Int64($0) } }

    /// The value of a boolean column; null is false.
    package func flag(_ row: Int, _ column: Int) -> Bool { self[row, column] == "t" }

    /// The failure that this result reports, nil if the statement succeeded.
    package var failure: PgFailure? {
        switch status {
        case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_EMPTY_QUERY: return nil
        default: break
        }
        let state = field("C")
        let message = field("M") ?? PQresultErrorMessage(handle).map { PgResult.oneLine(String(cString: $0)) } ?? ""
        return PgFailure(
            state.map(PgFailure.kind(ofSQLState:)) ?? .unexpected,
            message.isEmpty ? "the server gave no reason" : message,
            sqlState: state, detail: field("D"), hint: field("H"), copyRow: field("W").flatMap(PgResult.copyRow(in:)))
    }

    /// A field of the server's message by its code in the protocol ("Error and Notice Message Fields").
    private func field(_ code: Unicode.Scalar) -> String? {
        PQresultErrorField(handle, Int32(code.value)).map { PgResult.oneLine(String(cString: $0)) }
    }

    package static func oneLine(_ text: String) -> String {
        text.split(whereSeparator: \.isNewline).map { line in
            line.drop { $0 == " " || $0 == "\t" }
        }.joined(separator: " ")
    }

    /// The number in `COPY table, line 7, column a`, the context of an error inside a COPY.
    package static func copyRow(in context: String) -> Int? {
        guard context.hasPrefix("COPY ") || context.contains(" COPY ") else { return nil }
        var rest = context[...]
        while let comma = rest.firstIndex(of: ",") {
            rest = rest[rest.index(after: comma)...]
            let marker = " line "
            guard rest.hasPrefix(marker) else { continue }
            let digits = rest.dropFirst(marker.count).prefix { $0.isASCII && $0.isNumber }
            if let number = Int(digits) { return number }
        }
        return nil
    }
}
