/// Windows of one size that begin at `offset + k * every` for every whole k, also before 1970. All in microseconds.
struct WindowGrid: Sendable, Hashable {
    let size: Int64
    let every: Int64
    let offset: Int64

    /// - Precondition: `size >= every`, and both are positive.
    init(size: Int64, every: Int64, offset: Int64 = 0) {
        precondition(every > 0 && size >= every, "windows of \(size) µs every \(every) µs")
        self.size = size
        self.every = every
        self.offset = WindowGrid.floorMod(offset, every)
    }

    private static func floorMod(_ value: Int64, _ size: Int64) -> Int64 {
        let rest = value % size
        return rest < 0 ? rest + size : rest
    }

    /// The start of the last window that has begun at `time`; saturates.
    func lastStart(_ time: Int64) -> Int64 {
        let (shifted, overflow) = time.subtractingReportingOverflow(offset)
        let (start, below) = time.subtractingReportingOverflow(overflow ? 0 : WindowGrid.floorMod(shifted, every))
        return overflow || below ? .min : start
    }

    /// The start of the first window that ends behind `time`; saturates.
    func firstStart(endingBehind time: Int64) -> Int64 {
        saturating(lastStart(saturating(time, plus: -size)), plus: every)
    }

    /// The first time behind the window; saturates.
    func end(_ start: Int64) -> Int64 { saturating(start, plus: size) }
}

/// `time + duration` without overflow.
func saturating(_ time: Int64, plus duration: Int64) -> Int64 {
    let (sum, overflow) = time.addingReportingOverflow(duration)
    return overflow ? (duration > 0 ? .max : .min) : sum
}
