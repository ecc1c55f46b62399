import DataflowColumnar
import DataflowConfig
import DataflowFiles
import DataflowOperator
import Foundation
import Logging
import Testing

@testable import FileSource

private struct FixedClock: RuntimeClock {
    let now = ContinuousClock.now
    let wallMicroseconds: Int64 = 0
}

/// A folder that goes when the test ends.
private final class Folder {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.path + "/file-source-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func write(_ name: String, _ text: String) throws { try write(name, bytes: Array(text.utf8)) }

    func write(_ name: String, bytes: [UInt8]) throws {
        try Data(bytes).write(to: URL(filePath: "\(path)/\(name)"))
    }
}

private func source(
    _ config: FileSourceConfig, subtask: Int = 0, of parallelism: Int = 1, inStep: Bool = false,
    progress: SubtaskProgress? = nil, restoring state: StateSnapshot = []
) async throws -> FileSource {
    let source = try FileSource(
        config,
        OperatorContext(
            pipeline: "p", node: "files", subtask: subtask, parallelism: parallelism, eventTimeDownstream: inStep,
            lineage: "l", generation: 1, stateDirectory: "/nonexistent", logger: Logger(label: "test"),
            clock: FixedClock(), progress: progress))
    try await source.open(restoring: state)
    return source
}

private struct Result {
    var rows: [[Value]] = []
    var errors: [[Value]] = []
    var events: [SplitEvent] = []
    var ended = false
}

/// Polls until the end of input, or `polls` times.
private func read(_ source: FileSource, polls: Int = .max) async throws -> Result {
    var result = Result()
    var left = polls
    while left > 0 {
        var output = OutputBuffer()
        let progress = try await source.poll(until: .now, into: &output)
        for element in output.drain() {
            switch element {
            case .batch(let batch, .errors): result.errors += batch.rows
            case .batch(let batch, _): result.rows += batch.rows
            case .split(let event): result.events.append(event)
            case .watermark: Issue.record("a file source has no watermarks")
            }
        }
        if progress == .endOfInput {
            result.ended = true
            break
        }
        left -= 1
    }
    return result
}

private func config(_ paths: [String], _ change: (inout FileSourceConfig) -> Void = { _ in }) -> FileSourceConfig {
    var config = FileSourceConfig()
    config.path = OneOrMany(paths)
    change(&config)
    return config
}

@Suite struct FileSourceTests {
    @Test func `lines of any length come whole, whatever the chunk`() async throws {
        let folder = try Folder()
        let lines = (0..<3000).map { String(repeating: "x", count: $0 * 37 % 9001) + "\($0)" }
        try folder.write("a.txt", lines.joined(separator: "\r\n"))
        for chunk in [4096, 10_000, 1 << 20] {
            let result = try await read(
                try await source(
                    config(["\(folder.path)/a.txt"]) {
                        $0.format = .text
                        $0.chunk = ByteSize(bytes: chunk)
                    }))
            #expect(result.rows.map { $0[0] } == lines.map { .string($0) })
            #expect(result.ended)
        }
    }

    @Test(arguments: [false, true])
    func `a poll keeps to the limit of its rows and the next one goes on behind them`(_ restarts: Bool) async throws {
        let folder = try Folder()
        try folder.write("a.csv", "\u{FEFF}n,t\n" + (0..<10).map { "\($0),\"a\nb\"\r\n\n" }.joined())
        try folder.write("b.csv", "t,n\nx,10\nx,11")
        let settings = config(["\(folder.path)/*.csv"]) {
            $0.format = .csv
            $0.columns = ["n"]
        }
        var input = try await source(settings)
        var seen: [Value] = []
        for limit in [1, 3, 2, 100, 1, 5, 5] {
            var output = OutputBuffer(rowLimit: limit)
            _ = try await input.poll(until: .now, into: &output)
            let batches = output.drain().compactMap { if case .batch(let batch, .main) = $0 { batch } else { nil } }
            let rows = batches.flatMap(\.rows)
            #expect(rows.count <= limit)
            seen += rows.map { $0[0] }
            if restarts { input = try await source(settings, restoring: try input.snapshot(CheckpointID(1))) }
        }
        #expect(seen == (0..<12).map { .string("\($0)") })
    }

