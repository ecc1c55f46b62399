import DataflowCheckpoint
import DataflowOperator
import DataflowPipeline
public import DataflowRuntime

extension PipelineRunner {
    /// Runs to the end or the failure, with a checkpoint at every pause of the script.
    public func run(checkpointingAtPausesOf script: MemoryScript) async throws {
        let isOver = Gate()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                defer { isOver.open() }
                _ = try await self.run()
            }
            group.addTask { [self] in
                while !isOver.isOpen {
                    if script.isPaused {
                        let before = progress().checkpoints.completed
                        takeCheckpoint()
                        while !isOver.isOpen, progress().checkpoints.completed == before { await Task.yield() }
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
}

/// Whole runs into a sink that die at a step of a checkpoint, among them exactly between "the manifest is durable" and
/// the sink's commit, and between the commit and the checkpoint's own mark of it.
public struct CommitDeaths<Place> {
    /// What the runs write, in order: the column `t`. Ascending, too.
    public let texts: [String]
    private let makePlace: () throws -> Place
    private let addSink: (Place, inout TestPipeline) throws -> Void
    private let written: (Place) throws -> [String?]

    /// - Parameters:
    ///   - place: makes a target that is empty.
    ///   - sink: adds the sink of a target behind the node `texts`.
    ///   - written: the texts in a target, in the order of ``texts``.
    public init(
        place makePlace: @escaping () throws -> Place,
        sink addSink: @escaping (_ place: Place, _ pipeline: inout TestPipeline) throws -> Void,
        written: @escaping (_ place: Place) throws -> [String?]
    ) {
        texts = (0..<300).map { "\(1000 + $0)" }
        self.makePlace = makePlace
        self.addSink = addSink
        self.written = written
    }

    /// Runs to the end, or to the death of the store, with a checkpoint behind every second batch.
    private func run(_ place: Place, _ checkpoints: String, _ files: any CheckpointFiles) async throws {
        let schema = Schema([Field("t", .string)])
        let steps = stride(from: 0, to: texts.count, by: 50).flatMap { start -> [MemoryScript.Step] in
            let batch = RecordBatch(schema, [.string(Array(texts[start..<start + 50]))])
            return start % 100 == 0 ? [.batch(batch)] : [.batch(batch), .pause]
        }
        let script = MemoryScript(schema, splits: [steps])
        var pipeline = TestPipeline()
        try pipeline.add("texts", MemorySource.self, .init(script))
        try addSink(place, &pipeline)
        try await pipeline.runner(checkpoints: checkpoints, files: files).run(checkpointingAtPausesOf: script)
    }

    /// Dies before and after each step around the manifest, the commit and its mark, and runs to the end from what is
    /// left; once without a death.
    ///
    /// - Returns: what was not as it has to be, nothing where every row was written once.
    public func findings() async throws -> [String] {
        var findings: [String] = []
        // Straight through, to learn which operation of the store is which.
        let counter = CrashingStore(dyingAt: nil)
        let straight = try makePlace()
        let folder = try TemporaryDirectory()
        try await run(straight, folder.path, counter)
        if try written(straight) != texts { findings.append("straight through: \(try written(straight))") }
        let names = counter.operationNames
        // Before the rename the checkpoint is not; behind the sync of its folder comes the sink's commit, and then the mark.
        let operations = names.indices.filter { index in
            names[index].hasSuffix("/manifest") || names[index].hasSuffix("/committed")
                || index > 0 && names[index - 1].hasSuffix("/manifest")
        }
        if operations.count < 9 { findings.append("only \(operations.count) steps among \(names)") }
        for operation in operations {
            for after in [false, true] {
                let step = "\(after ? "after" : "before") \(names[operation])"
                let place = try makePlace()
                let folder = try TemporaryDirectory()
                let files = CrashingStore(dyingAt: operation, after: after)
                do {
                    try await run(place, folder.path, files)
                    findings.append("\(step): the run did not die")
                } catch  where files.isDead {}
                try await run(place, folder.path, LocalFiles())
                if try written(place) != texts { findings.append("\(step): \(try written(place))") }
            }
        }
        return findings
    }
}
