import DataflowOperator
import Glibc

/// The file operations of a local file system.
public struct LocalFiles: CheckpointFiles {
    public init() {}

    public func makeDirectory(_ path: String) throws(CheckpointError) {
        if mkdir(path, 0o755) == 0 || errno == EEXIST { return }
        guard errno == ENOENT, let parent = Self.parent(of: path), parent != path else {
            throw .file("make the directory", path)
        }
        try makeDirectory(parent)
        guard mkdir(path, 0o755) == 0 || errno == EEXIST else { throw .file("make the directory", path) }
        try syncDirectory(parent)
    }

    public func list(_ path: String) throws(CheckpointError) -> [String]? {
        guard let directory = opendir(path) else {
            if errno == ENOENT { return nil }
            throw .file("list the directory", path)
        }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let capacity = MemoryLayout.size(ofValue: entry.pointee.d_name)
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: capacity) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names
    }

    public func read(_ path: String, _ range: Range<Int>?) throws(CheckpointError) -> [UInt8]? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        if descriptor < 0 {
            if errno == ENOENT { return nil }
            throw .file("read", path)
        }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .file("read", path) }
        let start = range?.lowerBound ?? 0
        let wanted = max(0, min(range?.upperBound ?? Int.max, Int(status.st_size)) - start)
        if wanted == 0 { return [] }
        var failed = false
        let bytes = [UInt8](unsafeUninitializedCapacity: wanted) { buffer, count in
            while count < wanted {
                let got = pread(descriptor, buffer.baseAddress! + count, wanted - count, off_t(start + count))
                if got < 0, errno == EINTR { continue }
                failed = got < 0
                if got <= 0 { break }
                count += got
            }
        }
        if failed { throw .file("read", path) }
        return bytes
    }

    public func write(_ bytes: [UInt8], to path: String) throws(CheckpointError) {
        try put(bytes, path, O_TRUNC)
    }

    public func append(_ bytes: [UInt8], to path: String) throws(CheckpointError) {
        try put(bytes, path, O_APPEND)
    }

    private func put(_ bytes: [UInt8], _ path: String, _ flag: Int32) throws(CheckpointError) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flag, 0o644)
        if descriptor < 0 { throw .file("write", path) }
        let failure = bytes.withUnsafeBytes { bytes -> Int32 in
            var done = 0
            while done < bytes.count {
                let count = Glibc.write(descriptor, bytes.baseAddress! + done, bytes.count - done)
                if count < 0, errno == EINTR { continue }
                if count < 0 { return errno }
                done += count
            }
            return 0
        }
        let closed = close(descriptor)
        if failure != 0 { throw .file("write", path, failure) }
        if closed != 0 { throw .file("write", path) }
    }

    public func sync(_ path: String) throws(CheckpointError) {
        try sync(path, O_RDONLY)
    }

    public func syncDirectory(_ path: String) throws(CheckpointError) {
        try sync(path, O_RDONLY | O_DIRECTORY)
    }

    private func sync(_ path: String, _ flags: Int32) throws(CheckpointError) {
        let descriptor = open(path, flags | O_CLOEXEC)
        if descriptor < 0 { throw .file("sync", path) }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw .file("sync", path) }
    }

    public func rename(_ from: String, to: String) throws(CheckpointError) {
        guard Glibc.rename(from, to) == 0 else { throw .file("rename to", to) }
    }

    public func adopt(_ path: String, as other: String) throws(CheckpointError) {
        if link(path, other) == 0 { return }
        guard [EXDEV, EPERM, EMLINK, EOPNOTSUPP].contains(errno) else { throw .file("link", other) }
        var offset = 0
        try write([], to: other)
        while let bytes = try read(path, offset..<(offset + (4 << 20))), !bytes.isEmpty {
            try append(bytes, to: other)
            offset += bytes.count
        }
    }

    public func remove(_ path: String) throws(CheckpointError) {
        if unlink(path) == 0 || errno == ENOENT { return }
        guard errno == EISDIR || errno == EPERM else { throw .file("remove", path) }
        for name in try list(path) ?? [] { try remove(path + "/" + name) }
        guard rmdir(path) == 0 || errno == ENOENT else { throw .file("remove", path) }
    }

    public func lock(_ path: String) throws(CheckpointError) -> (any CheckpointLock)? {
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        if descriptor < 0 { throw .file("lock", path) }
        if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { return FileLock(path, descriptor) }
        let code = errno
        close(descriptor)
        if code == EWOULDBLOCK { return nil }
        throw .file("lock", path, code)
    }

    private static func parent(of path: String) -> String? {
        guard let slash = path.lastIndex(of: "/") else { return nil }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }
}

/// An flock'ed file: the system releases it when the process dies, however it dies.
private final class FileLock: CheckpointLock {
    private let path: String
    private let descriptor: Lock<Int32>

    init(_ path: String, _ descriptor: Int32) {
        self.path = path
        self.descriptor = Lock(descriptor)
    }

    func isInPlace() -> Bool {
        descriptor.withLock { descriptor in
            var held = stat()
            var found = stat()
            return descriptor >= 0 && fstat(descriptor, &held) == 0 && stat(path, &found) == 0
                && held.st_ino == found.st_ino && held.st_dev == found.st_dev
        }
    }

    func release() {
        descriptor.withLock { descriptor in
            guard descriptor >= 0 else { return }
            // A child that is being started holds a copy of the descriptor until its exec: closing alone would not unlock.
            flock(descriptor, LOCK_UN)
            close(descriptor)
            descriptor = -1
        }
    }

    deinit { release() }
}

extension CheckpointError {
    /// A refused file operation, with what to do about the causes that a user can remove.
    public static func file(_ operation: String, _ path: String, _ code: Int32 = errno) -> CheckpointError {
        let advice =
            switch code {
            case ENOSPC, EDQUOT:
                "; make room on that file system, then start again: the last complete checkpoint is kept"
            case EACCES, EPERM, EROFS:
                "; the user that runs dataflow needs write permission there, or set checkpoint.directory"
            case ENOENT, ENOTDIR: "; was the checkpoint directory removed or replaced? check checkpoint.directory"
            case EMFILE, ENFILE: "; raise the limit of open files (ulimit -n)"
            default: ""
            }
        return CheckpointError(
            .file(errno: code), "cannot \(operation) \(path): \(String(cString: strerror(code)))\(advice)")
    }
}
