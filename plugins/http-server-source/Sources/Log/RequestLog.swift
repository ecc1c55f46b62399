import DataflowOperator
import Glibc

/// Accepted requests on the disk until a checkpoint covers them: what the server's thread and the source share.
///
/// A position is a byte of the whole log, counted from the first request ever accepted. The log is a row of segments, files
/// named after their first position. The writer adds to the last one; the source reads, and removes segments that are covered.
final class RequestLog: Sendable {
    /// A file of the log.
    struct Segment: Equatable {
        var start: Int64
        /// Behind its last durable record.
        var end: Int64
    }

    private struct State {
        /// Ascending, without gaps.
        var segments: [Segment]
        var end: Int64
        /// What the last completed checkpoint covers.
        var covered: Int64
        var failure: OperatorError?
        var hasStopped = false
    }

    let directory: String
    private let state: Lock<State>

    private init(_ directory: String, _ state: sending State) {
        self.directory = directory
        self.state = Lock(state)
    }

    static func name(_ start: Int64) -> String {
        let digits = String(start)
        return "requests-" + String(repeating: "0", count: 19 - digits.utf8.count) + digits + ".log"
    }

    func path(_ start: Int64) -> String { "\(directory)/\(RequestLog.name(start))" }

    // MARK: Opening

    /// Takes up what an earlier process has left.
    ///
    /// - Parameters:
    ///   - position: the next position to read of a checkpoint; nil for a new start, which reads all that is there.
    ///   - note: is told what was cut off.
    static func open(
        _ directory: String, from position: Int64?, note: (String) -> Void
    ) throws(OperatorError) -> RequestLog {
        var segments: [Segment] = []
        let starts = try names(directory).compactMap { name -> Int64? in
            guard name.hasPrefix("requests-"), name.hasSuffix(".log") else { return nil }
            return Int64(name.dropFirst(9).dropLast(4))
        }.sorted()
        for (index, start) in starts.enumerated() {
            let isLast = index == starts.count - 1
            let path = "\(directory)/\(name(start))"
            // What is read already need not be checked.
            let isRead = !isLast && starts[index + 1] <= position ?? .min
            let end = isRead ? starts[index + 1] : start + (try check(path, isLast: isLast, note))
            guard isLast || end == starts[index + 1] else {
                throw damaged(path, "it ends at \(end), and the next one begins at \(starts[index + 1])")
            }
            if end > start {
                segments.append(Segment(start: start, end: end))
            } else {
                unlink(path)
            }
        }
        let begin = segments.first?.start ?? position ?? 0
        var end = segments.last?.end ?? position ?? 0
        if let position, position < begin {
            throw OperatorError(
                .user, .never, "log_gone",
                "the checkpoint goes on at position \(position) of the accepted requests, but those before \(begin) were removed when a later checkpoint was complete; restore a later one, or start anew with --restore none"
            )
        }
        if let position, position > end {
            note(
                "the log of accepted requests in \(directory) ends at \(end), before position \(position) of the checkpoint: it was removed or damaged from outside; requests that were accepted and not read are lost"
            )
            for segment in segments { unlink("\(directory)/\(name(segment.start))") }
            segments = []
            end = position
        }
        return RequestLog(directory, State(segments: segments, end: end, covered: position ?? begin))
    }

    /// The length of a segment's whole records. The last one is cut behind them: what follows was never acknowledged.
    private static func check(
        _ path: String, isLast: Bool, _ note: (String) -> Void
    ) throws(OperatorError) -> Int64 {
        let descriptor = Glibc.open(path, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { throw logFailure("open", path) }
        defer { close(descriptor) }
        var info = stat()
        guard fstat(descriptor, &info) == 0 else { throw logFailure("read", path) }
        let size = Int(info.st_size)
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: max(size, 1), alignment: 16)
        defer { bytes.deallocate() }
        var filled = 0
        while filled < size {
            let count = pread(descriptor, bytes.baseAddress.map { $0 + filled }, size - filled, off_t(filled))
            if count < 0 {
                if errno == EINTR { continue }
                throw logFailure("read", path)
            }
            if count == 0 { break }
            filled += count
        }
        let content = UnsafeRawBufferPointer(rebasing: bytes[..<filled])
        var offset = 0
        while offset < filled, case .record(let layout) = LogRecord.find(in: content, at: offset) {
            offset = layout.end
        }
        guard offset < size else {
            // A killed process may have left it with the operating system only.
            guard fsync(descriptor) == 0 else { throw logFailure("write", path) }
            return Int64(size)
        }
        guard isLast else { throw damaged(path, "there is no record at byte \(offset)") }
        note(
            "\(size - offset) bytes at the end of \(path) are no whole request and are cut off: they were never acknowledged"
        )
        guard ftruncate(descriptor, off_t(offset)) == 0, fsync(descriptor) == 0 else { throw logFailure("cut", path) }
        return Int64(offset)
    }

