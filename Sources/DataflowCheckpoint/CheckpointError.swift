import Glibc

/// Why a checkpoint could not be written, read or used.
public struct CheckpointError: Error, Hashable, Sendable, CustomStringConvertible {
    public enum Kind: Hashable, Sendable {
        /// The system refused a file operation: disk full, no permission, no such folder.
        case file(errno: Int32)
        /// Another run of the pipeline is alive. Exit code 75.
        case alreadyRunning
        /// A newer run has taken over, or the folder was replaced while this one was running.
        case fenced
        /// A file is shorter than written or its checksum is wrong.
        case damaged
        /// No such checkpoint.
        case notFound
        /// Written by another format or for another pipeline, or its state cannot be given to this pipeline's nodes.
        case incompatible
    }

    public var kind: Kind
    /// What happened, where, and what to do.
    public var message: String

    public init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }

    public var description: String { message }

    /// The exit code of a run that ends with this error (PIPELINE-FORMAT: 75 stopped and safe to start again, 78 configuration).
    public var exitCode: Int32 {
        switch kind {
        case .alreadyRunning, .fenced: 75
        case .file(let errno): [ENOSPC, EDQUOT, EIO, EMFILE, ENFILE].contains(errno) ? 75 : 78
        case .damaged, .notFound, .incompatible: 78
        }
    }
}
