import DataflowColumnar
import Glibc

extension Function {
    static let mathFunctions: [Function] = [
        Function(
            "abs", "abs(x)", 1...1, "The absolute value, of the same type.", [("abs(-3)", "3")]
        ) { site throws(ExpressionError) in
            let plan = try number(site, 0)
            let type = plan.type
            switch type {
            case .int32: return site.call(type, [plan], absolute(Int32.self, type))
            case .int64: return site.call(type, [plan], absolute(Int64.self, type))
            case .float32:
                return site.call(type, [plan]) { a, rows, _ in
                    Column(type, .float32(map(a[0].operand(Float.self), rows) { $0.magnitude }))
                }
            case .float64:
                return site.call(type, [plan]) { a, rows, _ in
                    Column(type, .float64(map(a[0].operand(Double.self), rows) { $0.magnitude }))
                }
            default:
                return site.call(type, [plan]) { a, rows, _ in
                    Column(type, .decimal(map(a[0].operand(Int128.self), rows) { $0 < 0 ? 0 &- $0 : $0 }))
                }
            }
        },
        Function(
            "sign", "sign(x)", 1...1, "-1, 0 or 1.", [("sign(-2.5)", "-1")]
        ) { site throws(ExpressionError) in
            let plan = try number(site, 0)
            if case .decimal = plan.type {
                return site.call(.int64, [plan]) { a, rows, _ in
                    Column(.int64, .int64(map(a[0].operand(Int128.self), rows) { Int64($0.signum()) }))
                }
            }
            return site.call(.int64, [try site.plan(0, .float64)]) { a, rows, _ in
                Column(.int64, .int64(map(a[0].operand(Double.self), rows) { $0 > 0 ? 1 : $0 < 0 ? -1 : 0 }))
            }
        },
        rounding(
            "ceil", "The next whole number upwards, of the same type.", [("ceil(1.2)", "cast(2 as float64)")], .up),
        rounding(
            "floor", "The next whole number downwards, of the same type.", [("floor(-1.2)", "cast(-2 as float64)")],
            .down),
        rounding(
            "round",
            "Rounded to `digits` behind the point (none if left out; negative ones stand before the point); halves go away from zero.",
            [("round(2.5)", "cast(3 as float64)"), ("round(3.14159, 2)", "3.14")], .toNearestOrAwayFromZero),
        rounding(
            "trunc", "Cut to `digits` behind the point (none if left out).", [("trunc(-1.7)", "cast(-1 as float64)")],
            .towardZero),
        float(
            "sqrt", "The square root; the row fails for negative numbers.", [("sqrt(9)", "cast(3 as float64)")],
            valid: { $0 >= 0 || $0.isNaN }
        ) { $0.squareRoot() },
        float("exp", "e to the power of x.", [("exp(0)", "cast(1 as float64)")]) { exp($0) },
        float(
            "ln", "The natural logarithm; the row fails unless x is positive.", [("ln(1)", "cast(0 as float64)")],
            valid: { $0 > 0 || $0.isNaN }
        ) { log($0) },
        float(
            "log10", "The logarithm to base 10; the row fails unless x is positive.",
            [("log10(1000)", "cast(3 as float64)")], valid: { $0 > 0 || $0.isNaN }
        ) { log10($0) },
        float(
            "log2", "The logarithm to base 2; the row fails unless x is positive.", [("log2(8)", "cast(3 as float64)")],
            valid: { $0 > 0 || $0.isNaN }
        ) { log2($0) },
        float("sin", "The sine of x in radians.", [("sin(0)", "cast(0 as float64)")]) { sin($0) },
        float("cos", "The cosine of x in radians.", [("cos(0)", "cast(1 as float64)")]) { cos($0) },
        float("tan", "The tangent of x in radians.", [("tan(0)", "cast(0 as float64)")]) { tan($0) },
        float(
            "asin", "The angle whose sine is x.", [("asin(0)", "cast(0 as float64)")],
            valid: { $0.magnitude <= 1 || $0.isNaN }
        ) { asin($0) },
        float(
            "acos", "The angle whose cosine is x.", [("acos(1)", "cast(0 as float64)")],
            valid: { $0.magnitude <= 1 || $0.isNaN }
        ) { acos($0) },
        float("atan", "The angle whose tangent is x.", [("atan(0)", "cast(0 as float64)")]) { atan($0) },
        float("radians", "Degrees in radians.", [("radians(0)", "cast(0 as float64)")]) { $0 * .pi / 180 },
        float("degrees", "Radians in degrees.", [("degrees(0)", "cast(0 as float64)")]) { $0 * 180 / .pi },
        Function(
            "power", "power(x, y)", 2...2, "x to the power of y, as float64.",
            [("power(2, 10)", "cast(1024 as float64)")]
        ) { site throws(ExpressionError) in
            site.call(.float64, [try site.plan(0, .float64), try site.plan(1, .float64)]) { a, rows, evaluation in
                let (x, y) = (a[0].operand(Double.self), a[1].operand(Double.self))
                let values: Values<Double> = map(x, y, rows) { pow($0, $1) }
                forEach(x, y, rows) { row, x, y in
                    if (x == 0 && y < 0) || (x < 0 && y != y.rounded() && y.isFinite) {
                        evaluation.fail(row, RowError(.invalidArgument, "power(\(x), \(y)) is no number"))
                    }
                }
                return Column(.float64, .float64(values))
            }
        },
        Function(
            "atan2", "atan2(y, x)", 2...2, "The angle of the point (x, y).", [("atan2(0, 1)", "cast(0 as float64)")]
        ) { site throws(ExpressionError) in
            site.call(.float64, [try site.plan(0, .float64), try site.plan(1, .float64)]) { a, rows, _ in
                Column(
                    .float64,
                    .float64(map(a[0].operand(Double.self), a[1].operand(Double.self), rows) { atan2($0, $1) }))
            }
        },
        Function(
            "pi", "pi()", 0...0, "The number π.", [("round(pi(), 4)", "3.1416")]
        ) { site throws(ExpressionError) in site.value(.constant(.float64([.pi])), nullable: false) },
        Function(
            "mod", "mod(x, y)", 2...2, "The remainder of x / y, with the sign of x; the same as `x % y`.",
            [("mod(-7, 3)", "-1")]
        ) { site throws(ExpressionError) in
            try site.checker.arithmetic(.modulo, site.arguments[0], site.arguments[1], site.expression)
        },
        Function(
            "is_nan", "is_nan(x)", 1...1, "Whether a float is no number.", [("is_nan(cast('NaN' as float64))", "true")]
        ) { site throws(ExpressionError) in
            site.call(.bool, [try site.plan(0, .float64)]) { a, rows, _ in
                let values = a[0].operand(Double.self)
                return Column(.bool, .bool(mapBits(values, values, rows) { x, _ in x.isNaN }))
            }
        },
    ]

