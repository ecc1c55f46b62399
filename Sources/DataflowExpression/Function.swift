import DataflowColumnar

/// A call of a function whose arguments have been checked: what a function's `resolve` works with.
struct CallSite {
    let checker: Checker
    let function: Function
    let arguments: [Checked]
    let expression: Expression

    var count: Int { arguments.count }

    func error(_ index: Int? = nil, _ message: String, hint: String? = nil) -> ExpressionError {
        checker.error(index.map { arguments[$0].expression } ?? expression, message, hint: hint)
    }

    /// The argument as a value of `type`, converted where that loses nothing.
    func plan(_ index: Int, _ type: DataType) throws(ExpressionError) -> Plan {
        try checker.coerce(arguments[index], to: type, "argument \(index + 1) of \(function.name) must be \(type)")
    }

    /// The argument's plan whatever its type; `null` takes `fallback`.
    func plan(_ index: Int, nullAs fallback: DataType) throws(ExpressionError) -> Plan {
        if case .null = arguments[index].content { return try plan(index, fallback) }
        return try checker.value(arguments[index])
    }

    /// The argument's list and element types.
    func list(_ index: Int) throws(ExpressionError) -> (plan: Plan, element: DataType) {
        if case .emptyArray = arguments[index].content { return (try plan(index, .list(.string)), .string) }
        guard let plan = arguments[index].plan, case .list(let element) = plan.type else {
            throw error(
                index, "argument \(index + 1) of \(function.name) must be a list, found \(arguments[index].typeName)")
        }
        return (plan, element)
    }

    /// The text of an argument that must be known before anything runs.
    func constantText(_ index: Int, _ what: String) throws(ExpressionError) -> String {
        guard let column = try plan(index, .string).constant, !column.isNull(0),
            case .string(let text) = column.value(at: 0)
        else { throw error(index, "\(what) must be a constant text") }
        return text
    }

    /// The result of a kernel; computed now if the arguments are constant.
    func call(
        _ type: DataType, _ plans: [Plan], isStrict: Bool = true, nullable: Bool? = nil, _ kernel: @escaping Kernel
    ) -> Checked {
        let plan = Checker.fold(PlannedCall(type: type, arguments: plans, isStrict: isStrict, kernel: kernel))
        return value(plan, nullable: nullable)
    }

    /// A result with its nullability: by default that of the arguments.
    func value(_ plan: Plan, nullable: Bool? = nil) -> Checked {
        Checked(
            content: .value(plan), nullable: nullable ?? arguments.contains(where: \.nullable), expression: expression)
    }
}

/// A function of the language.
struct Function: Sendable {
    enum Body: Sendable {
        case plain(@Sendable (CallSite) throws(ExpressionError) -> Checked)
        case lambda(PlannedLambda.Function)
    }

    static let anyNumber = 1000

    let name: String
    /// How it is called, e.g. `substr(text, start [, length])`.
    let signature: String
    /// What it does, in a sentence for the reference page.
    let summary: String
    /// Calls and their values as SQL literals: shown on the reference page and checked by the tests.
    let examples: [(call: String, value: String)]
    let arity: ClosedRange<Int>
    let body: Body

    init(
        _ name: String, _ signature: String, _ arity: ClosedRange<Int>, _ summary: String,
        _ examples: [(call: String, value: String)],
        _ resolve: @escaping @Sendable (CallSite) throws(ExpressionError) -> Checked
    ) {
        self.name = name
        self.signature = signature
        self.summary = summary
        self.examples = examples
        self.arity = arity
        body = .plain(resolve)
    }

    init(
        lambda name: String, _ signature: String, _ summary: String, _ examples: [(call: String, value: String)],
        _ function: PlannedLambda.Function
    ) {
        self.name = name
        self.signature = signature
        self.summary = summary
        self.examples = examples
        arity = 2...2
        body = .lambda(function)
    }

    /// The functions by section of the reference page.
    static let sections: [(title: String, functions: [Function])] = [
        ("Conditions", conditionFunctions),
        ("Text", textFunctions),
        ("Regular expressions", patternFunctions),
        ("Numbers", mathFunctions),
        ("Lists", listFunctions),
        ("Maps", mapFunctions),
        ("Time", timeFunctions),
        ("JSON and addresses", dataFunctions),
        ("Hashes and encodings", encodingFunctions),
    ]

    static let all: [Function] = sections.flatMap(\.functions)

    static let named: [String: Function] = Dictionary(
        all.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })

    /// Second names that are read; printing gives the first one.
    static let synonyms: [String: String] = [
        "substring": "substr", "cardinality": "size", "array_length": "size", "char_length": "length",
        "character_length": "length", "pow": "power", "ceiling": "ceil",
    ]

    /// What other systems call them.
    static let otherNames: [String: String] = [
        "ifnull": "coalesce(a, b)", "nvl": "coalesce(a, b)",
        "isnull": "x is null", "if": "case when … then … else … end", "iff": "case when … then … else … end",
        "len": "length(text)", "ucase": "upper(text)", "lcase": "lower(text)",
        "startswith": "starts_with(text, prefix)", "endswith": "ends_with(text, suffix)",
        "array_contains": "contains(list, value)", "list_contains": "contains(list, value)",
        "array_distinct": "list_distinct(list)", "array_sort": "list_sort(list)",
        "array_join": "list_join(list, separator)",
        "array_to_string": "list_join(list, separator)", "list_filter": "filter(list, x -> …)",
        "list_transform": "transform(list, x -> …)", "list_element": "element_at(list, index)",
        "regexp_matches": "regexp_like(text, pattern)", "regexp_match": "regexp_like(text, pattern)",
        "regexp_substr": "regexp_extract(text, pattern)", "rlike": "regexp_like(text, pattern)",
        "current_timestamp": "now()", "datediff": "date_diff(unit, from, to)", "date_format": "strftime(time, format)",
        "to_char": "strftime(time, format)", "format_timestamp": "strftime(time, format)",
        "instr": "strpos(text, part)", "locate": "strpos(text, part)", "char": "chr(code)",
        "year": "extract(year from x)",
        "month": "extract(month from x)", "day": "extract(day from x)", "hour": "extract(hour from x)",
        "get_json_object": "json_value(text, path)", "json_extract_scalar": "json_value(text, path)",
        "to_unixtime": "epoch(time)", "unix_timestamp": "epoch(time)", "to_date": "cast(x as date)",
        "map_contains_key": "map_contains(map, key)", "map_extract": "map_get(map, key)",
        "map_entries": "the map itself: it is a list of structs", "map": "map_from_lists(keys, values)",
        "map_concat": "a || b: of equal keys the last one counts", "split_index": "split_part(text, separator, n)",
        "json_object_keys": "map_keys(json_entries(text))", "json_keys": "map_keys(json_entries(text))",
        "json_exists": "json_query(text, path) is not null", "parse_url": "url_host(url), url_path(url) and so on",
        "hex": "to_hex(x)", "unhex": "from_hex(text)", "base64": "to_base64(x)", "unbase64": "from_base64(text)",
        "sha": "sha1(x)", "hash": "xxhash64(x)", "timestampdiff": "date_diff(unit, from, to)",
        "safe_cast": "try_cast(x as type)", "concat_list": "a || b",
    ]
}
