import DataflowOperator
import Glibc

/// An IP address with a port: `127.0.0.1:8080` or `[::1]:8080`.
struct ListenAddress: Sendable {
    let host: String
    let port: UInt16
    let isIPv6: Bool

    /// Nil where the text is no such thing; names are not looked up.
    init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = UInt16(text[text.index(after: colon)...]) else {
            return nil
        }
        var host = String(text[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = String(host.dropFirst().dropLast())
            var address = in6_addr()
            guard inet_pton(AF_INET6, host, &address) == 1 else { return nil }
            isIPv6 = true
        } else {
            var address = in_addr()
            guard inet_pton(AF_INET, host, &address) == 1 else { return nil }
            isIPv6 = false
        }
        self.host = host
        self.port = port
    }

    /// A listening socket that does not block, and the port that it has.
    func listen() throws(OperatorError) -> (descriptor: Int32, port: UInt16) {
        let kind = Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
        let descriptor = socket(isIPv6 ? AF_INET6 : AF_INET, kind, 0)
        guard descriptor >= 0 else { throw failure("no socket", errno) }
        var on: Int32 = 1
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, socklen_t(MemoryLayout<Int32>.size))
        var storage = sockaddr_storage()
        var length = socklen_t(isIPv6 ? MemoryLayout<sockaddr_in6>.size : MemoryLayout<sockaddr_in>.size)
        let bound = withUnsafeMutableBytes(of: &storage) { bytes -> Int32 in
            if isIPv6 {
                var address = sockaddr_in6()
                address.sin6_family = sa_family_t(AF_INET6)
                address.sin6_port = port.bigEndian
                inet_pton(AF_INET6, host, &address.sin6_addr)
                bytes.storeBytes(of: address, as: sockaddr_in6.self)
            } else {
                var address = sockaddr_in()
                address.sin_family = sa_family_t(AF_INET)
                address.sin_port = port.bigEndian
                inet_pton(AF_INET, host, &address.sin_addr)
                bytes.storeBytes(of: address, as: sockaddr_in.self)
            }
            return bytes.withMemoryRebound(to: sockaddr.self) { bind(descriptor, $0.baseAddress, length) }
        }
        guard bound == 0, Glibc.listen(descriptor, 1024) == 0 else {
            let code = errno
            close(descriptor)
            throw failure("cannot listen", code)
        }
        let taken = withUnsafeMutableBytes(of: &storage) { bytes -> UInt16 in
            bytes.withMemoryRebound(to: sockaddr.self) { _ = getsockname(descriptor, $0.baseAddress, &length) }
            // The port stands behind the family in both forms.
            return UInt16(bigEndian: bytes.load(fromByteOffset: 2, as: UInt16.self))
        }
        return (descriptor, taken)
    }

    private func failure(_ what: String, _ code: Int32) -> OperatorError {
        let place = isIPv6 ? "[\(host)]:\(port)" : "\(host):\(port)"
        let reason = String(cString: strerror(code))
        switch code {
        case EADDRINUSE:
            return OperatorError(
                .external, .never, "address_in_use",
                "\(what) on \(place): another process does already; stop it, or set `listen` to another port")
        case EACCES:
            return OperatorError(
                .user, .never, "address_refused",
                "\(what) on \(place): \(reason); ports below 1024 are for privileged processes, set `listen` to another port"
            )
        case EADDRNOTAVAIL:
            return OperatorError(
                .user, .never, "address_refused",
                "\(what) on \(place): this machine has no such address; set `listen` to one it has")
        default: return OperatorError(.external, .withBackoff, "listen_failed", "\(what) on \(place): \(reason)")
        }
    }
}

/// The address of the other side of a connection, without its port.
func remoteAddress(_ storage: sockaddr_storage) -> String {
    var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    let isKnown = withUnsafeBytes(of: storage) { bytes in
        // The address stands behind family and port, in IPv6 also behind the flow.
        switch Int32(storage.ss_family) {
        case AF_INET: inet_ntop(AF_INET, bytes.baseAddress.map { $0 + 4 }, &text, socklen_t(text.count)) != nil
        case AF_INET6: inet_ntop(AF_INET6, bytes.baseAddress.map { $0 + 8 }, &text, socklen_t(text.count)) != nil
        default: false
        }
    }
    return isKnown ? String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self) : ""
}
