import DataflowColumnar

extension Checker {
    /// Operators and the forms that SQL writes with words.
    func checkOperator(_ expression: Expression) -> Checked? {
        guard let parts = checkAll(expression.children) else { return nil }
        return record { () throws(ExpressionError) in try resolve(expression, parts) }
    }

    private func made(
        _ plan: Plan, _ expression: Expression, nullable: Bool
    ) -> Checked { Checked(content: .value(plan), nullable: nullable, expression: expression) }

    private func negate(_ checked: Checked, if negated: Bool) -> Checked {
        guard negated, let plan = checked.plan else { return checked }
        let call = PlannedCall(type: .bool, arguments: [plan]) { arguments, _, _ in
            Column(.bool, .bool(~arguments[0].bits))
        }
        return made(Checker.fold(call), checked.expression, nullable: checked.nullable)
    }

    private func resolve(_ expression: Expression, _ parts: [Checked]) throws(ExpressionError) -> Checked {
        let nullable = parts.contains(where: \.nullable)
        switch expression.kind {
        case .unary(.not, _):
            let plan = try coerce(parts[0], to: .bool, "not needs bool")
            return negate(made(plan, expression, nullable: nullable), if: true)
        case .unary(let operation, _): return try sign(operation, parts[0], expression)
        case .binary(let operation, _, _):
            switch operation {
            case .and, .or:
                let left = try coerce(parts[0], to: .bool, "\(operation.rawValue) needs bool")
                let right = try coerce(parts[1], to: .bool, "\(operation.rawValue) needs bool")
                let plan: Plan = operation == .and ? .and(left, right) : .or(left, right)
                let isConstant = left.constant != nil && right.constant != nil
                return made(isConstant ? Checker.constantValue(of: plan) : plan, expression, nullable: nullable)
            case .equal, .notEqual, .less, .lessOrEqual, .greater, .greaterOrEqual:
                return try compare(Comparison(operation), parts[0], parts[1], expression)
            case .concatenate: return try concatenate(parts[0], parts[1], expression)
            case .add, .subtract, .multiply, .divide, .modulo:
                return try arithmetic(operation, parts[0], parts[1], expression)
            }
        case .test(_, let test, let negated): return try self.test(parts[0], test, negated, expression)
        case .distinct(_, _, let negated): return try distinct(parts[0], parts[1], negated, expression)
        case .between(_, _, _, let negated):
            let low = try compare(.greaterOrEqual, parts[0], parts[1], expression)
            let high = try compare(.lessOrEqual, parts[0], parts[2], expression)
            guard let first = low.plan, let second = high.plan else { return low }
            let plan = Plan.and(first, second)
            let isConstant = first.constant != nil && second.constant != nil
            return negate(
                made(isConstant ? Checker.constantValue(of: plan) : plan, expression, nullable: nullable), if: negated)
        case .oneOf(_, _, let negated):
            return negate(try oneOf(parts[0], Array(parts.dropFirst()), expression), if: negated)
        case .like(_, _, _, let ignoresCase, let negated):
            return negate(try like(parts, ignoresCase: ignoresCase, expression), if: negated)
        case .element: return try element(parts[0], parts[1], expression)
        case .choice(let operand, let branches, let otherwise):
            return try choice(
                parts, hasOperand: operand != nil, branchCount: branches.count, hasOtherwise: otherwise != nil,
                expression)
        case .literal, .name, .field, .lambda, .call, .array, .structure, .cast:
            preconditionFailure("\(expression) is no operator")
        }
    }

    // MARK: Comparison

    /// Both sides in the type they are compared in.
    func compared(
        _ left: Checked, _ right: Checked, _ expression: Expression
    ) throws(ExpressionError) -> (Plan, Plan, DataType) {
        let type = try commonType([left, right], expression, "cannot compare")
        guard type.isScalar else {
            throw error(
                expression, "values of type \(type) cannot be compared", hint: "compare their fields or elements")
        }
        return (try coerce(left, to: type), try coerce(right, to: type), type)
    }