    static func number(_ site: CallSite, _ index: Int) throws(ExpressionError) -> Plan {
        let plan = try site.plan(index, nullAs: .int64)
        guard plan.type.isNumeric else {
            throw site.error(
                index, "argument \(index + 1) of \(site.function.name) must be a number, found \(plan.type)",
                hint: plan.type == .string
                    ? "write cast(\(site.arguments[index].expression) as float64), or another number" : nil)
        }
        return plan
    }

    private static func absolute<T: FixedElement & FixedWidthInteger & SignedInteger>(
        _: T.Type, _ type: DataType
    ) -> Kernel {
        { arguments, rows, evaluation in
            let source = arguments[0].operand(T.self)
            var failed = false
            let values: Values<T> = map(source, rows) { value in
                failed = failed || value == T.min
                return value < 0 ? 0 &- value : value
            }
            if failed {
                forEach(source, source, rows) { row, value, _ in
                    if value == T.min { evaluation.fail(row, Arithmetic.overflow(type, "abs(\(value))")) }
                }
            }
            return Column(type, T.storage(values))
        }
    }

    /// A function of one float; rows for which `valid` is false fail.
    private static func float(
        _ name: String, _ summary: String, _ examples: [(call: String, value: String)],
        valid: (@Sendable (Double) -> Bool)? = nil, _ compute: @escaping @Sendable (Double) -> Double
    ) -> Function {
        Function(name, "\(name)(x)", 1...1, summary, examples) { site throws(ExpressionError) in
            site.call(.float64, [try site.plan(0, .float64)]) { arguments, rows, evaluation in
                let source = arguments[0].operand(Double.self)
                if let valid {
                    forEach(source, source, rows) { row, value, _ in
                        if !valid(value) {
                            evaluation.fail(row, RowError(.invalidArgument, "\(name)(\(value)) is no number"))
                        }
                    }
                }
                return Column(.float64, .float64(map(source, rows, compute)))
            }
        }
    }

