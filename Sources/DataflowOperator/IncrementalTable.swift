public import DataflowColumnar

/// A state table of numbered rows that is snapshot without standing still and of which a checkpoint gets only what has
/// changed.
///
/// For operators that keep rows by number (``GroupTable``, ``RowStore``). The table holds no rows: it knows which numbers
/// are in use, which have changed since the last snapshot, and which a snapshot under way still has to read. At a barrier
/// ``snapshot(_:)`` only turns bits over. The rows are then read in two ways, each row once: a part at a time by
/// ``proceed(until:into:_:)``, and those that are about to change by ``willChange(_:_:)``, just before they do.
///
///     let ids = groups.findOrInsert(columns, count: count)
///     table.willChange(ids) { rows($0) }          // before, every time
///     accumulators.update(ids)
///
/// A checkpoint gets the rows that have changed and, in turn, as many others (at least 1/64 of all), so that after a while
/// no row is in an old file any more: checkpoints of at most the last 64 files, about twice the bytes of the rows, and no
/// file is ever read to be compacted. When half of the rows have changed, and where there are few, all are written.
///
/// Cost: ``willChange(_:_:)`` about 2 ns a row, and reading the row once more while a snapshot is under way; 4 bits a
/// number; ``snapshot(_:)`` O(numbers / 64): 0.3 ms for ten million.
public final class IncrementalTable {
    /// Gives the rows of these numbers, in their order, in the table's schema. Long text may be shared.
    public typealias Rows = (UnsafeBufferPointer<Int32>) -> RecordBatch

    /// Numbers from where on it does not pay to write everything. Other numbers in tests.
    package struct Limits: Sendable {
        /// Rows of a table of which each checkpoint gets all.
        package var whole = 16_384
        /// Rows that are read at once; what is not more than that is read within ``snapshot(_:)``.
        package var part = RecordBatch.defaultRowCount

        package init() {}
        package init(whole: Int, part: Int) {
            self.whole = whole
            self.part = part
        }
    }

    /// Read when a table is made.
    @TaskLocal package static var limits = Limits()

    /// 64 numbers.
    private struct Marks {
        /// In use.
        var live: UInt64 = 0
        /// Changed, come or gone since the last snapshot.
        var changed: UInt64 = 0
        /// Still to be read for the snapshot under way, as they were at its barrier.
        var wanted: UInt64 = 0
        /// Gone before the barrier, still to be told.
        var gone: UInt64 = 0
    }

    /// Where the turn stood behind a checkpoint: its rows have all been written again when it comes there once more.
    private struct Turn {
        var round = 0
        var word = 0

        func isOver(_ now: Turn) -> Bool { (round + 1, word) <= (now.round, now.word) }
    }

    public let name: String
    public let version: UInt32
    public let distribution: StateTable.Distribution
    public let schema: Schema
    private let numbered: Schema
    private let limits: Limits
    private var marks: UnsafeMutablePointer<Marks>
    private var capacity = 16
    /// Words that may have a mark.
    private var wordCount = 0
    private var turn = Turn()
    /// The checkpoints whose rows still count, the oldest first.
    private var kept: [Turn] = []
    /// Words from here on have been read for the snapshot under way.
    private var position = 0
    private var end = 0
    /// Read, not yet handed over.
    private var parts: [RecordBatch] = []
    private var increment = StateTable.Increment()

    /// A table without rows.
    ///
    /// - Parameter schema: what ``Rows`` gives; ``StateTable/Distribution`` counts its columns.
    public init(_ name: String, version: UInt32 = 1, distribution: StateTable.Distribution, _ schema: Schema) {
        self.name = name
        self.version = version
        self.distribution = distribution
        self.schema = schema
        numbered = Schema([StateTable.Increment.number] + schema.fields)
        limits = IncrementalTable.limits
        marks = .allocate(capacity: capacity)
        marks.initialize(repeating: Marks(), count: capacity)
    }

    deinit { marks.deallocate() }

    /// Whether a snapshot is under way.
    public var isUnfinished: Bool { position < end || !parts.isEmpty }

