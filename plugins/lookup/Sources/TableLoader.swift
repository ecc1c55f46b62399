import DataflowOperator

/// Where a lookup table comes from. Loading waits; it runs on the node's own thread or on one of the refresh.
protocol TableLoader: Sendable {
    /// Where that is, for messages; without secrets.
    var origin: String { get }
    /// Reads all rows.
    func load(into table: TableBuilder) throws(OperatorError)
}

/// What the refresh has brought; handed from its thread to the operator's.
enum LoadOutcome {
    case loaded(LookupTable, nullKeys: Int)
    case failed(OperatorError)
}

/// Loads tables, here and now or on a thread of its own.
final class TableRefresh {
    private enum State {
        case idle
        case loading
        case done(LoadOutcome)
    }

    private let loader: any TableLoader
    private let shape: TableShape
    private let state = Lock(State.idle)

    init(_ loader: any TableLoader, _ shape: TableShape) {
        self.loader = loader
        self.shape = shape
    }

    /// Loads on the calling thread.
    static func load(_ loader: any TableLoader, _ shape: TableShape) -> LoadOutcome {
        do throws(OperatorError) {
            let builder = try TableBuilder(shape, origin: loader.origin)
            try loader.load(into: builder)
            return .loaded(builder.finish(), nullKeys: builder.nullKeys)
        } catch { return .failed(error) }
    }

    /// Begins to load beside the stream; the thread ends with it. One at a time.
    func start() {
        state.withLock { $0 = .loading }
        do throws(OperatorError) {
            try startThread("the refresh of a lookup table") { [loader, shape, state] in
                let outcome = TableRefresh.load(loader, shape)
                // Nothing on this thread holds the table any more once it lies in the lock.
                state.signal { $0 = .done(outcome) }
            }
        } catch { state.signal { $0 = .done(.failed(error)) } }
    }

    /// What a load that was begun has brought, once; nil as long as it lasts, or where none was begun.
    func takeOutcome() -> LoadOutcome? {
        state.withLock { state in
            guard case .done(let outcome) = state else { return nil }
            state = .idle
            return outcome
        }
    }

    /// Returns when no load is under way.
    func waitForLoad() {
        state.wait { state -> Lock<State>.Step<Void> in
            if case .loading = state { .wait(until: nil) } else { .take(()) }
        }
    }
}
