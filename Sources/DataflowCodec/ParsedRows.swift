public import DataflowColumnar
public import DataflowOperator

/// What stands around the columns that a parser builds: kept columns, event time, the errors port.
///
/// One instance belongs to one parsing operator, which hands on its calls (`advance`, `split`, `tick`, `open`,
/// `snapshot`) and gives it the columns that it has built.
@usableFromInline
package final class ParsedRows {
    private let context: OperatorContext
    private let settings: ParseSettings
    /// The node's output.
    package let schema: Schema
    /// Which column of the input holds the messages.
    @usableFromInline
    package let inputColumn: Int
    private let position: SourcePosition
    /// The input columns to keep; those that nothing uses are not.
    private let kept: [(index: Int, isUsed: Bool)]
    private let eventTimeColumn: Int?
    private let watermarks: WatermarkGenerator?
    private var nullColumns: [Column?]
    /// What one call has refused so far.
    private var errors: ErrorRows?

    package init(_ settings: ParseSettings, _ context: OperatorContext) throws(OperatorError) {
        guard let input = context.inputs.first?.schema, let column = input.index(of: settings.column.value) else {
            throw OperatorError(
                .user, .never, "unknown_column",
                "the input has no column `\(settings.column.value)`, which \(settings.operatorName) was told to read")
        }
        self.settings = settings
        self.context = context
        schema = settings.schema(input)
        inputColumn = column
        eventTimeColumn = settings.eventTime.flatMap { event in
            settings.columns.firstIndex { $0.name == event.column.value }
        }
        kept = settings.keep.compactMap { name in
            input.index(of: name.value).map { ($0, context.usedColumns.contains(name.value)) }
        }
        position = SourcePosition(input)
        nullColumns = [Column?](repeating: nil, count: schema.fields.count)
        watermarks = settings.eventTime.map { WatermarkGenerator($0, context) }
    }

    /// Whether something reads the column: only then it need be built.
    @usableFromInline
    package func isUsed(_ column: Int) -> Bool {
        column == eventTimeColumn || context.usedColumns.contains(settings.columns[column].name)
    }

    /// Notes a message, or a part of one, that became no row. Copies the bytes.
    @usableFromInline
    package func refuse(
        _ batch: RecordBatch, row: Int, code: OperatorError.Code, reason: String, raw: UnsafeRawBufferPointer?
    ) {
        if errors == nil { errors = ErrorRows(context) }
        errors?.append(code: code, reason: reason, position: position.text(batch, row: row), raw: raw)
    }

    /// Sends out what was refused since the last call.
    @usableFromInline
    package func emitErrors(into output: inout OutputBuffer) {
        if let rows = errors?.finish() { output.emit(rows, to: .errors) }
        errors = nil
    }

    /// Sends rows on.
    ///
    /// - Parameters:
    ///   - built: the columns that were read; nil for those that nothing uses.
    ///   - origins: the row of `batch` that each came from, ascending.
    @usableFromInline
    package func emit(
        _ built: [Column?], origins: Values<Int32>, of batch: RecordBatch, into output: inout OutputBuffer
    ) {
        let count = origins.count
        guard count > 0 else { return }
        var columns = built.enumerated().map { number, column in column ?? nulls(number, count) }
        let isWhole = count == batch.rowCount && ParsedRows.isIdentity(origins)
        for (number, kept) in kept.enumerated() {
            let column = batch.columns[kept.index]
            columns.append(!kept.isUsed ? nulls(built.count + number, count) : isWhole ? column : column.take(origins))
        }
        var marks = batch.splitWatermark.map { isWhole ? $0 : $0.take(origins) }
        if let eventTimeColumn, let times = columns[eventTimeColumn].int64Values {
            marks = watermarks?.observe(times, split: batch.split)
        }
        let rows = RecordBatch(schema, columns, rowCount: count, splitWatermark: marks, split: batch.split)
        // A large document may have more rows than a batch should.
        let step = 2 * RecordBatch.defaultRowCount
        if count <= step {
            output.emit(rows)
        } else {
            for start in stride(from: 0, to: count, by: RecordBatch.defaultRowCount) {
                output.emit(rows.slice(start..<min(start + RecordBatch.defaultRowCount, count)))
            }
        }
        watermarks?.emitWatermark(into: &output)
    }

    private static func isIdentity(_ origins: Values<Int32>) -> Bool {
        origins.withUnsafeBufferPointer { origins in
            for i in 0..<origins.count where origins[i] != Int32(truncatingIfNeeded: i) { return false }
            return true
        }
    }

    /// Nulls for a column that nothing uses: one of them for all batches, mostly.
    private func nulls(_ number: Int, _ count: Int) -> Column {
        if let column = nullColumns[number], column.count >= count { return column.slice(0..<count) }
        let column = Column.nulls(schema.fields[number].type, count: max(count, 1024))
        nullColumns[number] = column
        return column.slice(0..<count)
    }

    // MARK: - Event time

    package func advance(to watermark: Watermark, into output: inout OutputBuffer) {
        if let watermarks { watermarks.advance(to: watermark, into: &output) } else { output.emit(watermark) }
    }

    package func split(_ event: SplitEvent, into output: inout OutputBuffer) {
        if let watermarks { watermarks.split(event, into: &output) } else { output.emit(event) }
    }

    package func tick(_ now: ContinuousClock.Instant, into output: inout OutputBuffer) {
        watermarks?.tick(now, into: &output)
    }

    package func open(restoring state: StateSnapshot) throws(OperatorError) { try watermarks?.open(restoring: state) }

    package func snapshot() -> StateSnapshot { watermarks?.snapshot() ?? [] }
}
