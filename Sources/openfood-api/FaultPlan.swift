import ArgumentParser
import Synchronization

/// A way to misbehave.
enum FaultKind: String, CaseIterable, Sendable {
    /// Status 429 without a hint, as the edge of the real service answers.
    case tooManyRequests = "429"
    /// Status 429 with `Retry-After`, in seconds and as a date by turns.
    case tooManyRequestsRetryAfter = "429-retry-after"
    /// Status 500 with the application's error body.
    case serverError = "500"
    /// Status 503 with a load balancer's HTML page.
    case unavailable = "503-html"
    /// No answer.
    case hang
    /// An answer that ends in the middle of its body.
    case cut
    /// A right answer that takes its time.
    case slow
    /// A right answer, and `X-Revision` is another one from here on.
    case revision
}

/// `KIND:RATE` on the command line.
struct FaultRate: ExpressibleByArgument, Sendable {
    var kind: FaultKind
    var rate: Double

    init(kind: FaultKind, rate: Double) {
        self.kind = kind
        self.rate = rate
    }

    init?(argument: String) {
        guard let colon = argument.lastIndex(of: ":"), let kind = FaultKind(rawValue: String(argument[..<colon])),
            let rate = Double(argument[argument.index(after: colon)...]), rate >= 0, rate <= 1
        else { return nil }
        self.init(kind: kind, rate: rate)
    }
}

/// Which requests are answered badly: one seeded draw a request.
final class FaultPlan: Sendable {
    private struct State {
        var random: RandomBits
        var remaining: Int
    }

    private let rates: [FaultRate]
    private let state: Mutex<State>

    init(rates: [FaultRate], seed: UInt64, limit: Int = .max) {
        self.rates = rates
        state = Mutex(State(random: RandomBits(seed: seed, stream: 0xFA17), remaining: limit))
    }

    /// The fault of the next request, if it has one.
    func next() -> FaultKind? {
        guard !rates.isEmpty else { return nil }
        return state.withLock { state in
            guard state.remaining > 0 else { return nil }
            var draw = state.random.unit()
            for fault in rates {
                draw -= fault.rate
                if draw < 0 {
                    state.remaining -= 1
                    return fault.kind
                }
            }
            return nil
        }
    }
}
