import DataflowColumnar

/// What the checker knows about a part of an expression.
struct Checked: Sendable {
    enum Content: Sendable {
        case value(Plan)
        /// `null` without a type yet.
        case null
        /// `[]` without a type yet.
        case emptyArray
        /// A span of time: two integers, because no column has this type.
        case interval(months: Plan, microseconds: Plan)
    }

    var content: Content
    var nullable: Bool
    let expression: Expression

    /// The type; nil for `null`, `[]` and intervals.
    var type: DataType? { if case .value(let plan) = content { plan.type } else { nil } }

    var plan: Plan? { if case .value(let plan) = content { plan } else { nil } }

    /// How messages name the type.
    var typeName: String {
        switch content {
        case .value(let plan): plan.type.description
        case .null: "null"
        case .emptyArray: "an empty list"
        case .interval: "interval"
        }
    }

    var isInterval: Bool { if case .interval = content { true } else { false } }

    /// A literal whose type gives way to its surroundings.
    var literal: Expression.Literal? { if case .literal(let value) = expression.kind { value } else { nil } }
}

/// Turns a syntax tree into a plan: resolves names, gives each part a type, chooses kernels, computes constants.
final class Checker {
    let schema: Schema
    private(set) var columns: [(name: String, type: DataType)] = []
    private var errors: [ExpressionError] = []
    /// The parameters of the lambdas around the part that is being checked, outermost first.
    private var scopes: [[(name: String, type: DataType, isUsed: Bool)]] = []

    init(_ schema: Schema) {
        self.schema = schema
    }

    func typed(_ expression: Expression, expecting type: DataType?) throws(ExpressionErrors) -> TypedExpression {
        var result: Plan?
        let checked = check(expression)
        if let checked {
            record { () throws(ExpressionError) in
                if let type {
                    result = try coerce(checked, to: type, "a value of type \(type) is expected here")
                } else {
                    result = try value(checked)
                }
            }
        }
        guard errors.isEmpty, let result, let checked else {
            let found = errors.isEmpty ? [ExpressionError(offset: 0, "the expression has no type")] : errors
            throw ExpressionErrors(found.sorted { $0.offset < $1.offset })
        }
        return TypedExpression(
            expression: expression, type: result.type, nullable: checked.nullable, columnsUsed: columns.map(\.name),
            columnTypes: columns.map(\.type), plan: result)
    }

    /// The plan of something that must become a column.
    func value(_ checked: Checked) throws(ExpressionError) -> Plan {
        switch checked.content {
        case .value(let plan): return plan
        case .null:
            throw error(
                checked.expression, "null has no type here", hint: "write cast(null as string), or another type")
        case .emptyArray:
            throw error(
                checked.expression, "the empty list has no type here",
                hint: "write cast([] as list<string>), or another type")
        case .interval:
            throw error(
                checked.expression, "an interval cannot be a column",
                hint: "write extract(epoch from …) for its length in seconds")
        }
    }

    // MARK: Errors

    func error(_ expression: Expression, _ message: String, hint: String? = nil) -> ExpressionError {
        ExpressionError(offset: expression.offset, length: expression.length, message, hint: hint)
    }

    @discardableResult
    func record<R>(_ body: () throws(ExpressionError) -> R) -> R? {
        do throws(ExpressionError) { return try body() } catch {
            errors.append(error)
            return nil
        }
    }

    // MARK: Building plans

    /// The call, or its value if all arguments are constant.
    static func fold(_ call: PlannedCall) -> Plan {
        guard !call.arguments.isEmpty, call.arguments.allSatisfy({ $0.constant != nil }) else { return .call(call) }
        return constantValue(of: .call(call))
    }

    /// What a plan without columns is worth.
    static func constantValue(of plan: Plan) -> Plan {
        let evaluation = Evaluation(columns: [], rowCount: 1, now: 0, scratch: Scratch())
        let value = evaluation.evaluate(plan).expanded(1)
        if let first = evaluation.rowErrors.rows.first { return .failing(first.error, plan.type) }
        return .constant(value)
    }

