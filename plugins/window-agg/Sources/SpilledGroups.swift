import DataflowOperator

/// Groups that lie on disk because memory was not enough for them.
///
/// What was in memory leaves as a *run* (``SpilledRuns``): partial states of groups, key group by key group. A group may
/// stand in several runs, in each with what came in between; it is what they give when merged, the oldest first. So
/// nothing is ever read to take rows in. Groups are put together where results are told and where there are many runs: one
/// key group at a time, or a piece of one, as much as fits into the operator's share of the memory budget.
///
/// Cost: a group is written once each time memory is full, and again about log2(runs / 32) times; telling reads all runs.
final class SpilledGroups {
    /// Whether the group has changed since its result was told.
    private static let untold = Field("__untold", .bool, nullable: false)
    /// The mark of a run of which all results have been told, whatever its rows say.
    private static let told = 1

    /// Groups put together from runs.
    private final class Merged {
        let groups: GroupedAggregates
        /// Bit 0: not told.
        var flags: [UInt8] = []

        init(_ keys: [DataType], _ layout: AggregateLayout) { groups = GroupedAggregates(keys: keys, layout) }
    }

    /// Results that are being told.
    private struct Telling {
        /// Key groups that are still to come, the next one last.
        var keyGroups: [Int32]
        var keyGroup: Int32 = 0
        /// Pieces of it that are still to come, and all of them.
        var pieces = 0
        var splits = 1
        var merged: Merged?
        var ids: [Int32] = []
        var position = 0
    }

    private let runs: SpilledRuns
    private var telling: Telling?

    /// - Parameter memory: nil where runs are only read.
    init(
        _ groupFields: [Field], _ layout: AggregateLayout, _ context: OperatorContext, _ memory: MemoryBudget?,
        files: [StateTable.File] = []
    ) {
        let schema = Schema(groupFields + layout.stateFields + [SpilledGroups.untold])
        runs = SpilledRuns(schema, keys: 0..<groupFields.count, layout, context, memory, files)
    }

    /// The state: the runs, as they are now.
    var snapshot: StateTable { runs.snapshot }

    // MARK: Putting in

    /// Writes groups as a run, with what they got since the last one.
    ///
    /// - Parameter flags: bit 0 of each: not told; nil where none is.
    func add(_ groups: GroupedAggregates, flags: [UInt8]?) throws(OperatorError) {
        guard groups.count > 0 else { return }
        let writer = try runs.makeFile()
        try write(groups, flags, to: writer)
        try runs.append(writer)
    }

    private func write(
        _ groups: GroupedAggregates, _ flags: [UInt8]?, to writer: SpillFileWriter
    ) throws(OperatorError) {
        let ids = groups.table.allIDs
        let keyGroups = ids.map { UInt8(truncatingIfNeeded: KeyGroup.of(hash: groups.table.keys.hash($0))) }
        let (sorted, starts) = SpilledRuns.sorted(ids, by: keyGroups)
        for group in 0..<KeyGroup.count {
            var start = starts[group]
            while start < starts[group + 1] {
                let end = min(starts[group + 1], start + RecordBatch.defaultRowCount)
                let part = sorted[start..<end]
                let untold =
                    if let flags { Bitmap(count: part.count) { flags[Int(part[start + $0])] & 1 != 0 } } else {
                        Bitmap(repeating: true, count: part.count)
                    }
                let batch = part.withUnsafeBufferPointer { ids in
                    RecordBatch(
                        runs.schema,
                        groups.table.keys.columns(ids) + groups.states(ids) + [Column(.bool, .bool(untold))],
                        rowCount: ids.count)
                }
                try writer.append(batch, keyGroup: Int32(truncatingIfNeeded: group))
                start = end
            }
        }
    }

    // MARK: Putting together

