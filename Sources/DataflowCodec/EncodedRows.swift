package import DataflowColumnar
package import DataflowOperator
package import DataflowText

/// Puts messages and kept columns together.
package struct EncodedRows {
    /// The columns that go into a message.
    package let message: Schema
    private let schema: Schema
    private let places: (message: [Int], kept: [Int])
    private let context: OperatorContext

    package init(_ settings: EncodeSettings, _ context: OperatorContext) throws(OperatorError) {
        guard let input = context.inputs.first?.schema, let output = context.outputs.first?.schema else {
            throw OperatorError(.engine, .never, "bad_plan", "\(settings.operatorName) was built without its streams")
        }
        message = settings.message(input)
        schema = output
        places = settings.places(input)
        self.context = context
    }

    /// What goes into the messages of `batch`.
    package func messageColumns(_ batch: RecordBatch) -> RecordBatch {
        batch.replacingColumns(message, places.message.map { batch.columns[$0] })
    }

    /// Writes the messages of a batch and sends them on with the kept columns, and what was refused to the errors port.
    ///
    /// - Parameters:
    ///   - columns: what goes into the messages: ``messageColumns(_:)`` of `batch`.
    ///   - write: appends the message of a row; answers why it cannot be written. Not called for deletes, which have none.
    package func encode(
        _ columns: RecordBatch, of batch: RecordBatch, into output: inout OutputBuffer,
        write: (_ row: Int, _ text: inout TextBuffer) -> String?
    ) {
        var text = TextBuffer()
        var messages = ViewBuilder(capacity: batch.rowCount)
        var written: [Int32] = []
        var errors: ErrorRows?
        for row in 0..<batch.rowCount {
            if let deletes = batch.deletes, deletes[row] {
                messages.appendNull()
            } else {
                text.removeAll()
                if let reason = write(row, &text) {
                    if errors == nil { errors = ErrorRows(context) }
                    errors?.append(
                        code: "not_encodable", rows: Values([Int32(truncatingIfNeeded: row)]), of: columns,
                        reason: { _ in reason })
                    continue
                }
                text.withUnsafeBytes { messages.append($0) }
            }
            written.append(Int32(truncatingIfNeeded: row))
        }
        context.counters.add(passed: written.count, errors: batch.rowCount - written.count)
        let rows = written.count == batch.rowCount ? batch : batch.take(Values(written))
        output.emit(
            rows.replacingColumns(schema, [messages.finish(.bytes)] + places.kept.map { rows.columns[$0] }))
        if let rows = errors?.finish() { output.emit(rows, to: .errors) }
    }
}
