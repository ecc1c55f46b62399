public import DataflowOperator

/// The settings of a `top-n` node.
public struct TopNConfig: OperatorConfig {
    public var partitionBy: [Located<String>] = []
    public var orderBy: [OrderText] = []
    public var n = 0
    public var ties = Ties.breaking
    public var emit = Emission.every(.seconds(1))

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField(
            "partition_by", \.partitionBy, .definesState,
            "Columns: each of their values has a top of its own. Null is a value. Without it there is one top.",
            examples: [["main_category"]])
        ConfigField(
            "order_by", \.orderBy, [.required, .definesState],
            "Columns, the best first: `sugar desc`, `name`. Nulls come last unless `nulls first` is written; ties are broken by the remaining columns, ascending; text is ordered by bytes."
        )
        ConfigField("n", \.n, [.required, .definesState], "How many rows are kept of each partition.") {
            $0 >= 1 && $0 <= 1_000_000 ? nil : "must lie between 1 and 1000000"
        }
        ConfigField(
            "ties", \.ties, .definesState,
            "`break`: exactly n rows, with ranks 1 to n (SQL's ROW_NUMBER). `include`: also every row that is equal to the n-th in `order_by`, and rows that are equal have the same rank (SQL's RANK)."
        )
        ConfigField(
            "emit", \.emit,
            "`on_close`: each partition leaves once, when its rows are final; needs the event time in `partition_by`. Or the shortest time between two updates of a top that goes on changing; before a checkpoint every change is sent."
        )
    }

    public func validate() -> [Diagnostic] {
        orderBy.isEmpty
            ? [.error(field: "order_by", "`order_by` is empty, expected at least one column such as `price desc`")] : []
    }
}

/// `ties:` of a top-n: what becomes of rows that are equal to the n-th.
public enum Ties: String, ConfigEnum {
    case breaking = "break"
    case including = "include"
}
