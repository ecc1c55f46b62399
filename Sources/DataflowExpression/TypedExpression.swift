public import DataflowColumnar

/// An expression that has been checked against the columns of a stream: its type is known and it can run.
public struct TypedExpression: Sendable {
    /// What was written.
    public let expression: Expression
    /// The type of its values.
    public let type: DataType
    /// False where no value can be null, as far as the schema says.
    public let nullable: Bool
    /// The columns that it reads, in the order in which it mentions them.
    public let columnsUsed: [String]
    /// The types of `columnsUsed`.
    let columnTypes: [DataType]
    let plan: Plan

    /// The expression as SQL.
    public var sql: String { expression.description }

    /// The name when the expression is nothing but a column; such a column is passed on without work.
    public var columnName: String? { if case .column = plan { columnsUsed[0] } else { nil } }

    /// The value when it is the same for all rows and known now, in a column of length one.
    public var constant: Column? { plan.constant }

    /// A runnable copy. Each task needs its own: it keeps caches between batches.
    public func compiled() -> CompiledExpression { CompiledExpression(self) }
}

extension Expression {
    /// Checks the expression against the columns of `schema`: names, types, functions, and computes its constant parts.
    ///
    /// - Throws: everything that is wrong with it, in the order of the text.
    public func check(_ schema: Schema) throws(ExpressionErrors) -> TypedExpression {
        let checker = Checker(schema)
        return try checker.typed(self, expecting: nil)
    }

    /// As ``check(_:)``, for a place where a value of `type` is needed: the value is converted where that loses
    /// nothing, anything else is an error.
    public func check(_ schema: Schema, expecting type: DataType) throws(ExpressionErrors) -> TypedExpression {
        let checker = Checker(schema)
        return try checker.typed(self, expecting: type)
    }

    /// Reads, checks and compiles the text of an expression.
    public static func compile(_ text: String, schema: Schema) throws(ExpressionErrors) -> CompiledExpression {
        try parse(text).check(schema).compiled()
    }
}

/// An expression that runs over batches, a column at a time. Not `Sendable`: it belongs to the task that made it.
public final class CompiledExpression {
    public let typed: TypedExpression
    private let scratch = Scratch()

    init(_ typed: TypedExpression) {
        self.typed = typed
    }

    public var type: DataType { typed.type }
    public var nullable: Bool { typed.nullable }
    public var columnsUsed: [String] { typed.columnsUsed }

    /// The values for all rows of `batch`, and the rows for which there is none.
    ///
    /// A failed row's value is arbitrary. Traps when the batch lacks a column that the expression was checked against.
    ///
    /// - Parameter now: what `now()` answers, in microseconds since the epoch: the same for the whole batch.
    /// - Complexity: O(rows × size of the expression); a bare column costs nothing.
    public func evaluate(_ batch: RecordBatch, now: Int64 = wallMicroseconds()) -> (column: Column, errors: RowErrors) {
        let evaluation = start(batch, now)
        let column = evaluation.evaluate(typed.plan).expanded(batch.rowCount)
        return (column, evaluation.rowErrors)
    }

    /// The rows of `batch` for which a condition is true (neither false nor null), and the rows for which it has no
    /// value. The expression must have the type bool.
    public func select(_ batch: RecordBatch, now: Int64 = wallMicroseconds()) -> (rows: Bitmap, errors: RowErrors) {
        precondition(type == .bool, "a condition of type \(type)")
        let evaluation = start(batch, now)
        let rows = Logic.trueRows(evaluation.evaluate(typed.plan), batch.rowCount)
        let errors = evaluation.rowErrors
        return (errors.succeeded.map { rows & $0 } ?? rows, errors)
    }

    private func start(_ batch: RecordBatch, _ now: Int64) -> Evaluation {
        var columns: [Column] = []
        columns.reserveCapacity(typed.columnsUsed.count)
        for (name, type) in zip(typed.columnsUsed, typed.columnTypes) {
            guard let column = batch[name] else {
                preconditionFailure("the expression \(typed.sql) reads the column \(name), which the batch lacks")
            }
            precondition(
                column.type == type,
                "the expression \(typed.sql) wants \(name) as \(type), the batch has \(column.type)")
            columns.append(column)
        }
        return Evaluation(columns: columns, rowCount: batch.rowCount, now: now, scratch: scratch)
    }
}
