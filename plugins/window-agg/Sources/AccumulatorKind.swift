import DataflowOperator

/// Aggregates that share one accumulator: `sum` and `avg`, or the two of `bool_and` and `bool_or`.
enum AggregateFamily: Sendable, Hashable {
    case count, sum, min, max, first, last, any, boolean, minBy, maxBy, distinct, mode
    case variance, distinctSketch, quantiles
    case collect(CollectRule)
    case top(count: Int, counters: Int)

    /// What its argument must be, for messages.
    var wanted: String {
        switch self {
        case .boolean: "a bool"
        case .collect: "a string"
        default: "a number"
        }
    }

    /// Whether rows can be taken out again: not where their order counts, nor out of a sketch that keeps maxima.
    var retracts: Bool {
        switch self {
        case .first, .last, .distinctSketch: false
        case .collect(let rule): !rule.order.isEmpty
        case .count, .sum, .min, .max, .any, .boolean, .minBy, .maxBy, .distinct, .mode, .variance, .quantiles, .top:
            true
        }
    }
}

/// How an aggregate is computed for arguments of given types.
enum AccumulatorKind: Sendable, Hashable {
    case count
    case boolean
    case integerSum
    case decimalSum(scale: Int)
    case floatSum
    case extreme(DataType, isMax: Bool)
    case tuple([DataType], TupleRule)
    case multiset([DataType], MultisetRule)
    case integerVariance(scale: Int)
    case floatVariance(scale: Int)
    case list(DataType, CollectRule)
    case summary([DataType], SummaryRule, retracts: Bool)
    case distinctSketch
    case quantileSketch(scale: Int)

    /// - Parameters:
    ///   - types: of the accumulator's columns; for `min_by` and `max_by` the ordering one first.
    ///   - retracts: whether rows will be taken back.
    /// - Returns: nil where the family does not take such arguments.
    init?(_ family: AggregateFamily, _ types: [DataType], retracts: Bool) {
        let ascending = types.indices.map { RowOrdering.Term(column: $0) }
        func extreme(_ terms: [RowOrdering.Term]) -> AccumulatorKind {
            retracts ? .multiset(types, .best(terms)) : .tuple(types, .best(terms))
        }
        switch family {
        case .count: self = .count
        case .distinct: self = .multiset(types, .distinct)
        case .mode: self = .multiset(types, .mode(ascending))
        case .boolean:
            guard types == [.bool] else { return nil }
            self = .boolean
        case .sum:
            switch types[0] {
            case .int32, .int64: self = .integerSum
            case .float32, .float64: self = .floatSum
            case .decimal(_, let scale): self = .decimalSum(scale: scale)
            default: return nil
            }
        case .min, .max:
            let isMax = family == .max
            switch types[0] {
            case .int32, .int64, .float32, .float64, .timestamp, .date:
                self =
                    retracts
                    ? .multiset(types, .best([RowOrdering.Term(column: 0, descending: isMax)]))
                    : .extreme(types[0], isMax: isMax)
            case .bool, .decimal, .string, .bytes, .list, .structure:
                self = extreme([RowOrdering.Term(column: 0, descending: isMax)])
            }
        case .minBy, .maxBy:
            self = extreme([RowOrdering.Term(column: 0, descending: family == .maxBy), RowOrdering.Term(column: 1)])
        case .first, .any: self = retracts ? .multiset(types, .best(ascending)) : .tuple(types, .first)
        case .last: self = .tuple(types, .last)
        case .variance:
            switch types[0] {
            case .int32, .int64: self = .integerVariance(scale: 0)
            case .decimal(let precision, let scale):
                self = precision <= 18 ? .integerVariance(scale: scale) : .floatVariance(scale: scale)
            case .float32, .float64: self = .floatVariance(scale: 0)
            default: return nil
            }
        case .quantiles:
            guard types[0].isNumeric else { return nil }
            self =
                if case .decimal(_, let scale) = types[0] { .quantileSketch(scale: scale) } else {
                    .quantileSketch(scale: 0)
                }
        case .distinctSketch: self = .distinctSketch
        case .collect(let rule):
            guard rule.separator == nil || types[0] == .string else { return nil }
            self = rule.order.isEmpty ? .list(types[0], rule) : .summary(types, .collect(rule), retracts: retracts)
        case .top(let count, let counters):
            self = .summary(types, .top(count: count, counters: counters), retracts: retracts)
        }
    }

