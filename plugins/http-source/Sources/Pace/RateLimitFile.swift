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
    func read() -> KeptMoment? {
        var bytes = [UInt8](repeating: 0, count: RateLimitFile.length)
        guard pread(descriptor, &bytes, bytes.count, 0) == bytes.count else { return nil }
        let numbers = bytes.split(separator: 32).compactMap { Int64(String(decoding: $0, as: UTF8.self)) }
        guard numbers.count == 2 else { return nil }
        return KeptMoment(Moment(microseconds: numbers[0]), ahead: .microseconds(numbers[1]))
    }

    /// One `pwrite`, and none when nothing has changed.
    func write(_ moment: Moment?, now: Moment) {
        guard let moment, moment != written else { return }
        let kept = KeptMoment(moment, keptAt: now)
        var bytes = Array("\(kept.moment.microseconds) \(kept.ahead.wholeMicroseconds)".utf8)
        bytes += [UInt8](repeating: 32, count: RateLimitFile.length - bytes.count)
        if pwrite(descriptor, bytes, bytes.count, 0) == bytes.count { written = moment }
    }

    /// Two numbers and a space between them.
    private static let length = 41
}
