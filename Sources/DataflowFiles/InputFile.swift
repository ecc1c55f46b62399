import CZlib
import DataflowOperator
import Glibc

/// An open file to read from front to back, decompressed where its name ends in `.gz`.
///
/// Owns the descriptor: opened in `init`, closed in `deinit`.
package final class InputFile {
    /// What tells one file from another that took its name.
    package struct Identity: Hashable {
        package var inode: UInt64
        package var byteCount: Int64

        package init(inode: UInt64, byteCount: Int64) {
            self.inode = inode
            self.byteCount = byteCount
        }
    }

    /// What the system knows of a file at one moment.
    package struct Status: Equatable {
        package var device: UInt64
        package var inode: UInt64
        package var byteCount: Int64
        /// When its content last changed, in nanoseconds since the epoch.
        package var modified: Int64

        fileprivate init(_ info: stat) {
            device = UInt64(truncatingIfNeeded: info.st_dev)
            inode = UInt64(info.st_ino)
            byteCount = Int64(info.st_size)
            modified = Int64(info.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(info.st_mtim.tv_nsec)
        }
    }

    package let path: String
    package let identity: Identity
    /// Bytes of content read so far (of decompressed content for `.gz`).
    package private(set) var position: Int64 = 0
    private let descriptor: Int32
    private let inflater: gzFile?

    /// Opens the file.
    package convenience init(path: String) throws(OperatorError) { try self.init(path, at: path) }

    /// - Parameter place: where it is opened; `path` is what messages call it, and says whether it is compressed.
    private init(_ path: String, at place: String) throws(OperatorError) {
        self.path = path
        descriptor = open(place, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw InputFile.failure("cannot be opened", path, errno) }
        var info = stat()
        guard fstat(descriptor, &info) == 0, info.st_mode & S_IFMT != S_IFDIR else {
            let code = errno
            close(descriptor)
            throw InputFile.failure("cannot be read, it is a folder or out of reach", path, code)
        }
        identity = Identity(inode: UInt64(info.st_ino), byteCount: Int64(info.st_size))
        _ = posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL)
        if path.hasSuffix(".gz") {
            inflater = gzdopen(descriptor, "rb")
            guard let inflater else {
                close(descriptor)
                throw OperatorError(.engine, .withBackoff, "out_of_memory", "no memory to decompress \(path)")
            }
            gzbuffer(inflater, 1 << 18)
        } else {
            inflater = nil
        }
    }

    deinit {
        if let inflater { gzclose(inflater) } else { close(descriptor) }
    }

    /// The same file, whatever its name is by now, opened again from its start.
    package func reopened() throws(OperatorError) -> InputFile {
        try InputFile(path, at: "/proc/self/fd/\(descriptor)")
    }

    /// The file as it is now.
    package func status() throws(OperatorError) -> Status {
        var info = stat()
        guard fstat(descriptor, &info) == 0 else { throw InputFile.failure("cannot be looked at", path, errno) }
        return Status(info)
    }

    /// The regular file of that name as it is now; nil where there is none.
    package static func status(of path: String) -> Status? {
        var info = stat()
        guard stat(path, &info) == 0, info.st_mode & S_IFMT == S_IFREG else { return nil }
        return Status(info)
    }

    /// Up to `count` bytes as they stand in the file; does not move the position.
    package func bytes(from offset: Int64, count: Int) throws(OperatorError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var filled = 0
        while filled < count {
            let got = bytes.withUnsafeMutableBytes {
                pread(descriptor, $0.baseAddress.map { $0 + filled }, count - filled, off_t(offset) + filled)
            }
            if got == 0 { break }
            if got > 0 {
                filled += got
            } else if errno != EINTR {
                throw InputFile.failure("cannot be read at byte \(offset)", path, errno)
            }
        }
        return Array(bytes[..<filled])
    }

    /// How much of the file has been read, 0 to 1 (of its compressed bytes for `.gz`).
    package var fraction: Double {
        guard identity.byteCount > 0 else { return 1 }
        let bytes = inflater.map { Int64(gzoffset($0)) } ?? position
        return Double(bytes) / Double(identity.byteCount)
    }

    /// Goes to a position of the content. O(1); O(position) for `.gz`.
    package func seek(to offset: Int64) throws(OperatorError) {
        let reached =
            inflater.map { Int64(gzseek($0, Int(offset), SEEK_SET)) } ?? Int64(lseek(descriptor, Int(offset), SEEK_SET))
        guard reached == offset else { throw InputFile.failure("cannot be read from byte \(offset) on", path, errno) }
        position = offset
    }

    /// Reads up to `memory.count` bytes; 0 at the end of the file.
    package func read(into memory: UnsafeMutableRawBufferPointer) throws(OperatorError) -> Int {
        if let inflater {
            let count = gzread(inflater, memory.baseAddress, UInt32(clamping: memory.count))
            var code: Int32 = 0
            guard count >= 0, let message = gzerror(inflater, &code), code == Z_OK || code == Z_STREAM_END else {
                throw OperatorError(
                    .external, .never, "damaged_file",
                    "\(path) cannot be decompressed behind byte \(position): it is damaged or cut off")
            }
            _ = message
            position += Int64(count)
            return Int(count)
        }
        while true {
            let count = Glibc.read(descriptor, memory.baseAddress, memory.count)
            if count >= 0 {
                position += Int64(count)
                return count
            }
            if errno != EINTR { throw InputFile.failure("cannot be read behind byte \(position)", path, errno) }
        }
    }

    private static func failure(_ what: String, _ path: String, _ code: Int32) -> OperatorError {
        let reason = String(cString: strerror(code))
        let isMissing = code == ENOENT || code == ENOTDIR
        let hint = code == EMFILE ? "; raise the limit of open files (ulimit -n)" : ""
        return OperatorError(
            isMissing || code == EACCES ? .user : .external, .never, isMissing ? "no_such_file" : "read_failed",
            "\(path) \(what): \(reason)\(hint)")
    }
}

/// The files that patterns match, sorted by path, each once; a pattern without `*`, `?` and `[` is a path as it stands.
package func matchingFiles(_ patterns: [String]) -> (files: [String], unmatched: [String]) {
    var files = Set<String>()
    var unmatched: [String] = []
    for pattern in patterns {
        guard pattern.contains(where: { "*?[".contains($0) }) else {
            files.insert(pattern)
            continue
        }
        var result = glob_t()
        defer { globfree(&result) }
        guard glob(pattern, GLOB_NOSORT, nil, &result) == 0, let paths = result.gl_pathv else {
            unmatched.append(pattern)
            continue
        }
        for i in 0..<Int(result.gl_pathc) {
            if let path = paths[i] { files.insert(String(cString: path)) }
        }
    }
    return (files.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }, unmatched)
}
