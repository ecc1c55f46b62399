import DataflowOperator
import Glibc

/// Adds requests to the log, many with one `fdatasync`. Owned by the server's thread.
final class LogWriter {
    /// What became of a group of requests.
    enum Outcome {
        case durable
        /// Nothing of the group is in the log.
        case refused(OperatorError)
    }

    private let log: RequestLog
    private let segmentByteCount: Int
    private var descriptor: Int32 = -1
    private var segmentStart: Int64 = 0
    private var end: Int64
    private var pending: [UInt8] = []

    init(_ log: RequestLog, segmentByteCount: Int) {
        self.log = log
        self.segmentByteCount = segmentByteCount
        end = log.end
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// Bytes that wait for ``commit()``.
    var pendingByteCount: Int { pending.count }

    func append(_ request: LogRecord.Request, body: [UInt8]) { LogRecord.append(request, body: body, to: &pending) }

    /// Writes what was added since the last call and returns when the disk has it.
    func commit() -> Outcome {
        defer { pending.removeAll(keepingCapacity: pending.capacity <= 4 << 20) }
        guard !pending.isEmpty else { return .durable }
        if descriptor < 0 || end - segmentStart >= Int64(segmentByteCount) {
            if let failure = roll() { return .refused(failure) }
        }
        let path = log.path(segmentStart)
        var written = 0
        while written < pending.count {
            let count = pending.withUnsafeBytes {
                pwrite(
                    descriptor, $0.baseAddress.map { $0 + written }, pending.count - written,
                    off_t(end - segmentStart) + written)
            }
            if count < 0 {
                if errno == EINTR { continue }
                let failure = logFailure("write", path)
                // Half a group must not stand in front of the next one.
                if ftruncate(descriptor, off_t(end - segmentStart)) != 0 { log.fail(failure) }
                return .refused(failure)
            }
            written += count
        }
        guard fdatasync(descriptor) == 0 else {
            // What the disk holds now is unknown: the log is read anew by a restart.
            let failure = logFailure("write", path)
            log.fail(failure)
            return .refused(failure)
        }
        end += Int64(pending.count)
        log.moveEnd(to: end)
        return .durable
    }

    /// Begins a file at the end of the log.
    private func roll() -> OperatorError? {
        if descriptor >= 0 { close(descriptor) }
        let path = log.path(end)
        descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { return logFailure("make", path) }
        let folder = open(log.directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer { if folder >= 0 { close(folder) } }
        guard folder >= 0, fsync(folder) == 0 else {
            let failure = logFailure("make", path)
            close(descriptor)
            descriptor = -1
            return failure
        }
        segmentStart = end
        log.begin(RequestLog.Segment(start: end, end: end))
        return nil
    }
}
