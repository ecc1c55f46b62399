/// What a restart finds of a checkpoint.
public enum CheckpointStatus: Equatable, Sendable {
    /// No manifest: it was never published, its files are rubbish.
    case invisible
    /// Published and nothing left to commit: restore from it.
    case ready
    /// Published, and the sinks' commits may or may not have happened: commit again (commits are idempotent), then restore.
    case committing

    /// - Parameters:
    ///   - manifest: the published manifest, if there is one.
    ///   - isMarkedCommitted: whether the `committed` marker lies beside it.
    public init(manifest: CheckpointManifest?, isMarkedCommitted: Bool) {
        self =
            switch (manifest?.needsCommit, isMarkedCommitted) {
            case (nil, _): .invisible
            case (false?, _), (true?, true): .ready
            case (true?, false): .committing
            }
    }
}
