public import DataflowOperator
import Logging

/// Adds columns of a table to the rows of a stream, by key.
///
/// The whole table is held in memory and replaced between two batches when a refresh has loaded a new one beside the
/// stream. Each subtask has its own. There is no state: behind a restart rows meet the table of that time.
public final class Lookup: Transform {
    public typealias Config = LookupConfig

    public static let info = OperatorInfo(
        "lookup", .transform, "Adds columns of a CSV file or a PostgreSQL query to each row, by key.", blocks: true)

    /// How soon a running load is asked for its outcome where no rows come.
    private static let pollInterval = Duration.seconds(1)
    /// The pause before a failed refresh is repeated; doubles up to the refresh interval.
    private static let firstPause = Duration.seconds(1)

    private let config: Config
    private let context: OperatorContext
    private let plan: LookupPlan
    private let isUpsert: Bool
    private let isUsed: [Bool]
    private let loader: any TableLoader
    let refresh: TableRefresh
    private var table: LookupTable?
    private var isLoading = false
    private var due: ContinuousClock.Instant?
    /// Refreshes that have failed in a row.
    private(set) var failures = 0

    public static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        guard let input = inputs.first else {
            throw ConfigError("missing-input", "lookup needs an input: add `from: <node>`")
        }
        return [try LookupPlan(config, input).output]
    }

    public static func columnsUsed(_ config: Config, inputs: [Stream], downstream: ColumnSet) -> [ColumnSet] {
        guard case .some(var names) = downstream else { return [.all] }
        names.subtract(config.columns.entries.map(\.name.value))
        names.formUnion(config.on.map(\.key))
        return [.some(names)]
    }

    public init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        guard let input = context.inputs.first else {
            throw OperatorError(.engine, .never, "bad_plan", "lookup was built without its input")
        }
        self.config = config
        self.context = context
        do throws(ConfigError) { plan = try LookupPlan(config, input) } catch {
            throw OperatorError(.user, .never, "invalid_configuration", error.description)
        }
        isUpsert = input.kind != .append
        isUsed = plan.output.schema.fields.suffix(plan.added.count).map { context.usedColumns.contains($0.name) }
        if let csv = config.csv {
            loader = CSVLoader(csv, plan.shape)
        } else if let postgres = config.postgres {
            loader = try PostgresLoader(postgres, plan.shape, pipeline: context.pipeline, node: context.node)
        } else {
            throw OperatorError(.user, .never, "invalid_configuration", "lookup needs `csv` or `postgres`")
        }
        refresh = TableRefresh(loader, plan.shape)
    }

    public func open(restoring state: StateSnapshot) throws(OperatorError) {
        switch TableRefresh.load(loader, plan.shape) {
        case .failed(let error): throw error
        case .loaded(let loaded, let nullKeys): adopt(loaded, nullKeys)
        }
        schedule(config.refresh)
    }

    // MARK: Rows

    public func process(
        _ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress {
        if isLoading { takeOutcome() }
        guard batch.rowCount > 0, let table else { return .done }
        let rows = table.find(plan.keys.map { batch.columns[$0] }, count: batch.rowCount)
        var missing = 0
        for row in rows where row < 0 { missing += 1 }
        let found = missing == 0 ? nil : Bitmap(count: rows.count) { rows[$0] >= 0 }
        let added = plan.added.enumerated().map { index, column in
            isUsed[index]
                ? table.take(column, rows, found: found)
                : Column.nulls(plan.shape.columns[column].type, count: batch.rowCount)
        }
        let result = batch.replacingColumns(plan.output.schema, batch.columns + added)
        guard let found, config.missing != .keep else {
            context.counters.add(passed: batch.rowCount)
            output.emit(result)
            return .done
        }
        if isUpsert {
            emitUpserts(result, batch, found, into: &output)
        } else {
            if config.missing == .error { report(~found, of: batch, into: &output) }
            let isError = config.missing == .error
            context.counters.add(
                passed: batch.rowCount - missing, filtered: isError ? 0 : missing, errors: isError ? missing : 0)
            output.emit(result.filter(found))
        }
        return .done
    }

    /// A row without a match takes its key back; a delete stays one whatever its other columns say.
    private func emitUpserts(
        _ result: RecordBatch, _ batch: RecordBatch, _ found: Bitmap, into output: inout OutputBuffer
    ) {
        let missing = batch.deletes.map { ~($0 | found) } ?? ~found
        var errors = 0
        if config.missing == .error {
            errors = missing.setCount
            report(missing, of: batch, into: &output)
        }
        context.counters.add(passed: batch.rowCount - errors, errors: errors)
        output.emit(result.withDeletes(batch.deletes.map { $0 | missing } ?? missing))
    }

    private func report(_ missing: Bitmap, of batch: RecordBatch, into output: inout OutputBuffer) {
        guard missing.setCount > 0 else { return }
        var errors = ErrorRows(context)
        let keys = KeyText(plan.shape.keyNames, plan.keys.map { batch.columns[$0] })
        errors.append(code: "no_match", rows: missing.setIndices, of: batch) { row in
            "the lookup table has no row with \(keys[row])"
        }
        output.emit(errors.finish(), to: .errors)
    }

    // MARK: Refresh

    public func tick(_ now: ContinuousClock.Instant, into output: inout OutputBuffer) throws(OperatorError) -> Progress
    {
        if isLoading {
            takeOutcome()
            if isLoading { context.tick.request(at: now.advanced(by: Lookup.pollInterval)) }
        } else if let due, due <= now {
            isLoading = true
            self.due = nil
            refresh.start()
            context.tick.request(at: now.advanced(by: Lookup.pollInterval))
        } else if let due {
            context.tick.request(at: due)
        }
        return .done
    }

    private func takeOutcome() {
        guard let outcome = refresh.takeOutcome() else { return }
        isLoading = false
        switch outcome {
        case .loaded(let loaded, let nullKeys):
            failures = 0
            adopt(loaded, nullKeys)
            schedule(config.refresh)
        case .failed(let error):
            failures += 1
            let pause = min(config.refresh, Lookup.firstPause * (1 << min(failures - 1, 20)))
            context.logger.warning(
                "the lookup table could not be loaded anew, the old one stays",
                metadata: [
                    "node": "\(context.node)", "reason": "\(error)", "failures": "\(failures)",
                    "pause": "\(pause.roundedDescription)",
                ])
            schedule(pause)
        }
    }

    private func adopt(_ loaded: LookupTable, _ nullKeys: Int) {
        table = loaded
        context.logger.info(
            "lookup table loaded",
            metadata: [
                "node": "\(context.node)", "rows": "\(loaded.rowCount)", "bytes": "\(loaded.byteCount)",
                "null_keys": "\(nullKeys)", "from": "\(loader.origin)",
            ])
    }

    private func schedule(_ pause: Duration) {
        guard config.refresh > .zero else { return }
        let next = context.clock.now.advanced(by: pause)
        due = next
        context.tick.request(at: next)
    }
}

/// `lookup`.
public enum LookupPlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.transform(Lookup.self)]
}
