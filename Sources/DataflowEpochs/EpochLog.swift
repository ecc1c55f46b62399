import DataflowColumnar
package import DataflowOperator
import Glibc

/// The rows of one epoch that the target has accepted, on disk, so that they can be sent again when the connection or
/// the commit is lost, also by a later process.
///
/// A file is a sequence of frames, each with a length and a checksum; what a frame holds is the sink's affair.
///
/// A file serves one epoch, called `open.log` until ``seal(as:)`` has made it durable under the epoch's own name; or all
/// epochs of a run, one written over the other after ``reset()`` and made durable by ``seal()``: a file that keeps its
/// name and size is durable after one small write. Behind the length of the epoch older frames may stand then.
///
/// A frame may be staged while the target still works on its rows: it is written, but not taken up before ``accept()``.
/// Owns a file descriptor; used on the sink's task only.
package final class EpochLog {
    /// What the sink wants to know of a frame besides its bytes.
    package struct Frame: Equatable, Sendable {
        /// Kinds and flags mean what the sink says they mean.
        package var kind: UInt8
        package var flags: UInt8
        package var rowCount: Int

        package init(kind: UInt8, flags: UInt8 = 0, rowCount: Int) {
            self.kind = kind
            self.flags = flags
            self.rowCount = rowCount
        }
    }

    /// What is wrong with a log, with the file's name.
    package struct Failure: Error, CustomStringConvertible {
        package var path: String
        package var reason: String
        /// The disk failed or is full, rather than the content being damaged.
        package var isInputOutput: Bool
        package var description: String { "\(path): \(reason)" }

        /// As the run reports it.
        package var operatorError: OperatorError {
            OperatorError(
                .external, isInputOutput ? .withBackoff : .never,
                isInputOutput ? "epoch_log_failed" : "epoch_log_damaged",
                isInputOutput
                    ? "cannot keep the epoch's rows on disk: \(self)"
                    : "the rows of an epoch that is not committed yet are damaged: \(self); "
                        + "start from the checkpoint before with --restore ID", underlying: self)
        }
    }

    private static let magic: UInt32 = 0x4446_504c  // "DFPL"
    private static let headerBytes = 40

    /// A file that has grown larger is given back to the disk by ``reset()``.
    private static let keptBytes = 64 << 20
    /// From this many bytes on the disk is told to begin, so that little is left for ``sync()``.
    private static let writebackBytes = 1 << 20

    private let descriptor: Int32
    private let directory: String
    /// The file's name in its folder.
    package private(set) var name: String
    /// Bytes and rows of the frames that were taken up.
    package private(set) var length = 0
    package private(set) var rowCount = 0
    /// Counts the epochs in the file and goes into the checksums, so that no frame of another epoch is taken for one of
    /// this.
    package private(set) var serial: UInt64
    /// Bytes of the next frame, without its header, that stand behind the log already.
    private var stagedBytes = 0
    /// The next frame, once it is complete.
    private var staged: (rowCount: Int, byteCount: Int)?
    /// How far the file was written, taken up or not; and how far the disk was told to begin.
    private var fileEnd = 0
    private var writtenBack = 0
    private var isSynced = true
    /// The file's name is durable.
    private var isNamed: Bool

    package var path: String { directory + "/" + name }
    package var isEmpty: Bool { length == 0 }

    /// A new, empty log in `directory`; one of the same name that an earlier process has left is overwritten.
    package init(creatingIn directory: String, named name: String = "open.log") throws(Failure) {
        self.directory = directory
        self.name = name
        serial = 0
        isNamed = false
        let path = directory + "/" + name
        descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        if descriptor < 0 { throw EpochLog.failure(path) }
    }

    /// An epoch's log that an earlier process has sealed.
    ///
    /// - Parameters:
    ///   - length: what the log must have; a shorter file is damaged, what stands behind it is ignored.
    ///   - serial: which epoch of its file it is.
    package init(
        opening name: String, in directory: String, length: Int, serial: UInt64 = 0
    ) throws(Failure) {
        self.directory = directory
        self.name = name
        self.serial = serial
        isNamed = true
        let path = directory + "/" + name
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
    package func append(_ frame: Frame, _ bytes: UnsafeRawBufferPointer) throws(Failure) {
        discard()
        try stage(frame, bytes)
        accept()
    }

    /// Writes what is known of the next frame's bytes, from their start: what was staged before is not written again.
    package func stage(_ bytes: UnsafeRawBufferPointer) throws(Failure) {
        guard bytes.count > stagedBytes else { return }
        let start = length + EpochLog.headerBytes
        try write(UnsafeRawBufferPointer(rebasing: bytes[stagedBytes...]), at: start + stagedBytes)
        stagedBytes = bytes.count
        let end = start + stagedBytes
        if end - writtenBack >= EpochLog.writebackBytes {
            // Linux begins to write what is to leave the cache; whether that works is seen at `sync()`.
            _ = posix_fadvise(descriptor, off_t(writtenBack), off_t(end - writtenBack), POSIX_FADV_DONTNEED)
            writtenBack = end
        }
    }

    /// Writes the rest of the next frame and its header; ``accept()`` takes it up. Nothing happens when that was done.
    package func stage(_ frame: Frame, _ bytes: UnsafeRawBufferPointer) throws(Failure) {
        guard staged == nil else { return }
        try stage(bytes)
        var words: [UInt64] = [
            UInt64(EpochLog.magic) | UInt64(frame.kind) << 32 | UInt64(frame.flags) << 40,
            UInt64(frame.rowCount), UInt64(bytes.count), RowHash.hash(bytes),
        ]
        words.append(checksum(words))
        let start = length
        try words.withUnsafeBytes { header in Result { () throws(Failure) in try write(header, at: start) } }.get()
        staged = (frame.rowCount, bytes.count)
    }

    /// Takes up the staged frame.
    package func accept() {
        guard let staged else { return }
        length += EpochLog.headerBytes + staged.byteCount
        rowCount += staged.rowCount
        discard()
    }

    /// Forgets what was staged.
    package func discard() {
        staged = nil
        stagedBytes = 0
    }

    /// Begins the next epoch in the same file; the target has the one before.
    package func reset() {
        length = 0
        rowCount = 0
        writtenBack = 0
        serial += 1
        discard()
        if fileEnd > EpochLog.keptBytes, ftruncate(descriptor, 0) == 0 {
            fileEnd = 0
            isSynced = false
        }
    }

    /// Of a header's first four words.
    private func checksum(_ words: [UInt64]) -> UInt64 { words.withUnsafeBytes { RowHash.hash($0) } ^ serial }

    /// Reads all frames in order; each is lent to `body` after its checksum was verified.
    package func replay<E: Error>(_ body: (Frame, UnsafeRawBufferPointer) throws(E) -> Void) throws(E) -> Result<
        Void, Failure
    > {
        var memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 16, alignment: 64)
        defer { memory.deallocate() }
        var offset = 0
        while offset < length {
            var words = [UInt64](repeating: 0, count: 5)
            if let failure = words.withUnsafeMutableBytes({ read(into: $0, at: offset) }) { return .failure(failure) }
            guard UInt32(truncatingIfNeeded: words[0]) == EpochLog.magic,
                checksum(Array(words[..<4])) == words[4],
                let byteCount = Int(exactly: words[2]), let rowCount = Int(exactly: words[1])
            else { return .failure(damaged("at byte \(offset) there is no frame")) }
            offset += EpochLog.headerBytes
            guard byteCount <= length - offset else {
                return .failure(damaged("the frame at byte \(offset) is cut off"))
            }
            if memory.count < byteCount {
                memory.deallocate()
                memory = .allocate(byteCount: max(byteCount, memory.count * 2), alignment: 64)
            }
            let bytes = UnsafeMutableRawBufferPointer(rebasing: memory[..<byteCount])
            if let failure = read(into: bytes, at: offset) { return .failure(failure) }
            guard RowHash.hash(UnsafeRawBufferPointer(bytes)) == words[3] else {
                return .failure(damaged("the checksum of the frame at byte \(offset) does not fit"))
            }
            offset += byteCount
            let frame = Frame(
                kind: UInt8(truncatingIfNeeded: words[0] >> 32), flags: UInt8(truncatingIfNeeded: words[0] >> 40),
                rowCount: rowCount)
            try body(frame, UnsafeRawBufferPointer(bytes))
        }
        return .success(())
    }

    /// Brings all that was written to the disk; cheap where it is there already.
    package func sync() throws(Failure) {
        if isSynced { return }
        guard fdatasync(descriptor) == 0 else { throw EpochLog.failure(path) }
        isSynced = true
    }

    /// Makes the log durable: the file, and the first time its name.
    package func seal() throws(Failure) {
        try sync()
        guard !isNamed else { return }
        let folder = Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw EpochLog.failure(directory) }
        defer { Glibc.close(folder) }
        guard fsync(folder) == 0 else { throw EpochLog.failure(directory) }
        isNamed = true
    }

    /// Makes the log durable under `name`: file, then folder.
    package func seal(as name: String) throws(Failure) {
        try sync()
        let target = directory + "/" + name
        guard rename(path, target) == 0 else { throw EpochLog.failure(target) }
        self.name = name
        isNamed = false
        try seal()
    }

    /// Removes the file. One that cannot be removed is harmless.
    package func remove() { unlink(path) }

    /// The file's name of a history's epoch, once it is sealed.
    package static func name(lineage: String, epoch: UInt64) -> String {
        let safe = lineage.unicodeScalars.filter {
            $0.isASCII && ($0.properties.isAlphabetic || $0.properties.numericType != nil)
        }
        return "epoch-\(String(String.UnicodeScalarView(safe)))-\(epoch).log"
    }

    /// Removes the file of an epoch that was committed. A file that cannot be removed is harmless.
    package static func remove(_ name: String, in directory: String) {
        unlink(directory + "/" + name)
    }

    /// Removes every log in `directory` but `name`: leftovers of epochs that were committed or given up.
    package static func removeAll(in directory: String, except name: String? = nil) {
        guard let folder = opendir(directory) else { return }
        defer { closedir(folder) }
        while let entry = readdir(folder) {
            let file = withUnsafeBytes(of: entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if file.hasSuffix(".log"), file != name { unlink(directory + "/" + file) }
        }
    }

    private func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(Failure) {
        isSynced = false
        var written = 0
        while written < bytes.count, let base = bytes.baseAddress {
            let count = pwrite(descriptor, base + written, bytes.count - written, off_t(offset + written))
            if count < 0 {
                if errno == EINTR { continue }
                throw EpochLog.failure(path)
            }
            written += count
        }
        fileEnd = max(fileEnd, offset + bytes.count)
    }

    private func read(into target: UnsafeMutableRawBufferPointer, at offset: Int) -> Failure? {
        guard let base = target.baseAddress else { return nil }
        var done = 0
        while done < target.count {
            let got = pread(descriptor, base + done, target.count - done, off_t(offset + done))
            if got < 0 {
                if errno == EINTR { continue }
                return EpochLog.failure(path)
            }
            if got == 0 { return damaged("the file ends at byte \(offset + done)") }
            done += got
        }
        return nil
    }

    /// A failure that says what is wrong with the content.
    package func damaged(_ reason: String) -> Failure { Failure(path: path, reason: reason, isInputOutput: false) }

    private static func failure(_ path: String) -> Failure {
        Failure(path: path, reason: String(cString: strerror(errno)), isInputOutput: errno != ENOENT)
    }
}

/// Runs what uses the log; a failure becomes what the run reports.
package func logged<R>(_ body: () throws(EpochLog.Failure) -> R) throws(OperatorError) -> R {
    do throws(EpochLog.Failure) { return try body() } catch { throw error.operatorError }
}