    // MARK: Changes

    /// Says that the rows of these numbers come into being, or are about to change. Numbers may repeat. O(numbers).
    public func willChange(_ ids: UnsafeBufferPointer<Int32>, _ rows: Rows) { mark(ids, live: true, rows) }

    /// Says that the rows of these numbers come into being, or are about to change.
    public func willChange(_ ids: [Int32], _ rows: Rows) { ids.withUnsafeBufferPointer { willChange($0, rows) } }

    /// Says that one row comes into being or is about to change. While a snapshot is under way this reads the rows around it too.
    public func willChange(_ id: Int32, _ rows: Rows) { mark(id, live: true, rows) }

    /// Says that the rows of these numbers are about to go. Numbers may repeat. O(numbers).
    public func willRemove(_ ids: UnsafeBufferPointer<Int32>, _ rows: Rows) { mark(ids, live: false, rows) }

    /// Says that the rows of these numbers are about to go.
    public func willRemove(_ ids: [Int32], _ rows: Rows) { ids.withUnsafeBufferPointer { willRemove($0, rows) } }

    /// Says that one row is about to go. While a snapshot is under way this reads the rows around it too.
    public func willRemove(_ id: Int32, _ rows: Rows) { mark(id, live: false, rows) }

    private func mark(_ ids: UnsafeBufferPointer<Int32>, live: Bool, _ rows: Rows) {
        reserve(ids)
        if position < end { save(ids, rows) }
        let marks = marks
        let all: UInt64 = live ? .max : 0
        for id in ids {
            let bit: UInt64 = 1 << UInt64(id & 63)
            let word = marks + (Int(id) >> 6)
            word.pointee.changed |= bit
            word.pointee.live = (word.pointee.live & ~bit) | (all & bit)
        }
    }

    private func mark(_ id: Int32, live: Bool, _ rows: Rows) {
        withUnsafePointer(to: id) { id in
            let ids = UnsafeBufferPointer(start: id, count: 1)
            reserve(ids)
            saveAround(id.pointee, rows)
            mark(ids, live: live, rows)
        }
    }

    private func reserve(_ ids: UnsafeBufferPointer<Int32>) {
        var highest: Int32 = -1
        for id in ids { highest = max(highest, id) }
        let needed = Int(highest) >> 6 + 1
        guard highest >= 0, needed > wordCount else { return }
        wordCount = needed
        guard needed > capacity else { return }
        let larger = UnsafeMutablePointer<Marks>.allocate(capacity: max(needed, capacity * 2))
        larger.update(from: marks, count: capacity)
        (larger + capacity).initialize(repeating: Marks(), count: max(needed, capacity * 2) - capacity)
        marks.deallocate()
        marks = larger
        capacity = max(needed, capacity * 2)
    }

    /// Reads those of the rows that the snapshot under way still wants.
    private func save(_ ids: UnsafeBufferPointer<Int32>, _ rows: Rows) {
        let marks = marks
        let wanted = [Int32](unsafeUninitializedCapacity: ids.count) { wanted, count in
            for id in ids {
                let bit: UInt64 = 1 << UInt64(id & 63)
                guard marks[Int(id) >> 6].wanted & bit != 0 else { continue }
                marks[Int(id) >> 6].wanted &= ~bit
                wanted[count] = id
                count += 1
            }
        }
        read(wanted, rows)
    }

    /// Reads what is still wanted of the 1,024 numbers around one, so that single changes do not make batches of single rows.
    private func saveAround(_ id: Int32, _ rows: Rows) {
        guard position < end, marks[Int(id) >> 6].wanted & (1 << UInt64(id & 63)) != 0 else { return }
        let first = (Int(id) >> 10) << 4
        var ids: [Int32] = []
        for word in first..<min(first + 16, wordCount) { take(&marks[word].wanted, word, &ids) }
        read(ids, rows)
    }

