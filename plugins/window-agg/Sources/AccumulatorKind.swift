import DataflowOperator

/// Aggregates that share one accumulator: `sum` and `avg`, or the two of `bool_and` and `bool_or`.
enum AggregateFamily: Sendable, Hashable {
    case count, sum, min, max, first, last, any, boolean, minBy, maxBy, distinct, mode

    /// How many arguments it takes (`count(*)` apart).
    var argumentCount: Int {
        switch self {
        case .minBy, .maxBy: 2
        default: 1
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
        case .distinct, .mode:
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
            if finish == .distinctCount {
                .int64
            } else if case .member(let index) = finish {
                types[index]
            } else {
                types[0]
            }
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
        }
    }
}
