import DataflowOperator
import FoundationEssentials

/// A sink without its `Committable` type: what a task drives.
protocol SinkDriving: AnyObject {
    func open(restoring state: StateSnapshot) async throws(OperatorError)
    func write(_ batch: RecordBatch, errors: inout OutputBuffer) async throws(OperatorError)
    func idle(errors: inout OutputBuffer) async throws(OperatorError)
    func flush(_ checkpoint: CheckpointID, errors: inout OutputBuffer) async throws(OperatorError)
    /// The committables as JSON texts; they are also kept for ``commitPrepared(_:)``.
    func prepareCommit(_ checkpoint: CheckpointID) async throws(OperatorError) -> [String]
    func commitPrepared(_ checkpoint: CheckpointID) async throws(OperatorError)
    /// Commits again what a restored checkpoint has to commit.
    func commit(_ json: [String], _ checkpoint: CheckpointID) async throws(OperatorError)
    func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot
    func close() async
}

final class SinkDriver<S: Sink>: SinkDriving {
    private let sink: S
    private var prepared: [S.Committable] = []

    init(_ sink: S) { self.sink = sink }

    func open(restoring state: StateSnapshot) async throws(OperatorError) { try await sink.open(restoring: state) }

    func write(_ batch: RecordBatch, errors: inout OutputBuffer) async throws(OperatorError) {
        try await sink.write(batch, errors: &errors)
    }

    func idle(errors: inout OutputBuffer) async throws(OperatorError) { try await sink.idle(errors: &errors) }

    func flush(_ checkpoint: CheckpointID, errors: inout OutputBuffer) async throws(OperatorError) {
        try await sink.flush(checkpoint, errors: &errors)
    }

    func prepareCommit(_ checkpoint: CheckpointID) async throws(OperatorError) -> [String] {
        prepared = try await sink.prepareCommit(checkpoint)
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        do {
            return try prepared.map { String(decoding: try encoder.encode($0), as: UTF8.self) }
        } catch {
            throw OperatorError(
                .engine, .never, "committable_encoding", "a committable cannot be written as JSON: \(error)")
        }
    }

    func commitPrepared(_ checkpoint: CheckpointID) async throws(OperatorError) {
        let committables = prepared
        prepared = []
        try await sink.commit(committables, checkpoint)
    }

    func commit(_ json: [String], _ checkpoint: CheckpointID) async throws(OperatorError) {
        let committables: [S.Committable]
        do {
            committables = try json.map { try JSONDecoder().decode(S.Committable.self, from: Data($0.utf8)) }
        } catch {
            throw OperatorError(
                .user, .never, "committable_decoding",
                "checkpoint \(checkpoint) has something to commit that this version cannot read: \(error). Start it once with the version that wrote it"
            )
        }
        try await sink.commit(committables, checkpoint)
    }

    func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot { try sink.snapshot(checkpoint) }

    func close() async { await sink.close() }
}

/// The driver of a sink whose type is known only at run time.
func makeSinkDriver(_ sink: any Sink) -> any SinkDriving {
    func opened<Concrete: Sink>(_ sink: Concrete) -> any SinkDriving { SinkDriver(sink) }
    return opened(sink)
}
