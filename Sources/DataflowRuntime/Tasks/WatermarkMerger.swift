import DataflowOperator

/// The watermark of a task with several inputs: the least of those that are neither idle nor ended; it never goes back.
package struct WatermarkMerger: Sendable {
    private enum Lane: Sendable {
        /// Its stream has no event time: it never counts.
        case absent
        case at(Int64)
        case idle
        case ended
    }

    private var lanes: [Lane]
    private var merged = Int64.min
    private var isIdle = false

    /// - Parameter eventTime: for each lane, whether watermarks flow on it; such a lane holds the others back until it speaks.
    package init(eventTime: [Bool]) {
        lanes = eventTime.map { $0 ? .at(.min) : .absent }
    }

    /// - Returns: what to pass on, if anything changes.
    package mutating func update(_ lane: Int, _ watermark: Watermark) -> Watermark? {
        switch (lanes[lane], watermark) {
        case (.ended, _): return nil
        case (.at(let old), .time(let new)): lanes[lane] = .at(max(old, new))
        case (.absent, .time(let new)), (.idle, .time(let new)): lanes[lane] = .at(new)
        case (_, .idle): lanes[lane] = .idle
        }
        return merge()
    }

    /// The lane has ended and holds nobody back.
    package mutating func end(_ lane: Int) -> Watermark? {
        lanes[lane] = .ended
        return merge()
    }

    private mutating func merge() -> Watermark? {
        var least: Int64?
        var hasIdle = false
        for lane in lanes {
            switch lane {
            case .absent, .ended: break
            case .idle: hasIdle = true
            case .at(let time): least = min(least ?? time, time)
            }
        }
        // The end of all input closes everything: it waits for those that are idle, which may bring rows again.
        guard let least, !(hasIdle && least == .max) else {
            guard hasIdle, !isIdle else { return nil }
            isIdle = true
            return .idle
        }
        // Coming back from idle says so even if the time did not move on.
        guard least > merged || (isIdle && least != .min) else { return nil }
        isIdle = false
        merged = max(merged, least)
        return .time(merged)
    }
}
