import DataflowEndToEnd
import DataflowOperator
import Glibc
import Synchronization

/// Stands between a program and a server on this machine and can cut all connections at once.
///
/// A thread for each direction of each connection; all end with their connection, the one that accepts with ``close()``.
package final class CuttingProxy: Sendable {
    /// Where the program connects to, on 127.0.0.1.
    package let port: UInt16
    let target: UInt16
    private let isKafka: Bool
    private let listener: Int32
    private let connections = Mutex<Set<Int32>>([])

    /// - Parameter isKafka: the server speaks Kafka's protocol, and where it tells its own address the proxy's is put.
    package init(to target: UInt16, isKafka: Bool = false) throws {
        self.target = target
        self.isKafka = isKafka
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        self.listener = listener
        var one: Int32 = 1
        setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
        var address = CuttingProxy.address(0)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = CuttingProxy.with(&address) { pointer in
            bind(listener, pointer, length) == 0 && listen(listener, 128) == 0
                && getsockname(listener, pointer, &length) == 0
        }
        guard isBound else {
            let reason = String(cString: strerror(errno))
            Glibc.close(listener)
            throw ChildProcess.Failure(description: "no proxy: \(reason)")
        }
        self.port = UInt16(bigEndian: address.sin_port)
        try CuttingProxy.thread { [self] in accept() }
    }

    /// Cuts every connection.
    package func cut() {
        connections.withLock { for descriptor in $0 { shutdown(descriptor, Int32(SHUT_RDWR)) } }
    }

    /// Takes no more connections and cuts those that there are.
    package func close() {
        shutdown(listener, Int32(SHUT_RDWR))
        cut()
    }

    private func accept() {
        while true {
            let client = Glibc.accept(listener, nil, nil)
            if client < 0 {
                if errno == EINTR || errno == ECONNABORTED { continue }
                break
            }
            _ = fcntl(client, F_SETFD, FD_CLOEXEC)
            let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            var address = CuttingProxy.address(target)
            let isConnected = CuttingProxy.with(&address) {
                connect(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
            }
            guard isConnected else {
                Glibc.close(client)
                Glibc.close(server)
                continue
            }
            connections.withLock { $0.formUnion([client, server]) }
            let both = Atomic(2)
            let pair = Pair(client: client, server: server, running: both)
            for (from, to) in [(client, server), (server, client)] {
                do {
                    try CuttingProxy.thread { [self] in
                        if !isKafka {
                            CuttingProxy.pump(from, to)
                        } else if from == client {
                            CuttingProxy.pumpRequests(from, to, pair.fetches)
                        } else {
                            pumpAnswers(from, to, pair.fetches)
                        }
                        end(pair)
                    }
                } catch { end(pair) }
            }
        }
        Glibc.close(listener)
    }

    private final class Pair: Sendable {
        let client: Int32
        let server: Int32
        let running: Atomic<Int>
        let fetches = Fetches()

        init(client: Int32, server: Int32, running: consuming Atomic<Int>) {
            self.client = client
            self.server = server
            self.running = running
        }
    }

    /// One direction is over: the other one ends too, and the second closes both.
    private func end(_ pair: Pair) {
        connections.withLock { open in
            for descriptor in [pair.client, pair.server] where open.contains(descriptor) {
                shutdown(descriptor, Int32(SHUT_RDWR))
            }
            guard pair.running.subtract(1, ordering: .relaxed).newValue == 0 else { return }
            open.subtract([pair.client, pair.server])
            Glibc.close(pair.client)
            Glibc.close(pair.server)
        }
    }

    static func bytes(_ number: UInt32) -> [UInt8] { withUnsafeBytes(of: number.bigEndian) { Array($0) } }

    /// Exactly so many bytes; nil at the end.
    static func receive(_ count: Int, _ from: Int32) -> [UInt8]? {
        var isWhole = true
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            while filled < count {
                let part = recv(from, buffer.baseAddress.map { $0 + filled }, count - filled, 0)
                if part < 0, errno == EINTR { continue }
                guard part > 0 else {
                    isWhole = false
                    return
                }
                filled += part
            }
        }
        return isWhole ? bytes : nil
    }

    static func sendAll(_ bytes: UnsafeRawBufferPointer, _ to: Int32) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let part = send(to, bytes.baseAddress.map { $0 + sent }, bytes.count - sent, Int32(MSG_NOSIGNAL))
            if part < 0, errno == EINTR { continue }
            guard part > 0 else { return false }
            sent += part
        }
        return true
    }

    private static func pump(_ from: Int32, _ to: Int32) {
        withUnsafeTemporaryAllocation(byteCount: 1 << 16, alignment: 16) { buffer in
            while true {
                let count = recv(from, buffer.baseAddress, buffer.count, 0)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return }
                guard sendAll(UnsafeRawBufferPointer(rebasing: buffer[..<count]), to) else { return }
            }
        }
    }

    private static func address(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        return address
    }

    private static func with<Result>(
        _ address: inout sockaddr_in, _ body: (UnsafeMutablePointer<sockaddr>) -> Result
    ) -> Result {
        withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0) }
        }
    }

    private static func thread(_ body: @escaping @Sendable () -> Void) throws {
        try startThread("a proxy", body)
    }
}
