import DataflowOperator

/// Pairs rows of the same window, when it closes.
final class WindowJoin: TimedJoinStage {
    /// A window on its way out.
    private struct Closing {
        enum Phase { case pairs, unmatched(side: Int) }
        let start: Int64
        let end: Int64
        /// By side: its rows, by time.
        let rows: [[Int32]]
        var phase = Phase.pairs
        /// The left row, or the row without a match, that is next.
        var position = 0
        /// The right row that the left row meets next; 0: none.
        var partner: Int32 = 0

        var window: (start: Int64, end: Int64) { (start, end) }
    }

    private let plan: JoinPlan
    private let grid: WindowGrid
    let tables: JoinTables
    let hasEventTime: Bool
    /// Windows that start before this are closed.
    private var nextOpen = Int64.min
    /// The first right row of each key in the window that is being closed; 0: none.
    private var heads: [Int32] = []

    // Work left undone by a call that answered `.more`.
    var target: Int64?
    private var closing: Closing?

    init(_ plan: JoinPlan, _ grid: WindowGrid, _ context: OperatorContext) {
        self.plan = plan
        self.grid = grid
        tables = JoinTables(plan, byKey: false, context)
        hasEventTime = plan.output.eventTime != nil
    }

    func open(restoring state: StateSnapshot) throws(OperatorError) { nextOpen = try tables.restore(state) }

    func process(_ batch: RecordBatch, side: Int, into output: inout OutputBuffer) -> Progress {
        let (grid, nextOpen, lateness) = (grid, nextOpen, plan.allowedLateness)
        _ = tables.take(batch, side: side, &output) { times, marks in
            (0..<times.count).map { row in
                let (time, mark) = (times[row], marks?[row] ?? .min)
                var first = max(grid.firstStart(endingBehind: time), nextOpen)
                // A window counts the row while the row's split has not passed its end.
                if mark != .min { first = max(first, grid.firstStart(endingBehind: saturating(mark, plus: -lateness))) }
                return first > grid.lastStart(time) ? .max : first
            }
        }
        return .done
    }

    func resume(into output: inout OutputBuffer) -> Progress {
        guard let target else { return .done }
        while true {
            if closing == nil {
                guard let start = due(target) else { break }
                begin(start)
            }
            guard emit(&output) else { return .more }
            end()
        }
        self.target = nil
        if target != .max {
            nextOpen = max(nextOpen, grid.firstStart(endingBehind: saturating(target, plus: -plan.allowedLateness)))
        }
        // What leaves from now on starts in the first window that is open, or later.
        if hasEventTime, nextOpen != .min || target == .max { output.emit(.time(target == .max ? .max : nextOpen)) }
        return .done
    }

    /// The start of the next window that has rows and is to be closed at `time`.
    private func due(_ time: Int64) -> Int64? {
        guard let earliest = tables.sides.compactMap(\.earliest).min() else { return nil }
        let start = max(nextOpen, grid.firstStart(endingBehind: earliest))
        return time == .max || saturating(grid.end(start), plus: plan.allowedLateness) <= time ? start : nil
    }

    /// Chains the right rows of each key in the window.
    private func begin(_ start: Int64) {
        let end = grid.end(start)
        let rows = tables.sides.map { side in
            var found: [Int32] = []
            var cursor = TimeIndex.Cursor()
            side.byTime.seek(&cursor, side.root, from: start, side.times)
            while true {
                let id = side.byTime.next(&cursor)
                guard id != 0, side.times[Int(id)] < end else { return found }
                guard side.tags[Int(id)].firstWindow <= start else { continue }
                side.tags[Int(id)].isMatched = false
                found.append(id)
            }
        }
        while heads.count < tables.keyBound { heads.append(0) }
        let tags = tables.sides[1].tags
        for id in rows[1].reversed() where tags[Int(id)].group >= 0 {
            let group = Int(tags[Int(id)].group)
            tags[Int(id)].next = heads[group]
            heads[group] = id
        }
        var closing = Closing(start: start, end: end, rows: rows)
        closing.partner = partner(of: closing)
        self.closing = closing
    }

    /// The first right row that the left row at the position meets.
    private func partner(of closing: Closing) -> Int32 {
        guard closing.position < closing.rows[0].count else { return 0 }
        let group = tables.sides[0].tags[Int(closing.rows[0][closing.position])].group
        return group < 0 ? 0 : heads[Int(group)]
    }

    /// Sends what belongs to the window, as much as fits. True when that was all.
    private func emit(_ output: inout OutputBuffer) -> Bool {
        guard var closing else { return true }
        defer { self.closing = closing }
        while true {
            switch closing.phase {
            case .pairs:
                guard pair(&closing, &output) else { return false }
                closing.phase = .unmatched(side: 0)
                closing.position = 0
            case .unmatched(let side):
                if plan.isPreserved(side), !emitUnmatched(&closing, side, &output) { return false }
                guard side == 0 else { return true }
                closing.phase = .unmatched(side: 1)
                closing.position = 0
            }
        }
    }

    private func pair(_ closing: inout Closing, _ output: inout OutputBuffer) -> Bool {
        let left = closing.rows[0]
        let tags = tables.sides[1].tags
        while closing.position < left.count {
            while closing.partner != 0 {
                let right = closing.partner
                closing.partner = tags[Int(right)].next
                if tables.add(left[closing.position], right) {
                    tables.flush(&output, window: closing.window)
                    if output.isFull { return false }
                }
            }
            closing.position += 1
            closing.partner = partner(of: closing)
        }
        tables.flush(&output, window: closing.window)
        return true
    }

    private func emitUnmatched(_ closing: inout Closing, _ side: Int, _ output: inout OutputBuffer) -> Bool {
        let rows = closing.rows[side]
        let tags = tables.sides[side].tags
        while closing.position < rows.count {
            if output.isFull { return false }
            let end = min(rows.count, closing.position + RecordBatch.defaultRowCount)
            let unmatched = rows[closing.position..<end].filter { !tags[Int($0)].isMatched }
            tables.emit(unmatched: Array(unmatched), side: side, &output, window: closing.window)
            closing.position = end
        }
        return true
    }

    /// The window has left: rows that belong to no later one go.
    private func end() {
        guard let closing else { return }
        self.closing = nil
        let tags = tables.sides[1].tags
        for id in closing.rows[1] where tags[Int(id)].group >= 0 { heads[Int(tags[Int(id)].group)] = 0 }
        nextOpen = saturating(closing.start, plus: grid.every)
        for side in [0, 1] {
            var gone: [Int32] = []
            while let id = tables.sides[side].popFirst(before: nextOpen) { gone.append(id) }
            // At the end of time, where no window starts behind this one.
            if nextOpen == .max { while let id = tables.sides[side].popFirst(before: nil) { gone.append(id) } }
            tables.free(gone, side: side)
        }
        if tables.keyBound == 0 { heads = [] }
    }

    func snapshot() -> StateSnapshot { tables.snapshot(progress: nextOpen) }
}
