import DataflowColumnar
import DataflowEpochs
import DataflowPostgres

extension EpochLog.Frame {
    /// What a frame asks for.
    enum Kind: UInt8 {
        /// Rows for a COPY straight into the table.
        case append = 1
        /// Rows for the stage, to be merged.
        case upsert = 2
        /// Removes all rows of the table: the first frame of a history that replaces what it finds.
        case deleteAll = 3
    }

    init(_ kind: Kind, rowCount: Int, hasDeletes: Bool = false, hasRows: Bool = true) {
        self.init(kind: kind.rawValue, flags: (hasDeletes ? 1 : 0) | (hasRows ? 2 : 0), rowCount: rowCount)
    }

    var hasDeletes: Bool { flags & 1 != 0 }
    var hasRows: Bool { flags & 2 != 0 }
}

/// Puts encoded rows into the open transaction, and finds out which of them the server refuses.
struct SegmentWriter {
    let statements: PgStatements
    /// How segments of at most ``arrayRows`` rows with a key are merged; nil: as all others.
    let arrays: ArrayMerge?
    let arrayRows: Int
    private let builder = ArrayBuilder()

    init(statements: PgStatements, arrayRows: Int = ArrayMerge.maxRows) {
        self.statements = statements
        self.arrayRows = arrayRows
        arrays = ArrayMerge(
            table: statements.table, columns: statements.columns, keyMayBeNull: statements.keyMayBeNull)
    }

    /// What became of the rows of a segment.
    struct Outcome {
        /// Ranges that the server has taken, in order.
        var accepted: [Range<Int>] = []
        /// Rows that it refused, in order, each with its reason.
        var refused: [(row: Int, failure: PgFailure)] = []
    }

    /// PGCOPY, its magic bytes, no flags, no extension.
    private static let header = Buffer(Array("PGCOPY\n".utf8) + [0xff, 0x0d, 0x0a, 0x00] + [0, 0, 0, 0, 0, 0, 0, 0])
    /// A field count of minus one.
    private static let trailer = Buffer([0xff, 0xff])

    /// Writes all rows of `segment`. Each attempt stands in a savepoint, so that a refusal leaves the transaction whole.
    ///
    /// - Parameter meanwhile: is called once, while the server works on all of them.
    /// - Throws: failures of the connection or of the transaction; what was written is to be rolled back then.
    func write(_ segment: RowStore, to link: PgLink, meanwhile: () -> Void = {}) throws(PgFailure) -> Outcome {
        var outcome = Outcome()
        var bisection = Bisection(count: segment.count)
        var isFirst = true
        while let range = bisection.next {
            let stageRows = link.stageRows
            do throws(PgFailure) {
                if link.streamedBytes != nil {
                    try endStream(segment, to: link, meanwhile: meanwhile)
                } else {
                    link.mark()
                    try apply(
                        frame(segment, range), segment.bytes[segment.range(of: range)], to: link,
                        meanwhile: isFirst ? meanwhile : {})
                }
                isFirst = false
                link.keep()
                bisection.accepted()
                outcome.accepted.append(range)
            } catch {
                isFirst = false
                guard error.kind == .row else { throw error }
                try link.undo()
                link.stageRows = stageRows
                if let row = bisection.refused(naming: error.copyRow.map { $0 - 1 }) {
                    outcome.refused.append((row, error))
                }
            }
        }
        return outcome
    }

    /// Sends what the segment has so far, so that the server works while more is collected; ``write(_:to:meanwhile:)``
    /// ends that. Only rows that are added can be sent before the segment is full: of a key the last row counts.
    func stream(_ segment: RowStore, to link: PgLink) throws(PgFailure) {
        precondition(!statements.isUpsert, "rows with a key cannot be sent before the segment is full")
        let start: Int
        if let streamed = link.streamedBytes {
            start = streamed
        } else {
            link.mark()
            try link.startCopy(statements.copyIntoTable)
            try SegmentWriter.header.withUnsafeBytes { (header) throws(PgFailure) in try link.connection.copy(header) }
            start = 0
        }
        try link.connection.copy(segment.bytes[start..<segment.byteCount])
        link.streamedBytes = segment.byteCount
    }