    // MARK: Walking the tree

    /// What the part is; nil after its errors have been noted.
    func check(_ expression: Expression) -> Checked? {
        switch expression.kind {
        case .literal(let literal): return record { () throws(ExpressionError) in try check(literal, expression) }
        case .name(let name): return record { () throws(ExpressionError) in try column(name, expression) }
        case .field(let base, let member): return field(base, member, expression)
        case .lambda:
            return record { () throws(ExpressionError) -> Checked in
                throw error(
                    expression, "a lambda cannot stand here",
                    hint: "it is an argument of list functions, as in filter(tags, x -> x <> '')")
            }
        case .call(let name, let arguments): return call(name, arguments, expression)
        case .array(let elements): return array(elements, expression)
        case .structure(let members): return structure(members, expression)
        case .cast(let operand, let type, let orNull):
            guard let operand = check(operand) else { return nil }
            return record { () throws(ExpressionError) in
                try cast(operand, to: type, orNull: orNull, expression)
            }
        default: return checkOperator(expression)
        }
    }

    /// The parts, all of them, so that all errors are found; nil when one had errors.
    func checkAll(_ expressions: [Expression]) -> [Checked]? {
        let checked = expressions.map { check($0) }
        let found = checked.compactMap { $0 }
        return found.count == checked.count ? found : nil
    }

    private func check(_ literal: Expression.Literal, _ expression: Expression) throws(ExpressionError) -> Checked {
        let column: Column
        switch literal {
        case .null: return Checked(content: .null, nullable: true, expression: expression)
        case .bool(let value): column = .bool([value])
        case .integer(let value): column = .int64([value])
        case .number(let text):
            if text.utf8.contains(where: { $0 == UInt8(ascii: ".") || $0 | 0x20 == UInt8(ascii: "e") }) {
                guard let value = Double(text), value.isFinite else {
                    throw error(expression, "\(text) is too large for float64")
                }
                column = .float64([value])
            } else {
                // A whole number beyond int64.
                guard let value = Int128(text), value.magnitude < Decimal.powers[38].magnitude else {
                    throw error(expression, "\(text) has more than the 38 digits of a decimal")
                }
                column = Column(.decimal(precision: 38, scale: 0), .decimal(Values([value])))
            }
        case .string(let text): column = .string([text])
        case .timestamp(let value): column = .timestamp([value])
        case .date(let value): column = .date([value])
        case .interval(let value):
            return Checked(
                content: .interval(
                    months: .constant(.int64([value.months])), microseconds: .constant(.int64([value.microseconds]))),
                nullable: false, expression: expression)
        }
        return Checked(content: .value(.constant(column)), nullable: false, expression: expression)
    }

    private func column(_ name: String, _ expression: Expression) throws(ExpressionError) -> Checked {
        for level in scopes.indices.reversed() {
            guard let slot = scopes[level].firstIndex(where: { $0.name == name }) else { continue }
            scopes[level][slot].isUsed = true
            return Checked(
                content: .value(.parameter(level: level, slot: slot, scopes[level][slot].type)), nullable: true,
                expression: expression)
        }
        guard let field = schema[name] else {
            let isQuoted = expression.length > name.utf8.count
            let all = scopes.flatMap { $0.map(\.name) } + schema.names
            let columns = schema.names.prefix(12).map { "\"\($0)\"" }.joined(separator: ", ")
            throw error(
                expression, "unknown column \"\(name)\"",
                hint: Suggestion.hint(
                    for: name, among: all,
                    otherwise: isQuoted
                        ? "a text is written in single quotes: \(Printer.string(name))"
                        : schema.names.isEmpty
                            ? "there are no columns here"
                            : "the columns are \(columns)\(schema.names.count > 12 ? ", …" : "")"))
        }
        let index: Int
        if let known = columns.firstIndex(where: { $0.name == name }) {
            index = known
        } else {
            index = columns.count
            columns.append((name, field.type))
        }
        return Checked(
            content: .value(.column(index, field.type)), nullable: field.nullable, expression: expression)
    }

