import DataflowOperator

/// `state_ttl`: when groups last had a row, and which have had none for too long.
///
/// Times are of the wall clock, so that they go on through a restart. Groups are looked through four times in the time to
/// live, about 1 ns a group, so that a group goes at the latest a quarter behind its time. 8 bytes a group.
final class GroupExpiry {
    /// The column of the state that keeps it.
    static let field = Field("last_row", .timestamp, nullable: false)

    private let timeToLive: Int64
    private let context: OperatorContext
    private var lastRow = Cells<Int64>(.max)
    private var bound = 0
    private var nextLook: ContinuousClock.Instant?

    init(_ timeToLive: Duration, _ context: OperatorContext) {
        self.timeToLive = timeToLive.nanoseconds / 1000
        self.context = context
    }

    private func grow(to upperBound: Int) {
        lastRow.grow(to: upperBound)
        bound = max(bound, upperBound)
    }

    /// Groups have had rows; asks for a tick.
    func touch(_ ids: UnsafeBufferPointer<Int32>, upperBound: Int) {
        grow(to: upperBound)
        let now = context.clock.wallMicroseconds
        for id in ids { lastRow[id] = now }
        requestTick()
    }

    /// Groups of a checkpoint; without times they begin to age now.
    func restore(_ ids: UnsafeBufferPointer<Int32>, _ times: Values<Int64>?, upperBound: Int) {
        guard let times else { return touch(ids, upperBound: upperBound) }
        grow(to: upperBound)
        for (i, id) in ids.enumerated() { lastRow[id] = times[i] }
        requestTick()
    }

    private func requestTick() {
        guard nextLook == nil else { return }
        let next = context.clock.now.advanced(by: .microseconds(max(1000, timeToLive / 4)))
        nextLook = next
        context.tick.request(at: next)
    }

    /// The groups whose time is over, but for those that `isHeld`; they are to be given to ``forget(_:)``. Empty where it is not
    /// yet time to look.
    func expired(isHeld: (Int32) -> Bool) -> [Int32] {
        let now = context.clock.now
        guard let due = nextLook else { return [] }
        guard due <= now else {
            context.tick.request(at: due)
            return []
        }
        nextLook = nil
        let limit = context.clock.wallMicroseconds - timeToLive
        var expired: [Int32] = []
        var hasOthers = false
        for id in 0..<Int32(truncatingIfNeeded: bound) {
            let last = lastRow[id]
            guard last != .max else { continue }
            if last <= limit, !isHeld(id) {
                expired.append(id)
            } else {
                hasOthers = true
            }
        }
        if hasOthers { requestTick() } else { bound = 0 }
        return expired
    }

    /// Forgets groups.
    func forget(_ ids: UnsafeBufferPointer<Int32>) {
        for id in ids { lastRow[id] = .max }
    }

    /// When groups last had a row, for a checkpoint.
    func column(_ ids: [Int32]) -> Column {
        Column(
            .timestamp,
            .int64(Values(count: ids.count) { target in for i in 0..<ids.count { target[i] = lastRow[ids[i]] } }))
    }
}
