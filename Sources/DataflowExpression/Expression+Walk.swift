extension Expression {
    /// The expressions that this one consists of, in the order of the text.
    public var children: [Expression] { Expression.children(of: kind) }

    static func children(of kind: Kind) -> [Expression] {
        switch kind {
        case .literal, .name: []
        case .field(let base, _): [base]
        case .element(let base, let index): [base, index]
        case .unary(_, let operand): [operand]
        case .binary(_, let left, let right): [left, right]
        case .test(let operand, _, _): [operand]
        case .distinct(let left, let right, _): [left, right]
        case .between(let operand, let low, let high, _): [operand, low, high]
        case .oneOf(let operand, let options, _): [operand] + options
        case .like(let operand, let pattern, let escape, _, _):
            [operand, pattern] + (escape.map { [$0] } ?? [])
        case .choice(let operand, let branches, let otherwise):
            (operand.map { [$0] } ?? []) + branches.flatMap { [$0.condition, $0.result] }
                + (otherwise.map { [$0] } ?? [])
        case .cast(let operand, _, _): [operand]
        case .call(_, let arguments): arguments
        case .lambda(_, let body): [body]
        case .array(let elements): elements
        case .structure(let members): members.map(\.value)
        }
    }

    /// The names of columns that the expression mentions (not those of lambda parameters), without repetition.
    public var columnNames: Set<String> {
        switch kind {
        case .name(let name): [name]
        case .lambda(let parameters, let body): body.columnNames.subtracting(parameters)
        default: children.reduce(into: []) { $0.formUnion($1.columnNames) }
        }
    }

    /// The name when the expression is a bare column (or ends in a struct field): what an unnamed result is called.
    public var suggestedName: String? {
        switch kind {
        case .name(let name): name
        case .field(_, let member): member
        default: nil
        }
    }
}
