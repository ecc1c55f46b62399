import DataflowCheckpoint
import DataflowConfig
import DataflowOperator
import DataflowPipeline
import DataflowRuntime
import DataflowTesting
import Glibc
import Synchronization
import Testing

@testable import WindowAgg

/// Pipelines whose groups do not fit into the memory budget, through the runtime: checkpoints, restarts, crashes.
@Suite struct SpilledPipelineTests {
    private static let schema = Schema([
        Field("id", .int64, nullable: false), Field("name", .string), Field("v", .int64),
    ])
    private static let rowCount = 16_000
    private static let keyCount: Int64 = 4_000

    /// Every key four times, in another order each time.
    private static func script(pausing: Bool = false) -> MemoryScript {
        let splits = (0..<2).map { split in
            var steps: [MemoryScript.Step] = []
            for start in stride(from: 0, to: rowCount / 2, by: 1000) {
                let rows: [[Value]] = (start..<start + 1000).map { i in
                    let n = Int64(i * 2 + split)
                    let id = n * 2_999 % keyCount
                    return [
                        .int(id), id % 7 == 0 ? .null : .string("the name of a key, which is long: \(id % 100)"),
                        n % 5 == 0 ? .null : .int(n),
                    ]
                }
                steps.append(.batch(RecordBatch(schema, rows: rows)))
                if pausing, start % 4000 == 3000 { steps.append(.pause) }
            }
            return steps
        }
        return MemoryScript(schema, splits: splits)
    }

    private static func pipeline(
        _ script: MemoryScript, _ rows: CollectedRows, memory: Int?, emit: Duration = .milliseconds(1)
    ) throws -> TestPipeline {
        var pipeline = TestPipeline()
        pipeline.config.memory = memory.map { .init(bytes: $0) }
        try pipeline.add("rows", MemorySource.self, .init(script))
        try pipeline.add(
            "groups", WindowAgg.self,
            try settings(
                groups: ["id", "name"],
                [
                    ("n", "count(*)"), ("s", "sum(v)"), ("least", "min(v)"), ("names", "count(distinct name)"),
                    ("deviation", "stddev_pop(v)"),
                ], emit: .every(emit)), from: "rows")
        try pipeline.add("table", CollectingSink.self, .init(rows), from: "groups")
        return pipeline
    }

    private static func expected() async throws -> [[Value]: [Value]] {
        let folder = try TemporaryDirectory()
        let rows = CollectedRows()
        let summary = try await pipeline(script(), rows, memory: nil).runner(checkpoints: folder.path).run()
        #expect(summary.metrics[node: "groups"]?.counters.spilledBytes.load(ordering: .relaxed) == 0)
        let table = rows.table(key: ["id", "name"])
        #expect(table.count == Int(keyCount))
        #expect(table.values.allSatisfy { $0[2] == .int(4) })
        return table
    }

    private func names(_ path: String) -> Set<String> { Set((try? LocalFiles().list(path)) ?? []) }

    @Test(arguments: [1, 2, 4], [1, 1 << 20])
    func `a run under a small budget gives what one without gives`(parallelism: Int, memory: Int) async throws {
        let folder = try TemporaryDirectory()
        let rows = CollectedRows()
        var pipeline = try Self.pipeline(Self.script(), rows, memory: memory)
        pipeline.parallelism = parallelism
        let summary = try await pipeline.runner(checkpoints: folder.path).run()
        #expect(summary.metrics[node: "groups"]?.counters.spilledBytes.load(ordering: .relaxed) ?? 0 > 100_000)
        #expect(rows.table(key: ["id", "name"]) == (try await Self.expected()))
        #expect(names(folder.path + "/test/spill").isEmpty, "files of the run go with it")
        #expect(!names(folder.path + "/test/spilled").isEmpty, "those of the checkpoint stay")
    }

