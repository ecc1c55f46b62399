import Glibc

/// One client: what has come, what is to be sent, and how far the request has got. Owned by the server's thread.
final class Connection {
    enum Phase: Equatable {
        case head
        case body
        /// The request waits for the disk.
        case waiting
        /// The request was answered; the rest of its body is passed over.
        case discarding
        /// What comes is dropped; the connection is closed when everything is sent and the client has seen it.
        case closing
    }

    let descriptor: Int32
    let remote: String
    var phase = Phase.head
    /// Bytes that have come and are not taken yet.
    private(set) var input: [UInt8] = []
    private var taken = 0
    /// How much of a head has been searched for its end.
    private var searched = 0
    var head: RequestHead?
    var decoder = BodyDecoder(.length(0))
    var body: [UInt8] = []
    private var output: [UInt8] = []
    private var sent = 0
    /// When it is closed if nothing happens.
    var deadline: ContinuousClock.Instant
    /// Whether the kernel is asked to tell when there is room to send.
    var awaitsRoom = false
    private var hasShutDown = false

    init(_ descriptor: Int32, remote: String, deadline: ContinuousClock.Instant) {
        self.descriptor = descriptor
        self.remote = remote
        self.deadline = deadline
    }

    deinit { close(descriptor) }

    /// Whether a part of a request is there.
    var isInRequest: Bool { phase != .head || taken < input.count }

    func receive(_ bytes: UnsafeRawBufferPointer) {
        if phase != .closing { input.append(contentsOf: bytes) }
    }

    /// Takes a head with its empty line; nil where it has not come whole.
    func takeHead() throws(RequestProblem) -> RequestHead? {
        // An empty line in front of a request is passed over (RFC 9112 §2.2).
        while taken + 1 < input.count, input[taken] == 13, input[taken + 1] == 10 { taken += 2 }
        let end = input.withUnsafeBytes {
            RequestHead.end(in: UnsafeRawBufferPointer(rebasing: $0[taken...]), from: searched)
        }
        guard let end, end <= RequestHead.maxByteCount else {
            searched = input.count - taken
            if searched > RequestHead.maxByteCount {
                throw RequestProblem(
                    431, "the request line and the headers are longer than \(RequestHead.maxByteCount) bytes")
            }
            return nil
        }
        let result = input.withUnsafeBytes { bytes -> Result<RequestHead, RequestProblem> in
            do throws(RequestProblem) {
                return .success(try RequestHead(UnsafeRawBufferPointer(rebasing: bytes[taken..<taken + end])))
            } catch { return .failure(error) }
        }
        drop(end)
        searched = 0
        return try result.get()
    }

    /// Takes what has come of the body.
    func takeBody(_ append: (UnsafeRawBufferPointer) -> Void) throws(RequestProblem) {
        let result = input.withUnsafeBytes { bytes -> Result<Int, RequestProblem> in
            do throws(RequestProblem) {
                return .success(try decoder.take(UnsafeRawBufferPointer(rebasing: bytes[taken...]), append))
            } catch { return .failure(error) }
        }
        drop(try result.get())
    }

    private func drop(_ count: Int) {
        taken += count
        if taken == input.count {
            input.removeAll(keepingCapacity: input.capacity <= 1 << 16)
            taken = 0
        } else if taken > 1 << 16 {
            input.removeFirst(taken)
            taken = 0
        }
    }

    // MARK: Sending

    func send(_ response: [UInt8]) { output.append(contentsOf: response) }

    var hasOutput: Bool { sent < output.count }

    /// Sends what the kernel takes.
    /// - Returns: false when the client has gone.
    func flush() -> Bool {
        while sent < output.count {
            let count = output.withUnsafeBytes {
                Glibc.send(descriptor, $0.baseAddress.map { $0 + sent }, output.count - sent, Int32(MSG_NOSIGNAL))
            }
            if count < 0 {
                if errno == EINTR { continue }
                return errno == EAGAIN
            }
            sent += count
        }
        output.removeAll(keepingCapacity: true)
        sent = 0
        if phase == .closing, !hasShutDown {
            // The client reads the answer before it learns that the connection is gone: closing with unread input would reset it.
            hasShutDown = true
            shutdown(descriptor, Int32(SHUT_WR))
        }
        return true
    }
}