    func compare(
        _ comparison: Comparison, _ left: Checked, _ right: Checked, _ expression: Expression
    ) throws(ExpressionError) -> Checked {
        if case .interval(let m, let u) = left.content, case .interval(let n, let v) = right.content {
            // Spans compare when neither has calendar months, whose length varies.
            for plan in [m, n] where plan.constant?.int64Values?[0] != 0 {
                throw error(expression, "intervals with months or years cannot be compared")
            }
            let call = PlannedCall(type: .bool, arguments: [u, v], kernel: comparison.kernel(.int64))
            return made(Checker.fold(call), expression, nullable: left.nullable || right.nullable)
        }
        if case .null = left.content, case .null = right.content {
            return made(.constant(.nulls(.bool, count: 1)), expression, nullable: true)
        }
        for part in [left, right] where part.isInterval {
            let other = part.expression.offset == left.expression.offset ? right : left
            throw error(expression, "cannot compare interval with \(other.typeName)")
        }
        let (a, b, type) = try compared(left, right, expression)
        let call = PlannedCall(type: .bool, arguments: [a, b], kernel: comparison.kernel(type))
        return made(Checker.fold(call), expression, nullable: left.nullable || right.nullable)
    }

    private func distinct(
        _ left: Checked, _ right: Checked, _ negated: Bool, _ expression: Expression
    ) throws(ExpressionError) -> Checked {
        let (a, b, type) = try compared(left, right, expression)
        let equal = Comparison.equal.kernel(type)
        let call = PlannedCall(type: .bool, arguments: [a, b], isStrict: false) { arguments, rows, evaluation in
            let same = Bitmap.spread(Vector(equal(arguments, rows, evaluation)), rows)
            let valid = arguments.map { argument in
                argument.isConstant
                    ? Bitmap(repeating: !argument.isNullConstant, count: rows)
                    : argument.column.validity ?? Bitmap(repeating: true, count: rows)
            }
            let equalOrNull = (same & valid[0] & valid[1]) | ~(valid[0] | valid[1])
            return Column(.bool, .bool(negated ? equalOrNull : ~equalOrNull))
        }
        return made(Checker.fold(call), expression, nullable: false)
    }

    private func test(
        _ operand: Checked, _ test: Expression.Test, _ negated: Bool, _ expression: Expression
    ) throws(ExpressionError) -> Checked {
        if operand.isInterval { throw error(expression, "an interval cannot be tested") }
        let plan =
            test == .null
            ? (operand.plan ?? .constant(.nulls(.bool, count: operand.nullable ? 1 : 1)))
            : try coerce(operand, to: .bool, "is \(test.rawValue) needs bool")
        if case .emptyArray = operand.content { return made(.constant(.bool([negated])), expression, nullable: false) }
        let call = PlannedCall(type: .bool, arguments: [plan], isStrict: false) { arguments, rows, _ in
            let column = arguments[0].column
            let bits: Bitmap
            switch test {
            case .null, .unknown: bits = column.validity.map { ~$0 } ?? Bitmap(repeating: false, count: rows)
            case .true: bits = Logic.trueRows(Vector(column), rows)
            case .false:
                let isFalse = ~Vector(column).bits
                bits = column.validity.map { isFalse & $0 } ?? isFalse
            }
            return Column(.bool, .bool(negated ? ~bits : bits))
        }
        return made(Checker.fold(call), expression, nullable: false)
    }

    private func oneOf(
        _ operand: Checked, _ options: [Checked], _ expression: Expression
    ) throws(ExpressionError) -> Checked {
        let type = try commonType([operand] + options, expression, "cannot compare")
        guard type.isScalar else { throw error(expression, "values of type \(type) cannot be compared") }
        let value = try coerce(operand, to: type)
        let plans = try options.map { (option) throws(ExpressionError) in try coerce(option, to: type) }
        let nullable = operand.nullable || options.contains(where: \.nullable)
        let constants = plans.compactMap(\.constant)
        if constants.count == plans.count {
            let call = PlannedCall(type: .bool, arguments: [value], kernel: Membership.kernel(type, constants))
            return made(Checker.fold(call), expression, nullable: nullable)
        }
        let equal = Comparison.equal.kernel(type)
        var result: Plan?
        for plan in plans {
            let next = Checker.fold(PlannedCall(type: .bool, arguments: [value, plan], kernel: equal))
            result = result.map { .or($0, next) } ?? next
        }
        return made(result ?? .constant(.bool([false])), expression, nullable: nullable)
    }

