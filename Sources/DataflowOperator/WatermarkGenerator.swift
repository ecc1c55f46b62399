public import DataflowColumnar

/// Event time where a transform declares it: marks late rows, keeps a watermark a split, sends watermarks on, and keeps
/// the latest time of each split in the checkpoint, so that lateness does not depend on where a run was cut.
///
/// The transform hands on its calls: `advance`, `split`, `tick`, `open` and `snapshot` here, and for each batch
/// ``observe(_:split:)`` before the batch and ``emitWatermark(into:)`` behind it.
public final class WatermarkGenerator {
    private static let stateName = "splits"
    private static let stateVersion: UInt32 = 1
    private static let stateSchema = Schema([
        Field("split", .string, nullable: false), Field("latest", .timestamp, nullable: false),
    ])

    private let context: OperatorContext
    private var watermarks: SplitWatermarks

    public init(_ config: EventTimeConfig, _ context: OperatorContext) {
        self.context = context
        watermarks = SplitWatermarks(outOfOrderness: config.outOfOrderness, idleTimeout: config.idleTimeout)
    }

    /// Takes note of the event times of a batch, none of them null.
    /// - Returns: the batch's ``RecordBatch/splitWatermark``. O(rows).
    public func observe(_ times: Values<Int64>, split: Int32) -> Values<Int64>? {
        times.count == 0 ? nil : watermarks.observe(times, split: split)
    }

    /// Sends on the watermark of all splits, if it is new.
    public func emitWatermark(into output: inout OutputBuffer) {
        if let watermark = watermarks.next() { output.emit(watermark) }
    }

    /// Of the watermarks upstream only the end of input is taken over.
    public func advance(to watermark: Watermark, into output: inout OutputBuffer) {
        if watermark == .end { output.emit(watermark) }
    }

    /// A split began, ended or fell quiet; asks for a tick where one may fall idle.
    public func split(_ event: SplitEvent, into output: inout OutputBuffer) {
        watermarks.apply(event, now: context.clock.now)
        requestTick()
        output.emit(event)
        emitWatermark(into: &output)
    }

    /// Lets quiet splits fall idle.
    public func tick(_ now: ContinuousClock.Instant, into output: inout OutputBuffer) {
        watermarks.expire(now: now)
        requestTick()
        emitWatermark(into: &output)
    }

    private func requestTick() {
        if let timeout = watermarks.nextTimeout { context.tick.request(at: timeout) }
    }

    /// Takes up the latest times of a checkpoint; other tables are passed over.
    public func open(restoring state: StateSnapshot) throws(OperatorError) {
        guard let table = state[WatermarkGenerator.stateName] else { return }
        let batches = try [table].batches(
            WatermarkGenerator.stateName, version: WatermarkGenerator.stateVersion, WatermarkGenerator.stateSchema)
        for batch in batches {
            guard let splits = batch.columns[0].viewValues, let latest = batch.columns[1].int64Values else { continue }
            for row in 0..<batch.rowCount {
                if let split = Int32(splits.string(at: row)) { watermarks.restore(split: split, latest: latest[row]) }
            }
        }
    }

    /// The latest time of each split.
    public func snapshot() -> StateSnapshot {
        let latest = watermarks.latest
        guard !latest.isEmpty else { return [] }
        let rows = RecordBatch(
            WatermarkGenerator.stateSchema,
            [.string(latest.map { String($0.split) }), .timestamp(latest.map(\.time))])
        return [
            StateTable(
                WatermarkGenerator.stateName, version: WatermarkGenerator.stateVersion,
                distribution: .split(column: 0), [rows])
        ]
    }
}