    private func read(_ ids: [Int32], _ rows: Rows) {
        guard !ids.isEmpty else { return }
        let batch = ids.withUnsafeBufferPointer { rows($0) }
        precondition(batch.rowCount == ids.count, "\(batch.rowCount) rows for \(ids.count) numbers of \(name)")
        parts.append(
            RecordBatch(numbered, [Column(.int32, .int32(Values(ids)))] + batch.columns, rowCount: ids.count))
    }

    /// Moves the numbers of a word's bits to `ids`.
    @inline(__always)
    private func take(_ bits: inout UInt64, _ word: Int, _ ids: inout [Int32]) {
        while bits != 0 {
            ids.append(Int32(truncatingIfNeeded: word << 6 | bits.trailingZeroBitCount))
            bits &= bits - 1
        }
    }

    // MARK: Snapshots

    /// Begins a snapshot of the rows as they are now; the last one must be through.
    ///
    /// - Returns: the table with its rows if they are few; otherwise without, and ``proceed(until:into:_:)`` gives them.
    public func snapshot(_ rows: Rows) -> StateTable {
        precondition(!isUnfinished, "a snapshot of \(name) while one is under way")
        let all = turnOver()
        position = 0
        end = wordCount
        if all <= limits.part { while position < end { readPart(rows) } }
        increment.isComplete = position == end
        return takeParts()
    }

    /// Goes on with the snapshot under way: appends rows that have been read to `snapshot` and reads more until `deadline`,
    /// at least one part (about 0.1 ms). Nothing to do is no error.
    public func proceed(
        until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot, _ rows: Rows
    ) -> Progress {
        while position < end {
            readPart(rows)
            if position < end, ContinuousClock.now >= deadline { break }
        }
        if !parts.isEmpty { snapshot.append(takeParts()) }
        return position < end ? .more : .done
    }

    private func takeParts() -> StateTable {
        defer { parts = [] }
        return StateTable(name, version: version, distribution: distribution, parts, increment: increment)
    }

    private func readPart(_ rows: Rows) {
        var ids: [Int32] = []
        var gone: [Int32] = []
        ids.reserveCapacity(limits.part + 64)
        while position < end, ids.count + gone.count < limits.part {
            take(&marks[position].wanted, position, &ids)
            take(&marks[position].gone, position, &gone)
            position += 1
        }
        read(ids, rows)
        if !gone.isEmpty {
            parts.append(
                RecordBatch(Schema([StateTable.Increment.number]), [Column(.int32, .int32(Values(gone)))]))
        }
    }

    /// What has changed becomes what is wanted.
    ///
    /// - Returns: how many rows and removals the snapshot has to read.
    private func turnOver() -> Int {
        var live = 0
        var changed = 0
        for word in 0..<wordCount {
            live += marks[word].live.nonzeroBitCount
            changed += marks[word].changed.nonzeroBitCount
        }
        increment = StateTable.Increment()
        guard live > limits.whole, !kept.isEmpty, changed * 2 < live else {
            for word in 0..<wordCount {
                marks[word].wanted = marks[word].live
                marks[word].gone = 0
                marks[word].changed = 0
            }
            // Numbers begin at 0 again where nothing is left.
            if live == 0 { wordCount = 0 }
            turn = Turn()
            increment.isKept = live > limits.whole
            kept = increment.isKept ? [turn] : []
            return live
        }
        for word in 0..<wordCount {
            marks[word].wanted = marks[word].changed & marks[word].live
            marks[word].gone = marks[word].changed & ~marks[word].live
            marks[word].changed = 0
        }
        // Others in turn.
        let share = max(changed, live / 64)
        var added = 0
        var walked = 0
        while added < share, walked < wordCount {
            let others = marks[turn.word].live & ~marks[turn.word].wanted
            marks[turn.word].wanted |= others
            added += others.nonzeroBitCount
            walked += 1
            turn.word += 1
            if turn.word >= wordCount { turn = Turn(round: turn.round + 1) }
        }
        kept.removeAll { $0.isOver(turn) }
        increment.keeps = kept.count
        increment.isKept = true
        kept.append(turn)
        return changed + added
    }
}
