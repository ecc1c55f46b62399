import Glibc
import Synchronization

extension CuttingProxy {
    /// The fetch requests of a connection that were not answered yet, by correlation id.
    final class Fetches: Sendable {
        private let open = Mutex<Set<ArraySlice<UInt8>>>([])

        func begin(_ id: ArraySlice<UInt8>) { _ = open.withLock { $0.insert(id) } }
        func end(_ id: ArraySlice<UInt8>) -> Bool { open.withLock { $0.remove(id) != nil } }
    }

    private static let fetch: [UInt8] = [0, 1]
    /// Answers to fetch requests that have fewer bytes hold no message, or one or two.
    private static let emptyAnswer = 512
    private static let emptyAnswerMicroseconds: UInt32 = 10_000

    /// Kafka's requests, whole ones: four bytes of length, two of the kind, two of its version, four of the correlation id.
    static func pumpRequests(_ from: Int32, _ to: Int32, _ fetches: Fetches) {
        while let (size, request) = message(from) {
            if request.count >= 8, request[..<2].elementsEqual(fetch) { fetches.begin(request[4..<8]) }
            guard (size + request).withUnsafeBytes({ sendAll($0, to) }) else { return }
        }
    }

    /// Kafka's answers, whole ones: a broker's address is its host's text and behind it the port, four bytes.
    ///
    /// An answer to a fetch request without messages is kept back for a moment. A broker should do that itself
    /// (`fetch.wait.max.ms`); that of the tests does not, and a reader at the end of its partitions would keep a core busy.
    func pumpAnswers(_ from: Int32, _ to: Int32, _ fetches: Fetches) {
        let host = Array("127.0.0.1".utf8)
        let own = host + CuttingProxy.bytes(UInt32(target))
        let replacement = host + CuttingProxy.bytes(UInt32(port))
        while let (size, body) = CuttingProxy.message(from) {
            var answer = body
            if answer.count >= 4, fetches.end(answer[..<4]) {
                if answer.count < CuttingProxy.emptyAnswer { usleep(CuttingProxy.emptyAnswerMicroseconds) }
            } else {
                var at = 0
                while let found = answer[at...].firstIndex(of: own[0]), found + own.count <= answer.count {
                    if answer[found..<found + own.count].elementsEqual(own) {
                        answer.replaceSubrange(found..<found + own.count, with: replacement)
                    }
                    at = found + 1
                }
            }
            guard (size + answer).withUnsafeBytes({ CuttingProxy.sendAll($0, to) }) else { return }
        }
    }

    private static func message(_ from: Int32) -> (size: [UInt8], body: [UInt8])? {
        guard let size = receive(4, from), let body = receive(Int(size.reduce(0) { $0 << 8 | UInt32($1) }), from) else {
            return nil
        }
        return (size, body)
    }
}
