import Synchronization

/// What has been asked for and what was answered, page by page.
final class RequestStatistics: Sendable {
    struct Page: Hashable {
        var offset: Int
        var length: Int
    }

    struct Count: Equatable {
        /// All requests of the page.
        var requests = 0
        /// Those that were answered with its rows (whether or not the client read them to the end).
        var successes = 0
    }

    private struct State {
        var pages: [Page: Count] = [:]
        var faults: [FaultKind: Int] = [:]
        var refused = 0
        var bytes = 0
    }

    private let state = Mutex(State())

    /// Notes a request and how it is answered.
    func record(_ page: Page, fault: FaultKind?) {
        state.withLock { state in
            state.pages[page, default: Count()].requests += 1
            if let fault { state.faults[fault, default: 0] += 1 }
        }
    }

    /// Notes that the rows of `page` are on their way.
    func recordSuccess(_ page: Page, bytes: Int) {
        state.withLock { state in
            state.pages[page, default: Count()].successes += 1
            state.bytes += bytes
        }
    }

    /// Notes a request whose parameters were refused.
    func recordRefusal() {
        state.withLock { $0.refused += 1 }
    }

    func count(of page: Page) -> Count {
        state.withLock { $0.pages[page] ?? Count() }
    }

    /// `{"requests":…,"successes":…,"refused":…,"bytes":…,"faults":{KIND:n,…},"pages":[{offset,length,requests,successes},…]}`,
    /// the pages by offset and length.
    var json: String {
        let state = state.withLock { $0 }
        let pages = state.pages.sorted { ($0.key.offset, $0.key.length) < ($1.key.offset, $1.key.length) }
        let requests = pages.reduce(state.refused) { $0 + $1.value.requests }
        let successes = pages.reduce(0) { $0 + $1.value.successes }
        let faults = FaultKind.allCases.compactMap { kind in state.faults[kind].map { #""\#(kind.rawValue)":\#($0)"# } }
        let list = pages.map {
            #"{"offset":\#($0.key.offset),"length":\#($0.key.length),"requests":\#($0.value.requests),"#
                + #""successes":\#($0.value.successes)}"#
        }
        return
            #"{"requests":\#(requests),"successes":\#(successes),"refused":\#(state.refused),"bytes":\#(state.bytes),"#
            + #""faults":{\#(faults.joined(separator: ","))},"pages":[\#(list.joined(separator: ","))]}"#
    }
}
