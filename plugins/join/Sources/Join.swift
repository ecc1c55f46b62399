public import DataflowOperator

/// `join`: pairs rows of two inputs whose keys are equal, within windows, within an interval of time, or with the
/// current row of an upsert stream.
public final class Join: Transform {
    public typealias Config = JoinConfig

    public static let info = OperatorInfo(
        "join", .transform, "Pairs rows of two inputs that have the same key.", inputs: ["left", "right"],
        extraPorts: ["late_left", "late_right"])
    public static var isStateful: Bool { true }

    public static func outputs(_ config: JoinConfig, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        [try JoinPlan(config, inputs).output] + inputs.map { Stream($0.schema) }
    }

    public static func columnsUsed(_ config: JoinConfig, inputs: [Stream], downstream: ColumnSet) -> [ColumnSet] {
        guard let plan = try? JoinPlan(config, inputs) else { return inputs.map { _ in .all } }
        return plan.stored(downstream).enumerated().map { side, positions in
            let fields = inputs[side].schema.fields
            // Late rows leave in the columns of their input.
            return .some(
                Set(positions.map { fields[$0].name }).union(fields.map(\.name).filter { downstream.contains($0) }))
        }
    }

    public static func partitioning(_ config: JoinConfig, inputs: [Stream]) throws(ConfigError) -> Partitioning {
        let plan = try JoinPlan(config, inputs)
        return .hashEach([0, 1].map { side in plan.keys[side].map { plan.inputs[side].fields[$0].name } })
    }

    private let stage: any JoinStage

    public init(_ config: JoinConfig, _ context: OperatorContext) throws(OperatorError) {
        let plan: JoinPlan
        do throws(ConfigError) { plan = try JoinPlan(config, context.inputs) } catch {
            throw OperatorError(.user, .never, "invalid_config", error.description)
        }
        switch plan.mode {
        case .window(let grid): stage = WindowJoin(plan, grid, context)
        case .within(let before, let after): stage = IntervalJoin(plan, before: before, after: after, context)
        case .lookup: stage = LookupJoin(plan, context)
        }
    }

    public func open(restoring state: StateSnapshot) throws(OperatorError) { try stage.open(restoring: state) }

    public func process(
        _ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress { stage.process(batch, side: port.index, into: &output) }

    public func advance(to watermark: Watermark, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        stage.advance(to: watermark, into: &output)
    }

    /// Splits end here: what leaves is no longer a sequence of one.
    public func split(_ event: SplitEvent, into output: inout OutputBuffer) throws(OperatorError) -> Progress { .done }

    public func resume(into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        stage.resume(into: &output)
    }

    public func finish(into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        stage.finish(into: &output)
    }

    public func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot { stage.snapshot() }

    public func continueSnapshot(
        until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot
    ) throws(OperatorError) -> Progress { stage.continueSnapshot(until: deadline, into: &snapshot) }

    public var stateByteCount: Int { stage.stateByteCount }

    /// Rows held, of the left and the right input.
    package var heldRows: [Int] { stage.heldRows }
}

/// One of the three ways to find pairs; see ``Transform`` for when each call comes.
protocol JoinStage: AnyObject {
    func open(restoring state: StateSnapshot) throws(OperatorError)
    func process(_ batch: RecordBatch, side: Int, into output: inout OutputBuffer) -> Progress
    func advance(to watermark: Watermark, into output: inout OutputBuffer) -> Progress
    func resume(into output: inout OutputBuffer) -> Progress
    func finish(into output: inout OutputBuffer) -> Progress
    func snapshot() -> StateSnapshot
    func continueSnapshot(until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot) -> Progress
    var heldRows: [Int] { get }
    /// See ``Transform/stateByteCount``.
    var stateByteCount: Int { get }
}

/// A stage that holds rows of both sides and works off what a watermark has made due.
protocol TimedJoinStage: JoinStage {
    var tables: JoinTables { get }
    /// Whether what leaves has event time: without it nobody behind is told of watermarks.
    var hasEventTime: Bool { get }
    /// The watermark that is being worked off by `resume`.
    var target: Int64? { get set }
}

extension TimedJoinStage {
    var heldRows: [Int] { tables.heldRows }
    var stateByteCount: Int { tables.stateByteCount }

    func advance(to watermark: Watermark, into output: inout OutputBuffer) -> Progress {
        switch watermark {
        case .idle:
            if hasEventTime { output.emit(watermark) }
            return .done
        case .time(let time):
            target = time
            return resume(into: &output)
        }
    }

    func finish(into output: inout OutputBuffer) -> Progress {
        target = .max
        return resume(into: &output)
    }

    func continueSnapshot(until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot) -> Progress {
        tables.continueSnapshot(until: deadline, into: &snapshot)
    }
}

/// `join`.
public enum JoinPlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.transform(Join.self)]
}
