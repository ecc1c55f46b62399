import DataflowColumnar
import Glibc

/// `+ - * / %` over columns. Overflow and division by zero fail the row.
///
/// Each kernel computes all rows without a branch and remembers whether anything went wrong; only then it looks for the
/// rows.
enum Arithmetic {
    /// - Parameter sql: the operation as written, for messages.
    static func kernel(
        _ operation: Expression.BinaryOperator, _ left: DataType, _ right: DataType, _ result: DataType, _ sql: String
    ) -> Kernel {
        switch result {
        case .int32: return integer(Int32.self, operation, result, sql)
        case .int64: return integer(Int64.self, operation, result, sql)
        case .float32: return float(Float.self, operation, result, sql)
        case .float64: return float(Double.self, operation, result, sql)
        case .decimal(let precision, let scale):
            guard case .decimal(_, let s) = left, case .decimal(_, let t) = right else {
                preconditionFailure("decimal arithmetic over \(left) and \(right)")
            }
            return decimal(operation, s, t, precision, scale, sql)
        default: preconditionFailure("arithmetic over \(result)")
        }
    }

    static func overflow(_ type: DataType, _ sql: String) -> RowError {
        RowError(.overflow, "\(type) overflow in \(sql)")
    }

    static func zeroDivision(_ sql: String) -> RowError {
        RowError(.divisionByZero, "division by zero in \(sql)")
    }

    private static func integer<T: FixedElement & FixedWidthInteger>(
        _ type: T.Type, _ operation: Expression.BinaryOperator, _ result: DataType, _ sql: String
    ) -> Kernel {
        switch operation {
        case .add:
            return { arguments, rows, evaluation in
                checked(T.self, arguments, rows, evaluation, result, sql) { $0.addingReportingOverflow($1) }
            }
        case .subtract:
            return { arguments, rows, evaluation in
                checked(T.self, arguments, rows, evaluation, result, sql) { $0.subtractingReportingOverflow($1) }
            }
        case .multiply:
            return { arguments, rows, evaluation in
                checked(T.self, arguments, rows, evaluation, result, sql) { $0.multipliedReportingOverflow(by: $1) }
            }
        case .divide:
            return { arguments, rows, evaluation in
                divided(T.self, arguments, rows, evaluation, result, sql) { $0.dividedReportingOverflow(by: $1) }
            }
        case .modulo:
            return { arguments, rows, evaluation in
                // The remainder of the smallest number by -1 is zero, not an overflow.
                divided(T.self, arguments, rows, evaluation, result, sql) { a, b in
                    b == -1 ? (0, false) : a.remainderReportingOverflow(dividingBy: b)
                }
            }
        default: preconditionFailure("\(operation) is no arithmetic")
        }
    }

    @inline(__always)
    private static func checked<T: FixedElement & FixedWidthInteger>(
        _ type: T.Type, _ arguments: [Vector], _ rows: Int, _ evaluation: Evaluation, _ result: DataType, _ sql: String,
        _ compute: (T, T) -> (partialValue: T, overflow: Bool)
    ) -> Column {
        let a = arguments[0].operand(T.self)
        let b = arguments[1].operand(T.self)
        let (values, failed): (Values<T>, Bool) = mapChecked(a, b, rows) { x, y in
            let (value, overflow) = compute(x, y)
            return (value, overflow)
        }
        if failed {
            forEach(a, b, rows) { row, x, y in
                if compute(x, y).overflow { evaluation.fail(row, overflow(result, sql)) }
            }
        }
        return Column(result, T.storage(values))
    }

    @inline(__always)
    private static func divided<T: FixedElement & FixedWidthInteger>(
        _ type: T.Type, _ arguments: [Vector], _ rows: Int, _ evaluation: Evaluation, _ result: DataType, _ sql: String,
        _ compute: (T, T) -> (partialValue: T, overflow: Bool)
    ) -> Column {
        let a = arguments[0].operand(T.self)
        let b = arguments[1].operand(T.self)
        let (values, failed): (Values<T>, Bool) = mapChecked(a, b, rows) { x, y in
            let (value, overflow) = compute(x, y == 0 ? 1 : y)
            return (value, overflow || y == 0)
        }
        if failed {
            forEach(a, b, rows) { row, x, y in
                if y == 0 {
                    evaluation.fail(row, zeroDivision(sql))
                } else if compute(x, y).overflow {
                    evaluation.fail(row, overflow(result, sql))
                }
            }
        }
        return Column(result, T.storage(values))
    }

