/// Windows of one length at fixed places: one starts at `offset + k * every` for every whole k, also before 1970, and
/// each is `size` long, at least `every`.
///
/// Rows whose times no window's start or end divides enter the same windows: those that start at `first`,
/// `first + every`, … `last`. Such a run of windows is a *slice*; its rows are aggregated once, whatever number of
/// windows it has. There are at most two slices an `every`. A tumbling window is one slice.
///
/// All in microseconds; starts and ends saturate at the ends of int64.
struct WindowGrid: Sendable, Hashable {
    let size: Int64
    let every: Int64
    let offset: Int64

    /// - Precondition: `every` is positive and not above `size`.
    init(size: Int64, every: Int64? = nil, offset: Int64 = 0) {
        let every = every ?? size
        precondition(every > 0 && every <= size, "windows of \(size) µs every \(every) µs")
        self.size = size
        self.every = every
        self.offset = WindowGrid.floorMod(offset, every)
    }

    /// Whether a row may be in more than one window.
    var overlaps: Bool { size > every }

    private static func floorMod(_ value: Int64, _ size: Int64) -> Int64 {
        let rest = value % size
        return rest < 0 ? rest + size : rest
    }

    /// The start of the last window that `time` lies in; times too close to the ends of int64 get the outermost one.
    func start(of time: Int64) -> Int64 {
        let (shifted, overflow) = time.subtractingReportingOverflow(offset)
        let rest = overflow ? 0 : WindowGrid.floorMod(shifted, every)
        let (start, below) = time.subtractingReportingOverflow(rest)
        return overflow || below ? .min : start
    }

    /// The first time behind the window that begins at `start`; saturates.
    func end(_ start: Int64) -> Int64 { saturating(start, plus: size) }

    /// The start of the first window that ends behind `time`: every window from it on is still open at that watermark.
    func firstEnding(after time: Int64) -> Int64 {
        guard time < .max else { return .max }
        let (before, overflow) = time.subtractingReportingOverflow(size)
        let closed = overflow ? .min : start(of: before)
        return closed == .min ? .min : saturating(closed, plus: every)
    }

    /// The first and the last window that `time` lies in. Towards the ends of int64 only the last.
    func slice(of time: Int64) -> (first: Int64, last: Int64) {
        let last = start(of: time)
        let first = overlaps ? firstEnding(after: time) : last
        return (first == .min ? last : min(first, last), last)
    }

    /// The start of each time's last window. Times that follow one another mostly lie in one, so division is rare.
    func starts(_ times: UnsafeBufferPointer<Int64>, into target: UnsafeMutableBufferPointer<Int64>) {
        var last: Int64 = 0
        var lastEnd: Int64 = 0
        for i in 0..<times.count {
            let time = times[i]
            if time < last || time >= lastEnd {
                last = start(of: time)
                lastEnd = saturating(last, plus: every)
            }
            target[i] = last
        }
    }

    /// The start of each time's first window, where that of its last is known.
    func firsts(
        _ times: UnsafeBufferPointer<Int64>, lasts: UnsafeBufferPointer<Int64>,
        into target: UnsafeMutableBufferPointer<Int64>
    ) {
        let cut = size % every
        // The slice that was found last.
        var lower: Int64 = 0
        var upper: Int64 = 0
        var first: Int64 = 0
        for i in 0..<times.count {
            let time = times[i]
            if time < lower || time >= upper {
                let last = lasts[i]
                first = slice(of: time).first
                let middle = saturating(last, plus: cut)
                lower = time >= middle ? middle : last
                upper = time >= middle ? saturating(last, plus: every) : middle
                // The outermost window does not begin where its start says.
                if last == .min || first == last { (lower, upper) = (0, 0) }
            }
            target[i] = first
        }
    }
}

/// `time + duration` without overflow.
func saturating(_ time: Int64, plus duration: Int64) -> Int64 {
    let (sum, overflow) = time.addingReportingOverflow(duration)
    return overflow ? (duration > 0 ? .max : .min) : sum
}
