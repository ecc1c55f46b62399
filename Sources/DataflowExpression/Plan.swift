import DataflowColumnar

/// One vectorised function: from the values of its arguments for `rows` rows to a column of `rows` values.
///
/// Its type switches happened when the kernel was chosen. Values under a null may be anything: a kernel must not trap on
/// them. An argument is constant when it has one value for all rows; if all are, `rows` is one.
typealias Kernel = @Sendable (_ arguments: [Vector], _ rows: Int, _ evaluation: Evaluation) -> Column

/// A checked expression as the evaluator walks it: once a batch and node.
indirect enum Plan: Sendable {
    /// One value, in a column of length one.
    case constant(Column)
    /// Column number `index` of the expression's columns.
    case column(Int, DataType)
    /// A parameter of the lambda that is `level` lambdas deep (0 is the outermost).
    case parameter(level: Int, slot: Int, DataType)
    /// A constant part that cannot be computed: every row that needs it fails.
    case failing(RowError, DataType)
    /// The time of the batch.
    case now
    case call(PlannedCall)
    case and(Plan, Plan)
    case or(Plan, Plan)
    case choice([(condition: Plan, result: Plan)], otherwise: Plan?, DataType)
    case coalesce([Plan], DataType)
    /// Null where the operand fails.
    case nullOnError(Plan)
    case listFunction(PlannedLambda)

    var type: DataType {
        switch self {
        case .constant(let column): column.type
        case .column(_, let type), .parameter(_, _, let type), .failing(_, let type): type
        case .now: .timestamp
        case .call(let call): call.type
        case .and, .or: .bool
        case .choice(_, _, let type), .coalesce(_, let type): type
        case .nullOnError(let operand): operand.type
        case .listFunction(let lambda): lambda.type
        }
    }

    var constant: Column? { if case .constant(let column) = self { column } else { nil } }
}

/// A kernel with its arguments.
struct PlannedCall: Sendable {
    var type: DataType
    var arguments: [Plan]
    /// Null in, null out: the evaluator handles nulls and the kernel never sees a constant null.
    var isStrict = true
    var kernel: Kernel
}

/// A function of a list and a lambda: the body is evaluated once over the elements of all lists.
struct PlannedLambda: Sendable {
    enum Function: Sendable {
        case filter, transform, anyMatch, allMatch
    }

    var function: Function
    var list: Plan
    var body: Plan
    /// How many lambdas are around this one.
    var level: Int
    var usesIndex: Bool
    var type: DataType
}
