import DataflowColumnar

/// The state of evaluating one expression over the rows of one batch, or over the elements of lists inside it.
///
/// Rows that are not `active` (an untaken branch of `case`, the right side of an `and` that is false already) may be
/// computed, but they never fail.
final class Evaluation {
    let rowCount: Int
    /// Microseconds since the epoch: the same for the whole batch.
    let now: Int64
    let scratch: Scratch
    private let columns: [Column]
    private let parent: Evaluation?
    /// For each row (an element) the row of the parent that it belongs to.
    private let parentRows: Values<Int32>?
    private let level: Int
    /// The parameters of the lambda: the element, and its position in its list.
    private let parameters: [Vector]
    private var taken: [Int: Column] = [:]

    /// The rows whose value is wanted; nil for all.
    private(set) var active: Bitmap?
    /// Where errors of this level go; nil: to the parent.
    private var errors: RowErrors?
    /// The nulls of the arguments of the strict call that is running.
    private var callValidity: Bitmap?
    private var isConstantCall = false

    /// Over the rows of a batch, given as the columns that the expression uses.
    init(columns: [Column], rowCount: Int, now: Int64, scratch: Scratch) {
        self.columns = columns
        self.rowCount = rowCount
        self.now = now
        self.scratch = scratch
        parent = nil
        parentRows = nil
        level = -1
        parameters = []
        errors = RowErrors(rowCount: rowCount)
    }

    /// Over list elements: `rows[i]` is the parent's row of element i.
    private init(parent: Evaluation, rows: Values<Int32>, parameters: [Vector]) {
        self.parent = parent
        parentRows = rows
        rowCount = rows.count
        now = parent.now
        scratch = parent.scratch
        columns = []
        level = parent.level + 1
        self.parameters = parameters
        active = parent.isConstantCall ? nil : parent.active?.take(rows)
    }

    var rowErrors: RowErrors { errors ?? RowErrors(rowCount: rowCount) }

    // MARK: Errors

    /// Whether the row's value is wanted and its arguments are there. Kernels that are dear may ask before they work.
    @inline(__always)
    func isWanted(_ row: Int) -> Bool {
        (callValidity?[row] ?? true) && (isConstantCall || (active?[row] ?? true))
    }

    /// Notes that the row has no value. Ignored for rows that nobody wants.
    func fail(_ row: Int, _ error: @autoclosure () -> RowError) {
        guard isWanted(row) else { return }
        if isConstantCall { failAll(error()) } else { record(error(), at: row) }
    }

    /// All active rows fail.
    private func failAll(_ error: RowError) {
        for row in 0..<rowCount where active?[row] ?? true { record(error, at: row) }
    }

    private func record(_ error: @autoclosure () -> RowError, at row: Int) {
        if errors != nil {
            errors?.insert(error(), at: row)
        } else if let parent, let parentRows {
            if parent.isConstantCall {
                parent.failAll(error())
            } else {
                parent.record(error(), at: Int(parentRows[row]))
            }
        }
    }

    // MARK: Walking the plan

    func evaluate(_ plan: Plan) -> Vector {
        switch plan {
        case .constant(let column): return Vector(column, isConstant: true)
        case .column(let index, _): return Vector(column(index))
        case .parameter(let level, let slot, _): return parameter(level, slot)
        case .failing(let error, let type):
            failAll(error)
            return Vector(.nulls(type, count: 1), isConstant: true)
        case .now:
            return Vector(Column(.timestamp, .int64(Values(repeating: now, count: 1))), isConstant: true)
        case .call(let call): return evaluate(call)
        case .and(let left, let right): return evaluateLogic(left, right, isAnd: true)
        case .or(let left, let right): return evaluateLogic(left, right, isAnd: false)
        case .choice(let branches, let otherwise, let type): return evaluateChoice(branches, otherwise, type)
        case .coalesce(let operands, let type): return evaluateCoalesce(operands, type)
        case .nullOnError(let operand): return evaluateNullOnError(operand)
        case .listFunction(let lambda): return evaluate(lambda)
        }
    }

