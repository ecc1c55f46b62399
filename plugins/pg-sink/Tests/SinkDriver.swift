import DataflowOperator
import DataflowTesting
import Logging

@testable import PgSink

/// Drives a sink as the runtime does, with access to its inside.
final class SinkDriver {
    struct Checkpoint {
        var id: CheckpointID
        var state: StateSnapshot
        var committables: [PgSink.Committable]
    }

    let sink: PgSink
    let context: OperatorContext
    var errorsBuffer = OutputBuffer()

    /// Builds a sink that is not open yet.
    init(
        _ config: PgSinkConfig, _ input: DataflowOperator.Stream, folder: String, node: String = "node",
        restoring checkpoint: Checkpoint? = nil, commitPending: Bool = false, acceptDuplicates: Bool = false,
        lineage: String = "lineage-1", generation: UInt64 = 1, exactlyOnce: Bool = true,
        clock: any RuntimeClock = ManualClock()
    ) throws {
        _ = try PgSink.outputs(config, inputs: [input])
        context = .testing(
            node: node, inputs: [input], lineage: lineage, generation: generation,
            restored: checkpoint.map {
                RestoredCheckpoint(id: $0.id, commitPending: commitPending, acceptDuplicates: acceptDuplicates)
            }, stateDirectory: folder, exactlyOnce: exactlyOnce, clock: clock)
        sink = try PgSink(config, context)
        self.checkpoint = checkpoint
        self.commitPending = commitPending
    }

    private let checkpoint: Checkpoint?
    private let commitPending: Bool

    /// Opens the sink and commits what is pending.
    @discardableResult
    func open() async throws -> SinkDriver {
        try await sink.open(restoring: checkpoint?.state ?? [])
        if commitPending, let checkpoint { try await sink.commit(checkpoint.committables, checkpoint.id) }
        return self
    }

    /// The error with which `open` ends; nil if it succeeds.
    func openFailure() async -> OperatorError? {
        do {
            try await open()
            return nil
        } catch { return error as? OperatorError }
    }

    /// The error with which `commit` ends; nil if it succeeds.
    func commitFailure(_ checkpoint: Checkpoint) async -> OperatorError? {
        do {
            try await commit(checkpoint)
            return nil
        } catch { return error as? OperatorError }
    }

    func write(_ batch: RecordBatch) async throws {
        try await sink.write(batch, errors: &errorsBuffer)
    }

    func prepare(_ number: UInt64) async throws -> Checkpoint {
        let id = CheckpointID(number)
        try await sink.flush(id, errors: &errorsBuffer)
        let committables = try await sink.prepareCommit(id)
        return Checkpoint(id: id, state: try sink.snapshot(id).throughCheckpoint(), committables: committables)
    }

    func commit(_ checkpoint: Checkpoint) async throws {
        try await sink.commit(checkpoint.committables, checkpoint.id)
    }

    @discardableResult
    func checkpoint(_ number: UInt64) async throws -> Checkpoint {
        let checkpoint = try await prepare(number)
        try await commit(checkpoint)
        return checkpoint
    }

    /// `code`, `reason` and `raw` of the rows on the errors port since the last call.
    func takeErrors() -> [(code: String, reason: String, raw: String)] {
        errorsBuffer.drain().flatMap { element -> [(code: String, reason: String, raw: String)] in
            guard case .batch(let batch, .errors) = element else { return [] }
            return batch.rows.map { row in
                guard case .string(let code) = row[1], case .string(let reason) = row[2], case .bytes(let raw) = row[5]
                else { return ("", "", "") }
                return (code, reason, String(decoding: raw, as: UTF8.self))
            }
        }
    }
}
