import DataflowColumnar
import Glibc

/// The rows of one epoch that the server has accepted, on disk, so that they can be sent again when the connection or
/// the commit is lost, also by a later process.
///
/// A file is a sequence of frames, each with a length and a checksum; what stands in a frame is what goes to the server.
/// The file is called `open.log` until ``seal(as:)`` has made it durable under the epoch's own name.
/// Owns a file descriptor; used on the sink's task only.
final class EpochLog {
    /// What a frame asks for.
    enum Kind: UInt8 {
        /// Rows for a COPY straight into the table.
        case append = 1
        /// Rows for the stage, to be merged.
        case upsert = 2
        /// Removes all rows of the table: the first frame of a history that replaces what it finds.
        case deleteAll = 3
    }

    struct Frame {
        var kind: Kind
        var rowCount: Int
        var hasDeletes: Bool
        var hasRows: Bool
    }

    /// What is wrong with a log, with the file's name.
    struct Failure: Error, CustomStringConvertible {
        var path: String
        var reason: String
        /// The disk failed or is full, rather than the content being damaged.
        var isInputOutput: Bool
        var description: String { "\(path): \(reason)" }
    }

    private static let magic: UInt32 = 0x4446_504c  // "DFPL"
    private static let headerBytes = 40

    private let descriptor: Int32
    private(set) var path: String
    private(set) var length = 0
    private(set) var rowCount = 0
    private let directory: String

    /// A new, empty log in `directory`; an unfinished one of an earlier process is overwritten.
    init(creatingIn directory: String) throws(Failure) {
        self.directory = directory
        path = directory + "/open.log"
        descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        if descriptor < 0 { throw EpochLog.failure(path) }
    }

    /// An epoch's log of an earlier call of ``seal(as:)``.
    ///
    /// - Parameter length: what the log must have; a shorter file is damaged, what stands behind it is ignored.
    init(opening name: String, in directory: String, length: Int) throws(Failure) {
        self.directory = directory
        path = directory + "/" + name
        descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        if descriptor < 0 { throw EpochLog.failure(path) }
        self.length = length
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw EpochLog.failure(path) }
        guard Int(status.st_size) >= length else {
            throw Failure(
                path: path, reason: "\(status.st_size) bytes, expected \(length): the file was truncated",
                isInputOutput: false)
        }
    }

    deinit {
        if descriptor >= 0 { Glibc.close(descriptor) }
    }

    /// Adds a frame behind the others. The bytes are with the operating system when this returns, not yet on the disk.
    func append(_ frame: Frame, _ bytes: UnsafeRawBufferPointer) throws(Failure) {
        var words: [UInt64] = [
            UInt64(EpochLog.magic) | UInt64(frame.kind.rawValue) << 32 | (frame.hasDeletes ? 1 << 40 : 0)
                | (frame.hasRows ? 1 << 41 : 0),
            UInt64(frame.rowCount), UInt64(bytes.count), RowHash.hash(bytes),
        ]
        words.append(words.withUnsafeBytes { RowHash.hash($0) })
        let start = length
        do throws(Failure) {
            let header = ByteStore(capacity: EpochLog.headerBytes)
            words.withUnsafeBytes { header.append($0) }
            try write(header[0..<header.count])
            try write(bytes)
        } catch {
            // Half a frame must not stand in front of the next one.
            length = start
            throw error
        }
        rowCount += frame.rowCount
    }

    /// Reads all frames in order; each is lent to `body` after its checksum was verified.
    func replay<E: Error>(_ body: (Frame, UnsafeRawBufferPointer) throws(E) -> Void) throws(E) -> Result<Void, Failure>
    {
        let store = ByteStore()
        var offset = 0
        while offset < length {
            let header = ByteStore(capacity: EpochLog.headerBytes)
            if let failure = read(EpochLog.headerBytes, at: offset, into: header) { return .failure(failure) }
            let words = (0..<5).map { index in
                header[0..<EpochLog.headerBytes].load(fromByteOffset: index * 8, as: UInt64.self)
            }
            guard UInt32(truncatingIfNeeded: words[0]) == EpochLog.magic, RowHash.hash(header[0..<32]) == words[4],
                let kind = Kind(rawValue: UInt8(truncatingIfNeeded: words[0] >> 32)),
                let byteCount = Int(exactly: words[2]), let rowCount = Int(exactly: words[1])
            else { return .failure(damaged("at byte \(offset) there is no frame")) }
            offset += EpochLog.headerBytes
            guard byteCount <= length - offset else {
                return .failure(damaged("the frame at byte \(offset) is cut off"))
            }
            store.truncate(to: 0)
            if let failure = read(byteCount, at: offset, into: store) { return .failure(failure) }
            guard RowHash.hash(store[0..<byteCount]) == words[3] else {
                return .failure(damaged("the checksum of the frame at byte \(offset) does not fit"))
            }
            offset += byteCount
            let frame = Frame(
                kind: kind, rowCount: rowCount, hasDeletes: words[0] >> 40 & 1 != 0, hasRows: words[0] >> 41 & 1 != 0)
            try body(frame, store[0..<byteCount])
        }
        return .success(())
    }

    /// Makes the log durable under `name`: file, then folder.
    func seal(as name: String) throws(Failure) {
        guard fsync(descriptor) == 0 else { throw EpochLog.failure(path) }
        let target = directory + "/" + name
        guard rename(path, target) == 0 else { throw EpochLog.failure(target) }
        path = target
        let folder = Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw EpochLog.failure(directory) }
        defer { Glibc.close(folder) }
        guard fsync(folder) == 0 else { throw EpochLog.failure(directory) }
    }

    /// Removes the file of an epoch that was committed. A file that cannot be removed is harmless.
    static func remove(_ name: String, in directory: String) {
        unlink(directory + "/" + name)
    }

    /// Removes every log in `directory` but `name`: leftovers of epochs that were committed or given up.
    static func removeAll(in directory: String, except name: String?) {
        guard let folder = opendir(directory) else { return }
        defer { closedir(folder) }
        while let entry = readdir(folder) {
            let file = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if file.hasSuffix(".log"), file != name { unlink(directory + "/" + file) }
        }
    }

    private func write(_ bytes: UnsafeRawBufferPointer) throws(Failure) {
        var written = 0
        while written < bytes.count, let base = bytes.baseAddress {
            let count = pwrite(descriptor, base + written, bytes.count - written, off_t(length))
            if count < 0 {
                if errno == EINTR { continue }
                throw EpochLog.failure(path)
            }
            written += count
            length += count
        }
    }

    private func read(_ count: Int, at offset: Int, into store: ByteStore) -> Failure? {
        let target = store.extend(by: count)
        var done = 0
        while done < count {
            let got = pread(descriptor, target + done, count - done, off_t(offset + done))
            if got < 0 {
                if errno == EINTR { continue }
                return EpochLog.failure(path)
            }
            if got == 0 { return damaged("the file ends at byte \(offset + done)") }
            done += got
        }
        return nil
    }

    private func damaged(_ reason: String) -> Failure { Failure(path: path, reason: reason, isInputOutput: false) }

    private static func failure(_ path: String) -> Failure {
        Failure(path: path, reason: String(cString: strerror(errno)), isInputOutput: errno != ENOENT)
    }
}
