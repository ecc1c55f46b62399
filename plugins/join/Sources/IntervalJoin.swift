import DataflowOperator

/// Pairs rows whose times lie close together, as soon as both are there.
final class IntervalJoin: TimedJoinStage {
    private let plan: JoinPlan
    /// µs: how far the right row's time may lie before the left row's, and behind it.
    private let before: Int64
    private let after: Int64
    let tables: JoinTables
    let hasEventTime: Bool
    /// Rows before this time find the rows that they might have matched gone.
    private var horizon = Int64.min

    // Work left undone by a call that answered `.more`.
    /// Rows of one side that are looking for partners.
    private var arrived: [Int32] = []
    private var arrivedSide = 0
    private var position = 0
    private var cursor = TimeIndex.Cursor()
    private var isSeeking = false
    var target: Int64?

    init(_ plan: JoinPlan, before: Int64, after: Int64, _ context: OperatorContext) {
        self.plan = plan
        self.before = before
        self.after = after
        tables = JoinTables(plan, byKey: true, context)
        hasEventTime = plan.output.eventTime != nil
    }

    func open(restoring state: StateSnapshot) throws(OperatorError) { horizon = try tables.restore(state) }

    func process(_ batch: RecordBatch, side: Int, into output: inout OutputBuffer) -> Progress {
        let (horizon, lateness) = (horizon, plan.allowedLateness)
        arrived = tables.take(batch, side: side, &output) { times, marks in
            (0..<times.count).map { row in
                let (time, mark) = (times[row], marks?[row] ?? .min)
                // The horizon is passed only by rows of a split that was left out as idle.
                return time < horizon || (mark != .min && mark >= saturating(time, plus: lateness)) ? .max : 0
            }
        }
        arrivedSide = side
        position = 0
        return resume(into: &output)
    }

    // MARK: Pairs

    /// Pairs the rows that arrived with those of the other side, as far as there is room. True when that was all.
    private func pair(_ output: inout OutputBuffer) -> Bool {
        guard !arrived.isEmpty else { return true }
        let own = tables.sides[arrivedSide]
        let other = tables.sides[1 - arrivedSide]
        guard let index = other.byKey else { return true }
        // Seen from a left row the right ones lie before and behind it, seen from a right row it is the other way round.
        let (back, ahead) = arrivedSide == 0 ? (before, after) : (after, before)
        while position < arrived.count {
            let id = arrived[position]
            let group = Int(own.tags[Int(id)].group)
            if group >= 0, group < other.roots.count {
                let time = own.times[Int(id)]
                if !isSeeking {
                    index.seek(&cursor, other.roots[group], from: saturating(time, plus: -back), other.times)
                    isSeeking = true
                }
                let last = saturating(time, plus: ahead)
                while true {
                    let partner = index.next(&cursor)
                    guard partner != 0, other.times[Int(partner)] <= last else { break }
                    if arrivedSide == 0 ? tables.add(id, partner) : tables.add(partner, id) {
                        tables.flush(&output)
                        if output.isFull { return false }
                    }
                }
            }
            isSeeking = false
            position += 1
        }
        tables.flush(&output)
        arrived = []
        return true
    }

    // MARK: Time

    func resume(into output: inout OutputBuffer) -> Progress {
        guard pair(&output) else { return .more }
        guard let target else { return .done }
        // Rows that come later are at this time or behind it, however late they may be.
        let bound = target == .max ? .max : saturating(target, plus: -plan.allowedLateness)
        guard expire(0, before: target == .max ? nil : saturating(bound, plus: -after), &output),
            expire(1, before: target == .max ? nil : saturating(bound, plus: -before), &output)
        else { return .more }
        self.target = nil
        if target != .max { horizon = max(horizon, bound) }
        guard hasEventTime else { return .done }
        // A left row may still leave that is older by `after`; without a left row, a right row older by `before`.
        let delay = plan.kind == .full ? max(before, after) : after
        let next = target == .max ? .max : saturating(bound, plus: -delay)
        if next != .min { output.emit(.time(next)) }
        return .done
    }

    /// Lets rows go that nothing can match any more, those without a match by the output. True when that was all.
    private func expire(_ side: Int, before time: Int64?, _ output: inout OutputBuffer) -> Bool {
        let rows = tables.sides[side]
        let isPreserved = plan.isPreserved(side)
        while true {
            if output.isFull { return false }
            var gone: [Int32] = []
            while gone.count < RecordBatch.defaultRowCount, let id = rows.popFirst(before: time) { gone.append(id) }
            guard !gone.isEmpty else { return true }
            if isPreserved {
                tables.emit(unmatched: gone.filter { !rows.tags[Int($0)].isMatched }, side: side, &output)
            }
            tables.free(gone, side: side)
        }
    }

    func snapshot() -> StateSnapshot { tables.snapshot(progress: horizon) }
}
