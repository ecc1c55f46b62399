import DataflowOperator

/// Puts joined rows together, tests them and sends them on.
final class JoinedRows {
    /// A column of the joined row as the columns that are stored.
    private enum Piece {
        case nulls
        case windowStart, windowEnd
        case column(side: Int, Int)
        case either(Int, Int)
    }

    private let plan: JoinPlan
    private let context: OperatorContext
    private let pieces: [Piece]
    private let condition: CompiledExpression?
    /// Nil for a column that nothing uses.
    private let columns: [CompiledExpression?]?

    /// - Parameter stored: by side, the positions of the columns that ``joined(_:_:window:count:)`` is given.
    init(_ plan: JoinPlan, stored: [[Int]], _ context: OperatorContext) {
        self.plan = plan
        self.context = context
        let used = context.mainColumns
        pieces = plan.origins.enumerated().map { position, origin in
            guard plan.isNeeded(plan.joined.fields[position].name, used) else { return .nulls }
            switch origin {
            case .windowStart: return .windowStart
            case .windowEnd: return .windowEnd
            case .column(let side, let column):
                return stored[side].firstIndex(of: column).map { .column(side: side, $0) } ?? .nulls
            case .either(let left, let right):
                guard let l = stored[0].firstIndex(of: left), let r = stored[1].firstIndex(of: right) else {
                    return .nulls
                }
                return .either(l, r)
            }
        }
        condition = plan.condition?.compiled()
        columns = plan.columns.map { columns in
            zip(plan.output.schema.fields, columns).map { field, expression in
                plan.isUsed(field.name, used) ? expression.compiled() : nil
            }
        }
    }

    var hasCondition: Bool { condition != nil }

    /// Rows as `where` and `columns` see them. O(rows × columns) at most; mostly by reference.
    func joined(_ left: [Column], _ right: [Column], window: (start: Int64, end: Int64)? = nil, count: Int)
        -> RecordBatch
    {
        func constant(_ time: Int64?) -> Column {
            Column(.timestamp, .int64(Values(repeating: time ?? 0, count: count)))
        }
        let columns = zip(plan.joined.fields, pieces).map { field, piece -> Column in
            switch piece {
            case .nulls: .nulls(field.type, count: count)
            case .windowStart: constant(window?.start)
            case .windowEnd: constant(window?.end)
            case .column(let side, let position): side == 0 ? left[position] : right[position]
            case .either(let l, let r): JoinedRows.either(left[l], right[r])
            }
        }
        return RecordBatch(plan.joined, columns, rowCount: count)
    }

    /// The first column's values, the second's where they are null.
    private static func either(_ first: Column, _ second: Column) -> Column {
        guard let validity = first.validity else { return first }
        let count = first.count
        let indices = Values<Int32>(count: count) { target in
            for i in 0..<count { target[i] = Int32(truncatingIfNeeded: validity[i] ? i : count + i) }
        }
        return Column.concatenate(first.type, [first, second]).take(indices)
    }

    /// The rows for which `where` is true; nil: all. Those for which it has no value go to the errors port.
    func select(_ joined: RecordBatch, _ output: inout OutputBuffer) -> (rows: Bitmap, errors: RowErrors)? {
        guard let condition else { return nil }
        let (rows, errors) = condition.select(joined, now: context.clock.wallMicroseconds)
        report(errors, of: joined, &output)
        return (rows, errors)
    }

    /// Computes the columns of the output and sends them. Rows for which one has no value go to the errors port.
    ///
    /// - Returns: how many those are.
    @discardableResult
    func emit(_ joined: RecordBatch, _ output: inout OutputBuffer) -> Int {
        guard joined.rowCount > 0 else { return 0 }
        guard let columns else {
            output.emit(joined)
            return 0
        }
        let now = context.clock.wallMicroseconds
        var errors = RowErrors(rowCount: joined.rowCount)
        let schema = plan.output.schema
        let computed = zip(schema.fields, columns).map { field, expression -> Column in
            guard let expression else { return .nulls(field.type, count: joined.rowCount) }
            let (column, failed) = expression.evaluate(joined, now: now)
            if !failed.isEmpty { errors.formUnion(failed) }
            return column
        }
        let result = joined.replacingColumns(schema, computed)
        report(errors, of: joined, &output)
        output.emit(errors.succeeded.map { result.filter($0) } ?? result)
        return errors.count
    }

    private func report(_ errors: RowErrors, of batch: RecordBatch, _ output: inout OutputBuffer) {
        guard !errors.isEmpty else { return }
        var rows = ErrorRows(context)
        rows.append(errors, of: batch)
        output.emit(rows.finish(), to: .errors)
    }
}
