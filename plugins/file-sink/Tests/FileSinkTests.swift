import DataflowColumnar
import DataflowConfig
import DataflowOperator
import DataflowTesting
@testable import FileSink
import Glibc
import Testing

/// A folder that is removed with everything in it.
final class TemporaryFolder {
    let path: String

    init() throws {
        var template = Array("/tmp/file-sink-XXXXXX".utf8CString)
        path = try template.withUnsafeMutableBufferPointer { buffer in
            try #require(buffer.baseAddress.flatMap { mkdtemp($0) }.map { String(cString: $0) })
        }
    }

    deinit {
        for name in names(all: true) { unlink("\(path)/\(name)") }
        rmdir(path)
    }

    func names(all: Bool = false) -> [String] {
        guard let stream = opendir(path) else { return [] }
        defer { closedir(stream) }
        var names: [String] = []
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: entry.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            if name != ".", name != "..", all || !name.hasPrefix(".") { names.append(name) }
        }
        return names.sorted()
    }

    func text(_ name: String) -> String? {
        guard let file = fopen("\(path)/\(name)", "rb") else { return nil }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 1 << 20)
        let count = fread(&bytes, 1, bytes.count, file)
        return String(decoding: bytes[..<count], as: UTF8.self)
    }

    func write(_ name: String, _ text: String) {
        guard let file = fopen("\(path)/\(name)", "wb") else { return }
        fputs(text, file)
        fclose(file)
    }
}

private let schema = Schema([Field("id", .int64), Field("name", .string)])

private func rows(_ range: Range<Int>) -> RecordBatch {
    RecordBatch(schema, rows: range.map { [.int(Int64($0)), .string("n\($0)")] })
}

