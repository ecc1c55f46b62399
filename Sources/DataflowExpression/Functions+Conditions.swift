import DataflowColumnar

extension Function {
    static let conditionFunctions: [Function] = [
        Function(
            "coalesce", "coalesce(a, b, …)", 1...anyNumber,
            "The first argument that is not null. Later ones are not computed where an earlier one has a value.",
            [("coalesce(null, 2, 3)", "2"), ("coalesce(null, null)", "null")]
        ) { site throws(ExpressionError) in
            let type = try site.checker.commonType(site.arguments, site.expression, "coalesce cannot mix")
            var plans: [Plan] = []
            for index in 0..<site.count { plans.append(try site.plan(index, type)) }
            let plan = plans.count == 1 ? plans[0] : Plan.coalesce(plans, type)
            let isConstant = plans.allSatisfy { $0.constant != nil }
            return site.value(
                isConstant ? Checker.constantValue(of: plan) : plan, nullable: site.arguments.allSatisfy(\.nullable))
        },
        Function(
            "nullif", "nullif(a, b)", 2...2, "Null where both are equal, else the first one.",
            [("nullif('none', 'none')", "null"), ("nullif(1, 2)", "1")]
        ) { site throws(ExpressionError) in
            let (a, b, type) = try site.checker.compared(site.arguments[0], site.arguments[1], site.expression)
            let own = try site.plan(0, nullAs: type)
            let equal = Comparison.equal.kernel(type)
            return site.call(own.type, [own, a, b], isStrict: false, nullable: true) { arguments, rows, evaluation in
                let value = arguments[0].expanded(rows)
                let same = Vector(equal([arguments[1], arguments[2]], rows, evaluation))
                let bothThere = Bitmap.bothValid(validity(arguments[1], rows), validity(arguments[2], rows))
                let bits = Bitmap.spread(same, rows)
                let kept = ~(bothThere.map { bits & $0 } ?? bits)
                return value.withValidity(Bitmap.bothValid(value.validity, kept))
            }
        },
        extreme(
            "greatest", "The largest argument; nulls are left out.", [("greatest(1, 3, null)", "3")], .greaterOrEqual),
        extreme("least", "The smallest argument; nulls are left out.", [("least('b', 'a')", "'a'")], .lessOrEqual),
        Function(
            "try", "try(x)", 1...1,
            "Null where computing the argument fails, instead of sending the row to the errors.",
            [("try(1 / 0)", "null"), ("try(6 / 3)", "2")]
        ) { site throws(ExpressionError) in
            let plan = try site.checker.value(site.arguments[0])
            if plan.constant != nil { return site.value(plan) }
            if case .failing(_, let type) = plan {
                return site.value(.constant(.nulls(type, count: 1)), nullable: true)
            }
            return site.value(.nullOnError(plan), nullable: true)
        },
    ]

    /// The nulls of a vector, one bit a row.
    static func validity(_ vector: Vector, _ rows: Int) -> Bitmap? {
        if vector.isConstant { return vector.isNullConstant ? Bitmap(repeating: false, count: rows) : nil }
        return vector.column.validity
    }

    private static func extreme(
        _ name: String, _ summary: String, _ examples: [(call: String, value: String)], _ comparison: Comparison
    ) -> Function {
        Function(name, "\(name)(a, b, …)", 1...anyNumber, summary, examples) { site throws(ExpressionError) in
            let type = try site.checker.commonType(site.arguments, site.expression, "\(name) cannot mix")
            guard type.isScalar else { throw site.error(nil, "values of type \(type) cannot be compared") }
            var plans: [Plan] = []
            for index in 0..<site.count { plans.append(try site.plan(index, type)) }
            let wins = comparison.kernel(type)
            return site.call(type, plans, isStrict: false, nullable: site.arguments.allSatisfy(\.nullable)) {
                arguments, rows, evaluation in
                var best = arguments[0].expanded(rows)
                for argument in arguments.dropFirst() {
                    // Keep the best one where it wins or the other is null, unless it is null itself.
                    var keeps = Bitmap.spread(Vector(wins([Vector(best), argument], rows, evaluation)), rows)
                    if let other = validity(argument, rows) { keeps = keeps | ~other }
                    if let own = best.validity { keeps = keeps & own }
                    best = Selection.choose(keeps, Vector(best), argument, rows)
                }
                return best
            }
        }
    }
}
