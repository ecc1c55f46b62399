import DataflowOperator

/// Runs the expressions of a window-agg over batches of its input.
final class RowEvaluator {
    /// Rows with everything that aggregation needs of them.
    struct Evaluated {
        /// The rows that are left, in the input's schema.
        var rows: RecordBatch
        var keys: [Column]
        var arguments: [Column]
        /// Bool columns.
        var filters: [Column]
    }

    private let plan: AggregationPlan
    private let condition: CompiledExpression?
    private let keys: [CompiledExpression]
    private let arguments: [CompiledExpression]
    private let filters: [CompiledExpression]
    private let context: OperatorContext

    init(_ plan: AggregationPlan, _ context: OperatorContext) {
        self.plan = plan
        self.context = context
        condition = plan.condition?.compiled()
        keys = plan.keys.map { $0.compiled() }
        arguments = plan.arguments.map { $0.compiled() }
        filters = plan.filters.map { $0.compiled() }
    }

    /// Which rows `where` is true for (nil: all), and those for which it has no value.
    func select(_ batch: RecordBatch, now: Int64) -> (rows: Bitmap?, errors: RowErrors) {
        guard let condition else { return (nil, RowErrors(rowCount: batch.rowCount)) }
        return condition.select(batch, now: now)
    }

    /// Evaluates keys, arguments and filters; rows for which one has no value are left out.
    func evaluate(_ batch: RecordBatch, now: Int64) -> (evaluated: Evaluated, errors: RowErrors) {
        var errors = RowErrors(rowCount: batch.rowCount)
        func run(_ expressions: [CompiledExpression]) -> [Column] {
            expressions.map { expression in
                let (column, failed) = expression.evaluate(batch, now: now)
                if !failed.isEmpty { errors.formUnion(failed) }
                return column
            }
        }
        var evaluated = Evaluated(rows: batch, keys: run(keys), arguments: run(arguments), filters: run(filters))
        if let good = errors.succeeded {
            evaluated.rows = batch.filter(good)
            evaluated.keys = evaluated.keys.map { $0.filter(good) }
            evaluated.arguments = evaluated.arguments.map { $0.filter(good) }
            evaluated.filters = evaluated.filters.map { $0.filter(good) }
        }
        return (evaluated, errors)
    }

    /// What each accumulator sees.
    func inputs(_ arguments: [Column], _ filters: [Column], count: Int) -> [AggregateInput] {
        plan.uses.map { use in
            let columns = use.arguments.map { arguments[$0] }
            var selection = columns.first?.validity
            if let filter = use.filter, let bits = filters[filter].boolValues {
                let isTrue = Bitmap.bothValid(bits, filters[filter].validity)
                selection = Bitmap.bothValid(selection, isTrue)
            }
            return AggregateInput(columns: columns, selection: selection, count: count)
        }
    }

    /// Writes the rows that failed to the errors port.
    func report(_ errors: RowErrors, of batch: RecordBatch, _ output: inout OutputBuffer) {
        guard !errors.isEmpty else { return }
        var rows = ErrorRows(context)
        for (row, error) in errors.rows {
            let text = Array(RowEvaluator.describe(batch, row).utf8)
            text.withUnsafeBytes {
                rows.append(
                    code: OperatorError.Code(rawValue: error.code.rawValue), reason: error.message, raw: $0)
            }
        }
        output.emit(rows.finish(), to: .errors)
    }

    /// A row for people: `country: DE, price: 3.5`, cut off at some length.
    static func describe(_ batch: RecordBatch, _ row: Int) -> String {
        var text = ""
        for (field, column) in zip(batch.schema.fields, batch.columns) where text.utf8.count < 4096 {
            text += (text.isEmpty ? "" : ", ") + "\(field.name): \(describe(column.value(at: row)))"
        }
        return text
    }

    /// A value for people.
    static func describe(_ value: Value) -> String {
        switch value {
        case .null: "null"
        case .bool(let value): "\(value)"
        case .int(let value), .timestamp(let value): "\(value)"
        case .float(let value): "\(value)"
        case .decimal(let value, let scale): scale == 0 ? "\(value)" : "\(value)e-\(scale)"
        case .string(let value): value
        case .bytes(let value): String(decoding: value, as: UTF8.self)
        case .date(let value): "\(value)"
        case .list(let values): "[\(values.map(describe).joined(separator: ", "))]"
        case .structure(let values): "{\(values.map(describe).joined(separator: ", "))}"
        }
    }
}
