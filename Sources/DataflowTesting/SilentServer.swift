import Glibc

/// Listens on a port of this machine and never answers: a server that hangs.
package final class SilentServer {
    package struct Failure: Error {}

    private let socket: Int32
    package let port: UInt16

    package init() throws {
        socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let socket = socket
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                bind(socket, address, length) == 0 && listen(socket, 4) == 0
                    && getsockname(socket, address, &length) == 0
            }
        }
        guard isListening else {
            close(socket)
            throw Failure()
        }
        port = UInt16(bigEndian: address.sin_port)
    }

    deinit { close(socket) }

    /// Returns when somebody has connected.
    package func waitForVisitor() {
        var descriptor = pollfd(fd: socket, events: Int16(POLLIN), revents: 0)
        while poll(&descriptor, 1, -1) < 0 {}
    }
}