    private func column(_ index: Int) -> Column {
        guard let parent, let parentRows else { return columns[index] }
        if let column = taken[index] { return column }
        let column = parent.column(index).take(parentRows)
        taken[index] = column
        return column
    }

    private func parameter(_ wanted: Int, _ slot: Int) -> Vector {
        if wanted == level { return parameters[slot] }
        guard let parent, let parentRows else { preconditionFailure("a lambda parameter outside of its lambda") }
        let key = -1 - (wanted * 2 + slot)
        if let column = taken[key] { return Vector(column) }
        let outer = parent.parameter(wanted, slot)
        if outer.isConstant { return outer }
        let column = outer.column.take(parentRows)
        taken[key] = column
        return Vector(column)
    }

    private func evaluate(_ call: PlannedCall) -> Vector {
        let arguments = call.arguments.map { evaluate($0) }
        let isConstant = !arguments.isEmpty && arguments.allSatisfy(\.isConstant)
        let rows = isConstant ? 1 : rowCount
        var validity: Bitmap?
        if call.isStrict {
            for argument in arguments {
                if argument.isNullConstant { return Vector(.nulls(call.type, count: 1), isConstant: true) }
                if !argument.isConstant { validity = Bitmap.bothValid(validity, argument.column.validity) }
            }
        }
        let (outerValidity, outerConstant) = (callValidity, isConstantCall)
        callValidity = validity
        isConstantCall = isConstant
        let result = call.kernel(arguments, rows, self)
        (callValidity, isConstantCall) = (outerValidity, outerConstant)
        guard validity != nil else { return Vector(result, isConstant: isConstant) }
        return Vector(result.withValidity(Bitmap.bothValid(validity, result.validity)), isConstant: isConstant)
    }

    /// Runs a kernel of one argument over a part (a member, the elements) of what a kernel works on.
    func apply(_ kernel: Kernel, to column: Column) -> Column {
        let outer = callValidity
        callValidity = Bitmap.bothValid(outer, column.validity)
        let result = kernel([Vector(column)], column.count, self)
        callValidity = outer
        return result.withValidity(Bitmap.bothValid(column.validity, result.validity))
    }

    /// As ``apply(_:to:)``, over the elements of lists: an element's error is its row's.
    func apply(_ kernel: Kernel, toElements elements: ListElements) -> Column {
        Evaluation(parent: self, rows: elements.rows, parameters: []).apply(kernel, to: elements.values)
    }

    // MARK: Rows that are wanted

    /// Runs `body` with only `rows` of the rows wanted; nil narrows nothing. Answers nil when none would be left.
    private func narrowed<R>(to rows: Bitmap?, _ body: () -> R) -> R? {
        guard let rows else { return body() }
        let outer = active
        let inner = outer.map { $0 & rows } ?? rows
        if inner.count > 0, inner.isEmpty { return nil }
        active = inner
        defer { active = outer }
        return body()
    }

    /// Three-valued logic. The right side is not wanted where the left one decides.
    private func evaluateLogic(_ left: Plan, _ right: Plan, isAnd: Bool) -> Vector {
        let first = evaluate(left)
        if first.isConstant, !first.isNullConstant, first.bits[0] != isAnd { return first }
        let decided = first.isConstant ? nil : decisive(first, isAnd: isAnd)
        let second = narrowed(to: decided.map { ~$0 }) { evaluate(right) }
        guard let second else { return first }
        if first.isConstant, !first.isNullConstant { return second }
        if second.isConstant, !second.isNullConstant { return second.bits[0] == isAnd ? first : second }
        let isConstant = first.isConstant && second.isConstant
        let rows = isConstant ? 1 : rowCount
        return Vector(
            Logic.combine(first.expanded(rows), second.expanded(rows), isAnd: isAnd), isConstant: isConstant)
    }

