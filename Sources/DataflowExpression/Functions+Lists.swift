import DataflowColumnar

extension Function {
    static let listFunctions: [Function] = [
        Function(
            "size", "size(list)", 1...1, "The number of elements, null ones included.", [("size([1, null, 3])", "3")]
        ) { site throws(ExpressionError) in
            if site.arguments[0].type == .string {
                throw site.error(0, "size is for lists", hint: "write length(text)")
            }
            return site.call(.int64, [try site.list(0).plan], ListKernels.size)
        },
        Function(
            "element_at", "element_at(list, index)", 2...2,
            "The element at that position, the first at 0; null where there is none. The same as `list[index]`.",
            [("element_at(['a', 'b'], 1)", "'b'"), ("element_at(['a'], 5)", "null")]
        ) { site throws(ExpressionError) in
            try site.checker.element(site.arguments[0], site.arguments[1], site.expression)
        },
        Function(
            "first", "first(list)", 1...1, "The first element; null for an empty list.", [("first([1, 2])", "1")]
        ) { site throws(ExpressionError) in
            let (list, element) = try site.list(0)
            return site.call(element, [list], nullable: true, ListKernels.end(isFirst: true))
        },
        Function(
            "last", "last(list)", 1...1, "The last element; null for an empty list.", [("last([1, 2])", "2")]
        ) { site throws(ExpressionError) in
            let (list, element) = try site.list(0)
            return site.call(element, [list], nullable: true, ListKernels.end(isFirst: false))
        },
        Function(
            "list_position", "list_position(list, value)", 2...2,
            "The position of the first equal element, from 0; null where there is none.",
            [("list_position(['a', 'b'], 'b')", "1"), ("list_position([1], 2)", "null")]
        ) { site throws(ExpressionError) in
            let (list, element) = try scalarList(site, 0)
            return site.call(
                .int64, [list, try site.plan(1, element)], nullable: true, ListKernels.position(element))
        },
        Function(
            lambda: "filter", "filter(list, x -> condition)",
            "The elements for which the condition is true. With `(x, i) -> …` the position is known too.",
            [("filter([1, 2, 3], x -> x > 1)", "[2, 3]")], .filter),
        Function(
            lambda: "transform", "transform(list, x -> value)", "A list of the values computed from each element.",
            [
                ("transform([1, 2], x -> x * 10)", "[10, 20]"),
                ("transform(['a', 'b'], (x, i) -> x || i)", "['a0', 'b1']"),
            ],
            .transform),
        Function(
            lambda: "any_match", "any_match(list, x -> condition)", "Whether the condition is true for an element.",
            [("any_match([1, 2], x -> x = 2)", "true")], .anyMatch),
        Function(
            lambda: "all_match", "all_match(list, x -> condition)",
            "Whether the condition is true for all elements; true for an empty list.",
            [("all_match([1, 2], x -> x > 1)", "false")], .allMatch),
        Function(
            "list_distinct", "list_distinct(list)", 1...1, "Each value once, in the order of first occurrence.",
            [("list_distinct(['b', 'a', 'b'])", "['b', 'a']")]
        ) { site throws(ExpressionError) in
            let (list, _) = try scalarList(site, 0)
            return site.call(list.type, [list], ListKernels.distinct)
        },
        Function(
            "list_sort", "list_sort(list [, 'asc' or 'desc'])", 1...2, "The elements in order, nulls last.",
            [("list_sort([3, 1, 2])", "[1, 2, 3]"), ("list_sort([3, 1, 2], 'desc')", "[3, 2, 1]")]
        ) { site throws(ExpressionError) in
            let (list, _) = try scalarList(site, 0)
            var descending = false
            if site.count > 1 {
                let order = try site.constantText(1, "the order")
                guard order == "asc" || order == "desc" else { throw site.error(1, "the order is 'asc' or 'desc'") }
                descending = order == "desc"
            }
            return site.call(list.type, [list], ListKernels.sort(descending: descending))
        },
        Function(
            "list_slice", "list_slice(list, start [, count])", 2...3,
            "The elements from position `start` on (from the end where it is negative), at most `count`.",
            [("list_slice([1, 2, 3], 1)", "[2, 3]"), ("list_slice([1, 2, 3], -2, 1)", "[2]")]
        ) { site throws(ExpressionError) in
            let (list, _) = try site.list(0)
            var plans = [list, try site.plan(1, .int64)]
            if site.count > 2 { plans.append(try site.plan(2, .int64)) }
            return site.call(list.type, plans, ListKernels.slice)
        },
        Function(
            "list_join", "list_join(list, separator)", 2...2, "The elements as one text; nulls are left out.",
            [("list_join(['a', null, 'b'], '-')", "'a-b'"), ("list_join([1, 2], ',')", "'1,2'")]
        ) { site throws(ExpressionError) in
            let (list, element) = try scalarList(site, 0)
            guard element == .string || Casts.kernel(from: list.type, to: .list(.string)) != nil else {
                throw site.error(0, "list_join cannot write \(list.type)")
            }
            let texts =
                element == .string
                ? list
                : Checker.fold(
                    PlannedCall(
                        type: .list(.string), arguments: [list],
                        kernel: Casts.kernel(from: list.type, to: .list(.string)) ?? ListKernels.reverse))
            return site.call(.string, [texts, try site.plan(1, .string)], ListKernels.join)
        },
        Function(
            "flatten", "flatten(list)", 1...1, "A list of lists as one list; null lists inside are left out.",
            [("flatten([[1], [2, 3]])", "[1, 2, 3]")]
        ) { site throws(ExpressionError) in
            let (list, element) = try site.list(0)
            guard case .list = element else { throw site.error(0, "flatten needs a list of lists, found \(list.type)") }
            return site.call(element, [list], ListKernels.flatten)
        },
        extreme("list_min", "The smallest element; nulls are left out.", [("list_min([3, 1])", "1")], isLargest: false),
        extreme("list_max", "The largest element; nulls are left out.", [("list_max([3, 1])", "3")], isLargest: true),
        Function(
            "list_sum", "list_sum(list)", 1...1,
            "The sum of the elements, nulls left out: int64 for integers, decimal for decimals, else float64. Null for none.",
            [("list_sum([1, 2, null])", "3")]
        ) { site throws(ExpressionError) in
            let (list, element) = try numberList(site)
            let wide: DataType
            switch element {
            case .int32, .int64: wide = .int64
            case .decimal: wide = element
            default: wide = .float64
            }
            let kernel = ListKernels.sum(wide)
            let result: DataType
            if case .decimal(_, let scale) = wide {
                result = .decimal(precision: 38, scale: scale)
            } else {
                result = wide
            }
            return site.call(result, [try widened(site, list, wide)], nullable: true, kernel)
        },
        Function(
            "list_avg", "list_avg(list)", 1...1,
            "The average of the elements as float64, nulls left out. Null for none.",
            [("list_avg([1, 2])", "1.5")]
        ) { site throws(ExpressionError) in
            let (list, _) = try numberList(site)
            return site.call(.float64, [try widened(site, list, .float64)], nullable: true, ListKernels.average)
        },
    ]

    private static func numberList(_ site: CallSite) throws(ExpressionError) -> (Plan, DataType) {
        let (list, element) = try site.list(0)
        guard element.isNumeric else {
            throw site.error(0, "\(site.function.name) needs a list of numbers, found \(list.type)")
        }
        return (list, element)
    }

    private static func widened(
        _ site: CallSite, _ list: Plan, _ element: DataType
    ) throws(ExpressionError) -> Plan {
        if list.type == .list(element) { return list }
        guard let kernel = Casts.kernel(from: list.type, to: .list(element)) else {
            throw site.error(0, "\(site.function.name) cannot use \(list.type)")
        }
        return Checker.fold(PlannedCall(type: .list(element), arguments: [list], kernel: kernel))
    }

    private static func extreme(
        _ name: String, _ summary: String, _ examples: [(call: String, value: String)], isLargest: Bool
    ) -> Function {
        Function(name, "\(name)(list)", 1...1, summary, examples) { site throws(ExpressionError) in
            let (list, element) = try scalarList(site, 0)
            return site.call(element, [list], nullable: true, ListKernels.extreme(isLargest: isLargest))
        }
    }
}
