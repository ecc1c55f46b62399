import DataflowColumnar

// Which types go together, and how one becomes another without being asked.
extension Checker {
    /// The type that values of both types can have without losing anything; nil when there is none.
    static func commonType(_ a: DataType, _ b: DataType) -> DataType? {
        if a == b { return a }
        switch (a, b) {
        case (.int32, .int64), (.int64, .int32): return .int64
        case (.decimal(let p, let s), .decimal(let q, let t)):
            return Decimal.type(integerDigits: max(p - s, q - t), scale: max(s, t))
        case (.decimal(let p, let s), .int32), (.int32, .decimal(let p, let s)):
            return Decimal.type(integerDigits: max(p - s, 10), scale: s)
        case (.decimal(let p, let s), .int64), (.int64, .decimal(let p, let s)):
            return Decimal.type(integerDigits: max(p - s, 19), scale: s)
        case (.float64, _) where b.isNumeric, (.float32, _) where b.isNumeric: return .float64
        case (_, .float64) where a.isNumeric, (_, .float32) where a.isNumeric: return .float64
        case (.date, .timestamp), (.timestamp, .date): return .timestamp
        case (.list(let x), .list(let y)): return commonType(x, y).map { .list($0) }
        case (.structure(let x), .structure(let y)):
            guard x.map(\.name) == y.map(\.name) else { return nil }
            var fields: [Field] = []
            for (left, right) in zip(x, y) {
                guard let type = commonType(left.type, right.type) else { return nil }
                fields.append(Field(left.name, type))
            }
            return .structure(fields)
        default: return nil
        }
    }

    /// Whether a literal may take the type instead of its own.
    private static func literal(_ literal: Expression.Literal, fits type: DataType) -> Bool {
        switch (literal, type) {
        case (.integer(let value), .int32): Int32(exactly: value) != nil
        case (.integer, .int64), (.integer, .float32), (.integer, .float64): true
        case (.integer(let value), .decimal(let precision, let scale)):
            Int128(value).magnitude < Decimal.powers[precision - scale].magnitude
        case (.number, .float32), (.number, .float64): true
        case (.number(let text), .decimal(let precision, let scale)):
            Decimal.parse(text, precision: precision, scale: scale, exactly: true) != nil
        case (.string, .timestamp), (.string, .date), (.string, .bytes): true
        default: false
        }
    }

    /// The type that all parts can have. Literals give way to columns: `x + 1` stays int32 where x is.
    ///
    /// - Parameter purpose: how messages start, e.g. `cannot compare`.
    func commonType(
        _ parts: [Checked], _ expression: Expression, _ purpose: String
    ) throws(ExpressionError) -> DataType {
        var common: (type: DataType, from: Checked)?
        func join(_ part: Checked, _ type: DataType) throws(ExpressionError) {
            guard let known = common else {
                common = (type, part)
                return
            }
            guard let joined = Checker.commonType(known.type, type) else {
                throw mismatch(known.from, part, purpose)
            }
            common = (joined, part.literal == nil ? part : known.from)
        }
        var hasEmptyArray = false
        for part in parts {
            switch part.content {
            case .value(let plan): if part.literal == nil { try join(part, plan.type) }
            case .null: break
            case .emptyArray: hasEmptyArray = true
            case .interval: throw error(part.expression, "an interval cannot stand here")
            }
        }
        for part in parts {
            guard let literal = part.literal, let own = part.type else { continue }
            if let known = common?.type {
                if Checker.literal(literal, fits: known) { continue }
                // A number too large or too fine for the other side widens it.
                if case .number(let text) = literal, case .decimal = known, let wide = Decimal.type(of: text) {
                    try join(part, wide)
                    continue
                }
            }
            try join(part, own)
        }
        if hasEmptyArray {
            guard let known = common?.type else {
                throw error(
                    expression, "the empty list has no type here",
                    hint: "write cast([] as list<string>), or another type")
            }
            guard case .list = known else { throw error(expression, "\(purpose) a list and \(known)") }
        }
        guard let type = common?.type else {
            // Nothing but nulls: any type does.
            return .string
        }
        return type
    }

    private func mismatch(_ one: Checked, _ other: Checked, _ purpose: String) -> ExpressionError {
        let isInOrder = one.expression.offset <= other.expression.offset
        let (left, right) = isInOrder ? (one, other) : (other, one)
        let joint = purpose == "cannot compare" ? "with" : "and"
        var hint: String?
        if case .string(let text) = right.literal, let type = left.type, type.isNumeric {
            hint = Double(text) == nil ? nil : "write \(text) without quotes"
        } else if case .string(let text) = left.literal, let type = right.type, type.isNumeric {
            hint = Double(text) == nil ? nil : "write \(text) without quotes"
        }
        if hint == nil, let a = left.type, let b = right.type, a.isScalar, b.isScalar {
            // The text side is the one that is usually meant to change.
            let (changed, target) = a == .string ? (left, b) : (right, a)
            if Casts.kernel(from: changed.type ?? .string, to: target) != nil {
                hint = "write cast(\(changed.expression) as \(target))"
            }
        }
        return error(right.expression, "\(purpose) \(left.typeName) \(joint) \(right.typeName)", hint: hint)
    }