    /// 1 where the value is false (for and) or true (for or), null apart.
    private func decisive(_ vector: Vector, isAnd: Bool) -> Bitmap {
        let bits = isAnd ? ~vector.bits : vector.bits
        return vector.column.validity.map { bits & $0 } ?? bits
    }

    private func evaluateChoice(
        _ branches: [(condition: Plan, result: Plan)], _ otherwise: Plan?, _ type: DataType
    ) -> Vector {
        var remaining = Bitmap(repeating: true, count: rowCount)
        var chosen: [(rows: Bitmap, values: Vector)] = []
        for branch in branches {
            guard let condition = narrowed(to: remaining, { evaluate(branch.condition) }) else { break }
            let rows = remaining & Logic.trueRows(condition, rowCount)
            if rows.isEmpty { continue }
            if let values = narrowed(to: rows, { evaluate(branch.result) }) { chosen.append((rows, values)) }
            remaining = remaining & ~rows
        }
        var result = Vector(.nulls(type, count: 1), isConstant: true)
        if let otherwise, let values = narrowed(to: remaining, { evaluate(otherwise) }) { result = values }
        if chosen.isEmpty { return result }
        for (rows, values) in chosen.reversed() { result = Vector(select(rows, values, result)) }
        return result
    }

    private func evaluateCoalesce(_ operands: [Plan], _ type: DataType) -> Vector {
        var result = evaluate(operands[0])
        for operand in operands.dropFirst() {
            if result.isConstant {
                if !result.isNullConstant { return result }
                result = evaluate(operand)
                continue
            }
            guard let validity = result.column.validity else { return result }
            guard let next = narrowed(to: ~validity, { evaluate(operand) }) else { continue }
            result = Vector(select(validity, result, next))
        }
        return result
    }

    private func evaluateNullOnError(_ operand: Plan) -> Vector {
        let outer = errors
        errors = RowErrors(rowCount: rowCount)
        let result = evaluate(operand)
        let succeeded = errors?.succeeded
        errors = outer
        guard let succeeded else { return result }
        let column = result.expanded(rowCount)
        return Vector(column.withValidity(Bitmap.bothValid(column.validity, succeeded)))
    }

    /// `first` where the bit is 1, else `second`.
    private func select(_ rows: Bitmap, _ first: Vector, _ second: Vector) -> Column {
        Selection.choose(rows, first, second, rowCount)
    }

    // MARK: Lambdas

    private func evaluate(_ lambda: PlannedLambda) -> Vector {
        let list = evaluate(lambda.list)
        let column = list.expanded(rowCount)
        let elements = ListElements(column)
        let body = evaluateBody(lambda, elements)
        let result: Column
        switch lambda.function {
        case .transform:
            result = Column(
                lambda.type, .list(offsets: elements.offsets, elements: body.expanded(elements.count)),
                validity: column.validity)
        case .filter:
            let kept = Logic.trueRows(body, elements.count)
            result = Column(
                lambda.type,
                .list(offsets: elements.offsets(keeping: kept), elements: elements.values.filter(kept)),
                validity: column.validity)
        case .anyMatch: result = elements.reduce(body, decisive: true, validity: column.validity)
        case .allMatch: result = elements.reduce(body, decisive: false, validity: column.validity)
        }
        return Vector(result)
    }

    private func evaluateBody(_ lambda: PlannedLambda, _ elements: ListElements) -> Vector {
        var parameters = [Vector(elements.values)]
        if lambda.usesIndex { parameters.append(Vector(elements.positions)) }
        return Evaluation(parent: self, rows: elements.rows, parameters: parameters).evaluate(lambda.body)
    }
}

extension Bitmap {
    /// Whether no bit is 1. O(count / 64), mostly less.
    var isEmpty: Bool {
        for w in 0..<wordCount where word(w) != 0 { return false }
        return true
    }
}

/// What one compiled expression keeps from batch to batch.
final class Scratch {
    var patterns = PatternCache()
}
