import DataflowColumnar
import DataflowOperator
import Glibc

/// Reads whole records of the log, many at a time, from the page cache mostly. Owned by the source.
final class LogReader {
    /// Records in one piece of memory.
    struct Chunk {
        var buffer: Buffer
        var records: [LogRecord.Layout]
        /// Of the buffer's first byte.
        var position: Int64
    }

    private static let chunkByteCount = 1 << 20

    private let log: RequestLog
    private var open: (start: Int64, descriptor: Int32)?

    init(_ log: RequestLog) { self.log = log }

    deinit { if let open { close(open.descriptor) } }

    /// The records from `position` on, about a mebibyte of them and at least one.
    /// - Parameter limit: the most records.
    func read(from position: Int64, limit: Int) throws(OperatorError) -> Chunk? {
        guard let segment = log.segment(at: position) else { return nil }
        let descriptor = try descriptor(of: segment)
        var wanted = LogReader.chunkByteCount
        while true {
            let count = Int(min(Int64(wanted), segment.end - position))
            let buffer = try Buffer(byteCount: count) { (memory) throws(OperatorError) in
                var filled = 0
                while filled < count {
                    let got = pread(
                        descriptor, memory.baseAddress.map { $0 + filled }, count - filled,
                        off_t(position - segment.start) + filled)
                    if got > 0 {
                        filled += got
                    } else if got == 0 || errno != EINTR {
                        throw logFailure("read", log.path(segment.start), got == 0 ? EIO : errno)
                    }
                }
            }
            var records: [LogRecord.Layout] = []
            var missing = 0
            try buffer.withUnsafeBytes { (bytes) throws(OperatorError) in
                var offset = 0
                while offset < bytes.count, records.count < limit {
                    switch LogRecord.find(in: UnsafeRawBufferPointer(rebasing: bytes[..<count]), at: offset) {
                    case .record(let layout):
                        records.append(layout)
                        offset = layout.end
                        continue
                    case .incomplete(let byteCount): missing = byteCount
                    case .damaged:
                        throw OperatorError(
                            .external, .never, "log_damaged",
                            "the log of accepted requests is damaged: \(log.path(segment.start)) at byte \(position - segment.start + Int64(offset))"
                        )
                    }
                    break
                }
            }
            if !records.isEmpty { return Chunk(buffer: buffer, records: records, position: position) }
            wanted = max(missing, wanted + 1)
        }
    }

    private func descriptor(of segment: RequestLog.Segment) throws(OperatorError) -> Int32 {
        if let open, open.start == segment.start { return open.descriptor }
        if let open { close(open.descriptor) }
        open = nil
        let path = log.path(segment.start)
        let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw logFailure("read", path) }
        open = (segment.start, descriptor)
        return descriptor
    }
}