    private func endStream(_ segment: RowStore, to link: PgLink, meanwhile: () -> Void) throws(PgFailure) {
        try stream(segment, to: link)
        link.streamedBytes = nil
        try SegmentWriter.trailer.withUnsafeBytes { (trailer) throws(PgFailure) in try link.connection.copy(trailer) }
        _ = try link.connection.endCopy(meanwhile: meanwhile)
    }

    /// How the rows of `range` are to be applied.
    func frame(_ segment: RowStore, _ range: Range<Int>) -> EpochLog.Frame {
        guard statements.isUpsert else {
            return EpochLog.Frame(.append, rowCount: range.count)
        }
        let deletes = segment.deletes[range]
        return EpochLog.Frame(
            .upsert, rowCount: range.count, hasDeletes: deletes.contains(true), hasRows: deletes.contains(false))
    }

    /// Applies a frame, of a segment or of the log.
    func apply(
        _ frame: EpochLog.Frame, _ bytes: UnsafeRawBufferPointer, to link: PgLink, meanwhile: () -> Void = {}
    ) throws(PgFailure) {
        switch EpochLog.Frame.Kind(rawValue: frame.kind) {
        case nil:
            throw PgFailure(.configuration, "the epoch log asks for \(frame.kind), which a newer version has written")
        case .deleteAll:
            try link.execute(statements.deleteAll)
        case .append:
            try copy(statements.copyIntoTable, bytes, link, meanwhile: meanwhile)
        case .upsert:
            if let arrays, frame.rowCount <= arrayRows, bytes.count <= ArrayMerge.maxBytes,
                !frame.hasDeletes || arrays.prepareDeletes != nil
            {
                if frame.hasDeletes, let sql = arrays.prepareDeletes {
                    try merge(
                        bytes, arrays, ArrayMerge.deletesName, sql, link, meanwhile: frame.hasRows ? {} : meanwhile)
                }
                if frame.hasRows {
                    try merge(bytes, arrays, ArrayMerge.rowsName, arrays.prepareRows, link, meanwhile: meanwhile)
                }
                return
            }
            let clear = link.stageRows > 0 ? statements.clearStage(rowCount: link.stageRows) + "; " : ""
            try copy(clear + statements.copyIntoStage, bytes, link)
            link.stageRows = frame.rowCount
            var merge: [String] = []
            if frame.hasDeletes { merge.append(statements.mergeDeletes) }
            if frame.hasRows { merge.append(statements.mergeRows) }
            try link.execute(merge.joined(separator: "; "), meanwhile: meanwhile)
        }
    }

    private func merge(
        _ bytes: UnsafeRawBufferPointer, _ arrays: ArrayMerge, _ name: String, _ prepare: String, _ link: PgLink,
        meanwhile: () -> Void
    ) throws(PgFailure) {
        let values = builder.arrays(of: bytes, arrays, deletes: name == ArrayMerge.deletesName)
        try link.executePrepared(name, prepare, values, meanwhile: meanwhile)
    }

    private func copy(
        _ sql: String, _ bytes: UnsafeRawBufferPointer, _ link: PgLink, meanwhile: () -> Void = {}
    ) throws(PgFailure) {
        try link.startCopy(sql)
        let connection = link.connection
        try SegmentWriter.header.withUnsafeBytes { (header) throws(PgFailure) in try connection.copy(header) }
        try connection.copy(bytes)
        try SegmentWriter.trailer.withUnsafeBytes { (trailer) throws(PgFailure) in try connection.copy(trailer) }
        _ = try connection.endCopy(meanwhile: meanwhile)
    }
}
