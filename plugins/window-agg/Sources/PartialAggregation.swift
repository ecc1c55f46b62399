import DataflowOperator

/// A stage in front of the exchange that holds partial states, and sends them on before what must not overtake them.
protocol PartialAggregation: Transform where Config == WindowAggConfig {
    /// A tick was asked for and has not come.
    var isTickPending: Bool { get set }
    /// Sends on all that is held.
    func flush(_ output: inout OutputBuffer)
}

extension PartialAggregation {
    static var info: OperatorInfo { WindowAgg.info }

    static func outputs(_ config: WindowAggConfig, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        try WindowAgg.outputs(config, inputs: inputs)
    }

    /// Splits end here: behind the exchange they mean nothing.
    func split(_ event: SplitEvent, into output: inout OutputBuffer) throws(OperatorError) -> Progress { .done }

    func tick(_ now: ContinuousClock.Instant, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        isTickPending = false
        flush(&output)
        return .done
    }

    func prepareSnapshot(
        _ checkpoint: CheckpointID, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress {
        flush(&output)
        return .done
    }

    func finish(into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        flush(&output)
        return .done
    }
}
