import ArgumentParser
import CZlib
import Glibc

/// The lines of a gzip file, one after another; at most one line and one chunk are in memory.
struct GzipLineReader: ~Copyable {
    private let path: String
    private let file: gzFile
    private var chunk = [UInt8](repeating: 0, count: 1 << 18)
    private var available: Range<Int> = 0..<0

    init(path: String) throws {
        guard let file = gzopen(path, "rb") else {
            throw ValidationError("Cannot open \(path): \(String(cString: strerror(errno))).")
        }
        gzbuffer(file, 1 << 17)
        self.path = path
        self.file = file
    }

    deinit {
        gzclose_r(file)
    }

    /// The next line without its newline, nil at the end.
    mutating func nextLine() throws -> [UInt8]? {
        var line: [UInt8] = []
        while true {
            if available.isEmpty {
                let count = gzread(file, &chunk, UInt32(chunk.count))
                guard count >= 0 else {
                    var code: Int32 = 0
                    throw ValidationError("\(path) is damaged: \(String(cString: gzerror(file, &code))).")
                }
                if count == 0 { return line.isEmpty ? nil : line }
                available = 0..<Int(count)
            }
            let length: Int? = chunk.withUnsafeBytes { bytes in
                guard let start = bytes.baseAddress.map({ $0 + available.lowerBound }),
                    let newline = memchr(start, 0x0A, available.count)
                else { return nil }
                return UnsafeRawPointer(newline) - start
            }
            let end = available.lowerBound + (length ?? available.count)
            line.append(contentsOf: chunk[available.lowerBound..<end])
            if length != nil {
                available = (end + 1)..<available.upperBound
                return line
            }
            available = end..<end
        }
    }
}

/// `bytes` as a gzip member, at the fastest level.
func gzipCompressed(_ bytes: [UInt8]) -> [UInt8]? {
    var stream = z_stream()
    // 15 + 16: the largest window, with a gzip header.
    guard
        deflateInit2_(
            &stream, Z_BEST_SPEED, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
            Int32(MemoryLayout<z_stream>.size)) == Z_OK
    else { return nil }
    defer { deflateEnd(&stream) }
    let bound = Int(deflateBound(&stream, UInt(bytes.count)))
    var input = bytes
    return input.withUnsafeMutableBufferPointer { input in
        var complete = true
        let output = [UInt8](unsafeUninitializedCapacity: bound) { output, count in
            stream.next_in = input.baseAddress
            stream.avail_in = UInt32(input.count)
            stream.next_out = output.baseAddress
            stream.avail_out = UInt32(output.count)
            complete = deflate(&stream, Z_FINISH) == Z_STREAM_END
            count = output.count - Int(stream.avail_out)
        }
        return complete ? output : nil
    }
}
