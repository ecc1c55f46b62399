public import DataflowOperator

/// `window-agg`: groups rows and keeps aggregates of each group, over all time or for each window.
///
/// Over a stream of facts the work is done in two stages: ``LocalAggregation`` evaluates expressions and
/// pre-aggregates in front of the exchange, this operator merges its partial states behind it. Over an upsert stream
/// it does everything itself, since a replaced row must be taken back where it was put in.
public final class WindowAgg: Transform {
    public typealias Config = WindowAggConfig

    public static let info = OperatorInfo(
        "window-agg", .transform, "Groups rows and aggregates each group, over all time or in windows.",
        extraPorts: ["late"])
    public static var isStateful: Bool { true }

    public static func outputs(_ config: WindowAggConfig, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        let plan = try AggregationPlan(config, input: inputs[0])
        return [plan.output(inputs[0]), Stream(inputs[0].schema)]
    }

    public static func warnings(_ config: WindowAggConfig, inputs: [Stream]) -> [Diagnostic] {
        switch config.window.kind {
        case .global, .count: return []
        case .tumbling, .sliding, .session:
            guard config.time == nil, let time = inputs[0].eventTime else { return [] }
            return [
                .warning(
                    field: "window", code: "processing-time",
                    "these windows are over the time of processing, though the input has the event time `\(time)`: results depend on when the pipeline runs",
                    hint: "write `time: \(time)`")
            ]
        }
    }

    public static func columnsUsed(
        _ config: WindowAggConfig, inputs: [Stream], downstream: ColumnSet
    ) -> [ColumnSet] {
        guard let plan = try? AggregationPlan(config, input: inputs[0]) else { return [.all] }
        return [.some(plan.columnsUsed(inputs[0]))]
    }

    public static func partitioning(_ config: WindowAggConfig, inputs: [Stream]) throws(ConfigError) -> Partitioning {
        try AggregationPlan(config, input: inputs[0]).sharedKey.map { .hash($0) } ?? .single
    }

    public static func localStage(_ config: WindowAggConfig, inputs: [Stream]) throws(ConfigError) -> LocalStage? {
        let plan = try AggregationPlan(config, input: inputs[0])
        guard plan.inputKey == nil else { return nil }
        return LocalStage(output: plan.partial, partitioning: plan.exchange) { (context) throws(OperatorError) in
            switch plan.window {
            case .global, .tumbling, .sliding, .count: LocalAggregation(plan, config, context)
            case .session(let gap): LocalSessions(plan, gap: gap, config, context)
            }
        }
    }

    private let stage: any FinalStage

    public init(_ config: WindowAggConfig, _ context: OperatorContext) throws(OperatorError) {
        let input = context.inputs[0]
        let shape: PartialShape
        do throws(ConfigError) {
            if input.kind.key != nil {
                stage = RetractingAggregation(try AggregationPlan(config, input: input), config, context)
                return
            }
            shape = try PartialShape(config, partial: input)
        } catch {
            throw OperatorError(.user, .never, "invalid_config", error.description)
        }
        stage = WindowAgg.finalStage(shape, config, context)
    }

    private static func finalStage(
        _ shape: PartialShape, _ config: WindowAggConfig, _ context: OperatorContext
    ) -> any FinalStage {
        switch config.window.kind {
        case .session: return SessionAggregation(shape, config, context)
        case .count(let rows): return CountWindows(shape, rows: rows, context)
        case .global, .tumbling, .sliding:
            guard let grid = config.window.kind.grid else { return GlobalAggregation(shape, config, context) }
            return WindowAggregation(shape, grid, config, context)
        }
    }

    public func open(restoring state: StateSnapshot) throws(OperatorError) {
        try SketchState.check(state)
        try stage.open(restoring: state)
    }

    public func process(
        _ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress { try stage.process(batch, into: &output) }

    public func advance(to watermark: Watermark, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        try stage.advance(to: watermark, into: &output)
    }

    /// Splits end here: what leaves is no longer a sequence of one.
    public func split(_ event: SplitEvent, into output: inout OutputBuffer) throws(OperatorError) -> Progress { .done }

    public func resume(into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        try stage.resume(into: &output)
    }

    public func tick(_ now: ContinuousClock.Instant, into output: inout OutputBuffer) throws(OperatorError) -> Progress
    {
        try stage.tick(into: &output)
    }

    public func prepareSnapshot(
        _ checkpoint: CheckpointID, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress { try stage.prepareSnapshot(into: &output) }

    public func finish(into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        try stage.finish(into: &output)
    }

    public func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot { stage.snapshot() }

    public var stateByteCount: Int { stage.stateByteCount }
    public var canSpill: Bool { stage.canSpill }
    public func spill() throws(OperatorError) { try stage.spill() }

    public func continueSnapshot(
        until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot
    ) throws(OperatorError) -> Progress { stage.continueSnapshot(until: deadline, into: &snapshot) }
}

/// One of the ways to keep groups; see ``Transform`` for when each call comes.
protocol FinalStage: AnyObject {
    func open(restoring state: StateSnapshot) throws(OperatorError)
    func process(_ batch: RecordBatch, into output: inout OutputBuffer) throws(OperatorError) -> Progress
    func advance(to watermark: Watermark, into output: inout OutputBuffer) throws(OperatorError) -> Progress
    func resume(into output: inout OutputBuffer) throws(OperatorError) -> Progress
    func tick(into output: inout OutputBuffer) throws(OperatorError) -> Progress
    func prepareSnapshot(into output: inout OutputBuffer) throws(OperatorError) -> Progress
    func finish(into output: inout OutputBuffer) throws(OperatorError) -> Progress
    /// See ``Transform/stateByteCount``.
    var stateByteCount: Int { get }
    var canSpill: Bool { get }
    func spill() throws(OperatorError)
    func snapshot() -> StateSnapshot
    func continueSnapshot(until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot) -> Progress
}

extension FinalStage {
    func continueSnapshot(until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot) -> Progress {
        .done
    }
    var canSpill: Bool { false }
    func spill() throws(OperatorError) {}
}

/// What the stage behind the exchange knows: the groups' columns and the partial states.
struct PartialShape {
    /// Those of the window (``AggregationPlan/stateFields(_:)``), and the keys.
    var groupFields: [Field]
    var layout: AggregateLayout
    var isEventTime: Bool

    init(_ config: WindowAggConfig, partial: Stream) throws(ConfigError) {
        var calls = AggregateCalls()
        for entry in config.aggregates {
            do throws(AggregateCalls.Refusal) {
                try calls.append(entry.key, entry.value.parsed)
            } catch {
                throw ConfigError("aggregate", error.message, at: entry.value.text.mark, hint: error.hint)
            }
        }
        let groupCount = AggregationPlan.stateFields(config.window.kind).count + config.groupBy.terms.count
        let fields = partial.schema.fields
        groupFields = Array(fields.prefix(groupCount))
        guard let layout = AggregateLayout(calls, states: fields.dropFirst(groupCount)) else {
            throw ConfigError("aggregate", "the partial states \(partial.schema) are not those of the aggregates")
        }
        self.layout = layout
        isEventTime = partial.eventTime != nil
    }
}

/// `window-agg`.
public enum WindowAggPlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.transform(WindowAgg.self)]
}
