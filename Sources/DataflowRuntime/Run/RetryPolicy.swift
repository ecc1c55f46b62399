import DataflowConfig
import DataflowPipeline

/// How often and after which pause a failed pipeline starts again: exponential backoff with jitter.
public struct RetryPolicy: Hashable, Sendable {
    /// Failures in a row after which the run ends; nil for no end.
    public var attempts: Int?
    /// The pause before the first restart.
    public var backoff: Duration
    public var maxBackoff: Duration
    /// A run of this length counts as healthy: the next failure is the first again. So does one with a complete checkpoint.
    public var healthyAfter: Duration

    public init(
        attempts: Int? = 10, backoff: Duration = .milliseconds(500), maxBackoff: Duration = .seconds(30),
        healthyAfter: Duration = .seconds(60)
    ) {
        self.attempts = attempts
        self.backoff = backoff
        self.maxBackoff = maxBackoff
        self.healthyAfter = healthyAfter
    }

    /// As written under `restart:`.
    public init(_ config: RestartConfig) {
        self.init(attempts: config.attempts, backoff: config.backoff, maxBackoff: config.maxBackoff)
    }

    /// The pause before the restart that follows upon the `failures`-th failure in a row, or nil to give up.
    ///
    /// - Parameter random: uniform in 0..<1; the pause is between half and all of the exponential one, so that pipelines
    ///   that failed together do not come back together.
    public func pause(afterFailures failures: Int, random: Double) -> Duration? {
        if let attempts, failures > attempts { return nil }
        let doublings = min(max(0, failures - 1), 20)
        let full = min(maxBackoff, backoff * (1 << doublings))
        return full / 2 + full / 2 * random
    }

    /// Whether a run of this length or with a complete checkpoint makes earlier failures forgotten.
    public func isHealthy(after duration: Duration, completedCheckpoints: Int) -> Bool {
        completedCheckpoints > 0 || duration >= healthyAfter
    }
}
