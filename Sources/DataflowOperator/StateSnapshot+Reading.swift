public import DataflowColumnar

extension [StateTable] {
    /// The batches of a table, checked to be what the operator writes now; none where the snapshot is empty.
    ///
    /// - Parameters:
    ///   - name: the table's name.
    ///   - version: the version that the operator reads.
    ///   - schema: what its rows look like; names and types must be the same.
    /// - Throws: of domain `user` when the node was configured otherwise, or run by a newer release, when the checkpoint
    ///   was taken; the message says what to do.
    public func batches(_ name: String, version: UInt32 = 1, _ schema: Schema) throws(OperatorError) -> [RecordBatch] {
        guard let table = self[name] else {
            guard isEmpty else {
                throw OperatorError(
                    .user, .never, "state_mismatch",
                    "the checkpoint has the state \(map(\.name).joined(separator: ", ")), expected \(name): the node was configured otherwise when it was taken; give it another name or start with --restore none"
                )
            }
            return []
        }
        guard table.version == version else {
            throw OperatorError(
                .user, .never, "state_version",
                "the checkpoint's state \(name) has version \(table.version), expected \(version): it was written by another release"
            )
        }
        let wanted = schema.fields.map { "\($0.name) \($0.type)" }
        for batch in table.batches {
            let found = batch.schema.fields.map { "\($0.name) \($0.type)" }
            guard found == wanted else {
                throw OperatorError(
                    .user, .never, "state_mismatch",
                    "the checkpoint holds \(found.joined(separator: ", ")), expected \(wanted.joined(separator: ", ")): the node's settings or its input have changed; give it another name or start with --restore none"
                )
            }
        }
        return table.batches
    }
}