    @Test func `a byte order mark, empty lines and a missing last line end are no rows`() async throws {
        let folder = try Folder()
        try folder.write("a.ndjson", "\u{FEFF}{\"a\":1}\n\n\r\n{\"a\":2}")
        try folder.write("b.ndjson", "")
        let result = try await read(try await source(config(["\(folder.path)/*.ndjson"])))
        #expect(result.rows.map { $0[0] } == [.bytes(Array("{\"a\":1}".utf8)), .bytes(Array("{\"a\":2}".utf8))])
        #expect(result.rows.map { $0[2] } == [3, 14])
    }

    @Test func `a record above the limit goes to errors and the next ones are read`() async throws {
        let folder = try Folder()
        try folder.write("a.txt", "short\n" + String(repeating: "y", count: 100_000) + "\nafter\nlast\n")
        let result = try await read(
            try await source(
                config(["\(folder.path)/a.txt"]) {
                    $0.format = .text
                    $0.chunk = ByteSize(bytes: 4096)
                    $0.maxRecord = ByteSize(bytes: 10_000)
                }))
        #expect(result.rows.map { $0[0] } == ["short", "after", "last"])
        #expect(result.rows.last?[2] == .int(6 + 100_001 + 6))
        #expect(result.errors.count == 1)
        #expect(result.errors.first?[1] == "record_too_long")
    }

    @Test func `a restart at any point goes on behind the last record, at another parallelism too`() async throws {
        let folder = try Folder()
        var all: [Value] = []
        for file in 0..<5 {
            let lines = (0..<500).map { "file \(file) line \($0) " + String(repeating: "z", count: $0 % 50) }
            try folder.write("f\(file).txt", lines.joined(separator: "\n") + "\n")
            all += lines.map { .string($0) }
        }
        let settings = config(["\(folder.path)/f?.txt"]) {
            $0.format = .text
            $0.chunk = ByteSize(bytes: 4096)
        }
        for polls in [0, 1, 2, 5, 9, 17] {
            for inStep in [false, true] {
                let first = try await source(settings, inStep: inStep)
                var rows = try await read(first, polls: polls).rows
                let state = try first.snapshot(CheckpointID(1))
                for subtask in 0..<3 {
                    rows += try await read(
                        try await source(settings, subtask: subtask, of: 3, inStep: inStep, restoring: state)
                    ).rows
                }
                #expect(Set(rows.map { $0[0] }) == Set(all))
                #expect(rows.count == all.count)
            }
        }
    }

    @Test func `a file keeps its number across restarts, and no number is given twice`() async throws {
        let folder = try Folder()
        for name in ["b", "d"] { try folder.write("\(name).txt", "\(name)1\n\(name)2\n") }
        let settings = config(["\(folder.path)/*.txt"]) { $0.format = .text }
        let first = try await source(settings)
        #expect(try await read(first, polls: 1).events == [.assigned([0, 1]), .ended(0)])
        try folder.write("a.txt", "a1\n")
        try folder.write("c.txt", "c1\n")
        let second = try await source(settings, restoring: try first.snapshot(CheckpointID(1)))
        let result = try await read(second)
        #expect(result.events == [.assigned([1, 2, 3]), .ended(1), .ended(2), .ended(3)])
        #expect(result.rows.map { $0[0] } == ["d1", "d2", "a1", "c1"])
        try FileManager.default.removeItem(atPath: "\(folder.path)/c.txt")
        try folder.write("e.txt", "e1\n")
        let third = try await source(settings, restoring: try second.snapshot(CheckpointID(2)))
        #expect(try await read(third).events == [.assigned([4]), .ended(4)])
    }

