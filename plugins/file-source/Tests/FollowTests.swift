import DataflowColumnar
import DataflowConfig
import DataflowOperator
import DataflowTesting
import FileSource
import Glibc
import Testing

/// A folder with log files that are written, renamed, copied and cut.
private final class LogFolder {
    private let folder: TemporaryDirectory

    init() throws { folder = try TemporaryDirectory() }

    func path(_ name: String) -> String { "\(folder.path)/\(name)" }

    func append(_ text: String, to name: String) throws {
        let file = try #require(fopen(path(name), "ab"))
        fputs(text, file)
        fclose(file)
    }

    func rename(_ name: String, to other: String) { #expect(Glibc.rename(path(name), path(other)) == 0) }

    func remove(_ name: String) { #expect(unlink(path(name)) == 0) }

    func cut(_ name: String) { #expect(truncate(path(name), 0) == 0) }

    func copy(_ name: String, to other: String) throws {
        let source = try #require(fopen(path(name), "rb"))
        defer { fclose(source) }
        let target = try #require(fopen(path(other), "wb"))
        defer { fclose(target) }
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = fread(&bytes, 1, bytes.count, source)
            guard count > 0 else { return }
            fwrite(bytes, 1, count, target)
        }
    }

    func exists(_ name: String) -> Bool { access(path(name), F_OK) == 0 }
}

/// A source over the folder, driven by a clock that stands still between looks at the files.
private final class Follower {
    let clock = ManualClock()
    let config: FileSourceConfig
    var harness: SourceHarness<FileSource>
    var lines: [String] = []
    var events: [SplitEvent] = []
    var errors: [(code: String, reason: String, raw: String)] = []

    init(
        _ folder: LogFolder, _ pattern: String = "*.log", restoring state: StateSnapshot = [],
        _ change: (inout FileSourceConfig) -> Void = { _ in }
    ) async throws {
        var config = FileSourceConfig()
        config.path = OneOrMany([folder.path(pattern)])
        config.format = .text
        config.follow = true
        config.chunk = ByteSize(bytes: 4096)
        change(&config)
        #expect(config.validate().isEmpty)
        self.config = config
        harness = try await SourceHarness(FileSource.self, config, restoring: state, clock: clock)
    }

    /// Looks at the files once and reads what there is.
    @discardableResult
    func look(after time: Duration = .milliseconds(250)) async throws -> [String] {
        clock.advance(by: time)
        while case .emitted = try await harness.poll() {}
        let output = harness.take()
        let new = output.rows().map { row in if case .string(let line) = row[0] { line } else { "?" } }
        lines += new
        events += output.splitEvents
        errors += output.errors
        return new
    }

    /// Goes on from a checkpoint as a new process does.
    func restart() async throws {
        let state = try harness.checkpoint()
        await harness.close()
        harness = try await SourceHarness(FileSource.self, config, restoring: state, clock: clock)
    }
}

/// A line that is longer than a fingerprint.
private func long(_ text: some CustomStringConvertible) -> String {
    "\(text) \(String(repeating: "x", count: 300)) \(text)"
}

@Suite struct FollowTests {
    private let folder: LogFolder

    init() throws { folder = try LogFolder() }

    @Test func `lines come as they are written, the last one when it has its line end`() async throws {
        try folder.append("one\ntw", to: "a.log")
        let source = try await Follower(folder)
        #expect(try await source.look() == ["one"])
        #expect(try await source.look() == [])
        try folder.append("o\n\nthree", to: "a.log")
        #expect(try await source.look() == ["two"])
        try await source.restart()
        #expect(try await source.look() == [])
        try folder.append("\n", to: "a.log")
        #expect(try await source.look() == ["three"])
        #expect(!source.harness.hasEnded)
    }

    @Test func `files are found that come later, and a pattern may match none`() async throws {
        let source = try await Follower(folder)
        #expect(try await source.look() == [])
        try folder.append("a1\n", to: "a.log")
        try folder.append("other\n", to: "a.txt")
        try folder.append("compressed\n", to: "a.log.gz")
        #expect(try await source.look() == ["a1"])
        try folder.append("b1\n", to: "b.log")
        try folder.append("a2\n", to: "a.log")
        #expect(try await source.look() == ["a2", "b1"])
        #expect(source.events == [.assigned([0]), .idle(0), .assigned([1]), .idle(0), .idle(1)])
    }

    @Test func `files are looked at when the interval is over`() async throws {
        let source = try await Follower(folder) { $0.scanInterval = .seconds(5) }
        try folder.append("a1\n", to: "a.log")
        #expect(try await source.look(after: .seconds(4)) == [])
        #expect(try await source.look(after: .seconds(1)) == ["a1"])
    }

    @Test func `a renamed file is read to its end, and the new one of its name from its start`() async throws {
        try folder.append("one\n", to: "a.log")
        let source = try await Follower(folder)
        try await source.look()
        try folder.append("two\n", to: "a.log")
        folder.rename("a.log", to: "a.log.1")
        try folder.append("four\n", to: "a.log")
        #expect(try await source.look() == ["two", "four"])
        try folder.append("three\n", to: "a.log.1")
        #expect(try await source.look(after: .seconds(9)) == ["three"])
        try folder.append("rest", to: "a.log.1")
        #expect(try await source.look(after: .seconds(9)) == [])
        #expect(try await source.look(after: .seconds(10)) == ["rest"])
        try await source.look(after: .seconds(10))
        #expect(source.events.last == .ended(0))
        try folder.append("too late\n", to: "a.log.1")
        #expect(try await source.look() == [])
    }

    @Test func `a file that is renamed to a name that matches is not read twice`() async throws {
        try folder.append("one\n", to: "a.log")
        let source = try await Follower(folder, "a.log*")
        try await source.look()
        folder.rename("a.log", to: "a.log.1")
        try folder.append("two\n", to: "a.log")
        #expect(try await source.look() == ["two"])
        try await source.restart()
        #expect(try await source.look() == [])
        try folder.append("three\n", to: "a.log.1")
        #expect(try await source.look() == ["three"])
    }

    @Test(arguments: ["a.log", "a.log*"])
    func `a restart in the middle of a rotation loses nothing and reads nothing twice`(_ pattern: String) async throws {
        try folder.append("one\n", to: "a.log")
        let source = try await Follower(folder, pattern)
        try await source.look()
        let state = try source.harness.checkpoint()
        try folder.append("two\n", to: "a.log")
        // What comes behind the checkpoint is given up by the crash.
        try await source.look()
        folder.rename("a.log", to: "a.log.1")
        let between = try await Follower(folder, pattern, restoring: state)
        #expect(try await between.look() == ["two"])
        try folder.append("three\n", to: "a.log")
        let after = try await Follower(folder, pattern, restoring: state)
        #expect(try await after.look().sorted() == ["three", "two"])
        #expect(after.errors.isEmpty)
    }

    @Test func `what a deleted file held is read, and its number ends when there is another`() async throws {
        try folder.append("one\n", to: "a.log")
        let source = try await Follower(folder)
        try await source.look()
        try folder.append("two\nthree", to: "a.log")
        folder.remove("a.log")
        #expect(try await source.look() == ["two"])
        #expect(try await source.look(after: .seconds(11)) == ["three"])
        try await source.look(after: .seconds(11))
        // No split is left: it stays, so that time stands still in place of waiting for an end.
        #expect(source.events.last == .idle(0))
        try folder.append("four\n", to: "a.log")
        #expect(try await source.look() == ["four"])
        #expect(source.events.suffix(3) == [.assigned([1]), .ended(0), .idle(1)])
    }

    @Test func `a file that has gone while nobody was reading is said to be lost`() async throws {
        try folder.append("one\npart", to: "a.log")
        let source = try await Follower(folder)
        try await source.look()
        let state = try source.harness.checkpoint()
        await source.harness.close()
        folder.remove("a.log")
        let next = try await Follower(folder, restoring: state)
        try await next.look()
        #expect(next.errors.map(\.code) == ["bytes_lost"])
        #expect(next.errors.first?.reason.contains("4 bytes") == true)
    }

    @Test func `a file that was cut is read from its start, also when it has grown past the old position`() async throws
    {
        let source = try await Follower(folder)
        for round in 0..<3 {
            let written = (0...round * 20).map { "round \(round) line \($0)" }
            try folder.append(written.joined(separator: "\n") + "\n", to: "a.log")
            #expect(try await source.look() == written)
            folder.cut("a.log")
        }
        #expect(source.errors.isEmpty)
        // Bytes that had been seen and not read are lost.
        try folder.append("half a line", to: "a.log")
        try await source.look()
        folder.cut("a.log")
        try await source.look()
        #expect(source.errors.map(\.code) == ["bytes_lost"])
    }

    @Test(arguments: [false, true])
    func `a copy made before a file is cut is read on, not read again`(_ restarts: Bool) async throws {
        try folder.append(long(1) + "\n" + long(2) + "\n", to: "a.log")
        let source = try await Follower(folder, "a.log*")
        try await source.look()
        try folder.append(long(3) + "\n", to: "a.log")
        try folder.copy("a.log", to: "a.log.1")
        folder.cut("a.log")
        try folder.append(long(4) + "\n", to: "a.log")
        if restarts { try await source.restart() }
        #expect(try await source.look().sorted() == [long(3), long(4)])
        #expect(source.errors.isEmpty)
    }

    @Test(arguments: [false, true])
    func `a copy is not read while its original is there`(_ restarts: Bool) async throws {
        try folder.append(long(1) + "\n" + long(2) + "\n", to: "a.log")
        let source = try await Follower(folder, "a.log*")
        try await source.look()
        try folder.copy("a.log", to: "a.log.1")
        #expect(try await source.look() == [])
        if restarts { try await source.restart() }
        try folder.append(long(3) + "\n", to: "a.log")
        #expect(try await source.look() == [long(3)])
        folder.cut("a.log")
        try folder.append(long(4) + "\n", to: "a.log")
        #expect(try await source.look() == [long(4)])
    }

    @Test func `a file that only began like another is read whole as soon as they differ`() async throws {
        try folder.append(long(1) + "\n" + long(2) + "\n", to: "a.log")
        let source = try await Follower(folder)
        try await source.look()
        try folder.append(long(1) + "\n", to: "b.log")
        #expect(try await source.look() == [])
        try folder.append(long(3) + "\n", to: "b.log")
        #expect(try await source.look() == [long(1), long(3)])
    }

    @Test func `a last line without line end is a record after the timeout, if there is one`() async throws {
        try folder.append("one\nhalf", to: "a.log")
        let source = try await Follower(folder) { $0.lineTimeout = .seconds(5) }
        #expect(try await source.look(after: .seconds(1)) == ["one"])
        #expect(try await source.look(after: .seconds(3)) == [])
        #expect(try await source.look(after: .seconds(2)) == ["half"])
        try folder.append(" line\nnext\n", to: "a.log")
        #expect(try await source.look() == [" line", "next"])
    }

    @Test func `a line above the limit goes to errors when its end has come`() async throws {
        let source = try await Follower(folder) { $0.maxRecord = ByteSize(bytes: 5000) }
        try folder.append(String(repeating: "x", count: 20_000), to: "a.log")
        #expect(try await source.look() == [])
        try await source.restart()
        #expect(try await source.look() == [])
        #expect(source.errors.isEmpty)
        try folder.append("x\nnext\n", to: "a.log")
        #expect(try await source.look() == ["next"])
        #expect(source.errors.map(\.code) == ["record_too_long"])
        #expect(source.errors.first?.reason.contains("20002 bytes") == true)
    }

    @Test func `CSV is followed by records, not by lines, and its header is read when it is there`() async throws {
        try folder.append("id,no", to: "a.csv")
        let source = try await Follower(folder, "*.csv") {
            $0.format = .csv
            $0.columns = ["note"]
        }
        #expect(try await source.look() == [])
        try folder.append("te\n1,\"two\nlin", to: "a.csv")
        #expect(try await source.look() == [])
        try folder.append("es\"\n2,x\n", to: "a.csv")
        #expect(try await source.look() == ["two\nlines", "x"])
        try await source.restart()
        try folder.append("3,y\n", to: "a.csv")
        #expect(try await source.look() == ["y"])
    }

    @Test func `one subtask follows, the others end`() async throws {
        try folder.append("one\n", to: "a.log")
        var config = FileSourceConfig()
        config.path = OneOrMany([folder.path("*.log")])
        config.follow = true
        let other = try await SourceHarness(FileSource.self, config, subtask: 1, parallelism: 2)
        try await other.readAll()
        #expect(other.hasEnded)
        #expect(other.output.rows().isEmpty)
    }

    @Test func `positions of a run that read files once are taken over, the other way round is refused`() async throws {
        try folder.append("one\n", to: "a.log")
        var config = FileSourceConfig()
        config.path = OneOrMany([folder.path("*.log")])
        config.format = .text
        let once = try await SourceHarness(FileSource.self, config)
        try await once.readAll()
        try folder.append("two\n", to: "a.log")
        let source = try await Follower(folder, restoring: try once.checkpoint())
        #expect(try await source.look() == ["two"])
        let state = try source.harness.checkpoint()
        await #expect { _ = try await SourceHarness(FileSource.self, config, restoring: state) } throws: {
            "\($0)".contains("taken with `follow: true`")
        }
    }

    @Test func `settings that do not go together are refused`() {
        var config = FileSourceConfig()
        config.path = OneOrMany(["a.ndjson.gz"])
        config.follow = true
        #expect(
            config.validate().map(\.message) == ["a.ndjson.gz is compressed, and compressed files are not followed"])
    }

