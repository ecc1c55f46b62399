import ArgumentParser
import Glibc

/// A temporary file without a name: it is gone when the process is, however that ends.
final class SpoolFile: Sendable {
    private let descriptor: Int32

    init() throws {
        let folder = getenv("TMPDIR").map { String(cString: $0) } ?? "/var/tmp"
        var path = Array("\(folder)/openfood-api.XXXXXX".utf8CString)
        descriptor = mkstemp(&path)
        guard descriptor >= 0 else {
            throw ValidationError(
                "Cannot create a temporary file in \(folder) (TMPDIR): \(String(cString: strerror(errno))).")
        }
        unlink(path)
    }

    deinit {
        close(descriptor)
    }

    /// Appends `bytes` at the end.
    func write(_ bytes: [UInt8]) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else {
                throw ValidationError("Cannot write the temporary file: \(String(cString: strerror(errno))).")
            }
            rest = rest.dropFirst(count)
        }
    }

    /// The bytes at `range` of the file. Any number of threads may read at once.
    func bytes(_ range: Range<Int>) throws -> [UInt8] {
        try [UInt8](unsafeUninitializedCapacity: range.count) { bytes, done in
            while done < range.count {
                let count = pread(
                    descriptor, bytes.baseAddress.map { $0 + done }, range.count - done, off_t(range.lowerBound + done))
                guard count > 0 else {
                    throw ValidationError("Cannot read the temporary file: \(String(cString: strerror(errno))).")
                }
                done += count
            }
        }
    }
}
