import CPostgreSQL
import DataflowOperator

/// Makes connections on threads of their own, so that whoever waits for one can be cancelled.
///
/// libpq goes through all hosts and addresses, with `connect_timeout` for each, only in the call that blocks; that call
/// cannot be interrupted. One that nobody waits for any more runs to its end and is thrown away.
enum PgConnecting {
    private enum State {
        case underWay
        /// The address of libpq's `PGconn`, 0 where it had no memory: pointers are not `Sendable`.
        case made(UInt)
        case abandoned
    }

    /// - Returns: what libpq has made, connected or not; nil where it had no memory.
    /// - Throws: `cancelled`; `connection` where the system gives no thread.
    static func connect(_ settings: PgSettings) throws(PgFailure) -> OpaquePointer? {
        let state = Lock(State.underWay)
        do throws(OperatorError) {
            try startThread("a connection") { connect(settings, state) }
        } catch {
            throw PgFailure(.connection, error.message)
        }
        let address = state.wait { state -> Lock<State>.Step<UInt?> in
            if case .made(let address) = state { return .take(address) }
            guard Task.isCancelled else { return .wait(until: .now + .milliseconds(100)) }
            state = .abandoned
            return .take(nil)
        }
        guard let address else { throw PgFailure(.cancelled, "the pipeline is being stopped") }
        return OpaquePointer(bitPattern: address)
    }

    private static func connect(_ settings: PgSettings, _ state: Lock<State>) {
        let made = settings.withKeywordsAndValues { PQconnectdbParams($0, $1, 0) }
        var isWanted = true
        state.signal { state in
            if case .abandoned = state { isWanted = false } else { state = .made(UInt(bitPattern: made)) }
        }
        if !isWanted { PQfinish(made) }
    }
}
