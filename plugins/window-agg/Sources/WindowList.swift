/// Starts of windows, ascending, kept as runs of neighbours: a slice may have a thousand million of them.
struct WindowList {
    let every: Int64
    /// Not empty; the last before what was taken comes first.
    private var runs: [(first: Int64, last: Int64)] = []
    /// Runs before this one are used up.
    private var position = 0

    /// - Precondition: `every` is positive.
    init(every: Int64) { self.every = every }

    /// Adds `first`, `first + every` … up to `bound`, which is not below `first`. O(1).
    ///
    /// - Returns: the last window.
    @discardableResult
    mutating func append(from first: Int64, through bound: Int64) -> Int64 {
        precondition(first <= bound, "windows from \(first) to \(bound)")
        // Positive even where the difference is beyond int64.
        let last = bound &- Int64(truncatingIfNeeded: UInt64(bitPattern: bound &- first) % UInt64(every))
        runs.append((first, last))
        return last
    }

    /// Takes the first window out. O(1).
    mutating func popFirst() -> Int64? {
        guard position < runs.count else { return nil }
        let first = runs[position].first
        if first == runs[position].last { position += 1 } else { runs[position].first = first + every }
        return first
    }
}