    @Test(arguments: 1...20)
    func `whatever happens to the files, each line is read once`(_ seed: UInt64) async throws {
        var random = SplitMix(state: seed)
        func chance(_ n: UInt64) -> Bool { random.next() % n == 0 }
        var written: [String] = []
        func write(_ count: Int) throws {
            for _ in 0..<count {
                let line = long(written.count)
                written.append(line)
                // In two parts, with a look at the files between them now and then.
                try folder.append(String(line.prefix(100)), to: "a.log")
                try folder.append(String(line.dropFirst(100)) + "\n", to: "a.log")
            }
        }
        func shift() {
            for number in stride(from: 60, to: 0, by: -1) where folder.exists("a.log.\(number)") {
                folder.rename("a.log.\(number)", to: "a.log.\(number + 1)")
            }
        }
        try write(2)
        let source = try await Follower(folder, "a.log*")
        for _ in 0..<60 {
            switch random.next() % 6 {
            case 0, 1: try write(Int(random.next() % 40))
            case 2: try await source.look()
            case 3:
                shift()
                folder.rename("a.log", to: "a.log.1")
                try write(1)
            case 4:
                shift()
                try folder.copy("a.log", to: "a.log.1")
                if chance(2) { try await source.look() }
                folder.cut("a.log")
            default: try await source.restart()
            }
        }
        try await source.look()
        try await source.look()
        let read = source.lines.map { $0.prefix { $0 != " " } }.sorted()
        #expect(read == written.map { $0.prefix { $0 != " " } }.sorted())
        #expect(source.errors.isEmpty)
    }
}
