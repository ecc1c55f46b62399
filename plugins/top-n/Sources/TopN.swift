public import DataflowOperator

/// `top-n`: the best rows of each partition, kept up to date, or once when the partition is final.
public final class TopN: Transform {
    public typealias Config = TopNConfig

    public static let info = OperatorInfo(
        "top-n", .transform, "Keeps the best n rows of each partition, in an order.", extraPorts: ["late"])
    public static var isStateful: Bool { true }

    /// Only a partition that closes can have late rows.
    public static func ports(_ config: TopNConfig) -> [ExtraPort] { config.emit == .onClose ? info.extraPorts : [] }

    public static func outputs(_ config: TopNConfig, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        let plan = try TopNPlan(config, input: inputs[0])
        return [plan.output] + ports(config).map { _ in Stream(plan.input) }
    }

    public static func partitioning(_ config: TopNConfig, inputs: [Stream]) throws(ConfigError) -> Partitioning {
        try TopNPlan(config, input: inputs[0]).partitioning
    }

    private let stage: any TopStage

    public init(_ config: TopNConfig, _ context: OperatorContext) throws(OperatorError) {
        do throws(ConfigError) {
            let plan = try TopNPlan(config, input: context.inputs[0])
            switch config.emit {
            case .onClose: stage = ClosingTop(plan, context)
            case .every(let interval): stage = UpdatingTop(plan, context, every: interval)
            }
        } catch {
            throw OperatorError(.user, .never, "invalid_config", error.description)
        }
    }

    public func open(restoring state: StateSnapshot) throws(OperatorError) { try stage.open(restoring: state) }

    public func process(
        _ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress {
        stage.process(batch, into: &output)
        return .done
    }

    public func advance(to watermark: Watermark, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        stage.advance(to: watermark, into: &output)
    }

    /// Splits end here: what leaves is no longer a sequence of one.
    public func split(_ event: SplitEvent, into output: inout OutputBuffer) throws(OperatorError) -> Progress { .done }

    public func tick(_ now: ContinuousClock.Instant, into output: inout OutputBuffer) throws(OperatorError) -> Progress
    {
        stage.tick(into: &output)
    }

    public func prepareSnapshot(
        _ checkpoint: CheckpointID, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress { stage.prepareSnapshot(into: &output) }

    public func finish(into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        stage.finish(into: &output)
    }

    public func resume(into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        stage.resume(into: &output)
    }

    public func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot { stage.snapshot() }

    public func continueSnapshot(
        until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot
    ) throws(OperatorError) -> Progress { stage.continueSnapshot(until: deadline, into: &snapshot) }

    public var stateByteCount: Int { stage.stateByteCount }
}

/// One of the two ways to tell: changes, or once; see ``Transform`` for when each call comes.
protocol TopStage: AnyObject {
    func open(restoring state: StateSnapshot) throws(OperatorError)
    func process(_ batch: RecordBatch, into output: inout OutputBuffer)
    func advance(to watermark: Watermark, into output: inout OutputBuffer) -> Progress
    func tick(into output: inout OutputBuffer) -> Progress
    func prepareSnapshot(into output: inout OutputBuffer) -> Progress
    func finish(into output: inout OutputBuffer) -> Progress
    func resume(into output: inout OutputBuffer) -> Progress
    func snapshot() -> StateSnapshot
    func continueSnapshot(until deadline: ContinuousClock.Instant, into snapshot: inout StateSnapshot) -> Progress
    /// See ``Transform/stateByteCount``.
    var stateByteCount: Int { get }
}

/// `top-n`.
public enum TopNPlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.transform(TopN.self)]
}
