import Glibc

/// The file operations of spill files: with errors that say what to do.
enum SpillIO {
    /// Makes the folder where it is missing, and the file anew.
    static func create(_ path: String, in directory: String) throws(OperatorError) -> Int32 {
        for isSecond in [false, true] {
            let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
            if descriptor >= 0 { return descriptor }
            guard errno == ENOENT, !isSecond, mkdir(directory, 0o755) == 0 || errno == EEXIST else { break }
        }
        throw failure("make", path)
    }

    static func close(_ descriptor: Int32) { _ = Glibc.close(descriptor) }

    static func remove(_ path: String) { unlink(path) }

    static func write(_ bytes: [UInt8], _ descriptor: Int32, _ path: String) throws(OperatorError) {
        let code = bytes.withUnsafeBytes { bytes -> Int32 in
            var rest = bytes[...]
            while let base = UnsafeRawBufferPointer(rebasing: rest).baseAddress, !rest.isEmpty {
                let count = Glibc.write(descriptor, base, rest.count)
                if count < 0, errno == EINTR { continue }
                if count < 0 { return errno }
                rest = rest.dropFirst(count)
            }
            return 0
        }
        if code != 0 { throw failure("write", path, code) }
    }

    static func read(_ path: String, offset: Int, count: Int) throws(OperatorError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("read", path) }
        defer { _ = Glibc.close(descriptor) }
        var code: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, used in
            while used < count, let base = buffer.baseAddress {
                let got = pread(descriptor, base + used, count - used, off_t(offset + used))
                if got < 0, errno == EINTR { continue }
                if got < 0 { code = errno }
                if got <= 0 { break }
                used += got
            }
        }
        if code != 0 { throw failure("read", path, code) }
        guard bytes.count == count else {
            throw OperatorError(
                .external, .withBackoff, "spill_damaged",
                "the spill file \(path) ends at byte \(offset + bytes.count), expected \(offset + count). The state goes back to the last checkpoint; check the disk"
            )
        }
        return bytes
    }

    private static func failure(_ operation: String, _ path: String, _ code: Int32 = errno) -> OperatorError {
        let isFull = [ENOSPC, EDQUOT].contains(code)
        let advice =
            switch code {
            case ENOSPC, EDQUOT:
                "; state beyond the `memory` budget goes there: make room on that file system, or raise `memory`. The last checkpoint is kept"
            case EACCES, EPERM, EROFS: "; the user that runs dataflow needs write permission there"
            case ENOENT, ENOTDIR: "; was the folder removed while the pipeline was running?"
            case EMFILE, ENFILE: "; raise the limit of open files (ulimit -n)"
            default: ""
            }
        return OperatorError(
            .external, .withBackoff, isFull ? "disk_full" : "spill_failed",
            "cannot \(operation) the spill file \(path): \(String(cString: strerror(code)))\(advice)")
    }
}