    private func like(
        _ parts: [Checked], ignoresCase: Bool, _ expression: Expression
    ) throws(ExpressionError) -> Checked {
        let word = ignoresCase ? "ilike" : "like"
        let text = try coerce(parts[0], to: .string, "\(word) needs string")
        let pattern = try coerce(parts[1], to: .string, "\(word) needs a string as its pattern")
        var escape: Unicode.Scalar? = "\\"
        if parts.count > 2 {
            guard let column = try coerce(parts[2], to: .string, "escape needs string").constant, !column.isNull(0),
                case .string(let characters) = column.value(at: 0), characters.unicodeScalars.count <= 1
            else { throw error(parts[2].expression, "escape must be one character, or '' for none") }
            escape = characters.unicodeScalars.first
        }
        let nullable = parts.contains(where: \.nullable)
        if let column = pattern.constant, !column.isNull(0), case .string(let constant) = column.value(at: 0) {
            guard let matcher = LikePattern(constant, escape: escape, ignoresCase: ignoresCase) else {
                throw error(
                    parts[1].expression, "the pattern ends with its escape character", hint: "double it to match it")
            }
            let call = PlannedCall(type: .bool, arguments: [text]) { arguments, rows, _ in
                matcher.matches(arguments[0], rows)
            }
            return made(Checker.fold(call), expression, nullable: nullable)
        }
        let call = PlannedCall(type: .bool, arguments: [text, pattern]) { [escape] arguments, rows, evaluation in
            LikePattern.matches(arguments, rows, evaluation, escape: escape, ignoresCase: ignoresCase)
        }
        return made(Checker.fold(call), expression, nullable: nullable)
    }

    // MARK: Lists, texts, choices

    private func concatenate(
        _ left: Checked, _ right: Checked, _ expression: Expression
    ) throws(ExpressionError) -> Checked {
        func isList(_ part: Checked) -> Bool {
            if case .emptyArray = part.content { return true }
            if case .list = part.type { return true }
            return false
        }
        let nullable = left.nullable || right.nullable
        if isList(left) || isList(right) {
            let type = try commonType([left, right], expression, "cannot join")
            let call = PlannedCall(
                type: type, arguments: [try coerce(left, to: type), try coerce(right, to: type)],
                kernel: ListKernels.concatenate)
            return made(Checker.fold(call), expression, nullable: nullable)
        }
        guard left.type == .string || right.type == .string || left.type == nil || right.type == nil else {
            throw error(
                expression, "|| joins texts or lists, found \(left.typeName) and \(right.typeName)",
                hint: "write cast(\(left.expression) as string)")
        }
        let call = PlannedCall(
            type: .string, arguments: [try text(left, "||"), try text(right, "||")], kernel: TextKernels.concatenate)
        return made(Checker.fold(call), expression, nullable: nullable)
    }

    /// The part as text: numbers, times and conditions are written out.
    func text(_ part: Checked, _ purpose: String) throws(ExpressionError) -> Plan {
        guard let plan = part.plan, plan.type != .string, plan.type != .bytes, plan.type.isScalar,
            let kernel = Casts.kernel(from: plan.type, to: .string)
        else { return try coerce(part, to: .string, "\(purpose) needs text") }
        return Checker.fold(PlannedCall(type: .string, arguments: [plan], kernel: kernel))
    }

    func element(
        _ list: Checked, _ index: Checked, _ expression: Expression
    ) throws(ExpressionError) -> Checked {
        guard let plan = list.plan, case .list(let type) = plan.type else {
            throw error(
                expression, "\(list.typeName) has no elements: only lists are indexed",
                hint: list.type == .string ? "write substr(text, 1, 1) for a character" : nil)
        }
        let position = try coerce(index, to: .int64, "a list index must be int64")
        let call = PlannedCall(type: type, arguments: [plan, position], kernel: ListKernels.element)
        return made(Checker.fold(call), expression, nullable: true)
    }

    private func choice(
        _ parts: [Checked], hasOperand: Bool, branchCount: Int, hasOtherwise: Bool, _ expression: Expression
    ) throws(ExpressionError) -> Checked {
        let first = hasOperand ? 1 : 0
        let conditions = (0..<branchCount).map { parts[first + 2 * $0] }
        var results = (0..<branchCount).map { parts[first + 2 * $0 + 1] }
        if hasOtherwise, let last = parts.last { results.append(last) }
        var tests: [Plan] = []
        for condition in conditions {
            if hasOperand {
                let test = try compare(.equal, parts[0], condition, condition.expression)
                tests.append(try value(test))
            } else {
                tests.append(try coerce(condition, to: .bool, "the condition behind when must be bool"))
            }
        }
        let type = try commonType(results, expression, "case gives both")
        let plans = try results.map { (result) throws(ExpressionError) in try coerce(result, to: type) }
        let nullable = !hasOtherwise || results.contains(where: \.nullable)
        let plan = Plan.choice(
            (0..<branchCount).map { (tests[$0], plans[$0]) }, otherwise: hasOtherwise ? plans.last : nil, type)
        let isConstant = (tests + plans).allSatisfy { $0.constant != nil }
        return made(isConstant ? Checker.constantValue(of: plan) : plan, expression, nullable: nullable)
    }