    private static func damaged(_ path: String, _ reason: String) -> OperatorError {
        OperatorError(
            .external, .never, "log_damaged",
            "the log of accepted requests is damaged: \(path): \(reason); bring the file back, or move the log away and restore another checkpoint"
        )
    }

    private static func names(_ directory: String) throws(OperatorError) -> [String] {
        guard let folder = opendir(directory) else { throw logFailure("read the folder", directory) }
        defer { closedir(folder) }
        var names: [String] = []
        while let entry = readdir(folder) {
            names.append(
                withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
        }
        return names
    }

    // MARK: Both sides

    /// Behind the last durable record.
    var end: Int64 { state.withLock(\.end) }

    /// Bytes that no completed checkpoint covers.
    var pendingByteCount: Int64 { state.withLock { $0.end - $0.covered } }

    /// The first position that can be read.
    var start: Int64 { state.withLock { $0.segments.first?.start ?? $0.end } }

    // MARK: The server's side

    /// A new file begins at the end.
    func begin(_ segment: Segment) { state.withLock { $0.segments.append(segment) } }

    /// The log is durable up to `end`.
    func moveEnd(to end: Int64) {
        state.signal { state in
            state.end = end
            state.segments[state.segments.count - 1].end = end
        }
    }

    /// The log cannot be written any more.
    func fail(_ error: OperatorError) { state.signal { $0.failure = $0.failure ?? error } }

    /// The server's thread is over.
    func stop() { state.signal { $0.hasStopped = true } }

    // MARK: The source's side

    /// Waits for records behind `position`, at most until `deadline`.
    /// - Returns: the end of the log; `position` when nothing has come.
    func wait(behind position: Int64, until deadline: ContinuousClock.Instant) throws(OperatorError) -> Int64 {
        let result = state.wait { state -> Lock<State>.Step<Result<Int64, OperatorError>> in
            if let failure = state.failure { return .take(.failure(failure)) }
            if state.end > position || ContinuousClock.now >= deadline { return .take(.success(state.end)) }
            return .wait(until: deadline)
        }
        return try result.get()
    }

    /// Returns when the server's thread is over.
    func waitForStop() { state.wait { $0.hasStopped ? .take(()) : .wait(until: nil) } }

    /// The segment that holds `position`; nil at the end.
    func segment(at position: Int64) -> Segment? {
        state.withLock { state in state.segments.first { $0.start <= position && position < $0.end } }
    }

    /// A checkpoint covers everything before `covered`; files that end at or before `removable` are removed.
    func release(_ covered: Int64, removable: Int64) {
        let gone = state.withLock { state -> [Segment] in
            state.covered = max(state.covered, covered)
            // The last one is the writer's.
            let gone = state.segments.dropLast().prefix { $0.end <= removable }
            state.segments.removeFirst(gone.count)
            return Array(gone)
        }
        for segment in gone { unlink(path(segment.start)) }
    }
}

/// Turns what the system answered into an error that says who must act.
func logFailure(_ action: String, _ path: String, _ code: Int32 = errno) -> OperatorError {
    let reason = String(cString: strerror(code))
    return OperatorError(
        .external, .withBackoff, code == ENOSPC || code == EDQUOT ? "disk_full" : "log_failed",
        "cannot \(action) \(path), where accepted requests are kept: \(reason)")
}