private func lines(_ range: Range<Int>) -> String {
    range.map { #"{"id":\#($0),"name":"n\#($0)"}"# + "\n" }.joined()
}

private func config(_ folder: TemporaryFolder, file: String? = nil, _ more: [(String, String)] = []) throws
    -> FileSinkConfig
{
    var entries = [("path", ConfigNode.text(file.map { "\(folder.path)/\($0)" } ?? folder.path))]
    if file != nil { entries.append(("single_file", .text("true"))) }
    return try FileSinkConfig(decoding: .mapping(entries + more.map { ($0.0, .text($0.1)) }))
}

@Suite struct FileSinkPartsTests {
    @Test func `rows appear with the commit, a part for each checkpoint that has rows`() async throws {
        let folder = try TemporaryFolder()
        let sink = try await SinkHarness(FileSink.self, config(folder), input: Stream(schema))
        try await sink.write(rows(0..<2))
        try await sink.write(rows(2..<3))
        #expect(folder.names().isEmpty)
        let first = try await sink.prepare()
        #expect(folder.names().isEmpty)
        try await sink.commit(first)
        #expect(folder.names() == ["part-00000001-0.ndjson"])
        try await sink.checkpoint()
        try await sink.write(rows(3..<4))
        try await sink.checkpoint()
        #expect(folder.names() == ["part-00000001-0.ndjson", "part-00000003-0.ndjson"])
        #expect(folder.text("part-00000001-0.ndjson") == lines(0..<3))
        #expect(folder.text("part-00000003-0.ndjson") == lines(3..<4))
        await sink.close()
        #expect(folder.names(all: true).filter { $0.hasPrefix(".") } == [".history"])
    }

    @Test func `a commit may be repeated`() async throws {
        let folder = try TemporaryFolder()
        let sink = try await SinkHarness(FileSink.self, config(folder), input: Stream(schema))
        try await sink.write(rows(0..<2))
        let checkpoint = try await sink.checkpoint()
        try await sink.commit(checkpoint)
        #expect(folder.text("part-00000001-0.ndjson") == lines(0..<2))
    }

    @Test func `after a crash between manifest and commit the parts are published`() async throws {
        let folder = try TemporaryFolder()
        let checkpoint: SinkHarness<FileSink>.Checkpoint
        do {
            let sink = try await SinkHarness(FileSink.self, config(folder), input: Stream(schema))
            try await sink.write(rows(0..<2))
            checkpoint = try await sink.prepare()
            try await sink.write(rows(2..<9))
        }
        let again = try await SinkHarness(
            FileSink.self, config(folder), input: Stream(schema), restoring: checkpoint, commitPending: true)
        #expect(folder.names(all: true) == [".history", "part-00000001-0.ndjson"])
        #expect(folder.text("part-00000001-0.ndjson") == lines(0..<2))
        try await again.write(rows(2..<3))
        try await again.checkpoint()
        #expect(folder.text("part-00000002-0.ndjson") == lines(2..<3))
    }

    @Test func `what no durable checkpoint knows is removed at the start`() async throws {
        let folder = try TemporaryFolder()
        do {
            let sink = try await SinkHarness(FileSink.self, config(folder), input: Stream(schema))
            try await sink.write(rows(0..<2))
            _ = try await sink.prepare()
            try await sink.write(rows(2..<4))
        }
        #expect(folder.names(all: true).count > 1)
        _ = try await SinkHarness(FileSink.self, config(folder), input: Stream(schema))
        #expect(folder.names(all: true) == [".history"])
    }

    @Test func `large parts roll over and appear together`() async throws {
        let folder = try TemporaryFolder()
        let sink = try await SinkHarness(
            FileSink.self, config(folder, [("max_part_size", "4KiB")]), input: Stream(schema))
        for i in 0..<10 { try await sink.write(rows(i * 100..<i * 100 + 100)) }
        let prepared = try await sink.prepare()
        #expect(folder.names().isEmpty)
        try await sink.commit(prepared)
        let names = folder.names()
        #expect(names.count > 2)
        let text = names.sorted { $0.count == $1.count ? $0 < $1 : $0.count < $1.count }.compactMap(folder.text)
            .joined()
        #expect(text == lines(0..<1000))
    }

    @Test func `a part of another history is not replaced`() async throws {
        let folder = try TemporaryFolder()
        folder.write("part-00000001-0.ndjson", "old\n")
        let sink = try await SinkHarness(
            FileSink.self, config(folder), input: Stream(schema), lineage: "abcdef0123456789")
        try await sink.write(rows(0..<1))
        try await sink.checkpoint()
        #expect(folder.names() == ["part-00000001-0-abcdef01.ndjson", "part-00000001-0.ndjson"])
        #expect(folder.text("part-00000001-0.ndjson") == "old\n")
    }

    @Test func `an older checkpoint than the published one needs consent`() async throws {
        let folder = try TemporaryFolder()
        let first: SinkHarness<FileSink>.Checkpoint
        do {
            let sink = try await SinkHarness(FileSink.self, config(folder), input: Stream(schema))
            try await sink.write(rows(0..<1))
            first = try await sink.checkpoint()
            try await sink.write(rows(1..<2))
            try await sink.checkpoint()
            await sink.close()
        }
        let error = await #expect(throws: OperatorError.self) {
            _ = try await SinkHarness(FileSink.self, config(folder), input: Stream(schema), restoring: first)
        }
        #expect(error?.code == "sink_ahead")
        #expect(error?.message.contains("--restore 1 --accept-duplicates") == true)
        _ = try await SinkHarness(
            FileSink.self, config(folder), input: Stream(schema), restoring: first, acceptDuplicates: true)
    }

    @Test func `two sinks cannot write to one folder at a time`() async throws {
        let folder = try TemporaryFolder()
        let first = try await SinkHarness(FileSink.self, config(folder), input: Stream(schema))
        let error = await #expect(throws: OperatorError.self) {
            _ = try await SinkHarness(FileSink.self, config(folder), input: Stream(schema), node: "other")
        }
        #expect(error?.code == "output_in_use")
        await first.close()
        _ = try await SinkHarness(FileSink.self, config(folder), input: Stream(schema), node: "other")
    }

    @Test func `each CSV part has a header`() async throws {
        let folder = try TemporaryFolder()
        let sink = try await SinkHarness(FileSink.self, config(folder, [("format", "csv")]), input: Stream(schema))
        for i in 0..<2 {
            try await sink.write(rows(i..<i + 1))
            try await sink.checkpoint()
        }
        #expect(folder.text("part-00000001-0.csv") == "id,name\n0,n0\n")
        #expect(folder.text("part-00000002-0.csv") == "id,name\n1,n1\n")
    }

    @Test func `error rows are written with text or base64`() async throws {
        let folder = try TemporaryFolder()
        let sink = try await SinkHarness(FileSink.self, config(folder), input: Stream(ErrorRows.schema))
        try await sink.write(
            RecordBatch(
                ErrorRows.schema,
                rows: [
                    ["parse", "invalid_json", "byte 3", nil, .timestamp(0), .bytes(Array("{\"a".utf8))],
                    ["parse", "invalid_json", "byte 0", "f:7", .timestamp(0), .bytes([0xFF])],
                ]))
        try await sink.checkpoint()
        #expect(
            folder.text("part-00000001-0.ndjson") == """
                {"node":"parse","code":"invalid_json","reason":"byte 3","position":null,"at":"1970-01-01T00:00:00.000000Z","raw":"{\\"a"}
                {"node":"parse","code":"invalid_json","reason":"byte 0","position":"f:7","at":"1970-01-01T00:00:00.000000Z","raw":"/w=="}

                """)
    }

    @Test func `an upsert stream is refused`() async throws {
        let folder = try TemporaryFolder()
        let error = #expect(throws: ConfigError.self) {
            try FileSink.outputs(config(folder), inputs: [Stream(schema, kind: .upsert(key: ["id"]))])
        }
        #expect(error?.diagnostics[0].code == "upsert-input")
    }

    @Test func `a path that cannot be written is the user's to mend`() async throws {
        let folder = try TemporaryFolder()
        folder.write("file", "")
        let parsed = try FileSinkConfig(decoding: .mapping([("path", .text("\(folder.path)/file"))]))
        let error = await #expect(throws: OperatorError.self) {
            _ = try await SinkHarness(FileSink.self, parsed, input: Stream(schema))
        }
        #expect(error?.domain == .user)
        #expect(error?.message.contains("\(folder.path)/file") == true)
    }

    @Test func `a full disk is named as such and tried again`() throws {
        let file = try OutputFile(updating: "/dev/full")
        let error = #expect(throws: OperatorError.self) {
            try Array("x".utf8).withUnsafeBytes { try file.write($0) }
        }
        #expect(error?.code == "disk_full")
        #expect(error?.retry == .withBackoff)
    }
}

