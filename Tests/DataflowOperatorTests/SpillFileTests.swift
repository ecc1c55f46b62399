import DataflowColumnar
import Glibc
import Testing

@testable import DataflowOperator

@Suite struct SpillFileTests {
    private let schema = Schema([Field("k", .int64, nullable: false), Field("s", .string)])

    private func batch(_ range: Range<Int64>) -> RecordBatch {
        RecordBatch(
            schema, rows: range.map { [.int($0), $0 % 3 == 0 ? .null : .string("a text longer than twelve \($0)")] })
    }

    private func folder() throws -> String {
        var template = Array("/tmp/dataflow-spill-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { buffer in
            buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) }
        }
        return try #require(made)
    }

    private func isThere(_ path: String) -> Bool { access(path, F_OK) == 0 }

    @Test func `rows come back segment by segment, by key group`() throws {
        let folder = try folder()
        defer { rmdir(folder) }
        let writer = try SpillFileWriter(directory: folder, name: "1")
        try writer.append(batch(0..<10), keyGroup: 3)
        try writer.append(batch(10..<20), keyGroup: 3)
        try writer.append(batch(20..<20), keyGroup: 4)
        try writer.append(batch(20..<25), keyGroup: 5, part: 7)
        try writer.append(batch(25..<26), keyGroup: 5, part: 8)
        let file = try writer.finish()
        #expect(file.rowCount == 26)
        #expect(file.segments.map(\.keyGroup) == [3, 5, 5] && file.segments.map(\.part) == [0, 7, 8])
        #expect(file.segments(of: 3).count == 1 && file.segments(of: 4).isEmpty && file.segments(of: 5).count == 2)
        #expect(file.segments(of: 0).isEmpty && file.segments(of: 127).isEmpty)
        let rows = try file.segments(of: 3).flatMap { try file.read($0).flatMap(\.rows) }
        #expect(rows == batch(0..<20).rows)
        try file.verify()
    }

    @Test func `large key groups are divided into segments of about a mebibyte`() throws {
        let folder = try folder()
        defer { rmdir(folder) }
        let writer = try SpillFileWriter(directory: folder, name: "1")
        for start in 0..<40 { try writer.append(batch(Int64(start) * 1000..<Int64(start + 1) * 1000), keyGroup: 1) }
        let file = try writer.finish()
        #expect(file.segments.count > 1)
        #expect(file.segments.allSatisfy { $0.byteCount < 2 << 20 })
        #expect(try file.segments.reduce(0) { try $0 + file.read($1).reduce(0) { $0 + $1.rowCount } } == 40_000)
    }

    @Test func `a file goes with its last reference, and a writer that is given up leaves none`() throws {
        let folder = try folder()
        defer { rmdir(folder) }
        var file: SpillFile? = try {
            let writer = try SpillFileWriter(directory: folder + "/made", name: "1")
            try writer.append(batch(0..<10), keyGroup: 0)
            return try writer.finish()
        }()
        #expect(isThere(folder + "/made/1"))
        #expect(file?.rowCount == 10)
        file = nil
        #expect(!isThere(folder + "/made/1"))
        do {
            let writer = try SpillFileWriter(directory: folder + "/made", name: "2")
            try writer.append(batch(0..<10), keyGroup: 0)
            #expect(isThere(folder + "/made/2"))
        }
        #expect(!isThere(folder + "/made/2"))
        #expect(rmdir(folder + "/made") == 0)
    }

    @Test func `a list of segments is read back with its checksum, and one that was altered is refused`() throws {
        let folder = try folder()
        defer { rmdir(folder) }
        let writer = try SpillFileWriter(directory: folder, name: "1")
        try writer.append(batch(0..<10), keyGroup: 9, part: -4)
        let file = try writer.finish()
        let list = SpillFile.encode(file.segments)
        let read = try SpillFile(keptAs: "name", path: file.path, directory: file.directory, list)
        #expect(read.segments == file.segments && read.nameInCheckpoints == "name")
        for byte in list.indices {
            var damaged = list
            damaged[byte] ^= 0x10
            #expect(throws: SpillFile.Damage.self) {
                try SpillFile(keptAs: "name", path: file.path, directory: file.directory, damaged)
            }
        }
        #expect(throws: SpillFile.Damage.self) {
            try SpillFile(keptAs: "name", path: file.path, directory: file.directory, Array(list.dropLast()))
        }
    }

    @Test func `altered, cut and missing files are errors that name the file`() throws {
        let folder = try folder()
        defer { rmdir(folder) }
        let writer = try SpillFileWriter(directory: folder, name: "1")
        try writer.append(batch(0..<100), keyGroup: 0)
        let file = try writer.finish()
        let handle = open(file.path, O_RDWR)
        var byte: UInt8 = 0xFF
        pwrite(handle, &byte, 1, 50)
        close(handle)
        var error = #expect(throws: OperatorError.self) { try file.read(file.segments[0]) }
        #expect(error?.code == "spill_damaged" && error?.message.contains(file.path) == true)
        #expect(throws: OperatorError.self) { try file.verify() }
        truncate(file.path, 60)
        error = #expect(throws: OperatorError.self) { try file.read(file.segments[0]) }
        #expect(error?.code == "spill_damaged" && error?.message.contains("ends at byte 60") == true)
        unlink(file.path)
        error = #expect(throws: OperatorError.self) { try file.read(file.segments[0]) }
        #expect(error?.code == "spill_failed")
    }

    @Test func `a full disk is told with what to do, and is tried again`() throws {
        // A device that takes nothing.
        let descriptor = open("/dev/full", O_WRONLY)
        defer { close(descriptor) }
        let error = #expect(throws: OperatorError.self) {
            try SpillIO.write([1, 2, 3], descriptor, "/somewhere/spill/1")
        }
        #expect(error?.code == "disk_full" && error?.domain == .external)
        #expect(error?.message.contains("/somewhere/spill/1") == true)
        #expect(error?.message.contains("`memory`") == true)
        if case .never? = error?.retry { Issue.record("a full disk is not tried again") }
    }

    @Test func `a folder that cannot be made is an error`() throws {
        let error = #expect(throws: OperatorError.self) {
            try SpillFileWriter(directory: "/proc/no/such", name: "1")
        }
        #expect(error?.code == "spill_failed" && error?.message.contains("/proc/no/such/1") == true)
    }
}
