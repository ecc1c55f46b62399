public import DataflowColumnar

/// What a row of a stream means.
public enum StreamKind: Hashable, Sendable {
    /// Every row is a fact of its own.
    case append
    /// A later row replaces the earlier one with the same key; a row may delete its key (``RecordBatch/deletes``).
    /// The key is a list of column names.
    case upsert(key: [String])

    /// The key of an upsert stream, or nil.
    public var key: [String]? { if case .upsert(let key) = self { key } else { nil } }
}

/// All that is known of an edge before it runs: columns, meaning, and whether event time flows on it.
public struct Stream: Hashable, Sendable {
    public var schema: Schema
    public var kind: StreamKind
    /// False where an upsert stream never deletes a key; always false for append streams.
    public var deletes: Bool
    /// The timestamp column whose watermarks flow with the rows; nil where no event time has been declared upstream.
    public var eventTime: String?
    /// What `from` calls it (`orders`, `orders.late`), for operators that tell their inputs apart
    /// (``OperatorInfo/separatesInputs``); else nil.
    public var name: String?

    public init(
        _ schema: Schema, kind: StreamKind = .append, deletes: Bool = false, eventTime: String? = nil,
        name: String? = nil
    ) {
        self.schema = schema
        self.kind = kind
        self.deletes = deletes
        self.eventTime = eventTime
        self.name = name
    }
}

/// Names of columns, or all of them: what a consumer uses of a stream.
public enum ColumnSet: Hashable, Sendable {
    case all
    case some(Set<String>)

    /// Whether the column of that name is in the set.
    public func contains(_ name: String) -> Bool {
        switch self {
        case .all: true
        case .some(let names): names.contains(name)
        }
    }

    /// Columns that are in one set or the other.
    public func union(_ other: ColumnSet) -> ColumnSet {
        if case .some(let left) = self, case .some(let right) = other { .some(left.union(right)) } else { .all }
    }

    /// The set with more names.
    public func union(_ names: some Sequence<String>) -> ColumnSet { union(.some(Set(names))) }
}
