import DataflowOperator

/// Groups that lie on disk because memory was not enough for them.
///
/// What was in memory leaves as a *run*: a file of partial states, key group by key group. A group may stand in several runs,
/// in each with what came in between; it is what they give when merged, the oldest first. So nothing is ever read to take rows
/// in. Groups are put together where results are told and where there are many runs: one key group at a time, or a part of
/// one, as many as fit into the operator's share of the memory budget.
///
/// Cost: a group is written once each time memory is full, and again about log2(runs / 32) times; telling reads all runs.
final class SpilledGroups {
    /// The name of the state table.
    static let table = "spilled"
    /// Whether the group has changed since its result was told.
    private static let untold = Field("__untold", .bool, nullable: false)
    /// The mark of a run of which all results have been told, whatever its rows say.
    private static let told = 1
    /// With more runs, the latest are merged.
    private static let maxRuns = 32
    /// Parts of a key group that are put together one at a time, at the most.
    private static let maxSplits = 1 << 12

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
        /// Parts of it that are still to come, and all of them.
        var parts = 0
        var splits = 1
        var merged: Merged?
        var ids: [Int32] = []
        var position = 0
    }

    private let context: OperatorContext
    private let memory: MemoryBudget
    private let keys: [DataType]
    private let layout: AggregateLayout
    private let schema: Schema
    /// The oldest first.
    private var runs: [StateTable.File]
    private var telling: Telling?

    init(
        _ groupFields: [Field], _ layout: AggregateLayout, _ context: OperatorContext, _ memory: MemoryBudget,
        runs: [StateTable.File] = []
    ) {
        self.context = context
        self.memory = memory
        self.layout = layout
        self.runs = runs
        keys = groupFields.map(\.type)
        schema = Self.schema(groupFields, layout)
    }

    private static func schema(_ groupFields: [Field], _ layout: AggregateLayout) -> Schema {
        Schema(groupFields + layout.stateFields + [untold])
    }

    /// The state: the runs, as they are now.
    var snapshot: StateTable {
        StateTable(SpilledGroups.table, distribution: .keyGroup(column: 0), [], files: runs)
    }

    // MARK: Putting in

    /// Writes groups as a run, with what they got since the last one.
    ///
    /// - Parameter flags: bit 0 of each: not told; nil where none is.
    func add(_ groups: GroupedAggregates, flags: [UInt8]?) throws(OperatorError) {
        guard groups.count > 0 else { return }
        let writer = try memory.makeFile()
        try write(groups, flags, to: writer)
        try append(writer)
    }

    private func append(_ writer: SpillFileWriter, mark: Int = 0) throws(OperatorError) {
        let file = try writer.finish()
        context.counters.add(spilledBytes: writer.byteCount)
        let owned = KeyGroup.range(of: context.subtask, parallelism: context.parallelism)
        runs.append(StateTable.File(file, keyGroups: owned, mark: mark))
    }

    private func write(
        _ groups: GroupedAggregates, _ flags: [UInt8]?, to writer: SpillFileWriter
    ) throws(OperatorError) {
        let ids = groups.table.allIDs
        // Sorted by key group: counted, then put in their places.
        var ends = [Int](repeating: 0, count: KeyGroup.count + 1)
        for id in ids { ends[Int(KeyGroup.of(hash: groups.table.keys.hash(id))) + 1] += 1 }
        for group in 0..<KeyGroup.count { ends[group + 1] += ends[group] }
        let starts = ends
        let sorted = [Int32](unsafeUninitializedCapacity: ids.count) { sorted, count in
            for id in ids {
                let group = Int(KeyGroup.of(hash: groups.table.keys.hash(id)))
                sorted[ends[group]] = id
                ends[group] += 1
            }
            count = ids.count
        }
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
                        schema,
                        groups.table.keys.columns(ids) + groups.states(ids) + [Column(.bool, .bool(untold))],
                        rowCount: ids.count)
                }
                try writer.append(batch, keyGroup: Int32(truncatingIfNeeded: group))
                start = end
            }
        }
    }

    // MARK: Putting together

    /// Merges the latest runs where there are many: from the first one on that is not larger than all behind it together, so
    /// that a group is written again only when the run it is in doubles.
    func compact() throws(OperatorError) {
        guard runs.count > SpilledGroups.maxRuns else { return }
        var first = runs.count - 2
        var behind = 0
        for index in stride(from: runs.count - 1, to: 0, by: -1) {
            behind += runs[index].contents.byteCount
            if runs[index - 1].contents.byteCount <= behind { first = index - 1 }
        }
        let latest = runs[first...]
        let writer = try memory.makeFile()
        for keyGroup in keyGroups(of: latest) {
            let splits = splits(keyGroup, latest)
            for part in 0..<splits {
                let merged = try merge(latest, keyGroup, part: part, of: splits)
                try write(merged.groups, merged.flags, to: writer)
            }
        }
        let isTold = latest.allSatisfy { $0.mark == SpilledGroups.told }
        runs.removeSubrange(first...)
        try append(writer, mark: isTold ? SpilledGroups.told : 0)
    }

    /// The key groups that have rows in runs, ascending.
    private func keyGroups(of runs: ArraySlice<StateTable.File>) -> [Int32] {
        KeyGroup.range(of: context.subtask, parallelism: context.parallelism).filter { keyGroup in
            runs.contains { $0.keyGroups.contains(keyGroup) && !$0.contents.segments(of: keyGroup).isEmpty }
        }
    }

    /// In how many parts a key group has to be put together.
    private func splits(_ keyGroup: Int32, _ runs: ArraySlice<StateTable.File>) -> Int {
        // About what rows take when they are in memory, as if no two were of the same group.
        let bytes = runs.reduce(0) { sum, run in
            run.contents.segments(of: keyGroup).reduce(sum) { $0 + 2 * $1.byteCount + 64 * $1.rowCount }
        }
        let share = memory.share / 2
        var splits = 1
        while splits < SpilledGroups.maxSplits, bytes / splits > share { splits *= 2 }
        return splits
    }

    /// The groups of a part of a key group: those whose hash, behind the bits of the key group, is `part` modulo `splits`.
    private func merge(
        _ runs: ArraySlice<StateTable.File>, _ keyGroup: Int32, part: Int, of splits: Int
    ) throws(OperatorError) -> Merged {
        let merged = Merged(keys, layout)
        let mask = UInt64(splits - 1)
        for run in runs where run.keyGroups.contains(keyGroup) {
            for segment in run.contents.segments(of: keyGroup) {
                for batch in try run.contents.read(segment) {
                    try SpilledGroups.check(batch, schema)
                    var rows = batch
                    var hashes = RowHash.hashes(Array(batch.columns.prefix(keys.count)), count: batch.rowCount)
                    if splits > 1 {
                        let wanted = Bitmap(count: batch.rowCount) { Int(hashes[$0] >> 7 & mask) == part }
                        rows = batch.filter(wanted)
                        hashes = RowHash.hashes(Array(rows.columns.prefix(keys.count)), count: rows.rowCount)
                    }
                    let ids = merged.groups.groups(
                        Array(rows.columns.prefix(keys.count)), count: rows.rowCount, hashes: hashes)
                    ids.withUnsafeBufferPointer { merged.groups.merge(rows.columns[keys.count...].dropLast(), $0) }
                    let bound = merged.groups.table.upperBound
                    if merged.flags.count < bound {
                        merged.flags += repeatElement(0, count: bound - merged.flags.count)
                    }
                    if run.mark != SpilledGroups.told, case .bool(let untold)? = rows.columns.last?.storage {
                        for row in untold.setIndices.array { merged.flags[Int(ids[Int(row)])] |= 1 }
                    }
                }
            }
        }
        return merged
    }

    private static func check(_ batch: RecordBatch, _ schema: Schema) throws(OperatorError) {
        guard batch.schema.fields.map(\.type) == schema.fields.map(\.type) else {
            throw OperatorError(
                .user, .never, "state_mismatch",
                "the checkpoint holds \(batch.schema) in spill files, expected \(schema): the node's settings or its input have changed; give it another name or start with --restore none"
            )
        }
    }

    /// Reads runs of a checkpoint where they are to stay in memory: rows, and whether their results are told.
    static func read(
        _ runs: [StateTable.File], _ groupFields: [Field], _ layout: AggregateLayout,
        _ take: (_ keys: [Column], _ states: ArraySlice<Column>, _ untold: Bitmap, _ count: Int) -> Void
    ) throws(OperatorError) {
        let schema = schema(groupFields, layout)
        for run in runs {
            for keyGroup in run.keyGroups {
                for segment in run.contents.segments(of: keyGroup) {
                    for batch in try run.contents.read(segment) {
                        try check(batch, schema)
                        guard case .bool(let flags)? = batch.columns.last?.storage else { continue }
                        let untold = run.mark == told ? Bitmap(repeating: false, count: batch.rowCount) : flags
                        take(
                            Array(batch.columns.prefix(groupFields.count)),
                            batch.columns[groupFields.count...].dropLast(), untold, batch.rowCount)
                    }
                }
            }
        }
    }

    // MARK: Telling

    /// Whether results are being told.
    var isTelling: Bool { telling != nil }

    /// Begins to tell the results of all groups that have changed; go on with ``resume(_:)``.
    func beginTelling() {
        let all = runs[...]
        let untold = ArraySlice(runs.filter { $0.mark != SpilledGroups.told })
        let changed = Set(keyGroups(of: untold))
        telling = Telling(keyGroups: keyGroups(of: all).filter(changed.contains).reversed())
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
            if work.parts == 0 {
                guard let keyGroup = work.keyGroups.popLast() else { break }
                work.keyGroup = keyGroup
                work.splits = splits(keyGroup, runs[...])
                work.parts = work.splits
            }
            work.parts -= 1
            let merged = try merge(runs[...], work.keyGroup, part: work.parts, of: work.splits)
            work.ids = merged.flags.indices.compactMap {
                merged.flags[$0] & 1 != 0 ? Int32(truncatingIfNeeded: $0) : nil
            }
            work.position = 0
            work.merged = merged
        }
        for index in runs.indices { runs[index].mark = SpilledGroups.told }
        return .done
    }
}
