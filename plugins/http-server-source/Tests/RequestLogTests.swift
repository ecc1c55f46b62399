import DataflowOperator
import DataflowTesting
import Glibc
@testable import HTTPServerSource
import Testing

@Suite struct RequestLogTests {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    private func open(from position: Int64? = nil) throws -> (log: RequestLog, notes: [String]) {
        var notes: [String] = []
        let log = try RequestLog.open(folder.path, from: position) { notes.append($0) }
        return (log, notes)
    }

    private func write(_ bodies: [String], _ writer: LogWriter) {
        for body in bodies {
            var request = LogRecord.Request(isLines: false, receivedAt: 7, path: "/p", remoteAddress: "::1")
            request.headers = [("a", "b")]
            writer.append(request, body: Array(body.utf8))
        }
        guard case .durable = writer.commit() else {
            Issue.record("not durable")
            return
        }
    }

    /// All bodies from a position on, and the position behind them.
    private func read(_ log: RequestLog, from start: Int64, limit: Int = .max) throws -> (bodies: [String], end: Int64)
    {
        let reader = LogReader(log)
        var position = start
        var bodies: [String] = []
        while bodies.count < limit, let chunk = try reader.read(from: position, limit: limit - bodies.count) {
            chunk.buffer.withUnsafeBytes { bytes in
                for record in chunk.records { bodies.append(String(decoding: bytes[record.body], as: UTF8.self)) }
            }
            position += Int64(chunk.records.last?.end ?? 0)
        }
        return (bodies, position)
    }

    private var files: [String] {
        var result = glob_t()
        defer { globfree(&result) }
        glob(folder.path + "/*", 0, nil, &result)
        return (0..<Int(result.gl_pathc)).compactMap { result.gl_pathv[$0].map { String(cString: $0) } }
    }

    @Test func `what was committed is read in order, over files and restarts, from any record`() throws {
        let bodies = (0..<300).map { "\($0) " + String(repeating: "x", count: $0 * 10) }
        let writer = LogWriter(try open().log, segmentByteCount: 50_000)
        for start in stride(from: 0, to: 300, by: 7) { write(Array(bodies[start..<min(start + 7, 300)]), writer) }
        #expect(files.count > 5)
        let (log, notes) = try open()
        #expect(notes.isEmpty)
        #expect(try read(log, from: 0).bodies == bodies)
        for count in [1, 6, 7, 150] {
            let part = try read(log, from: 0, limit: count)
            #expect(part.bodies == Array(bodies[..<count]))
            #expect(try read(try open(from: part.end).log, from: part.end).bodies == Array(bodies[count...]))
        }
        let again = LogWriter(log, segmentByteCount: 50_000)
        write(["more"], again)
        #expect(try read(log, from: 0).bodies == bodies + ["more"])
    }

    @Test func `a record that is larger than a read comes whole`() throws {
        let (log, _) = try open()
        let large = String(repeating: "0123456789", count: 300_000)
        write(["a", large, "b"], LogWriter(log, segmentByteCount: 1 << 24))
        #expect(try read(log, from: 0).bodies == ["a", large, "b"])
    }

    @Test func `a tail that is torn anywhere is cut off, and the log goes on behind the whole records`() throws {
        let (log, _) = try open()
        let writer = LogWriter(log, segmentByteCount: 1 << 20)
        write(["one", "two"], writer)
        let whole = log.end
        write(["three"], writer)
        let path = try #require(files.first)
        for length in whole..<log.end {
            #expect(truncate(path, off_t(length)) == 0)
            let (cut, notes) = try open()
            #expect(cut.end == whole)
            #expect(notes.count == (length == whole ? 0 : 1))
            #expect(try read(cut, from: 0).bodies == ["one", "two"])
        }
        // Bytes that were never written are zeros, or what the disk had before.
        for junk in [[UInt8](repeating: 0, count: 100), (0..<100).map { UInt8($0 * 7 % 251) }] {
            let file = try #require(fopen(path, "ab"))
            fwrite(junk, 1, junk.count, file)
            fclose(file)
            #expect(try open().log.end == whole)
        }
        let next = LogWriter(try open().log, segmentByteCount: 1 << 20)
        write(["four"], next)
        #expect(try read(try open().log, from: 0).bodies == ["one", "two", "four"])
    }

    @Test func `damage in front of later files is an error`() throws {
        let writer = LogWriter(try open().log, segmentByteCount: 10)
        write(["one"], writer)
        write(["two"], writer)
        let file = try #require(fopen(files[0], "r+b"))
        fseek(file, 60, SEEK_SET)
        fputc(0xFF, file)
        fclose(file)
        #expect { _ = try open() } throws: { ($0 as? OperatorError)?.code == "log_damaged" }
        // A checkpoint that has read it does not need it.
        #expect(try open(from: 1 << 20).log.end == 1 << 20)
    }

    @Test func `files are removed when they are covered, never the last one`() throws {
        let (log, _) = try open()
        let writer = LogWriter(log, segmentByteCount: 10)
        var ends: [Int64] = []
        for body in ["one", "two", "three"] {
            write([body], writer)
            ends.append(log.end)
        }
        log.release(ends[1], removable: ends[0])
        #expect(files.count == 2)
        #expect(log.pendingByteCount == ends[2] - ends[1])
        log.release(ends[2], removable: ends[2])
        #expect(files.count == 1)
        #expect(log.pendingByteCount == 0)
        #expect { _ = try open(from: 0) } throws: { ($0 as? OperatorError)?.code == "log_gone" }
        #expect(try read(try open(from: ends[1]).log, from: ends[1]).bodies == ["three"])
    }

    @Test func `a log that was taken away goes on where the checkpoint stands`() throws {
        let (log, notes) = try open(from: 5000)
        #expect(log.end == 5000)
        #expect(notes.isEmpty)
        write(["one"], LogWriter(log, segmentByteCount: 10))
        #expect(try read(try open(from: 5000).log, from: 5000).bodies == ["one"])
        // What ends before the checkpoint was put there by somebody.
        let (later, laterNotes) = try open(from: 9000)
        #expect(later.end == 9000)
        #expect(laterNotes.count == 1)
        #expect(files.isEmpty)
    }
}
