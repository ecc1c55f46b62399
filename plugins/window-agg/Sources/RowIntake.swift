import DataflowOperator

/// What every local stage does with its input first: `where`, rows without a time, late rows, expressions; and it counts
/// each row once.
final class RowIntake {
    private let plan: AggregationPlan
    private let context: OperatorContext
    private let evaluator: RowEvaluator
    private let lateFrom: (Int64) -> Int64

    /// - Parameter lateFrom: from which watermark of its split on a row of this time is late; asked only for rows that
    ///   are behind their split's watermark.
    init(_ plan: AggregationPlan, _ context: OperatorContext, lateFrom: @escaping (Int64) -> Int64) {
        self.plan = plan
        self.context = context
        evaluator = RowEvaluator(plan, context)
        self.lateFrom = lateFrom
    }

    /// The rows that are to be aggregated, with their keys and arguments; what is refused leaves by the other ports.
    func take(_ batch: RecordBatch, now: Int64, _ output: inout OutputBuffer) -> RowEvaluator.Evaluated {
        let (selected, refused) = evaluator.select(batch, now: now)
        evaluator.report(refused, of: batch, &output)
        var rows = selected.map { batch.filter($0) } ?? batch
        let filtered = batch.rowCount - rows.rowCount - refused.count
        var errors = refused.count
        var late = 0
        if case .event(let column) = plan.time {
            errors += splitOffUntimed(&rows, column, &output)
            late = splitOffLate(&rows, column, &output)
        }
        let (evaluated, failed) = evaluator.evaluate(rows, now: now)
        evaluator.report(failed, of: rows, &output)
        errors += failed.count
        context.counters.add(
            filtered: filtered, aggregated: evaluated.rows.rowCount, late: late, errors: errors)
        return evaluated
    }

    /// What each accumulator sees of these rows.
    func inputs(_ evaluated: RowEvaluator.Evaluated) -> [AggregateInput] {
        evaluator.inputs(evaluated.arguments, evaluated.filters, count: evaluated.rows.rowCount)
    }

    /// Sends rows without a time to the errors.
    /// - Returns: how many.
    private func splitOffUntimed(_ rows: inout RecordBatch, _ column: Int, _ output: inout OutputBuffer) -> Int {
        guard let validity = rows.columns[column].validity, validity.setCount < rows.rowCount else { return 0 }
        let missing = rows.filter(~validity)
        var report = ErrorRows(context)
        for row in 0..<missing.rowCount {
            let text = Array(RowEvaluator.describe(missing, row).utf8)
            text.withUnsafeBytes {
                report.append(
                    code: "missing_time",
                    reason: "\(rows.schema.fields[column].name) is null, expected the event's time", raw: $0)
            }
        }
        output.emit(report.finish(), to: .errors)
        rows = rows.filter(validity)
        return missing.rowCount
    }

    /// Sends rows that come too late for what they belong to to the port `late`.
    /// - Returns: how many.
    private func splitOffLate(_ rows: inout RecordBatch, _ column: Int, _ output: inout OutputBuffer) -> Int {
        guard let marks = rows.splitWatermark, let times = rows.columns[column].int64Values else { return 0 }
        let inTime = Bitmap(count: rows.rowCount) { marks[$0] == .min || marks[$0] < lateFrom(times[$0]) }
        let late = rows.rowCount - inTime.setCount
        guard late > 0 else { return 0 }
        output.emit(rows.filter(~inTime), to: OutputPort(index: 1))
        rows = rows.filter(inTime)
        return late
    }
}
