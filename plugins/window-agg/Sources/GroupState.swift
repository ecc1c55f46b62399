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
    ///
    /// - Parameter hash: what decides a group's key group: the hash of its columns in the exchange. Nil: of all its keys.
    func batch(
        _ groups: GroupedAggregates, _ ids: UnsafeBufferPointer<Int32>, hash: ((Int32) -> UInt64)? = nil
    ) -> RecordBatch {
        let keyGroups = Values<Int32>(count: ids.count) { target in
            for i in 0..<ids.count {
                target[i] = KeyGroup.of(hash: hash?(ids[i]) ?? groups.table.keys.hash(ids[i]))
            }
        }
        return RecordBatch(
            schema, [Column(.int32, .int32(keyGroups))] + groups.table.keys.columns(ids) + groups.states(ids),
            rowCount: ids.count)
    }

    /// Puts groups of a checkpoint in.
    /// - Returns: their numbers.
    func restore(_ batch: RecordBatch, into groups: GroupedAggregates) -> [Int32] {
        let ids = groups.groups(Array(batch.columns[1..<1 + groupCount]), count: batch.rowCount)
        ids.withUnsafeBufferPointer { groups.merge(batch.columns[(1 + groupCount)...], $0) }
        return ids
    }
}