    /// The partial state's columns: what stands behind the accumulator's number in their names, and types.
    var stateFields: [(suffix: String, type: DataType)] {
        switch self {
        case .count: [("count", .int64)]
        case .boolean: [("true", .int64), ("false", .int64)]
        case .integerSum: [("sum", .decimal(precision: 38, scale: 0)), ("count", .int64)]
        case .decimalSum(let scale):
            [("sum", .decimal(precision: 38, scale: scale)), ("carry", .int64), ("count", .int64)]
        case .floatSum: [("sum", .float64), ("rest", .float64), ("count", .int64)]
        case .extreme(let type, let isMax): [(isMax ? "max" : "min", type)]
        case .tuple(let types, _): types.enumerated().map { ("value\($0)", $1) }
        case .multiset(let types, _): [("values", MultisetAccumulator.stateType(types))]
        case .integerVariance(let scale):
            [
                ("sum", .decimal(precision: 38, scale: scale)), ("squares", .decimal(precision: 38, scale: 0)),
                ("carry", .int64), ("count", .int64),
            ]
        case .floatVariance(let scale): FloatVarianceAccumulator.fields(scale: scale)
        case .list(let type, _): [("list", .list(type)), ("beyond", .int64)]
        case .summary(let types, _, _): SummaryAccumulator.stateFields(types)
        case .distinctSketch: [(DistinctSketchAccumulator.stateSuffix, .bytes)]
        case .quantileSketch: [(QuantileSketchAccumulator.stateSuffix, .bytes)]
        }
    }

    /// The arguments' types of an accumulator whose partial state has these types: for the stage behind the exchange,
    /// which sees partial states only. (An int32 sum comes back as int64: both are summed alike.)
    static func argumentTypes(_ family: AggregateFamily, state: [DataType]) -> [DataType] {
        switch family {
        case .count: []
        case .boolean: [.bool]
        case .sum: state.count == 2 ? [.int64] : [state[0]]
        case .min, .max, .first, .last, .any, .minBy, .maxBy: state
        case .variance:
            switch (state.count, state[0]) {
            case (4, .decimal(_, let scale)): [.decimal(precision: 18, scale: scale)]
            case (_, .decimal): [state[0]]
            default: [.float64]
            }
        case .quantiles: [.float64]
        case .distinctSketch: []
        case .collect(let rule) where rule.order.isEmpty: if case .list(let type) = state[0] { [type] } else { [] }
        case .distinct, .mode, .collect, .top:
            if case .list(.structure(let members)) = state[0] { members.dropLast().map(\.type) } else { [] }
        }
    }

    /// The type of what `finish` asks for.
    func resultType(_ finish: AggregateFinish) -> DataType {
        switch self {
        case .count: .int64
        case .boolean: .bool
        case .integerSum: finish == .average ? .float64 : .int64
        case .decimalSum(let scale): .decimal(precision: 38, scale: finish == .average ? Swift.max(scale, 6) : scale)
        case .floatSum: .float64
        case .extreme(let type, _): type
        case .tuple(let types, _): if case .member(let index) = finish { types[index] } else { types[0] }
        case .multiset(let types, _):
            switch finish {
            case .distinctCount: .int64
            case .distinct(let family, let inner):
                AccumulatorKind(family, types, retracts: false)?.resultType(inner) ?? types[0]
            case .member(let index): types[index]
            default: types[0]
            }
        case .integerVariance, .floatVariance, .quantileSketch: .float64
        case .distinctSketch: .int64
        case .list(let type, let rule): rule.resultType(type)
        case .summary(let types, .collect(let rule), _): rule.resultType(types[0])
        case .summary(let types, .top, _): SummaryAccumulator.topType(types[0])
        }
    }

    /// A new, empty accumulator.
    func make() -> any Accumulator {
        switch self {
        case .count: CountAccumulator()
        case .boolean: BooleanAccumulator()
        case .integerSum: IntegerSumAccumulator()
        case .decimalSum(let scale): DecimalSumAccumulator(scale: scale)
        case .floatSum: FloatSumAccumulator()
        case .extreme(let type, let isMax): ExtremeAccumulator(type, isMax: isMax)
        case .tuple(let types, let rule): TupleAccumulator(types, rule)
        case .multiset(let types, let rule): MultisetAccumulator(types, rule)
        case .integerVariance(let scale): IntegerVarianceAccumulator(scale: scale)
        case .floatVariance(let scale): FloatVarianceAccumulator(scale: scale)
        case .list(let type, let rule): ListAccumulator(type, rule)
        case .summary(let types, let rule, let retracts): SummaryAccumulator(types, rule, retracts: retracts)
        case .distinctSketch: DistinctSketchAccumulator()
        case .quantileSketch(let scale): QuantileSketchAccumulator(scale: scale)
        }
    }

    /// Whether it can answer: `sum(distinct x)` shares its state with `count(distinct x)`, but not of text.
    func gives(_ finish: AggregateFinish) -> Bool {
        guard case .multiset(let types, _) = self, case .distinct(let family, _) = finish else { return true }
        return AccumulatorKind(family, types, retracts: false) != nil
    }
}
