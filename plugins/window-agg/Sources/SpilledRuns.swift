import DataflowOperator

/// State of groups in files, the oldest first: what was in memory each time it was full.
///
/// Rows are group columns and partial states, with `columnsBehind` more; by key group and, in each, by a number (`part`) that
/// the stage gives them.
final class SpilledRuns {
    /// The name of the state table.
    static let table = "spilled"
    /// With more runs, the latest are merged.
    static let maxRuns = 32
    /// Parts of a key group that are put together one at a time, at the most.
    private static let maxSplits = 1 << 12

    let schema: Schema
    /// The columns by which groups are told apart within a part.
    let keys: Range<Int>
    let layout: AggregateLayout
    private let context: OperatorContext
    private let memory: MemoryBudget?
    var files: [StateTable.File]

    /// - Parameters:
    ///   - schema: window columns, those of `keys`, partial states, and what the stage adds.
    ///   - memory: nil where files are only read.
    init(
        _ schema: Schema, keys: Range<Int>, _ layout: AggregateLayout, _ context: OperatorContext,
        _ memory: MemoryBudget?, _ files: [StateTable.File]
    ) {
        self.schema = schema
        self.keys = keys
        self.layout = layout
        self.context = context
        self.memory = memory
        self.files = files
    }

    var keyTypes: [DataType] { keys.map { schema.fields[$0].type } }
    /// Where the partial states stand.
    var states: Range<Int> { keys.upperBound..<keys.upperBound + layout.stateFields.count }

    /// The state: the files, as they are now.
    var snapshot: StateTable {
        StateTable(SpilledRuns.table, distribution: .keyGroup(column: 0), [], files: files)
    }

    // MARK: Writing

    func makeFile() throws(OperatorError) -> SpillFileWriter {
        guard let memory else { preconditionFailure("state is put on disk without a memory budget") }
        return try memory.makeFile()
    }

    /// Adds a run that has been written.
    func append(_ writer: SpillFileWriter, mark: Int = 0) throws(OperatorError) {
        let file = try writer.finish()
        context.counters.add(spilledBytes: writer.byteCount)
        let owned = KeyGroup.range(of: context.subtask, parallelism: context.parallelism)
        files.append(StateTable.File(file, keyGroups: owned, mark: mark))
    }

    /// Groups in the order of their key groups, otherwise in that of `ids`, and where each key group begins.
    static func sorted(_ ids: [Int32], by keyGroups: [UInt8]) -> (ids: [Int32], starts: [Int]) {
        var ends = [Int](repeating: 0, count: KeyGroup.count + 1)
        for keyGroup in keyGroups { ends[Int(keyGroup) + 1] += 1 }
        for group in 0..<KeyGroup.count { ends[group + 1] += ends[group] }
        let starts = ends
        let sorted = [Int32](unsafeUninitializedCapacity: ids.count) { sorted, count in
            for i in 0..<ids.count {
                let group = Int(keyGroups[i])
                sorted[ends[group]] = ids[i]
                ends[group] += 1
            }
            count = ids.count
        }
        return (sorted, starts)
    }

    /// Where there are many runs: the first of those at the end that are to be merged, from the first one on that is not larger
    /// than all behind it together. So a group is written again only when the run it is in doubles.
    var firstToMerge: Int? {
        guard files.count > SpilledRuns.maxRuns else { return nil }
        var first = files.count - 2
        var behind = 0
        for index in stride(from: files.count - 1, to: 0, by: -1) {
            behind += files[index].contents.byteCount
            if files[index - 1].contents.byteCount <= behind { first = index - 1 }
        }
        return first
    }

    // MARK: Reading

    /// The subtask's key groups that have rows in files, ascending.
    func keyGroups(of files: ArraySlice<StateTable.File>, _ parts: ClosedRange<Int64> = .min ... .max) -> [Int32] {
        KeyGroup.range(of: context.subtask, parallelism: context.parallelism).filter { keyGroup in
            files.contains { !SpilledRuns.segments($0, keyGroup, parts).isEmpty }
        }
    }

    /// The numbers that rows of a key group have, ascending.
    func parts(_ keyGroup: Int32, of files: ArraySlice<StateTable.File>) -> [Int64] {
        Set(files.flatMap { SpilledRuns.segments($0, keyGroup, .min ... .max).map(\.part) }).sorted()
    }

    private static func segments(
        _ file: StateTable.File, _ keyGroup: Int32, _ parts: ClosedRange<Int64>
    ) -> [SpillFile.Segment] {
        guard file.keyGroups.contains(keyGroup) else { return [] }
        return file.contents.segments(of: keyGroup).filter { parts.contains($0.part) }
    }

    /// In how many pieces a key group has to be put together, so that one takes half of the operator's share at the most.
    func splits(
        _ keyGroup: Int32, _ files: ArraySlice<StateTable.File>, _ parts: ClosedRange<Int64> = .min ... .max
    ) -> Int {
        // About what rows take when they are in memory, as if no two were of the same group.
        let bytes = files.reduce(0) { sum, file in
            SpilledRuns.segments(file, keyGroup, parts).reduce(sum) { $0 + 2 * $1.byteCount + 64 * $1.rowCount }
        }
        let share = (memory?.share ?? .max) / 2
        var splits = 1
        while splits < SpilledRuns.maxSplits, bytes / splits > share { splits *= 2 }
        return splits
    }

    /// Reads a piece of a key group: the rows whose hash, behind the bits of the key group, is `piece` modulo `splits`.
    func read(
        _ keyGroup: Int32, _ files: ArraySlice<StateTable.File>, _ parts: ClosedRange<Int64> = .min ... .max,
        piece: Int = 0, of splits: Int = 1,
        _ take: (_ rows: RecordBatch, _ hashes: Values<UInt64>, _ file: StateTable.File) -> Void
    ) throws(OperatorError) {
        let mask = UInt64(splits - 1)
        for file in files {
            for segment in SpilledRuns.segments(file, keyGroup, parts) {
                for batch in try file.contents.read(segment) {
                    try check(batch)
                    var rows = batch
                    var hashes = RowHash.hashes(Array(rows.columns[keys]), count: rows.rowCount)
                    if splits > 1 {
                        rows = batch.filter(Bitmap(count: batch.rowCount) { Int(hashes[$0] >> 7 & mask) == piece })
                        guard rows.rowCount > 0 else { continue }
                        hashes = RowHash.hashes(Array(rows.columns[keys]), count: rows.rowCount)
                    }
                    take(rows, hashes, file)
                }
            }
        }
    }

    private func check(_ batch: RecordBatch) throws(OperatorError) {
        guard batch.schema.fields.map(\.type) == schema.fields.map(\.type) else {
            throw OperatorError(
                .user, .never, "state_mismatch",
                "the checkpoint holds \(batch.schema) in spill files, expected \(schema): the node's settings or its input have changed; give it another name or start with --restore none"
            )
        }
    }
}
