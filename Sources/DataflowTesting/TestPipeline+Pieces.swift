import DataflowOperator
import DataflowPipeline
import DataflowRuntime

extension TestPipeline {
    /// Runs the pipeline in pieces: each but the last is stopped at a checkpoint in the middle of the stream, without
    /// closing windows, and the next takes up its state at another parallelism.
    ///
    /// - Parameters:
    ///   - parallelism: that of each piece; `[1, 4, 3]` is three runs.
    ///   - rows: how many rows the sources have together: each piece but the last reads about as many.
    public func run(inPieces parallelism: [Int], rows: Int) async throws {
        let folder = try TemporaryDirectory()
        for (index, subtasks) in parallelism.enumerated() {
            var piece = self
            piece.parallelism = subtasks
            let isLast = index == parallelism.count - 1
            piece.options.limit = isLast ? nil : max(1, rows / parallelism.count)
            _ = try await piece.runner(checkpoints: folder.path).run()
        }
    }
}
