import DataflowRuntime
import Testing

@Suite struct `Retry policy` {
    let policy = RetryPolicy(attempts: 4, backoff: .milliseconds(100), maxBackoff: .milliseconds(500))

    @Test(arguments: [(1, 100), (2, 200), (3, 400), (4, 500)])
    func `the pause doubles up to the longest, half of it by chance`(_ failures: Int, _ milliseconds: Int) {
        #expect(policy.pause(afterFailures: failures, random: 0) == .milliseconds(milliseconds) / 2)
        #expect(policy.pause(afterFailures: failures, random: 1) == .milliseconds(milliseconds))
    }

    @Test func `after the last attempt it gives up, without a limit never`() {
        #expect(policy.pause(afterFailures: 5, random: 0) == nil)
        #expect(RetryPolicy(attempts: nil).pause(afterFailures: 1_000_000, random: 1) == .seconds(30))
        #expect(RetryPolicy(attempts: 0).pause(afterFailures: 1, random: 1) == nil)
    }

    @Test func `a complete checkpoint or a long run makes failures forgotten`() {
        #expect(policy.isHealthy(after: .seconds(1), completedCheckpoints: 1))
        #expect(policy.isHealthy(after: .seconds(60), completedCheckpoints: 0))
        #expect(!policy.isHealthy(after: .seconds(59), completedCheckpoints: 0))
    }
}