    @Test func `records of quoted lines are the same as a byte for byte reading gives`() throws {
        let folder = try Folder()
        var random = SystemRandomNumberGenerator()
        for round in 0..<200 {
            let text =
                (0..<Int.random(in: 0...400, using: &random))
                .map { _ in ["a", "\"", ",", "\n"].randomElement(using: &random) ?? "" }.joined() + "\"\n"
            try folder.write("\(round).csv", text)
            var expected: [String] = []
            var record = ""
            var isInside = false
            for character in text {
                if character == "\"" { isInside.toggle() }
                if character == "\n", !isInside {
                    if !record.isEmpty { expected.append(record) }
                    record = ""
                } else {
                    record.append(character)
                }
            }
            if !record.isEmpty { expected.append(record) }
            let reader = try RecordReader(
                try InputFile(path: "\(folder.path)/\(round).csv"), from: 0, chunkByteCount: 16,
                maxRecordByteCount: 1 << 20, quoted: true)
            var found: [String] = []
            var oversize: [OversizeRecord] = []
            while let chunk = try reader.next(oversize: &oversize) {
                chunk.buffer.withUnsafeBytes { bytes in
                    for record in chunk.records {
                        found.append(
                            String(decoding: bytes[record.offset..<record.offset + record.length], as: UTF8.self))
                    }
                }
            }
            #expect(found == expected)
        }
    }

    @Test func `a finished run reads only what was added`() async throws {
        let folder = try Folder()
        try folder.write("a.txt", "1\n2\n")
        let settings = config(["\(folder.path)/*.txt"]) { $0.format = .text }
        let first = try await source(settings)
        #expect(try await read(first).rows.count == 2)
        let state = try first.snapshot(CheckpointID(1))
        #expect(try await read(try await source(settings, restoring: state)).rows.isEmpty)
        try folder.write("b.txt", "3\n")
        let handle = try FileHandle(forWritingTo: URL(filePath: "\(folder.path)/a.txt"))
        try handle.seekToEnd()
        try handle.write(contentsOf: Data("2b\n".utf8))
        try handle.close()
        #expect(try await read(try await source(settings, restoring: state)).rows.map { $0[0] } == ["2b", "3"])
    }

