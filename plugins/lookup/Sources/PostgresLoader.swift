import DataflowOperator
import DataflowPostgres

/// Reads a table from a PostgreSQL query: a binary COPY of the values' texts, which needs no escapes, on a connection of
/// its own that lasts as long as the load.
struct PostgresLoader: TableLoader {
    let settings: PgSettings
    let query: String
    let timeout: Duration
    let shape: TableShape

    init(_ config: PostgresTableConfig, _ shape: TableShape, pipeline: String, node: String) throws(OperatorError) {
        do throws(PgFailure) {
            settings = try PgSettings(parsing: config.connection.revealed).withDefaults(
                applicationName: "dataflow \(pipeline)/\(node)",
                connectTimeout: max(1, Int(config.connectTimeout.components.seconds)))
        } catch {
            throw OperatorError(.user, .never, "invalid_configuration", "`connection`: \(error.message)")
        }
        query = PostgresTableConfig.trimmed(config.query)
        timeout = config.statementTimeout
        self.shape = shape
    }

    var origin: String { settings.summary }

    func load(into table: TableBuilder) throws(OperatorError) {
        var reader = CopyReader(shape)
        var failure: OperatorError?
        do throws(PgFailure) {
            let connection = try PgConnection(settings, timeout: timeout) { _, _ in }
            try connection.execute(
                """
                set default_transaction_read_only = on; set timezone = 'UTC'; set datestyle = 'ISO, YMD'; \
                set extra_float_digits = 1; set standard_conforming_strings = on; \
                set statement_timeout = \(timeout.components.seconds * 1000)
                """)
            if let problem = try mismatch(connection) { throw PgFailure(.configuration, problem) }
            let names = shape.columns.map { column in
                "q.\(PostgresLoader.quoted(column.name))\(column.type == .bytes ? "" : "::text")"
            }
            try connection.copyOut(
                "copy (select \(names.joined(separator: ", ")) from (\n\(query)\n) q) to stdout (format binary)"
            ) { piece in
                do throws(OperatorError) { try reader.read(piece, into: table) } catch { failure = error }
                return failure == nil
            }
        } catch {
            throw located(error)
        }
        if let failure { throw failure }
        try reader.flush(into: table)
    }

    private func located(_ failure: PgFailure) -> OperatorError {
        let message = "cannot load the lookup table from \(origin): \(failure)"
        return switch failure.kind {
        case .configuration, .row: OperatorError(.user, .never, "pg_refused", message)
        case .cancelled: OperatorError(.engine, .never, "cancelled", message)
        case .connection: OperatorError(.external, .withBackoff, "connection_lost", message)
        case .transaction, .unexpected: OperatorError(.external, .withBackoff, "pg_failed", message)
        }
    }

    private static func quoted(_ name: String) -> String {
        "\"" + name.split(separator: "\"", omittingEmptySubsequences: false).joined(separator: "\"\"") + "\""
    }

    // MARK: Types

    /// What does not fit between the query's columns and the declared ones; nil where all does.
    private func mismatch(_ connection: PgConnection) throws(PgFailure) -> String? {
        let found = try connection.columns(of: query)
        if found.isEmpty { return "`query` gives no rows: it must be a select" }
        for column in shape.columns {
            let matches = found.filter { $0.name == column.name }
            guard let match = matches.first else {
                return
                    "the query gives no column `\(column.name)`; it gives \(found.map(\.name).joined(separator: ", "))"
            }
            if matches.count > 1 { return "the query gives two columns `\(column.name)`" }
            if !PostgresLoader.fits(column.type, match.typeOID) {
                let name = try connection.query("select format_type($1::oid, null)", [String(match.typeOID)])
                return
                    "the query's column `\(column.name)` is \(name[0, 0] ?? "of another type"), but `columns` says \(column.type)"
            }
        }
        return nil
    }

    /// Whether values of a type of the server (by its fixed number in pg_type) are values of `type`.
    static func fits(_ type: DataType, _ oid: UInt32) -> Bool {
        switch type {
        case .bool: oid == 16
        case .int32: [21, 23].contains(oid)
        case .int64: [20, 21, 23].contains(oid)
        case .float32: oid == 700
        case .float64: [700, 701, 1700, 21, 23].contains(oid)
        case .decimal: [1700, 20, 21, 23].contains(oid)
        case .timestamp: [1114, 1184].contains(oid)
        case .date: oid == 1082
        case .bytes: oid == 17
        case .string: oid != 17
        case .list, .structure: false
        }
    }
}

/// Turns the stream of a binary COPY into columns of text.
private struct CopyReader {
    private let shape: TableShape
    /// The values of the rows so far, one behind the other, and where each stands; a negative length is null.
    private var bytes: [UInt8] = []
    private var values: [(offset: Int, length: Int)] = []
    private var rows = 0
    private var hasHeader = false

    init(_ shape: TableShape) { self.shape = shape }

    mutating func read(_ piece: UnsafeRawBufferPointer, into table: TableBuilder) throws(OperatorError) {
        var offset = 0
        if !hasHeader {
            // The signature of 11 bytes, flags, and an extension that may be passed over.
            guard let length = PostgresInteger.int32(piece, 15) else { throw CopyReader.damaged }
            offset = 19 + length
            hasHeader = true
        }
        while offset < piece.count {
            guard let fields = PostgresInteger.int16(piece, offset) else { throw CopyReader.damaged }
            offset += 2
            if fields == -1 { return }
            guard fields == shape.columns.count else { throw CopyReader.damaged }
            for _ in 0..<fields {
                guard let length = PostgresInteger.int32(piece, offset), offset + 4 + max(0, length) <= piece.count
                else { throw CopyReader.damaged }
                offset += 4
                values.append((bytes.count, length))
                if length > 0 {
                    bytes.append(contentsOf: piece[offset..<offset + length])
                    offset += length
                }
            }
            rows += 1
            if rows == RecordBatch.defaultRowCount || bytes.count >= RecordBatch.defaultByteCount {
                try flush(into: table)
            }
        }
    }

    mutating func flush(into table: TableBuilder) throws(OperatorError) {
        let width = shape.columns.count
        let columns = shape.columns.indices.map { index in
            var builder = ViewBuilder(capacity: rows)
            bytes.withUnsafeBytes { bytes in
                for row in 0..<rows {
                    let (offset, length) = values[row * width + index]
                    if length < 0 {
                        builder.appendNull()
                    } else {
                        builder.append(UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + length]))
                    }
                }
            }
            return builder.finish(shape.columns[index].type == .bytes ? .bytes : .string)
        }
        try table.append(columns, count: rows)
        rows = 0
        bytes.removeAll(keepingCapacity: true)
        values.removeAll(keepingCapacity: true)
    }

    private static let damaged = OperatorError(
        .external, .withBackoff, "pg_failed", "the server's answer to COPY is not in its binary format")
}

private enum PostgresInteger {
    static func int16(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> Int? {
        guard offset + 2 <= bytes.count else { return nil }
        return Int(Int16(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Int16.self)))
    }

    static func int32(_ bytes: UnsafeRawBufferPointer, _ offset: Int) -> Int? {
        guard offset + 4 <= bytes.count else { return nil }
        return Int(Int32(bigEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Int32.self)))
    }
}