    private func field(_ base: Expression, _ member: String, _ expression: Expression) -> Checked? {
        guard let checked = check(base) else { return nil }
        return record { () throws(ExpressionError) in
            guard let plan = checked.plan, case .structure(let fields) = plan.type else {
                var hint: String?
                if case .list(.structure) = checked.type {
                    hint = "write \(base)[0].\(Printer.name(member)) for the first element"
                }
                if case .name(let name) = base.kind, schema["\(name).\(member)"] != nil {
                    hint = "the column's name is written \"\(name).\(member)\""
                }
                throw error(
                    expression, "\(checked.typeName) has no field \"\(member)\": only structs have fields", hint: hint)
            }
            guard let index = fields.firstIndex(where: { $0.name == member }) else {
                throw error(
                    expression, "the struct has no field \"\(member)\"",
                    hint: Suggestion.hint(
                        for: member, among: fields.map(\.name),
                        otherwise: "its fields are \(fields.map { "\"\($0.name)\"" }.joined(separator: ", "))"))
            }
            let call = PlannedCall(type: fields[index].type, arguments: [plan]) { arguments, _, _ in
                guard let members = arguments[0].column.structureValues else {
                    preconditionFailure("a field of \(arguments[0].column.type)")
                }
                return members[index]
            }
            return Checked(
                content: .value(Checker.fold(call)), nullable: checked.nullable || fields[index].nullable,
                expression: expression)
        }
    }

    private func array(_ elements: [Expression], _ expression: Expression) -> Checked? {
        guard let checked = checkAll(elements) else { return nil }
        if checked.isEmpty { return Checked(content: .emptyArray, nullable: false, expression: expression) }
        return record { () throws(ExpressionError) in
            let type = try commonType(checked, expression, "a list of")
            let plans = try checked.map { (part) throws(ExpressionError) in try coerce(part, to: type) }
            let count = plans.count
            let call = PlannedCall(type: .list(type), arguments: plans, isStrict: false) { arguments, rows, _ in
                let columns = arguments.map { $0.expanded(rows) }
                let all = Column.concatenate(type, columns)
                let elements = all.take(
                    Values(count: rows * count) { out in
                        for row in 0..<rows {
                            for c in 0..<count { out[row * count + c] = Int32(truncatingIfNeeded: c * rows + row) }
                        }
                    })
                let offsets = Values<Int32>(count: rows + 1) { out in
                    for row in 0...rows { out[row] = Int32(truncatingIfNeeded: row * count) }
                }
                return Column(.list(type), .list(offsets: offsets, elements: elements))
            }
            return Checked(content: .value(Checker.fold(call)), nullable: false, expression: expression)
        }
    }

    private func structure(_ members: [Expression.Member], _ expression: Expression) -> Checked? {
        guard let checked = checkAll(members.map(\.value)) else { return nil }
        return record { () throws(ExpressionError) in
            var plans: [Plan] = []
            for part in checked { plans.append(try value(part)) }
            let type = DataType.structure(zip(members, plans).map { Field($0.name, $1.type) })
            let call = PlannedCall(type: type, arguments: plans, isStrict: false) { arguments, rows, _ in
                Column(type, .structure(arguments.map { $0.expanded(rows) }), count: rows)
            }
            return Checked(content: .value(Checker.fold(call)), nullable: false, expression: expression)
        }
    }

    // MARK: Calls

    private func call(_ name: String, _ arguments: [Expression], _ expression: Expression) -> Checked? {
        guard let function = Function.named[name] else {
            record { () throws(ExpressionError) in throw unknownFunction(name, expression) }
            for argument in arguments { if case .lambda = argument.kind {} else { _ = check(argument) } }
            return nil
        }
        if case .lambda(let kind) = function.body {
            return lambdaCall(function, kind, arguments, expression)
        }
        guard let checked = checkAll(arguments) else { return nil }
        return record { () throws(ExpressionError) in
            guard function.arity.contains(checked.count) else { throw arityError(function, checked.count, expression) }
            guard case .plain(let resolve) = function.body else { preconditionFailure("a function without a body") }
            return try resolve(CallSite(checker: self, function: function, arguments: checked, expression: expression))
        }
    }