    /// The part as a value of `type`. Only conversions that lose nothing happen by themselves; a text literal becomes a
    /// time or date where one is wanted.
    ///
    /// - Parameter purpose: how the message starts when it cannot, e.g. `argument 1 of lower must be string`.
    func coerce(
        _ checked: Checked, to type: DataType, _ purpose: @autoclosure () -> String = "the types do not fit"
    ) throws(ExpressionError) -> Plan {
        switch checked.content {
        case .null: return .constant(.nulls(type, count: 1))
        case .emptyArray:
            if case .list = type { return .constant(Column(type, [.list([])])) }
            throw error(checked.expression, "\(purpose()), found a list")
        case .interval: throw error(checked.expression, "\(purpose()), found an interval")
        case .value(let plan):
            if plan.type == type { return plan }
            if let literal = checked.literal, Checker.literal(literal, fits: type) {
                return try convertLiteral(checked, plan, to: type)
            }
            if Checker.commonType(plan.type, type) == type, let kernel = Casts.kernel(from: plan.type, to: type) {
                return Checker.fold(PlannedCall(type: type, arguments: [plan], kernel: kernel))
            }
            let canCast = Casts.kernel(from: plan.type, to: type) != nil
            throw error(
                checked.expression, "\(purpose()), found \(plan.type)",
                hint: canCast ? "write cast(\(checked.expression) as \(type.sql))" : nil)
        }
    }

    private func convertLiteral(_ checked: Checked, _ plan: Plan, to type: DataType) throws(ExpressionError) -> Plan {
        if case .number(let text) = checked.literal, case .decimal(let precision, let scale) = type,
            let value = Decimal.parse(text, precision: precision, scale: scale, exactly: true)
        {
            return .constant(Column(type, .decimal(Values([value]))))
        }
        guard let kernel = Casts.kernel(from: plan.type, to: type) else { return plan }
        let folded = Checker.fold(PlannedCall(type: type, arguments: [plan], kernel: kernel))
        if case .failing = folded {
            let example = type == .date ? "'2024-05-01'" : "'2024-05-01T12:30:00Z'"
            throw error(checked.expression, "\(checked.expression) is not a \(type)", hint: "write it like \(example)")
        }
        return folded
    }

    /// `cast` and `try_cast`.
    func cast(
        _ operand: Checked, to type: DataType, orNull: Bool, _ expression: Expression
    ) throws(ExpressionError) -> Checked {
        func checked(_ plan: Plan, nullable: Bool) -> Checked {
            Checked(content: .value(plan), nullable: nullable, expression: expression)
        }
        switch operand.content {
        case .null: return checked(try coerce(operand, to: type), nullable: true)
        case .emptyArray: return checked(try coerce(operand, to: type, "an empty list becomes a list"), nullable: false)
        case .interval: return checked(try value(operand), nullable: true)
        case .value(let plan):
            if plan.type == type { return checked(plan, nullable: operand.nullable) }
            if case .number(let text) = operand.literal, case .decimal(let precision, let scale) = type,
                let value = Decimal.parse(text, precision: precision, scale: scale)
            {
                // Straight from the text: not by way of a float.
                return checked(.constant(Column(type, .decimal(Values([value])))), nullable: false)
            }
            guard let kernel = Casts.kernel(from: plan.type, to: type) else {
                throw error(
                    expression, "cannot cast \(plan.type) to \(type)", hint: Checker.castHint(from: plan.type, to: type)
                )
            }
            var result = Checker.fold(PlannedCall(type: type, arguments: [plan], kernel: kernel))
            if orNull {
                if case .failing = result { result = .constant(.nulls(type, count: 1)) }
                if result.constant == nil { result = .nullOnError(result) }
            }
            return checked(result, nullable: operand.nullable || orNull)
        }
    }

    private static func castHint(from: DataType, to: DataType) -> String? {
        switch (from, to) {
        case (_, .timestamp) where from.isNumeric: "write from_unixtime(x), or timestamp_millis(x), timestamp_micros(x)"
        case (.timestamp, _) where to.isNumeric: "write epoch(x) for seconds, epoch_ms(x) or epoch_us(x)"
        case (.list, .string): "write list_join(x, ',') or to_json(x)"
        case (.structure, .string): "write to_json(x)"
        case (.bool, _) where to.isNumeric: "write case when x then 1 else 0 end"
        case (_, .bool) where from.isNumeric: "write x <> 0"
        default: nil
        }
    }
}
