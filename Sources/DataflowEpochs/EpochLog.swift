import DataflowColumnar
package import DataflowOperator
import Glibc

/// The rows of one epoch that the target has accepted, on disk, so that they can be sent again when the connection or
/// the commit is lost, also by a later process.
///
/// A file is a sequence of frames, each with a length and a checksum; what a frame holds is the sink's affair.
/// The file is called `open.log` until ``seal(as:)`` has made it durable under the epoch's own name.
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

    private let descriptor: Int32
    package private(set) var path: String
    package private(set) var length = 0
    package private(set) var rowCount = 0
    private let directory: String

    /// A new, empty log in `directory`; an unfinished one of an earlier process is overwritten.
    package init(creatingIn directory: String) throws(Failure) {
        self.directory = directory
        path = directory + "/open.log"
        descriptor = Glibc.open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        if descriptor < 0 { throw EpochLog.failure(path) }
    }

    /// An epoch's log of an earlier call of ``seal(as:)``.
    ///
    /// - Parameter length: what the log must have; a shorter file is damaged, what stands behind it is ignored.
    package init(opening name: String, in directory: String, length: Int) throws(Failure) {
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
    package func append(_ frame: Frame, _ bytes: UnsafeRawBufferPointer) throws(Failure) {
        var words: [UInt64] = [
            UInt64(EpochLog.magic) | UInt64(frame.kind) << 32 | UInt64(frame.flags) << 40,
            UInt64(frame.rowCount), UInt64(bytes.count), RowHash.hash(bytes),
        ]
        words.append(words.withUnsafeBytes { RowHash.hash($0) })
        let start = length
        do throws(Failure) {
            try words.withUnsafeBytes { header in Result { () throws(Failure) in try write(header) } }.get()
            try write(bytes)
        } catch {
            // Half a frame must not stand in front of the next one.
            length = start
            throw error
        }
        rowCount += frame.rowCount
    }

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
                words.withUnsafeBytes({ RowHash.hash(UnsafeRawBufferPointer(rebasing: $0[..<32])) }) == words[4],
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

    /// Makes the log durable under `name`: file, then folder.
    package func seal(as name: String) throws(Failure) {
        guard fsync(descriptor) == 0 else { throw EpochLog.failure(path) }
        let target = directory + "/" + name
        guard rename(path, target) == 0 else { throw EpochLog.failure(target) }
        path = target
        let folder = Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard folder >= 0 else { throw EpochLog.failure(directory) }
        defer { Glibc.close(folder) }
        guard fsync(folder) == 0 else { throw EpochLog.failure(directory) }
    }

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
    package static func removeAll(in directory: String, except name: String?) {
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

    private func damaged(_ reason: String) -> Failure { Failure(path: path, reason: reason, isInputOutput: false) }

    private static func failure(_ path: String) -> Failure {
        Failure(path: path, reason: String(cString: strerror(errno)), isInputOutput: errno != ENOENT)
    }
}
