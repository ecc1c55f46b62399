import DataflowOperator
import Glibc

/// An open file that is written to. Owns its descriptor.
final class OutputFile {
    let path: String
    private var descriptor: Int32
    /// Bytes written so far, by way of ``write(_:)``.
    private(set) var byteCount = 0
    /// So many of them have been given to the disk.
    private var startedByteCount = 0
    /// Given to the disk at once.
    private static let runByteCount = 8 << 20

    /// Creates the file, or empties it if it is there.
    init(creating path: String) throws(OperatorError) {
        self.path = path
        descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw fileFailure("create", path) }
    }

    /// Opens the file for changes, and creates it if it is missing.
    init(updating path: String) throws(OperatorError) {
        self.path = path
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw fileFailure("open", path) }
    }

    deinit {
        close(descriptor)
    }

    /// Writes all bytes behind those written before.
    func write(_ bytes: UnsafeRawBufferPointer) throws(OperatorError) {
        try write(bytes, at: byteCount)
        byteCount += bytes.count
        guard byteCount - startedByteCount >= OutputFile.runByteCount else { return }
        // The advice makes the disk begin while rows go on, so that ``sync()`` finds little left; what fails, that reports.
        _ = posix_fadvise(
            descriptor, off_t(startedByteCount), off_t(byteCount - startedByteCount), POSIX_FADV_DONTNEED)
        startedByteCount = byteCount
    }

    /// Writes all bytes at an offset.
    func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(OperatorError) {
        guard let start = bytes.baseAddress else { return }
        var done = 0
        while done < bytes.count {
            let written = pwrite(descriptor, start + done, bytes.count - done, off_t(offset + done))
            if written < 0 {
                if errno == EINTR { continue }
                throw fileFailure("write", path)
            }
            done += written
        }
    }

    /// Cuts the file off, or fills it up with zeros.
    func truncate(to count: Int) throws(OperatorError) {
        guard ftruncate(descriptor, off_t(count)) == 0 else { throw fileFailure("truncate", path) }
    }

    /// Returns when everything written is on the disk.
    func sync() throws(OperatorError) {
        guard fsync(descriptor) == 0 else { throw fileFailure("write", path) }
    }

    /// The file's size.
    func size() throws(OperatorError) -> Int {
        var information = stat()
        guard fstat(descriptor, &information) == 0 else { throw fileFailure("read", path) }
        return Int(information.st_size)
    }

    /// Reads up to `bytes.count` bytes from an offset; 0 at the end.
    func read(into bytes: UnsafeMutableRawBufferPointer, at offset: Int) throws(OperatorError) -> Int {
        while true {
            let got = pread(descriptor, bytes.baseAddress, bytes.count, off_t(offset))
            if got >= 0 { return got }
            if errno != EINTR { throw fileFailure("read", path) }
        }
    }

    /// Takes the file for this process alone, as long as it is open.
    /// - Returns: false when another one has it.
    func lock() -> Bool { flock(descriptor, LOCK_EX | LOCK_NB) == 0 }
}
