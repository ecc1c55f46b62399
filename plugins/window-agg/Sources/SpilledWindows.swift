import DataflowOperator

/// States of windows that lie on disk because memory was not enough for them: of tumbling and sliding windows that are told
/// once, when they close.
///
/// Runs (``SpilledRuns``) hold what memory held, key group by key group and, in each, slice by slice: a slice's number is its last
/// window. When a window closes, its slices are read and merged with one another, one key group at a time, or a piece of one.
/// A run goes when the last window of all its slices has closed.
///
/// Cost: a state is written once each time memory is full, and read once a window.
final class SpilledWindows {
    /// The mark of a run of a checkpoint: windows that had closed by then are not told again.
    private static let isRestored = 1

    /// The results of one window that are being told.
    private struct Telling {
        var window: Int64
        /// Key groups that are still to come, the next one last.
        var keyGroups: [Int32]
        var keyGroup: Int32 = 0
        var pieces = 0
        var splits = 1
        var groups: GroupedAggregates?
        var ids: [Int32] = []
        var position = 0
    }

    private let runs: SpilledRuns
    private let grid: WindowGrid
    private let windowColumnCount: Int
    /// Up to where the windows of each key group had closed when the checkpoint was taken.
    private let restored: WindowProgress.Restored
    /// Slices of which the last window starts before this are of no use any more.
    private var freedBefore = Int64.min
    private var telling: Telling?

    /// - Parameter memory: nil where runs are only read.
    init(
        _ shape: PartialShape, _ grid: WindowGrid, _ context: OperatorContext, _ memory: MemoryBudget?,
        files: [StateTable.File] = [], _ restored: WindowProgress.Restored
    ) {
        self.grid = grid
        self.restored = restored
        windowColumnCount = grid.overlaps ? 2 : 1
        let schema = Schema(shape.groupFields + shape.layout.stateFields)
        let files = files.map { StateTable.File($0.contents, keyGroups: $0.keyGroups, mark: SpilledWindows.isRestored) }
        runs = SpilledRuns(
            schema, keys: windowColumnCount..<shape.groupFields.count, shape.layout, context, memory, files)
    }

    var snapshot: StateTable { runs.snapshot }
    var isEmpty: Bool { runs.files.isEmpty }

    // MARK: Putting in

    /// Writes all states of a table as a run.
    func add(_ table: SliceTable) throws(OperatorError) {
        let ids = table.statesByTime
        guard !ids.isEmpty else { return }
        let writer = try runs.makeFile()
        let (sorted, starts) = SpilledRuns.sorted(ids, by: table.keyGroups(ids))
        for group in 0..<KeyGroup.count {
            try write(
                sorted[starts[group]..<starts[group + 1]], of: table, Int32(truncatingIfNeeded: group), to: writer)
        }
        try runs.append(writer)
    }

    /// Writes states of one key group, in the order of time.
    private func write(
        _ ids: ArraySlice<Int32>, of table: SliceTable, _ keyGroup: Int32, to writer: SpillFileWriter
    ) throws(OperatorError) {
        var start = ids.startIndex
        while start < ids.endIndex {
            let last = table.lastWindow(of: ids[start])
            var end = start + 1
            while end < ids.endIndex, end - start < RecordBatch.defaultRowCount, table.lastWindow(of: ids[end]) == last
            {
                end += 1
            }
            let rows = ids[start..<end].withUnsafeBufferPointer { table.stateRows($0) }
            // The key group stands in front.
            try writer.append(
                RecordBatch(runs.schema, Array(rows.columns.dropFirst()), rowCount: rows.rowCount), keyGroup: keyGroup,
                part: last)
            start = end
        }
    }

    /// Merges the latest runs where there are many, slice by slice.
    ///
    /// - Parameter makeTable: an empty table.
    func compact(_ makeTable: () -> SliceTable) throws(OperatorError) {
        guard let first = runs.firstToMerge else { return }
        let latest = runs.files[first...]
        let writer = try runs.makeFile()
        for keyGroup in runs.keyGroups(of: latest) {
            for part in runs.parts(keyGroup, of: latest) where part >= freedBefore {
                let splits = runs.splits(keyGroup, latest, part...part)
                for piece in 0..<splits {
                    let table = makeTable()
                    try runs.read(keyGroup, latest, part...part, piece: piece, of: splits) { rows, _, file in
                        let rows = open(rows, of: file, keyGroup)
                        if rows.rowCount > 0 { _ = table.merge(rows.columns[...], count: rows.rowCount) }
                    }
                    try write(table.statesByTime[...], of: table, keyGroup, to: writer)
                }
            }
        }
        runs.files.removeSubrange(first...)
        try runs.append(writer)
    }

    /// Lets files go of which no slice has a window that starts at `bound` or later.
    func free(before bound: Int64) {
        guard bound > freedBefore else { return }
        freedBefore = bound
        runs.files.removeAll { file in
            !file.contents.segments.contains { file.keyGroups.contains($0.keyGroup) && $0.part >= bound }
        }
    }

