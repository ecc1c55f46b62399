/// Time cut in slices of one length: `[offset + k * size, offset + (k + 1) * size)` for every whole k, also before 1970.
///
/// All in microseconds. A tumbling window is one slice; windows that overlap will share slices.
struct SliceGrid: Sendable, Hashable {
    let size: Int64
    let offset: Int64

    /// - Precondition: `size` is positive.
    init(size: Int64, offset: Int64 = 0) {
        precondition(size > 0, "a slice of \(size) µs")
        self.size = size
        self.offset = SliceGrid.floorMod(offset, size)
    }

    private static func floorMod(_ value: Int64, _ size: Int64) -> Int64 {
        let rest = value % size
        return rest < 0 ? rest + size : rest
    }

    /// The start of the slice that `time` lies in; times too close to the ends of int64 get the outermost slice.
    func start(of time: Int64) -> Int64 {
        let (shifted, overflow) = time.subtractingReportingOverflow(offset)
        let rest = overflow ? 0 : SliceGrid.floorMod(shifted, size)
        let (start, below) = time.subtractingReportingOverflow(rest)
        return overflow || below ? .min : start
    }

    /// The first time behind the slice; saturates.
    func end(_ start: Int64) -> Int64 {
        let (end, overflow) = start.addingReportingOverflow(size)
        return overflow ? .max : end
    }

    /// The start of each time's slice. Times that follow one another mostly lie in one slice, so the division is rare.
    func starts(_ times: UnsafeBufferPointer<Int64>, into target: UnsafeMutableBufferPointer<Int64>) {
        var last: Int64 = 0
        var lastEnd: Int64 = 0
        for i in 0..<times.count {
            let time = times[i]
            if time < last || time >= lastEnd {
                last = start(of: time)
                lastEnd = end(last)
            }
            target[i] = last
        }
    }
}

/// `time + duration` without overflow.
func saturating(_ time: Int64, plus duration: Int64) -> Int64 {
    let (sum, overflow) = time.addingReportingOverflow(duration)
    return overflow ? (duration > 0 ? .max : .min) : sum
}