    /// Merges the latest runs where there are many.
    func compact() throws(OperatorError) {
        guard let first = runs.firstToMerge else { return }
        let latest = runs.files[first...]
        let writer = try runs.makeFile()
        for keyGroup in runs.keyGroups(of: latest) {
            let splits = runs.splits(keyGroup, latest)
            for piece in 0..<splits {
                let merged = try merge(latest, keyGroup, piece: piece, of: splits)
                try write(merged.groups, merged.flags, to: writer)
            }
        }
        let isTold = latest.allSatisfy { $0.mark == SpilledGroups.told }
        runs.files.removeSubrange(first...)
        try runs.append(writer, mark: isTold ? SpilledGroups.told : 0)
    }

    private func merge(
        _ files: ArraySlice<StateTable.File>, _ keyGroup: Int32, piece: Int, of splits: Int
    ) throws(OperatorError) -> Merged {
        let merged = Merged(runs.keyTypes, runs.layout)
        try runs.read(keyGroup, files, piece: piece, of: splits) { rows, hashes, file in
            let ids = merged.groups.groups(Array(rows.columns[runs.keys]), count: rows.rowCount, hashes: hashes)
            ids.withUnsafeBufferPointer { merged.groups.merge(rows.columns[runs.states], $0) }
            let bound = merged.groups.table.upperBound
            if merged.flags.count < bound { merged.flags += repeatElement(0, count: bound - merged.flags.count) }
            for row in SpilledGroups.untold(rows, file) { merged.flags[Int(ids[Int(row)])] |= 1 }
        }
        return merged
    }

    /// The rows whose groups have changed since they were told.
    private static func untold(_ rows: RecordBatch, _ file: StateTable.File) -> [Int32] {
        guard file.mark != told, case .bool(let untold)? = rows.columns.last?.storage else { return [] }
        return untold.setIndices.array
    }

    /// Reads everything, for groups that are to stay in memory: rows, and which of them have not been told.
    func readAll(_ take: (_ keys: [Column], _ states: ArraySlice<Column>, _ untold: [Int32]) -> Void)
        throws(OperatorError)
    {
        for keyGroup in runs.keyGroups(of: runs.files[...]) {
            try runs.read(keyGroup, runs.files[...]) { rows, _, file in
                take(Array(rows.columns[runs.keys]), rows.columns[runs.states], SpilledGroups.untold(rows, file))
            }
        }
    }

    // MARK: Telling

    /// Whether results are being told.
    var isTelling: Bool { telling != nil }

    /// Begins to tell the results of all groups that have changed; go on with ``resume(_:)``.
    func beginTelling() {
        let untold = ArraySlice(runs.files.filter { $0.mark != SpilledGroups.told })
        telling = Telling(keyGroups: runs.keyGroups(of: untold).reversed())
    }

    /// Tells results until there is no more room.
    ///
    /// - Parameter tell: emits the results of groups, and answers whether there is room for more.
    func resume(
        _ tell: (GroupedAggregates, UnsafeBufferPointer<Int32>) -> Bool
    ) throws(OperatorError) -> Progress {
        guard var work = telling else { return .done }
        telling = nil
        while true {
            if let merged = work.merged {
                while work.position < work.ids.count {
                    let end = min(work.ids.count, work.position + RecordBatch.defaultRowCount)
                    let isRoom = work.ids[work.position..<end].withUnsafeBufferPointer { tell(merged.groups, $0) }
                    work.position = end
                    guard isRoom else {
                        telling = work
                        return .more
                    }
                }
                work.merged = nil
            }
            if work.pieces == 0 {
                guard let keyGroup = work.keyGroups.popLast() else { break }
                work.keyGroup = keyGroup
                work.splits = runs.splits(keyGroup, runs.files[...])
                work.pieces = work.splits
            }
            work.pieces -= 1
            let merged = try merge(runs.files[...], work.keyGroup, piece: work.pieces, of: work.splits)
            work.ids = merged.flags.indices.compactMap {
                merged.flags[$0] & 1 != 0 ? Int32(truncatingIfNeeded: $0) : nil
            }
            work.position = 0
            work.merged = merged
        }
        for index in runs.files.indices { runs.files[index].mark = SpilledGroups.told }
        return .done
    }
}
