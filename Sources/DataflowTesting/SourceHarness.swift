import DataflowOperator

/// Drives one source by hand.
public final class SourceHarness<S: Source> {
    public let context: OperatorContext
    public let outputs: [Stream]
    /// What was emitted since the start or the last ``take()``.
    public private(set) var output = Emitted()
    public private(set) var hasEnded = false
    package let source: S
    private var nextCheckpoint: UInt64 = 1

    /// Checks the configuration, builds and opens the source.
    public init(
        _ type: S.Type = S.self, _ config: S.Config, restoring state: StateSnapshot = [], subtask: Int = 0,
        parallelism: Int = 1, usedColumns: ColumnSet = .all, clock: (any RuntimeClock)? = nil, node: String = "node",
        stateDirectory: String = "/nonexistent"
    ) async throws {
        outputs = try S.outputs(config, inputs: [])
        context = .testing(
            node: node, subtask: subtask, parallelism: parallelism, outputs: outputs, usedColumns: usedColumns,
            stateDirectory: stateDirectory, clock: clock ?? ManualClock())
        source = try S(config, context)
        try await source.open(restoring: state)
    }

    /// One poll. The deadline is real time: `poll` may wait for the world outside.
    @discardableResult
    public func poll(for duration: Duration = .milliseconds(100), rowLimit: Int? = nil) async throws -> PollResult {
        var buffer = OutputBuffer(rowLimit: rowLimit)
        let result = try await source.poll(until: .now.advanced(by: duration), into: &buffer)
        for case .batch(let batch, let port) in buffer.elements {
            let promised = port == .errors ? ErrorRows.schema : outputs[port.index].schema
            precondition(
                batch.schema == promised,
                "\(S.info.name) emitted \(batch.schema) where outputs(_:inputs:) says \(promised)")
        }
        output.append(buffer.drain())
        if case .endOfInput = result { hasEnded = true }
        return result
    }

    /// Polls until the end of input, or until `limit` polls were in vain.
    public func readAll(limit: Int = 1000) async throws {
        var idle = 0
        while !hasEnded, idle < limit {
            if case .idle = try await poll() { idle += 1 }
        }
    }

    /// The state as a restart would read it; it stands behind the last emitted row.
    public func checkpoint() throws -> StateSnapshot {
        defer { nextCheckpoint += 1 }
        return try source.snapshot(CheckpointID(nextCheckpoint)).throughCheckpoint()
    }

    public func checkpointCompleted(_ id: CheckpointID) async throws { try await source.checkpointCompleted(id) }

    public func close() async { await source.close() }

    /// What was emitted since the last call.
    public func take() -> Emitted {
        defer { output = Emitted() }
        return output
    }
}
