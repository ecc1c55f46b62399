import DataflowCheckpoint
import DataflowOperator
import DataflowPipeline
import DataflowRuntime
import DataflowTesting
import Testing

@testable import PgSink

/// A whole run that dies at a step of a checkpoint, among them exactly between "the manifest is durable" and the sink's commit, and
/// between the commit and the checkpoint's own mark of it.
@Suite(.enabled(if: TestServer.isThere), .serialized)
struct CheckpointCrashTests {
    private static let schema = Schema([Field("t", .string)])
    private static let texts = (0..<6).map { batch in (0..<50).map { "\(batch)-\($0)" } }

    /// Runs to the end, or to the death of the store, with a checkpoint behind every second batch.
    private func run(_ place: Workplace, _ checkpoints: String, _ files: any CheckpointFiles) async throws {
        let script = MemoryScript(
            Self.schema,
            splits: [
                Self.texts.enumerated().flatMap { index, texts -> [MemoryScript.Step] in
                    let batch = RecordBatch(Self.schema, [.string(texts)])
                    return index % 2 == 1 ? [.batch(batch), .pause] : [.batch(batch)]
                }
            ])
        var pipeline = TestPipeline()
        try pipeline.add("texts", MemorySource.self, .init(script))
        try pipeline.add(
            "table", PgSink.self, place.config("t") { $0.maxBatch = ByteSize(bytes: 1024) }, from: "texts")
        let runner = try pipeline.runner(checkpoints: checkpoints, files: files)
        let isOver = Gate()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                defer { isOver.open() }
                _ = try await runner.run()
            }
            group.addTask {
                while !isOver.isOpen {
                    if script.isPaused {
                        let before = runner.progress().checkpoints.completed
                        runner.takeCheckpoint()
                        while !isOver.isOpen, runner.progress().checkpoints.completed == before { await Task.yield() }
                        script.resume()
                    }
                    await Task.yield()
                }
            }
            while let result = await group.nextResult() {
                if case .failure(let error) = result { throw error }
            }
        }
    }

    private func rows(_ place: Workplace) throws -> [String?] {
        try place.rows("select t from t order by t collate \"C\"").map { $0[0] }
    }

    @Test func `a death around the manifest, the commit and its mark leaves every row once`() async throws {
        // Straight through, to learn which operation of the store is which.
        let straight = try Workplace()
        let folder = try TemporaryDirectory()
        let counter = CrashingStore(dyingAt: nil)
        try await run(straight, folder.path, counter)
        let expected = Self.texts.flatMap { $0 }.sorted()
        #expect(try rows(straight) == expected)
        let names = counter.operationNames
        // Before the rename the checkpoint is not; behind the sync of its folder comes the sink's commit, and then the mark.
        let operations = names.indices.filter { index in
            names[index].hasSuffix("/manifest") || names[index].hasSuffix("/committed")
                || index > 0 && names[index - 1].hasSuffix("/manifest")
        }
        #expect(operations.count >= 9, "\(names)")
        for operation in operations {
            for after in [false, true] {
                let place = try Workplace()
                let folder = try TemporaryDirectory()
                let files = CrashingStore(dyingAt: operation, after: after)
                let step = "\(after ? "after" : "before") \(names[operation])"
                await #expect(throws: (any Error).self, "\(step)") { try await run(place, folder.path, files) }
                #expect(files.isDead)
                try await run(place, folder.path, LocalFiles())
                #expect(try rows(place) == expected, "\(step)")
            }
        }
    }
}