    // MARK: Arithmetic

    private func sign(
        _ operation: Expression.UnaryOperator, _ operand: Checked, _ expression: Expression
    ) throws(ExpressionError) -> Checked {
        if case .interval(let months, let microseconds) = operand.content {
            if operation == .plus { return operand }
            return Checked(
                content: .interval(
                    months: integer(.subtract, .constant(.int64([0])), months, expression),
                    microseconds: integer(.subtract, .constant(.int64([0])), microseconds, expression)),
                nullable: operand.nullable, expression: expression)
        }
        guard let plan = operand.plan, plan.type.isNumeric else {
            throw error(expression, "\(operation.rawValue) needs a number, found \(operand.typeName)")
        }
        if operation == .plus { return made(plan, expression, nullable: operand.nullable) }
        let call = PlannedCall(
            type: plan.type, arguments: [plan], kernel: Arithmetic.negate(plan.type, "\(expression)"))
        return made(Checker.fold(call), expression, nullable: operand.nullable)
    }

    private func integer(
        _ operation: Expression.BinaryOperator, _ left: Plan, _ right: Plan, _ expression: Expression
    ) -> Plan {
        Checker.fold(
            PlannedCall(
                type: .int64, arguments: [left, right],
                kernel: Arithmetic.kernel(operation, .int64, .int64, .int64, "\(expression)")))
    }

    /// `+ - * / %` between two parts that have been checked.
    func arithmetic(
        _ operation: Expression.BinaryOperator, _ left: Checked, _ right: Checked, _ expression: Expression
    ) throws(ExpressionError) -> Checked {
        if let time = try timeArithmetic(operation, left, right, expression) { return time }
        func refuse() -> ExpressionError {
            var hint: String?
            if operation == .add, left.type == .string || right.type == .string { hint = "texts are joined with ||" }
            for part in [left, right] where hint == nil && part.type == .string {
                hint = "write cast(\(part.expression) as float64), or another number"
            }
            return error(
                expression, "cannot compute \(left.typeName) \(operation.rawValue) \(right.typeName)", hint: hint)
        }
        for part in [left, right] {
            if case .null = part.content { continue }
            guard let type = part.type, type.isNumeric else { throw refuse() }
        }
        let nullable = left.nullable || right.nullable
        var common = try commonType([left, right], expression, "cannot compute")
        if left.type == nil, right.type == nil { common = .int64 }
        if case .decimal = common {
            return try decimal(operation, left, right, expression)
        }
        let call = PlannedCall(
            type: common, arguments: [try coerce(left, to: common), try coerce(right, to: common)],
            kernel: Arithmetic.kernel(operation, common, common, common, "\(expression)"))
        return made(Checker.fold(call), expression, nullable: nullable)
    }

    /// Decimals keep the scales that they have; the result's scale follows from the operation.
    private func decimal(
        _ operation: Expression.BinaryOperator, _ left: Checked, _ right: Checked, _ expression: Expression
    ) throws(ExpressionError) -> Checked {
        func asDecimal(_ part: Checked, other: Checked) throws(ExpressionError) -> (Plan, Int, Int) {
            var type = part.type ?? other.type ?? .decimal(precision: 38, scale: 0)
            switch type {
            case .decimal: break
            case .int32: type = .decimal(precision: 10, scale: 0)
            case .int64:
                var digits = 19
                if case .integer(let value) = part.literal { digits = max(1, "\(value.magnitude)".count) }
                type = .decimal(precision: digits, scale: 0)
            default:
                if case .number(let text) = part.literal, let own = Decimal.type(of: text) { type = own }
            }
            guard case .decimal(let precision, let scale) = type else {
                throw error(part.expression, "a decimal is expected here, found \(part.typeName)")
            }
            return (try coerce(part, to: type), precision, scale)
        }
        let (a, p, s) = try asDecimal(left, other: right)
        let (b, q, t) = try asDecimal(right, other: left)
        guard let type = Decimal.resultType(operation, p, s, q, t) else {
            throw error(
                expression, "\(a.type) \(operation.rawValue) \(b.type) needs more than the 38 digits of a decimal",
                hint: "cast one side to a decimal with fewer digits behind the point")
        }
        let call = PlannedCall(
            type: type, arguments: [a, b], kernel: Arithmetic.kernel(operation, a.type, b.type, type, "\(expression)"))
        return made(Checker.fold(call), expression, nullable: left.nullable || right.nullable)
    }

