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