    private func unknownFunction(_ name: String, _ expression: Expression) -> ExpressionError {
        let place = ExpressionError(offset: expression.offset, length: name.utf8.count, "unknown function \"\(name)\"")
        var result = place
        if AggregateCall.names.contains(name) {
            result.message = "\(name) is an aggregate and cannot stand in a scalar expression"
            result.hint = "compute it in a window-agg node, under aggregates, and use its column"
        } else if let other = Function.otherNames[name] {
            result.hint = "write \(other)"
        } else {
            result.hint = Suggestion.hint(for: name, among: Function.all.map(\.name))
        }
        return result
    }

    private func arityError(_ function: Function, _ count: Int, _ expression: Expression) -> ExpressionError {
        let few = function.arity.lowerBound
        let many = function.arity.upperBound
        let wanted =
            few == many
            ? "\(few) argument\(few == 1 ? "" : "s")"
            : many == Function.anyNumber
                ? "at least \(few) argument\(few == 1 ? "" : "s")" : "\(few) to \(many) arguments"
        return error(
            expression, "\(function.name) takes \(wanted), found \(count)",
            hint: "write \(function.signature.split(separator: "`").joined())")
    }

    private func lambdaCall(
        _ function: Function, _ kind: PlannedLambda.Function, _ arguments: [Expression], _ expression: Expression
    ) -> Checked? {
        guard arguments.count == 2, case .lambda(let names, let body) = arguments[1].kind else {
            record { () throws(ExpressionError) in
                if arguments.count != 2 { throw arityError(function, arguments.count, expression) }
                throw error(arguments[1], "\(function.name) needs a lambda here", hint: "write \(function.signature)")
            }
            return nil
        }
        guard let list = check(arguments[0]) else { return nil }
        guard
            let plan = record({ () throws(ExpressionError) -> Plan in
                guard names.count <= 2 else {
                    throw error(arguments[1], "a lambda has one parameter, or two: the element and its position")
                }
                guard let plan = list.plan, case .list = plan.type else {
                    throw error(arguments[0], "\(function.name) takes a list, found \(list.typeName)")
                }
                return plan
            }), case .list(let element) = plan.type
        else { return nil }
        let level = scopes.count
        scopes.append([(names[0], element, false)] + (names.count > 1 ? [(names[1], .int64, false)] : []))
        let checkedBody = check(body)
        let scope = scopes.removeLast()
        guard let checkedBody else { return nil }
        return record { () throws(ExpressionError) in
            let bodyPlan =
                kind == .transform
                ? try value(checkedBody)
                : try coerce(checkedBody, to: .bool, "the lambda of \(function.name) must give bool")
            let type: DataType
            switch kind {
            case .filter: type = plan.type
            case .transform: type = .list(bodyPlan.type)
            case .anyMatch, .allMatch: type = .bool
            }
            let lambda = PlannedLambda(
                function: kind, list: plan, body: bodyPlan, level: level,
                usesIndex: scope.count > 1 && scope[1].isUsed, type: type)
            var result = Plan.listFunction(lambda)
            if plan.constant != nil, body.columnNames.subtracting(names).isEmpty, !body.mentionsNow {
                result = Checker.constantValue(of: result)
            }
            return Checked(
                content: .value(result), nullable: list.nullable || kind == .anyMatch || kind == .allMatch,
                expression: expression)
        }
    }
}

extension Expression {
    /// Whether the value depends on the time at which it is computed.
    var mentionsNow: Bool {
        if case .call("now", _) = kind { return true }
        return children.contains(where: \.mentionsNow)
    }
}
