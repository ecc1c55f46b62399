public import DataflowColumnar
import DataflowConfig

/// Watermarks a split, merged by minimum: a value that decides, without clock or I/O.
///
/// A split's watermark is its latest event time less the declared out-of-orderness; a row is behind when its time is
/// before the split's watermark as it was in front of that row. A split that was assigned and has brought no row yet
/// holds everything back; ended and idle ones do not count. When the last split has ended nothing more is said: to
/// call that idle would let the rows behind overtake what windows still hold of it, until the end of input that follows.
///
/// A split that comes in when the merged watermark has moved on without it (back from idleness, or found later) begins at
/// that watermark: its rows behind it are behind, so that they are late where their window is gone.
public struct SplitWatermarks {
    private struct Split {
        /// The latest event time, `Int64.min` before the first row.
        var latest = Int64.min
        var isIdle = false
        /// Since when the source has had nothing for it.
        var quietSince: ContinuousClock.Instant?
    }

    private let outOfOrderness: Int64
    private let idleTimeout: Duration
    private var splits: [Int32: Split] = [:]
    private var restored: [Int32: Int64] = [:]
    private var lastTime = Int64.min
    private var lastWasIdle = false
    /// False until the first split is known: then there is nothing to say.
    private var hasBegun = false
    /// Whether a split has ended, so that none being left means that the end of input follows.
    private var hasEnded = false

    public init(outOfOrderness: Duration, idleTimeout: Duration) {
        self.outOfOrderness = outOfOrderness.nanoseconds / 1000
        self.idleTimeout = idleTimeout
    }

    /// Takes up the latest times of a checkpoint, for splits that are assigned later.
    public mutating func restore(split: Int32, latest: Int64) {
        restored[split] = max(restored[split] ?? .min, latest)
    }

    /// The splits and their latest times, those without rows left out; an idle one as it would begin again, and those of
    /// a checkpoint that have not been assigned as they were restored.
    public var latest: [(split: Int32, time: Int64)] {
        let known = splits.map { ($0.key, $0.value.isIdle ? begin($0.value.latest) : $0.value.latest) }
        let unseen = restored.filter { splits[$0.key] == nil }.map { ($0.key, $0.value) }
        return (known + unseen).filter { $0.1 > .min }.sorted { $0.0 < $1.0 }
    }

    /// The latest time with which a split comes in: its own, but no less than what puts it at the merged watermark.
    private func begin(_ latest: Int64) -> Int64 {
        guard lastTime > .min else { return latest }
        let (least, overflow) = lastTime.addingReportingOverflow(outOfOrderness)
        return max(latest, overflow ? .max : least)
    }

    private func watermark(_ latest: Int64) -> Int64 {
        let (time, overflow) = latest.subtractingReportingOverflow(outOfOrderness)
        return overflow ? .min : time
    }

    /// Takes note of the rows of a batch.
    /// - Returns: the batch's ``RecordBatch/splitWatermark``: nil when no row is behind. O(rows).
    public mutating func observe(_ times: Values<Int64>, split number: Int32) -> Values<Int64>? {
        hasBegun = true
        var split = splits[number] ?? Split(latest: begin(restored[number] ?? .min))
        if split.isIdle { split.latest = begin(split.latest) }
        split.isIdle = false
        split.quietSince = nil
        let before = split.latest
        let marks: Values<Int64>? = times.withUnsafeBufferPointer { times in
            var latest = before
            var earliest = Int64.max
            for time in times {
                latest = max(latest, time)
                earliest = min(earliest, time)
            }
            split.latest = latest
            // Mostly no row is behind even the last watermark.
            if earliest >= watermark(latest) { return nil }
            var anyBehind = false
            let marks = Values<Int64>(count: times.count) { marks in
                var latest = before
                for i in 0..<times.count {
                    let watermark = latest == .min ? Int64.min : watermark(latest)
                    let isBehind = times[i] < watermark
                    marks[i] = isBehind ? watermark : .min
                    anyBehind = anyBehind || isBehind
                    latest = max(latest, times[i])
                }
            }
            return anyBehind ? marks : nil
        }
        splits[number] = split
        return marks
    }

    /// Takes note of what the source tells of its splits.
    public mutating func apply(_ event: SplitEvent, now: ContinuousClock.Instant) {
        hasBegun = true
        switch event {
        case .assigned(let numbers):
            for number in numbers where splits[number] == nil {
                splits[number] = Split(latest: begin(restored[number] ?? .min))
            }
        case .ended(let number):
            hasEnded = true
            splits[number] = nil
            restored[number] = nil
        case .idle(let number):
            if splits[number]?.quietSince == nil { splits[number]?.quietSince = now }
        }
    }

    /// When a quiet split next becomes idle.
    public var nextTimeout: ContinuousClock.Instant? {
        splits.values.compactMap { $0.isIdle ? nil : $0.quietSince?.advanced(by: idleTimeout) }.min()
    }

    /// Lets the splits that have been quiet for too long fall idle.
    public mutating func expire(now: ContinuousClock.Instant) {
        for (number, split) in splits {
            if let since = split.quietSince, since.advanced(by: idleTimeout) <= now { splits[number]?.isIdle = true }
        }
    }

    /// What is to be said downstream after the last changes; nil where nothing is new. Times never go back.
    public mutating func next() -> Watermark? {
        guard hasBegun else { return nil }
        var least: Int64?
        for split in splits.values where !split.isIdle {
            guard split.latest > .min else {
                // Not started: holds back, and ends an idle time.
                guard lastWasIdle, lastTime > .min else { return nil }
                lastWasIdle = false
                return .time(lastTime)
            }
            least = min(least ?? .max, watermark(split.latest))
        }
        guard let least else {
            if lastWasIdle || (hasEnded && splits.isEmpty) { return nil }
            lastWasIdle = true
            return .idle
        }
        if least > lastTime {
            lastTime = least
        } else if !lastWasIdle || lastTime == .min {
            return nil
        }
        lastWasIdle = false
        return .time(lastTime)
    }
}
