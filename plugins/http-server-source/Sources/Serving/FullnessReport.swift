/// What the log says of a buffer that is full: where it fills and empties many times a second, one pair of lines every
/// few seconds.
struct FullnessReport {
    enum Line { case full, roomAgain }

    /// From one pair of lines to the next, at least.
    static let interval = Duration.seconds(10)

    private var isTold = false
    private var next: ContinuousClock.Instant?

    /// To be called with each request.
    ///
    /// - Returns: what is to be told now.
    mutating func note(isFull: Bool, at now: ContinuousClock.Instant) -> Line? {
        guard isFull != isTold else { return nil }
        if isFull {
            if let next, now < next { return nil }
            next = now + FullnessReport.interval
        }
        isTold = isFull
        return isFull ? .full : .roomAgain
    }
}