    // MARK: Windows

    /// The slices that some window from `start` on has, as far as is known without reading: a slice may have fewer windows.
    func slices(from start: Int64) -> [(first: Int64, last: Int64)] {
        var lasts: Set<Int64> = []
        for file in runs.files {
            for segment in file.contents.segments where segment.part >= start { lasts.insert(segment.part) }
        }
        return lasts.map { last in
            (max(start, grid.overlaps ? min(last, grid.firstEnding(after: last)) : last), last)
        }
    }

    /// The numbers of the slices that a window may have.
    private func parts(_ window: Int64) -> ClosedRange<Int64> {
        grid.overlaps ? window...saturating(window, plus: grid.size) : window...window
    }

    /// Whether a window may have states on disk.
    func has(_ window: Int64) -> Bool {
        let parts = parts(window)
        return runs.files.contains { file in file.contents.segments.contains { parts.contains($0.part) } }
    }

    /// Reads everything, for states that are to stay in memory: rows as ``SliceTable/merge(_:count:)`` takes them.
    func readAll(_ take: (RecordBatch) -> Void) throws(OperatorError) {
        for keyGroup in runs.keyGroups(of: runs.files[...]) {
            try runs.read(keyGroup, runs.files[...]) { rows, _, file in
                let rows = open(rows, of: file, keyGroup)
                if rows.rowCount > 0 { take(rows) }
            }
        }
    }

    /// Rows without the windows that had closed when their checkpoint was taken.
    private func open(_ rows: RecordBatch, of file: StateTable.File, _ keyGroup: Int32) -> RecordBatch {
        let bound = restored.firstOpen(keyGroup, grid)
        guard file.mark == SpilledWindows.isRestored, bound > .min, let firsts = rows.columns[0].int64Values,
            let lasts = rows.columns[windowColumnCount - 1].int64Values
        else { return rows }
        guard firsts.withUnsafeBufferPointer({ $0.contains { $0 < bound } }) else { return rows }
        let isOpen = Bitmap(count: rows.rowCount) { lasts[$0] >= bound }
        let entering = Values<Int64>(count: rows.rowCount) { target in
            for i in 0..<target.count { target[i] = max(firsts[i], min(bound, lasts[i])) }
        }
        return rows.replacingColumns(
            rows.schema, [Column(.timestamp, .int64(entering))] + rows.columns.dropFirst()
        ).filter(isOpen)
    }

    // MARK: Telling

    /// Whether a window's results are being told.
    var isTelling: Bool { telling != nil }

    /// Begins to tell a window's results; go on with ``resume(_:)``.
    func beginTelling(_ window: Int64) {
        let keyGroups = runs.keyGroups(of: runs.files[...], parts(window))
        telling = Telling(window: window, keyGroups: keyGroups.reversed())
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
            if let groups = work.groups {
                while work.position < work.ids.count {
                    let end = min(work.ids.count, work.position + RecordBatch.defaultRowCount)
                    let isRoom = work.ids[work.position..<end].withUnsafeBufferPointer { tell(groups, $0) }
                    work.position = end
                    guard isRoom else {
                        telling = work
                        return .more
                    }
                }
                work.groups = nil
            }
            if work.pieces == 0 {
                guard let keyGroup = work.keyGroups.popLast() else { return .done }
                work.keyGroup = keyGroup
                work.splits = runs.splits(keyGroup, runs.files[...], parts(work.window))
                work.pieces = work.splits
            }
            work.pieces -= 1
            let groups = try merge(work.window, work.keyGroup, piece: work.pieces, of: work.splits)
            work.ids = groups.table.allIDs
            work.position = 0
            work.groups = groups
        }
    }

    private func merge(
        _ window: Int64, _ keyGroup: Int32, piece: Int, of splits: Int
    ) throws(OperatorError) -> GroupedAggregates {
        let groups = GroupedAggregates(keys: runs.keyTypes, runs.layout)
        try runs.read(keyGroup, runs.files[...], parts(window), piece: piece, of: splits) { read, hashes, file in
            var rows = open(read, of: file, keyGroup)
            if grid.overlaps, let firsts = rows.columns[0].int64Values, let lasts = rows.columns[1].int64Values {
                let isIn = Bitmap(count: rows.rowCount) { firsts[$0] <= window && window <= lasts[$0] }
                if isIn.setCount < rows.rowCount { rows = rows.filter(isIn) }
            }
            guard rows.rowCount > 0 else { return }
            let ids = groups.groups(
                Array(rows.columns[runs.keys]), count: rows.rowCount,
                hashes: rows.rowCount == read.rowCount ? hashes : nil)
            ids.withUnsafeBufferPointer { groups.merge(rows.columns[runs.states], $0) }
        }
        return groups
    }
}
