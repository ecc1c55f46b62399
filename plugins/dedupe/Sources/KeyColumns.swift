import DataflowOperator

/// The stage in front of the exchange where a part of the key is an expression: computes it, since rows are spread by it.
///
/// Rows for which it has no value go to the errors.
final class KeyColumns: Transform {
    typealias Config = DedupeConfig
    static var info: OperatorInfo { Dedupe.info }
    static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        try Dedupe.outputs(config, inputs: inputs)
    }

    private let schema: Schema
    private let expressions: [CompiledExpression]
    private let context: OperatorContext

    init(_ plan: DedupePlan, _ context: OperatorContext) {
        schema = plan.keyed
        expressions = plan.computed.map { $0.compiled() }
        self.context = context
    }

    convenience init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        do throws(ConfigError) {
            self.init(try DedupePlan(config, input: context.inputs[0]), context)
        } catch {
            throw OperatorError(.user, .never, "invalid_config", error.description)
        }
    }

    func process(
        _ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress {
        let now = context.clock.wallMicroseconds
        var columns = batch.columns
        var failed = RowErrors(rowCount: batch.rowCount)
        for expression in expressions {
            let (column, errors) = expression.evaluate(batch, now: now)
            columns.append(column)
            if !errors.isEmpty { failed.formUnion(errors) }
        }
        context.counters.add(passed: batch.rowCount - failed.count, errors: failed.count)
        let keyed = batch.replacingColumns(schema, columns)
        guard let succeeded = failed.succeeded else {
            output.emit(keyed)
            return .done
        }
        var report = ErrorRows(context)
        report.append(failed, of: batch)
        output.emit(report.finish(), to: .errors)
        output.emit(keyed.filter(succeeded))
        return .done
    }
}