    private static func float<T: FixedElement & BinaryFloatingPoint>(
        _ type: T.Type, _ operation: Expression.BinaryOperator, _ result: DataType, _ sql: String
    ) -> Kernel {
        switch operation {
        case .add:
            return { arguments, rows, _ in
                Column(
                    result, T.storage(map(arguments[0].operand(T.self), arguments[1].operand(T.self), rows) { $0 + $1 })
                )
            }
        case .subtract:
            return { arguments, rows, _ in
                Column(
                    result, T.storage(map(arguments[0].operand(T.self), arguments[1].operand(T.self), rows) { $0 - $1 })
                )
            }
        case .multiply:
            return { arguments, rows, _ in
                Column(
                    result, T.storage(map(arguments[0].operand(T.self), arguments[1].operand(T.self), rows) { $0 * $1 })
                )
            }
        case .divide:
            return { arguments, rows, evaluation in
                dividedFloat(T.self, arguments, rows, evaluation, result, sql) { $0 / $1 }
            }
        case .modulo:
            return { arguments, rows, evaluation in
                dividedFloat(T.self, arguments, rows, evaluation, result, sql) {
                    $0.truncatingRemainder(dividingBy: $1)
                }
            }
        default: preconditionFailure("\(operation) is no arithmetic")
        }
    }

    @inline(__always)
    private static func dividedFloat<T: FixedElement & BinaryFloatingPoint>(
        _: T.Type, _ arguments: [Vector], _ rows: Int, _ evaluation: Evaluation, _ result: DataType, _ sql: String,
        _ compute: (T, T) -> T
    ) -> Column {
        let a = arguments[0].operand(T.self)
        let b = arguments[1].operand(T.self)
        let (values, failed): (Values<T>, Bool) = mapChecked(a, b, rows) { x, y in (compute(x, y), y == 0) }
        if failed {
            forEach(a, b, rows) { row, _, y in if y == 0 { evaluation.fail(row, zeroDivision(sql)) } }
        }
        return Column(result, T.storage(values))
    }

    private static func decimal(
        _ operation: Expression.BinaryOperator, _ s: Int, _ t: Int, _ precision: Int, _ scale: Int, _ sql: String
    ) -> Kernel {
        let result = DataType.decimal(precision: precision, scale: scale)
        let limit = Decimal.powers[precision]
        /// Nil: it does not fit. The divisor is not zero.
        let compute: @Sendable (Int128, Int128) -> Int128?
        switch operation {
        case .add, .subtract:
            let (up, vp) = (Decimal.powers[scale - s], Decimal.powers[scale - t])
            let sign: Int128 = operation == .add ? 1 : -1
            compute = { x, y in
                let (a, o1) = x.multipliedReportingOverflow(by: up)
                let (b, o2) = y.multipliedReportingOverflow(by: vp * sign)
                let (sum, o3) = a.addingReportingOverflow(b)
                return o1 || o2 || o3 ? nil : sum
            }
        case .multiply:
            compute = { x, y in
                let (product, overflow) = x.multipliedReportingOverflow(by: y)
                return overflow ? nil : product
            }
        case .divide: compute = { x, y in Decimal.divide(x, shift: scale - s + t, by: y) }
        case .modulo:
            let (up, vp) = (Decimal.powers[scale - s], Decimal.powers[scale - t])
            compute = { x, y in
                let (a, o1) = x.multipliedReportingOverflow(by: up)
                let (b, o2) = y.multipliedReportingOverflow(by: vp)
                return o1 || o2 ? nil : (b == -1 ? 0 : a % b)
            }
        default: preconditionFailure("\(operation) is no arithmetic")
        }
        let divides = operation == .divide || operation == .modulo
        return { arguments, rows, evaluation in
            let a = arguments[0].operand(Int128.self)
            let b = arguments[1].operand(Int128.self)
            let values = Values<Int128>(count: rows) { out in
                forEach(a, b, rows) { row, x, y in
                    out[row] = 0
                    if divides && y == 0 {
                        evaluation.fail(row, zeroDivision(sql))
                    } else if let value = compute(x, y), value < limit, value > -limit {
                        out[row] = value
                    } else {
                        evaluation.fail(row, overflow(result, sql))
                    }
                }
            }
            return Column(result, .decimal(values))
        }
    }

    /// Unary minus.
    static func negate(_ type: DataType, _ sql: String) -> Kernel {
        switch type {
        case .int32: return negateInteger(Int32.self, type, sql)
        case .int64: return negateInteger(Int64.self, type, sql)
        case .float32:
            return { arguments, rows, _ in Column(type, .float32(map(arguments[0].operand(Float.self), rows) { -$0 })) }
        case .float64:
            return { arguments, rows, _ in Column(type, .float64(map(arguments[0].operand(Double.self), rows) { -$0 }))
            }
        default:
            return { arguments, rows, _ in
                Column(type, .decimal(map(arguments[0].operand(Int128.self), rows) { 0 &- $0 }))
            }
        }
    }

    private static func negateInteger<T: FixedElement & FixedWidthInteger>(
        _: T.Type, _ type: DataType, _ sql: String
    ) -> Kernel {
        { arguments, rows, evaluation in
            let zero = Vector(Column(type, T.storage(Values([0]))), isConstant: true)
            return checked(T.self, [zero, arguments[0]], rows, evaluation, type, sql) {
                $0.subtractingReportingOverflow($1)
            }
        }
    }
}