@Suite struct FileSinkSingleFileTests {
    @Test func `each checkpoint appends to the one file`() async throws {
        let folder = try TemporaryFolder()
        folder.write("out.ndjson", "of an earlier run, and longer than what comes\n")
        let sink = try await SinkHarness(FileSink.self, config(folder, file: "out.ndjson"), input: Stream(schema))
        try await sink.write(rows(0..<2))
        #expect(folder.text("out.ndjson")?.hasPrefix("of an earlier run") == true)
        try await sink.checkpoint()
        #expect(folder.text("out.ndjson") == lines(0..<2))
        try await sink.write(rows(2..<3))
        let second = try await sink.checkpoint()
        try await sink.commit(second)
        #expect(folder.text("out.ndjson") == lines(0..<3))
        await sink.close()
        #expect(folder.names(all: true) == [".out.ndjson.history", "out.ndjson"])
    }

    @Test func `a run without rows leaves an empty file`() async throws {
        let folder = try TemporaryFolder()
        let sink = try await SinkHarness(
            FileSink.self, config(folder, file: "out.csv", [("format", "csv")]), input: Stream(schema))
        try await sink.checkpoint()
        #expect(folder.text("out.csv") == "id,name\n")
        try await sink.write(rows(0..<1))
        try await sink.checkpoint()
        #expect(folder.text("out.csv") == "id,name\n0,n0\n")
    }

    @Test(arguments: [0, 5, 100])
    func `a commit cut short is finished at the next start`(appended: Int) async throws {
        let folder = try TemporaryFolder()
        let pending: SinkHarness<FileSink>.Checkpoint
        do {
            let sink = try await SinkHarness(FileSink.self, config(folder, file: "out"), input: Stream(schema))
            try await sink.write(rows(0..<2))
            try await sink.checkpoint()
            try await sink.write(rows(2..<4))
            pending = try await sink.prepare()
        }
        folder.write("out", lines(0..<2) + String(repeating: "?", count: appended))
        let again = try await SinkHarness(
            FileSink.self, config(folder, file: "out"), input: Stream(schema), restoring: pending, commitPending: true)
        #expect(folder.text("out") == lines(0..<4))
        try await again.write(rows(4..<5))
        try await again.checkpoint()
        #expect(folder.text("out") == lines(0..<5))
    }

    @Test func `what was appended behind the checkpoint is cut off`() async throws {
        let folder = try TemporaryFolder()
        let first: SinkHarness<FileSink>.Checkpoint
        do {
            let sink = try await SinkHarness(FileSink.self, config(folder, file: "out"), input: Stream(schema))
            try await sink.write(rows(0..<2))
            first = try await sink.checkpoint()
        }
        folder.write("out", lines(0..<9))
        _ = try await SinkHarness(
            FileSink.self, config(folder, file: "out"), input: Stream(schema), restoring: first)
        #expect(folder.text("out") == lines(0..<2))
    }

    @Test func `a file that was cut or replaced is refused`() async throws {
        let folder = try TemporaryFolder()
        let first: SinkHarness<FileSink>.Checkpoint
        do {
            let sink = try await SinkHarness(FileSink.self, config(folder, file: "out"), input: Stream(schema))
            try await sink.write(rows(0..<2))
            first = try await sink.checkpoint()
        }
        folder.write("out", "short")
        let error = await #expect(throws: OperatorError.self) {
            _ = try await SinkHarness(
                FileSink.self, config(folder, file: "out"), input: Stream(schema), restoring: first)
        }
        #expect(error?.code == "target_replaced")
        #expect(error?.message.contains("--restore none") == true)
    }
}
