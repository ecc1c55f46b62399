public import DataflowCodec
public import DataflowOperator

/// `csv-parse`: CSV records to typed columns.
///
/// A message holds any number of records. Their fields become columns of text that refer to the messages' memory; the
/// expression language's `cast` gives them their types, a column at a time.
public final class CSVParse: ParsingTransform {
    public typealias Config = CSVParseConfig

    public static let info = OperatorInfo(
        "csv-parse", .transform, "Parses CSV records into typed columns and declares event time.")

    /// The rest of a batch whose output did not fit the buffer.
    private struct Pending {
        var batch: RecordBatch
        var next: Int
    }

    private let context: OperatorContext
    package let rows: ParsedRows
    private let reader: RecordFields
    private let columns: FieldColumns
    private var pending: Pending?

    public init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        self.context = context
        let parsing = config.parsing
        let rows = try ParsedRows(parsing, context)
        self.rows = rows
        columns = try FieldColumns(
            config.columns.enumerated().map { number, entry in
                FieldColumns.Plan(
                    name: entry.key, field: entry.value.field ?? entry.key, type: entry.value.type.type,
                    isRequired: parsing.isRequired(parsing.columns[number]),
                    nullOnMismatch: (entry.value.onMismatch.policy ?? config.onMismatch) == .null,
                    isUsed: rows.isUsed(number))
            })
        reader = RecordFields(
            names: columns.wanted, fields: config.header ? nil : config.fieldNames,
            delimiter: config.delimiter.utf8.first ?? 0x2C)
    }

    public func process(
        _ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress {
        try run(Pending(batch: batch, next: 0), &output)
    }

    public func resume(into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        guard let pending else { return .done }
        self.pending = nil
        return try run(pending, &output)
    }

    private func run(_ work: Pending, _ output: inout OutputBuffer) throws(OperatorError) -> Progress {
        let batch = work.batch
        let messages = batch.columns[rows.inputColumn]
        guard let storage = messages.viewValues else {
            throw OperatorError(.engine, .never, "type_mismatch", "the messages are no text or bytes")
        }
        var next = work.next
        // A message passes unless all that it held was refused.
        var gave = [Bool](repeating: false, count: batch.rowCount)
        var lost = gave
        storage.withUnsafeViews { views in
            while next < batch.rowCount, !output.isFull {
                if messages.isNull(next) {
                    rows.refuse(batch, row: next, code: "no_value", reason: "the value is null", raw: nil)
                    lost[next] = true
                } else {
                    let refused = reader.read(views, next) { build(views, storage, batch, &gave, &lost, &output) }
                    for problem in refused {
                        rows.refuse(batch, row: next, code: problem.code, reason: problem.reason, raw: problem.raw)
                        lost[next] = true
                    }
                }
                next += 1
                if reader.count >= RecordBatch.defaultRowCount { build(views, storage, batch, &gave, &lost, &output) }
            }
            build(views, storage, batch, &gave, &lost, &output)
        }
        let errors = (work.next..<next).reduce(0) { $0 + (lost[$1] && !gave[$1] ? 1 : 0) }
        context.counters.add(passed: next - work.next - errors, errors: errors)
        rows.emitErrors(into: &output)
        guard next < batch.rowCount else { return .done }
        pending = Pending(batch: batch, next: next)
        return .more
    }

    /// Sends on the records that were read so far.
    private func build(
        _ views: UnsafeViews, _ storage: ViewStorage, _ batch: RecordBatch, _ gave: inout [Bool], _ lost: inout [Bool],
        _ output: inout OutputBuffer
    ) {
        let count = reader.count
        guard count > 0 else { return }
        var (built, failed) = columns.build(reader, views, storage)
        var origins = Values(reader.messages)
        for (row, error) in failed.rows {
            let origin = Int(origins[row])
            rows.refuse(
                batch, row: origin, code: OperatorError.Code(rawValue: error.code.rawValue), reason: error.message,
                raw: reader.record(row, views))
            lost[origin] = true
        }
        if let succeeded = failed.succeeded {
            let indices = succeeded.setIndices
            built = built.map { $0?.take(indices) }
            origins = origins.take(indices)
        }
        for i in 0..<origins.count { gave[Int(origins[i])] = true }
        rows.emit(built, origins: origins, of: batch, into: &output)
        reader.removeAll()
    }
}

/// `csv-parse`.
public enum CSVParsePlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.transform(CSVParse.self)]
}
