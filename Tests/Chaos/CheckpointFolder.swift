import DataflowEndToEnd
import Foundation
import Glibc

/// The checkpoints of a pipeline, seen from outside while it runs or after it was killed.
struct CheckpointFolder {
    /// What the program was at when it was killed.
    enum Moment: String, CaseIterable {
        /// It had not begun a checkpoint since its start: it was restoring, opening, or committing again.
        case starting = "before its first checkpoint"
        /// A checkpoint was begun: barriers under way, sinks preparing, state being written.
        case writing = "between barrier and manifest"
        /// The manifest was there, and what its sinks had to commit not known to be done.
        case committing = "between manifest and mark"
        case running = "between checkpoints"
    }

    /// What `CHECKPOINT_PATH` was for the pipeline.
    let path: String

    /// The folder of the one pipeline in it, when that has begun.
    private var pipeline: String? {
        (try? FileManager.default.contentsOfDirectory(atPath: path))?.first { !$0.hasPrefix(".") }.map {
            "\(path)/\($0)"
        }
    }

    private func checkpoints() -> [String] {
        guard let pipeline, let names = try? FileManager.default.contentsOfDirectory(atPath: pipeline) else {
            return []
        }
        // Their numbers have leading zeros.
        return names.filter { $0.hasPrefix("chk-") }.sorted(by: >).map { "\(pipeline)/\($0)" }
    }

    /// The newest checkpoint that was begun.
    func newest() -> String? { checkpoints().first }

    /// The newest checkpoint that has its manifest.
    func newestComplete() -> String? {
        checkpoints().first { FileManager.default.fileExists(atPath: $0 + "/manifest") }
    }

    /// What the program, which has ended, was at.
    ///
    /// - Parameter first: the newest checkpoint when it was started.
    func moment(since first: String?) -> Moment {
        guard let newest = newest(), newest != first else { return .starting }
        guard FileManager.default.fileExists(atPath: newest + "/manifest") else { return .writing }
        return isCommitting(newest) ? .committing : .running
    }

    /// Whether sinks may be committing now.
    func isCommitting() -> Bool { newestComplete().map(isCommitting) ?? false }

    private func isCommitting(_ checkpoint: String) -> Bool {
        guard !FileManager.default.fileExists(atPath: checkpoint + "/committed"),
            let data = FileManager.default.contents(atPath: checkpoint + "/manifest")
        else { return false }
        // Without anything to commit there is no mark.
        return String(decoding: data, as: UTF8.self).replacing("\"committables\":[]", with: "").contains(
            "\"committables\"")
    }
}

extension ChildProcess {
    /// Does something while the program stands still and none of its sinks is committing.
    func whileIdle(_ checkpoints: CheckpointFolder, _ body: () throws -> Void) throws {
        let limit = ContinuousClock.now + .seconds(60)
        defer { send(SIGCONT) }
        while wait(timeout: .zero) == nil {
            send(SIGSTOP)
            while !isStopped, wait(timeout: .milliseconds(1)) == nil {}
            if !checkpoints.isCommitting() { break }
            guard ContinuousClock.now < limit else { throw Failure(description: "the program commits for a minute") }
            send(SIGCONT)
            _ = wait(timeout: .milliseconds(5))
        }
        try body()
    }

    /// Whether each of its threads is.
    private var isStopped: Bool {
        let threads = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task")) ?? []
        return threads.allSatisfy { thread in
            guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/task/\(thread)/stat") else {
                return true
            }
            return String(decoding: data, as: UTF8.self).split(separator: ")").last?.hasPrefix(" T") ?? true
        }
    }
}