    @Test func `a file that shrank or vanished in mid-read is a clear error`() async throws {
        let folder = try Folder()
        try folder.write("a.txt", String(repeating: "some line\n", count: 2000))
        let settings = config(["\(folder.path)/a.txt"]) {
            $0.format = .text
            $0.chunk = ByteSize(bytes: 4096)
        }
        let first = try await source(settings)
        _ = try await read(first, polls: 1)
        let state = try first.snapshot(CheckpointID(1))
        let handle = try FileHandle(forWritingTo: URL(filePath: "\(folder.path)/a.txt"))
        try handle.truncate(atOffset: 100)
        try handle.close()
        await #expect { _ = try await source(settings, restoring: state) } throws: {
            "\($0)".contains("has shrunk since the checkpoint")
        }
        await #expect { _ = try await source(config(["\(folder.path)/none-*.txt"])) } throws: {
            "\($0)".contains("no file matches")
        }
    }

    @Test func `files in step advance together and tell of their splits`() async throws {
        let folder = try Folder()
        try folder.write("a.txt", String(repeating: "aaaaaaaaa\n", count: 4000))
        try folder.write("b.txt", String(repeating: "bbbbbbbbb\n", count: 2000))
        let result = try await read(
            try await source(
                config(["\(folder.path)/*.txt"]) {
                    $0.format = .text
                    $0.chunk = ByteSize(bytes: 4096)
                }, inStep: true))
        #expect(result.rows.count == 6000)
        #expect(result.events.first == .assigned([0, 1]))
        #expect(Set(result.events.dropFirst()) == [.ended(0), .ended(1)])
        let firstHalf = result.rows.prefix(3000).map { $0[0] }
        #expect(firstHalf.filter { $0 == "bbbbbbbbb" }.count > 700)
    }

    @Test func `subtasks that keep in step tell each other which part of their files they have read`() async throws {
        let folder = try Folder()
        try folder.write("a.txt", String(repeating: "aaaaaaaaa\n", count: 4000))
        try folder.write("b.txt", String(repeating: "bbbbbbbbb\n", count: 2000))
        let settings = config(["\(folder.path)/*.txt"]) {
            $0.format = .text
            $0.chunk = ByteSize(bytes: 4096)
        }
        let progress = SubtaskProgress(parallelism: 3)
        let first = try await source(settings, of: 3, inStep: true, progress: progress)
        let second = try await source(settings, subtask: 1, of: 3, inStep: true, progress: progress)
        let third = try await source(settings, subtask: 2, of: 3, inStep: true, progress: progress)
        #expect(try await read(third).ended)
        #expect(progress.least == 0)
        // Five chunks of 40,000 bytes, and all of the other file.
        #expect(try await read(first, polls: 6).rows.count > 2000)
        #expect(try await read(second).rows.count == 2000)
        #expect(abs(progress.least - 5 * 4096.0 / 40_000) < 0.05)
        #expect(try await read(first).ended)
        #expect(progress.least == 1)
    }

    @Test func `CSV follows its header, quotes included`() async throws {
        let folder = try Folder()
        try folder.write(
            "a.csv", "id,name,\"no\"\"te\"\r\n1,\"a, b\",x\r\n2,\"line\nbreak\",\"say \"\"hi\"\"\"\r\n3\r\n4,,\r\n")
        let result = try await read(
            try await source(
                config(["\(folder.path)/a.csv"]) {
                    $0.format = .csv
                    $0.columns = [Located("no\"te"), Located("name")]
                }))
        #expect(result.rows.map { Array($0[0...1]) } == [["x", "a, b"], ["say \"hi\"", "line\nbreak"], ["", ""]])
        #expect(result.errors.map { $0[5] } == [.bytes(Array("3".utf8))])
    }

    @Test func `text that is not UTF-8 goes to errors as it stands, and nothing else with it`() async throws {
        let folder = try Folder()
        try folder.write("a.txt", bytes: Array("one\n".utf8) + [0xC3, 0x28, 0x0A] + Array("grün\n".utf8) + [0xC3])
        let lines = try await read(try await source(config(["\(folder.path)/a.txt"]) { $0.format = .text }))
        #expect(lines.rows.map { [$0[0], $0[2]] } == [["one", 0], ["grün", 7]])
        #expect(lines.errors.map { $0[1] } == ["not_utf8", "not_utf8"])
        #expect(lines.errors.map { $0[5] } == [.bytes([0xC3, 0x28]), .bytes([0xC3])])

        let records =
            Array("id,name,note\n1,".utf8) + [0xFF] + Array(",x\n2,b,".utf8) + [0xFF] + Array("\n3,c,x\n".utf8)
        try folder.write("a.csv", bytes: records)
        let csv = try await read(
            try await source(
                config(["\(folder.path)/a.csv"]) {
                    $0.format = .csv
                    $0.columns = [Located("id"), Located("name")]
                }))
        #expect(csv.rows.map { Array($0[0...1]) } == [["2", "b"], ["3", "c"]])
        #expect(csv.errors.map { $0[2] } == ["the field of column name is not UTF-8"])
        #expect(csv.errors.map { $0[5] } == [.bytes(Array("1,".utf8) + [0xFF] + Array(",x".utf8))])

        // Bytes are bytes: what reads them says what they have to be.
        let bytes = try await read(try await source(config(["\(folder.path)/a.txt"])))
        #expect(bytes.rows.count == 4)
    }

    @Test func `compressed files are read and resumed by their content`() async throws {
        let folder = try Folder()
        let lines = (0..<5000).map { "line \($0)" }
        try folder.write("a.txt", lines.joined(separator: "\n"))
        let gzip = Process()
        gzip.executableURL = URL(filePath: "/bin/gzip")
        gzip.arguments = ["\(folder.path)/a.txt"]
        try gzip.run()
        gzip.waitUntilExit()
        let settings = config(["\(folder.path)/a.txt.gz"]) {
            $0.format = .text
            $0.chunk = ByteSize(bytes: 4096)
        }
        let first = try await source(settings)
        var rows = try await read(first, polls: 3).rows
        rows += try await read(try await source(settings, restoring: try first.snapshot(CheckpointID(1)))).rows
        #expect(rows.map { $0[0] } == lines.map { .string($0) })
    }
}