    private static func rounding(
        _ name: String, _ summary: String, _ examples: [(call: String, value: String)],
        _ rule: FloatingPointRoundingRule
    ) -> Function {
        let takesDigits = name == "round" || name == "trunc"
        return Function(
            name, takesDigits ? "\(name)(x [, digits])" : "\(name)(x)", takesDigits ? 1...2 : 1...1, summary, examples
        ) {
            site throws(ExpressionError) in
            let plan = try number(site, 0)
            let digits = site.count > 1 ? try site.plan(1, .int64) : .constant(.int64([0]))
            let type = plan.type
            switch type {
            case .int32, .int64: return try roundedInteger(site, plan, digits, rule)
            case .float32:
                return site.call(type, [plan, digits]) { a, rows, _ in
                    Column(
                        type,
                        .float32(
                            map(a[0].operand(Float.self), a[1].operand(Int64.self), rows) {
                                Float(rounded(Double($0), $1, rule))
                            }))
                }
            case .float64:
                return site.call(type, [plan, digits]) { a, rows, _ in
                    Column(
                        type,
                        .float64(
                            map(a[0].operand(Double.self), a[1].operand(Int64.self), rows) { rounded($0, $1, rule) }))
                }
            case .decimal(let precision, let scale):
                // A constant number of digits becomes the result's scale.
                var target = scale
                if let column = digits.constant, !column.isNull(0), let wanted = column.int64Values?[0] {
                    target = Int(max(0, min(wanted, Int64(scale))))
                }
                let result = Decimal.type(integerDigits: precision - scale + 1, scale: target)
                guard case .decimal(let resultPrecision, _) = result else { return site.value(plan) }
                return site.call(result, [plan, digits]) { [target] a, rows, evaluation in
                    let values = Values<Int128>(count: rows) { out in
                        forEach(a[0].operand(Int128.self), a[1].operand(Int64.self), rows) { row, value, digits in
                            let places = scale - Int(max(-38, min(digits, Int64(scale))))
                            let unit = Decimal.powers[min(places, 38)]
                            let whole = places > 38 ? 0 : divide(value, unit, rule)
                            // Back to the unit of the result.
                            let shift = places - (scale - target)
                            let (scaled, overflow) = whole.multipliedReportingOverflow(
                                by: Decimal.powers[max(0, min(shift, 38))])
                            out[row] = scaled
                            if overflow || scaled.magnitude >= Decimal.powers[resultPrecision].magnitude {
                                out[row] = 0
                                evaluation.fail(row, Arithmetic.overflow(result, name))
                            }
                        }
                    }
                    return Column(result, .decimal(values))
                }
            default: return site.value(plan)
            }
        }
    }

    private static func roundedInteger(
        _ site: CallSite, _ plan: Plan, _ digits: Plan, _ rule: FloatingPointRoundingRule
    ) throws(ExpressionError) -> Checked {
        if site.count == 1 { return site.value(plan) }
        let name = site.function.name
        return site.call(.int64, [try site.plan(0, .int64), digits]) { a, rows, evaluation in
            Column(
                .int64,
                .int64(
                    Values(count: rows) { out in
                        forEach(a[0].operand(Int64.self), a[1].operand(Int64.self), rows) { row, value, digits in
                            out[row] = value
                            if digits >= 0 { return }
                            let unit = Decimal.powers[Int(min(20, max(-20, digits).magnitude))]
                            if let result = Int64(exactly: divide(Int128(value), unit, rule) * unit) {
                                out[row] = result
                            } else {
                                evaluation.fail(row, Arithmetic.overflow(.int64, name))
                            }
                        }
                    }))
        }
    }

    private static func divide(_ value: Int128, _ unit: Int128, _ rule: FloatingPointRoundingRule) -> Int128 {
        switch rule {
        case .up: value / unit + (value % unit > 0 ? 1 : 0)
        case .down: value / unit - (value % unit < 0 ? 1 : 0)
        case .towardZero: value / unit
        default: Decimal.divideRounding(value, unit)
        }
    }

    @inline(__always)
    private static func rounded(_ value: Double, _ digits: Int64, _ rule: FloatingPointRoundingRule) -> Double {
        if digits == 0 { return value.rounded(rule) }
        if digits > 0 {
            // Beyond these digits a double has nothing left to round.
            guard digits <= 22, value.magnitude < 1e15 else { return value }
            let scale = powersOfTen[Int(digits)]
            let scaled = (value * scale).rounded(rule)
            return scaled.isFinite ? scaled / scale : value
        }
        guard digits >= -22 else { return digits < -308 || value.magnitude < 1e22 ? 0 : value }
        let scale = powersOfTen[Int(-digits)]
        return (value / scale).rounded(rule) * scale
    }

    private static let powersOfTen: [Double] = [
        1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19,
        1e20,
        1e21, 1e22,
    ]
}
