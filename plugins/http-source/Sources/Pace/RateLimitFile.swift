import Glibc

/// Keeps a rate limiter's next start in a small file, so that the limit also holds across a crash between two
/// checkpoints. Written in place without fsync: it outlives the process, and losing it costs one early request.
final class RateLimitFile {
    private let descriptor: Int32
    private var written: Moment?

    /// Opens or creates the file; nil when that is not possible (the checkpoint's value is used alone then).
    init?(directory: String) {
        let descriptor = open("\(directory)/next-request", O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { return nil }
        self.descriptor = descriptor
    }

    deinit {
        close(descriptor)
    }

    /// What was written last, by this run or a former one; nil when there is nothing readable.
    func read() -> Moment? {
        var bytes = [UInt8](repeating: 0, count: 20)
        let count = pread(descriptor, &bytes, bytes.count, 0)
        guard count == bytes.count else { return nil }
        return Int64(String(decoding: bytes.drop { $0 == 32 }, as: UTF8.self)).map { Moment(microseconds: $0) }
    }

    /// One `pwrite`, and none when nothing has changed.
    func write(_ moment: Moment?) {
        guard let moment, moment != written else { return }
        let digits = Array(String(moment.microseconds).utf8)
        let bytes = [UInt8](repeating: 32, count: 20 - digits.count) + digits
        if pwrite(descriptor, bytes, bytes.count, 0) == bytes.count { written = moment }
    }
}