    /// Arithmetic with times and intervals; nil when neither side is one.
    private func timeArithmetic(
        _ operation: Expression.BinaryOperator, _ left: Checked, _ right: Checked, _ expression: Expression
    ) throws(ExpressionError) -> Checked? {
        func isTime(_ part: Checked) -> Bool { part.type == .timestamp || part.type == .date }
        guard left.isInterval || right.isInterval || isTime(left) || isTime(right) else { return nil }
        let nullable = left.nullable || right.nullable
        switch (left.content, operation, right.content) {
        case (.interval(let m, let u), .add, .interval(let n, let v)),
            (.interval(let m, let u), .subtract, .interval(let n, let v)):
            return Checked(
                content: .interval(
                    months: integer(operation, m, n, expression), microseconds: integer(operation, u, v, expression)),
                nullable: nullable, expression: expression)
        case (.interval(let m, let u), .multiply, .value(let factor))
        where factor.type == .int64 || factor.type == .int32,
            (.value(let factor), .multiply, .interval(let m, let u))
        where factor.type == .int64 || factor.type == .int32:
            let factor = try coerce(left.isInterval ? right : left, to: .int64)
            return Checked(
                content: .interval(
                    // No months stay none, so that the span can be compared and measured.
                    months: m.constant?.int64Values?[0] == 0 ? m : integer(.multiply, m, factor, expression),
                    microseconds: integer(.multiply, u, factor, expression)),
                nullable: nullable, expression: expression)
        case (.interval(let m, let u), .add, .value) where isTime(right):
            return try moved(right, m, u, .add, expression, nullable)
        case (.value, .add, .interval(let m, let u)) where isTime(left),
            (.value, .subtract, .interval(let m, let u)) where isTime(left):
            return try moved(left, m, u, operation, expression, nullable)
        case (.value(let plan), .add, .value(let days)) where plan.type == .date && days.type != .timestamp,
            (.value(let plan), .subtract, .value(let days)) where plan.type == .date && days.type.isNumeric:
            let count = try coerce(right, to: .int64, "a date moves by a whole number of days")
            let call = PlannedCall(
                type: .date, arguments: [plan, count],
                kernel: TimeKernels.moveDate(operation == .add ? 1 : -1, "\(expression)"))
            return made(Checker.fold(call), expression, nullable: nullable)
        case (.value(let a), .subtract, .value(let b)) where a.type == .date && b.type == .date:
            let call = PlannedCall(type: .int32, arguments: [a, b]) { arguments, rows, _ in
                Column(
                    .int32,
                    .int32(map(arguments[0].operand(Int32.self), arguments[1].operand(Int32.self), rows) { $0 &- $1 }))
            }
            return made(Checker.fold(call), expression, nullable: nullable)
        case (.value, .subtract, .value) where isTime(left) || isTime(right):
            let a = try coerce(left, to: .timestamp, "a time is expected here")
            let b = try coerce(right, to: .timestamp, "a time is expected here")
            let call = PlannedCall(type: .int64, arguments: [a, b]) { arguments, rows, _ in
                Column(
                    .int64,
                    .int64(map(arguments[0].operand(Int64.self), arguments[1].operand(Int64.self), rows) { $0 &- $1 }))
            }
            return Checked(
                content: .interval(months: .constant(.int64([0])), microseconds: Checker.fold(call)),
                nullable: nullable, expression: expression)
        default:
            let hint =
                (isTime(left) && (right.type?.isNumeric ?? false)) || (isTime(right) && (left.type?.isNumeric ?? false))
                ? "write interval '10 seconds', or x * interval '1 second'" : nil
            throw error(
                expression, "cannot compute \(left.typeName) \(operation.rawValue) \(right.typeName)", hint: hint)
        }
    }

    private func moved(
        _ time: Checked, _ months: Plan, _ microseconds: Plan, _ operation: Expression.BinaryOperator,
        _ expression: Expression, _ nullable: Bool
    ) throws(ExpressionError) -> Checked {
        let call = PlannedCall(
            type: .timestamp, arguments: [try coerce(time, to: .timestamp), months, microseconds],
            kernel: TimeKernels.moveTimestamp(operation == .subtract ? -1 : 1, "\(expression)"))
        return made(Checker.fold(call), expression, nullable: nullable)
    }
}
