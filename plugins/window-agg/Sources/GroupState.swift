import DataflowOperator

/// Groups and their partial states as rows of a state table.
struct GroupState {
    static let keyGroup = Field("key_group", .int32, nullable: false)
    let schema: Schema
    let groupCount: Int

    init(_ groupFields: [Field], _ layout: AggregateLayout) {
        schema = Schema([GroupState.keyGroup] + groupFields + layout.stateFields)
        groupCount = groupFields.count
    }

    /// The groups of these numbers. Shares long text with the table.
    func batch(_ groups: GroupedAggregates, _ ids: UnsafeBufferPointer<Int32>) -> RecordBatch {
        batch(groups.table.keys.columns(ids), groups.states(ids), groups.table.hashes(ids))
    }

    /// Group columns with their states.
    ///
    /// - Parameter hashes: what decides a row's key group: the hash of its columns in the exchange.
    func batch(_ groups: [Column], _ states: [Column], _ hashes: Values<UInt64>) -> RecordBatch {
        let keyGroups = Values<Int32>(count: hashes.count) { target in
            for i in 0..<hashes.count { target[i] = KeyGroup.of(hash: hashes[i]) }
        }
        return RecordBatch(schema, [Column(.int32, .int32(keyGroups))] + groups + states, rowCount: hashes.count)
    }

    /// Puts groups of a checkpoint in.
    /// - Returns: their numbers.
    func restore(_ batch: RecordBatch, into groups: GroupedAggregates) -> [Int32] {
        let ids = groups.groups(Array(batch.columns[1..<1 + groupCount]), count: batch.rowCount)
        ids.withUnsafeBufferPointer { groups.merge(batch.columns[(1 + groupCount)...], $0) }
        return ids
    }
}

/// Columns of the states of single rows that say nothing: they are made once, and neither exchange nor merge copies them.
enum UniformStates {
    private static let count = 2 * RecordBatch.defaultRowCount
    private static let manyOnes = Values<Int64>.uniform(1, count: count)
    private static let manyZeros = Values<Double>.uniform(0, count: count)

    /// 1 for each row.
    static func ones(_ count: Int) -> Values<Int64> {
        count <= self.count ? manyOnes.slice(0..<count) : Values(repeating: 1, count: count)
    }

    /// 0 for each row.
    static func zeros(_ count: Int) -> Values<Double> {
        count <= self.count ? manyZeros.slice(0..<count) : Values(repeating: 0, count: count)
    }
}