    @Test func `state on disk restores at any other parallelism`() async throws {
        let rows = CollectedRows()
        try await Self.pipeline(Self.script(), rows, memory: 1).run(inPieces: [1, 4, 3, 2], rows: Self.rowCount)
        #expect(rows.table(key: ["id", "name"]) == (try await Self.expected()))
    }

    @Test func `a budget may come and go with a restart`() async throws {
        let folder = try TemporaryDirectory()
        let rows = CollectedRows()
        for (index, memory) in [nil, 1, nil, 1 << 20, 1].enumerated() {
            var pipeline = try Self.pipeline(Self.script(), rows, memory: memory)
            pipeline.parallelism = 2
            pipeline.options.limit = index == 4 ? nil : 3000
            _ = try await pipeline.runner(checkpoints: folder.path).run()
        }
        #expect(rows.table(key: ["id", "name"]) == (try await Self.expected()))
    }

    @Test func `a run that dies at any step of its checkpoints goes on without a group lost or counted twice`()
        async throws
    {
        let expected = try await Self.expected()
        let whole = CrashingStore(dyingAt: nil)
        do {
            let folder = try TemporaryDirectory()
            let script = Self.script(pausing: true)
            let pipeline = try Self.pipeline(script, CollectedRows(), memory: 1, emit: .seconds(3600))
            try await pipeline.runner(checkpoints: folder.path, files: whole).run(checkpointingAtPausesOf: script)
        }
        #expect(whole.operationNames.contains { $0.hasPrefix("adopt") })
        // The steps that concern files of groups first; without DATAFLOW_SOAK some of each kind.
        let all = whole.operationNames.indices
        let own = all.filter { whole.operationNames[$0].contains("spilled") }
        let others = all.filter { !whole.operationNames[$0].contains("spilled") }
        let isLong = getenv("DATAFLOW_SOAK") != nil
        func some(_ steps: [Int]) -> [Int] { steps.filter { isLong || $0 % (steps.count / 8 + 1) == 0 } }
        for step in some(own) + some(others) {
            let folder = try TemporaryDirectory()
            let rows = CollectedRows()
            let script = Self.script(pausing: true)
            let first = try Self.pipeline(script, rows, memory: 1, emit: .seconds(3600))
            do {
                let store = CrashingStore(dyingAt: step, after: step % 2 == 0)
                try await first.runner(checkpoints: folder.path, files: store).run(checkpointingAtPausesOf: script)
            } catch {}
            // As kill -9 leaves it: files of the run lie about.
            try LocalFiles().makeDirectory(folder.path + "/test/spill")
            try LocalFiles().write([1, 2, 3], to: folder.path + "/test/spill/1")
            var second = try Self.pipeline(script, rows, memory: 1, emit: .seconds(3600))
            second.parallelism = 2
            try await second.runner(checkpoints: folder.path).run(checkpointingAtPausesOf: script)
            #expect(rows.table(key: ["id", "name"]) == expected, "died at \(whole.operationNames[step])")
            #expect(names(folder.path + "/test/spill").isEmpty)
            let kept = try LocalCheckpointStore(root: folder.path, pipeline: "test").list()
            #expect(
                names(folder.path + "/test/spilled")
                    == kept.reduce(into: []) { $0.formUnion($1.manifest.spilledFiles) },
                "files that no checkpoint needs are gone")
        }
    }

    @Test func `a damaged file of groups is reported, and the checkpoint before is used`() async throws {
        let folder = try TemporaryDirectory()
        let rows = CollectedRows()
        for limit in [4000, 4000] {
            var pipeline = try Self.pipeline(Self.script(), rows, memory: 1)
            pipeline.options.limit = limit
            _ = try await pipeline.runner(checkpoints: folder.path).run()
        }
        let store = LocalCheckpointStore(root: folder.path, pipeline: "test")
        let manifests = try store.list().map(\.manifest)
        #expect(manifests.count == 2)
        let damaged = try #require(manifests[0].spilledFiles.subtracting(manifests[1].spilledFiles).first)
        let path = folder.path + "/test/spilled/" + damaged
        var bytes = try #require(try LocalFiles().read(path, nil))
        bytes[bytes.count / 3] ^= 1
        try LocalFiles().write(bytes, to: path)
        let session = try store.acquire()
        let (restored, reports) = try session.restore(.latest)
        #expect(restored?.manifest.id == manifests[1].id)
        #expect(reports.joined().contains(damaged))
        session.release()
        var pipeline = try Self.pipeline(Self.script(), rows, memory: 1)
        pipeline.parallelism = 2
        _ = try await pipeline.runner(checkpoints: folder.path).run()
        #expect(rows.table(key: ["id", "name"]) == (try await Self.expected()))
    }

    @Test(arguments: [
        WindowShape.Kind.tumbling(size: .seconds(100), offset: .zero),
        .sliding(size: .seconds(100), every: .seconds(30), offset: .zero),
    ])
    func `windows under a small budget give what those without give`(kind: WindowShape.Kind) async throws {
        let schema = Schema([Field("t", .timestamp, nullable: false)] + Self.schema.fields)
        var tables: [[[Value]: [Value]]] = []
        for memory in [nil, 1] {
            let splits = (0..<2).map { split in
                (0..<10 as Range<Int64>).flatMap { step -> [MemoryScript.Step] in
                    let rows: [[Value]] = (step * 1000..<(step + 1) * 1000).map { (n: Int64) in
                        return [
                            .timestamp(n * 50_000), .int(n * 7 % 900), .string("the name of key \(n * 7 % 900)"),
                            n % 4 == 0 ? .null : .int(n * Int64(split + 1)),
                        ]
                    }
                    return [
                        .batch(RecordBatch(schema, rows: rows)), .watermark(.time((step + 1) * 50_000_000)),
                    ]
                }
            }
            let rows = CollectedRows()
            var pipeline = TestPipeline()
            pipeline.config.memory = memory.map { .init(bytes: $0) }
            try pipeline.add("rows", MemorySource.self, .init(MemoryScript(schema, splits: splits, eventTime: "t")))
            try pipeline.add(
                "windows", WindowAgg.self,
                try settings(
                    groups: ["id", "name"], [("n", "count(*)"), ("s", "sum(v)"), ("f", "max(v)")],
                    window: WindowShape(kind), time: "t"), from: "rows")
            try pipeline.add("table", CollectingSink.self, .init(rows), from: "windows")
            if memory == nil {
                let folder = try TemporaryDirectory()
                _ = try await pipeline.runner(checkpoints: folder.path).run()
            } else {
                try await pipeline.run(inPieces: [1, 3, 2], rows: 20_000)
            }
            let table = rows.table(key: ["window_start", "id"])
            #expect(table.count == rows.rows.count, "each window and group leaves once")
            tables.append(table)
        }
        #expect(tables[0] == tables[1])
        #expect(tables[0].count >= 4500)
    }

    @Test func `state that cannot be put on disk ends the run with the node, its size and the budget`() async throws {
        let folder = try TemporaryDirectory()
        var pipeline = TestPipeline()
        pipeline.config.memory = .kibibytes(100)
        try pipeline.add("rows", MemorySource.self, .init(Self.script()))
        try pipeline.add(
            "calls", WindowAgg.self,
            try settings(groups: ["id"], [("n", "count(*)")], window: WindowShape(.session(gap: .seconds(3600)))),
            from: "rows")
        try pipeline.add("table", CollectingSink.self, .init(CollectedRows()), from: "calls")
        let runner = try pipeline.runner(checkpoints: folder.path)
        let error = await #expect(throws: RunError.self) { try await runner.run() }
        #expect(error?.exitCode == 78)
        let message = error?.message ?? ""
        for part in ["node 'calls'", "window-agg", "memory budget of 100KiB", "raise `memory`", "KiB)"] {
            #expect(message.contains(part), "\(message)")
        }
        #expect(!message.contains("(0"), "\(message)")
    }
}
