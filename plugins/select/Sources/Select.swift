public import DataflowOperator

/// Chooses rows, computes columns and declares event time.
public final class Select: Transform {
    public typealias Config = SelectConfig

    public static let info = OperatorInfo(
        "select", .transform, "Chooses rows, computes columns and declares event time.")

    /// A select whose expressions have been checked against its input.
    private struct Plan {
        var condition: TypedExpression?
        var columns: [(name: Located<String>, expression: TypedExpression)]
        var output: Stream

        var columnsUsed: Set<String> {
            Set(columns.flatMap(\.expression.columnsUsed) + (condition?.columnsUsed ?? []))
        }
    }

    private static func plan(_ config: Config, _ input: Stream) throws(ConfigError) -> Plan {
        var findings = DiagnosticCollector()
        var condition: TypedExpression?
        if let text = config.condition {
            do throws(ExpressionErrors) {
                condition = try text.parsed.check(input.schema, expecting: .bool)
            } catch { findings.append(contentsOf: text.placed(error).diagnostics) }
        }
        var columns: [(name: Located<String>, expression: TypedExpression)] = []
        for entry in config.columns ?? [:] {
            do throws(ExpressionErrors) {
                columns.append((Located(entry.key, at: entry.keyMark), try entry.value.parsed.check(input.schema)))
            } catch { findings.append(contentsOf: entry.value.placed(error).diagnostics) }
        }
        for name in (config.keep ?? []) + (config.drop ?? []) where input.schema[name.value] == nil {
            findings.append(
                Diagnostic(
                    .error, "unknown-column",
                    "there is no column `\(name.value)`\(Suggestion.phrase(for: name.value, among: input.schema.names))",
                    at: name.mark, length: name.value.count,
                    hint: "the input has \(input.schema.names.joined(separator: ", "))"))
        }
        try findings.throwErrors()
        if config.columns == nil {
            let dropped = Set((config.drop ?? []).map(\.value))
            let names = config.keep ?? input.schema.names.filter { !dropped.contains($0) }.map { Located($0) }
            for name in names {
                do throws(ExpressionErrors) {
                    columns.append((name, try Expression.column(name.value).check(input.schema)))
                } catch { throw ConfigError("unknown-column", error.description, at: name.mark) }
            }
        }
        let names = columns.map(\.name.value)
        if let twice = columns.first(where: { column in names.filter { $0 == column.name.value }.count > 1 }) {
            throw ConfigError(
                "duplicate-column", "the column `\(twice.name.value)` is named twice", at: twice.name.mark)
        }
        if columns.isEmpty {
            throw ConfigError("no-columns", "no column is left", at: config.drop?.first?.mark ?? .unknown)
        }
        return Plan(condition: condition, columns: columns, output: try output(config, input, columns, condition))
    }

    private static func output(
        _ config: Config, _ input: Stream, _ columns: [(name: Located<String>, expression: TypedExpression)],
        _ condition: TypedExpression?
    ) throws(ConfigError) -> Stream {
        let schema = Schema(
            columns.map { column in
                Field(
                    column.name.value, column.expression.type,
                    nullable: column.expression.nullable && column.name.value != config.eventTime?.column.value)
            })
        if let eventTime = config.eventTime { try check(eventTime, input, schema) }
        func passedOn(_ name: String) -> String? {
            let same = columns.first { $0.name.value == name && $0.expression.columnName == name }
            return (same ?? columns.first { $0.expression.columnName == name })?.name.value
        }
        var kind = StreamKind.append
        if let key = input.kind.key {
            var names: [String] = []
            for column in key {
                guard let name = passedOn(column) else {
                    throw ConfigError(
                        "key-column", "the key column `\(column)` of the upsert stream must go on unchanged",
                        at: columns.first { $0.name.value == column }?.name.mark ?? columns[0].name.mark,
                        hint: "add `\(column): \(column)` to `columns`, or put the select in front of the aggregation")
                }
                names.append(name)
            }
            kind = .upsert(key: names)
        }
        return Stream(
            schema, kind: kind, deletes: kind != .append && (input.deletes || condition != nil),
            eventTime: config.eventTime?.column.value ?? input.eventTime.flatMap(passedOn))
    }

    private static func check(
        _ eventTime: EventTimeConfig, _ input: Stream, _ output: Schema
    ) throws(ConfigError) {
        let name = eventTime.column
        if let twice = eventTime.alreadyDeclared(in: input) { throw ConfigError([twice]) }
        if case .upsert(let key) = input.kind {
            throw ConfigError(
                "upsert-input",
                "event time is declared on append streams, but the input is keyed by \(key.joined(separator: ", "))",
                at: name.mark, length: name.value.count,
                hint: "declare it in front of the node that makes the stream an upsert stream")
        }
        guard let field = output[name.value] else {
            throw ConfigError(
                "unknown-column", "the output has no column `\(name.value)` to take event time from", at: name.mark,
                length: name.value.count,
                hint: Suggestion.nearest(to: name.value, among: output.names).map { "did you mean `\($0)`?" }
                    ?? "its columns are \(output.names.joined(separator: ", "))")
        }
        guard field.type == .timestamp else {
            throw ConfigError(
                "type-mismatch", "event time is a timestamp, but the column `\(name.value)` is \(field.type)",
                at: name.mark, length: name.value.count,
                hint:
                    "compute one: `cast(s as timestamp)` for ISO 8601, `timestamp_millis(n)` for milliseconds since 1970"
            )
        }
    }

    public static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        [try plan(config, inputs[0]).output]
    }

    public static func columnsUsed(_ config: Config, inputs: [Stream], downstream: ColumnSet) -> [ColumnSet] {
        guard let plan = try? plan(config, inputs[0]) else { return [.all] }
        var used = Set(plan.condition?.columnsUsed ?? [])
        for column in plan.columns where downstream.contains(column.name.value) {
            used.formUnion(column.expression.columnsUsed)
        }
        used.formUnion(inputs[0].kind.key ?? [])
        if let eventTime = inputs[0].eventTime { used.insert(eventTime) }
        for column in plan.columns where column.name.value == config.eventTime?.column.value {
            used.formUnion(column.expression.columnsUsed)
        }
        return [.some(used)]
    }

    private let context: OperatorContext
    private let schema: Schema
    private let condition: CompiledExpression?
    /// Nil for a column that nothing uses.
    private let columns: [CompiledExpression?]
    private let isUpsert: Bool
    /// Where event time is declared here: its column and the watermarks.
    private let eventTime: (column: Int, watermarks: WatermarkGenerator)?

    public init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        guard let input = context.inputs.first else {
            throw OperatorError(.engine, .never, "bad_plan", "select was built without its input")
        }
        let plan: Plan
        do throws(ConfigError) { plan = try Select.plan(config, input) } catch {
            throw OperatorError(.user, .never, "invalid_configuration", error.description)
        }
        self.context = context
        schema = plan.output.schema
        condition = plan.condition?.compiled()
        isUpsert = input.kind != .append
        let needed = context.usedColumns.union(plan.output.kind.key ?? []).union(
            plan.output.eventTime.map { [$0] } ?? [])
        columns = plan.columns.map { needed.contains($0.name.value) ? $0.expression.compiled() : nil }
        eventTime = config.eventTime.flatMap { [schema] declared in
            schema.index(of: declared.column.value).map { ($0, WatermarkGenerator(declared, context)) }
        }
    }

    public func process(
        _ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress {
        let now = context.clock.wallMicroseconds
        var rows = batch
        var failed = RowErrors(rowCount: batch.rowCount)
        var filtered = 0
        if let condition {
            let (chosen, errors) = condition.select(batch, now: now)
            failed = errors
            if isUpsert {
                // A refused row takes its key back; a delete stays one whatever its other columns say.
                let refused = errors.failed.map { ~(chosen | $0) } ?? ~chosen
                rows = batch.withDeletes(batch.deletes.map { $0 | refused } ?? refused)
            } else if errors.isEmpty {
                filtered = batch.rowCount - chosen.setCount
                rows = batch.filter(chosen)
            } else {
                filtered = batch.rowCount - chosen.setCount - errors.count
                rows = batch.filter(chosen)
            }
        }
        if isUpsert, !failed.isEmpty { rows = report(failed, in: batch, keeping: rows, into: &output) }
        if !isUpsert { report(failed, of: batch, into: &output) }
        guard rows.rowCount > 0 else {
            context.counters.add(filtered: filtered, errors: failed.count)
            return .done
        }
        var computed: [Column] = []
        var broken = RowErrors(rowCount: rows.rowCount)
        for (index, expression) in columns.enumerated() {
            guard let expression else {
                computed.append(.nulls(schema.fields[index].type, count: rows.rowCount))
                continue
            }
            let (column, errors) = expression.evaluate(rows, now: now)
            if !errors.isEmpty { broken.formUnion(errors) }
            computed.append(column)
        }
        if let time = eventTime?.column { refuseNulls(computed[time], &broken) }
        var result = rows.replacingColumns(schema, computed)
        if !broken.isEmpty { result = settle(broken, rows, result, into: &output) }
        if let eventTime { result = withMarks(result, eventTime) }
        let lost = failed.count + (isUpsert ? 0 : broken.count)
        context.counters.add(passed: batch.rowCount - filtered - lost, filtered: filtered, errors: lost)
        output.emit(result)
        eventTime?.watermarks.emitWatermark(into: &output)
        return .done
    }

    /// Rows whose columns cannot be computed leave through errors; of an upsert stream they take their key back, and
    /// deletes, of which only the key counts, go on.
    private func settle(
        _ broken: RowErrors, _ rows: RecordBatch, _ result: RecordBatch, into output: inout OutputBuffer
    ) -> RecordBatch {
        guard isUpsert, let failed = broken.failed else {
            report(broken, of: rows, into: &output)
            return broken.succeeded.map { result.filter($0) } ?? result
        }
        let deletes = rows.deletes ?? Bitmap(repeating: false, count: rows.rowCount)
        var reported = RowErrors(rowCount: rows.rowCount)
        for (row, error) in broken.rows where !deletes[row] { reported.insert(error, at: row) }
        report(reported, of: rows, into: &output)
        return result.withDeletes(deletes | failed)
    }

    /// Rows of an upsert stream whose condition cannot be computed: as above.
    private func report(
        _ failed: RowErrors, in batch: RecordBatch, keeping rows: RecordBatch, into output: inout OutputBuffer
    ) -> RecordBatch {
        guard let bits = failed.failed else { return rows }
        var reported = RowErrors(rowCount: batch.rowCount)
        for (row, error) in failed.rows where !(batch.deletes?[row] ?? false) { reported.insert(error, at: row) }
        report(reported, of: batch, into: &output)
        return rows.withDeletes(rows.deletes.map { $0 | bits } ?? bits)
    }

    private func report(_ errors: RowErrors, of batch: RecordBatch, into output: inout OutputBuffer) {
        guard !errors.isEmpty else { return }
        var report = ErrorRows(context)
        report.append(errors, of: batch)
        output.emit(report.finish(), to: .errors)
    }
}

// MARK: - Event time

extension Select {
    public func open(restoring state: StateSnapshot) throws(OperatorError) {
        try eventTime?.watermarks.open(restoring: state)
    }

    public func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot {
        eventTime?.watermarks.snapshot() ?? []
    }

    public func advance(to watermark: Watermark, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        if let eventTime { eventTime.watermarks.advance(to: watermark, into: &output) } else { output.emit(watermark) }
        return .done
    }

    public func split(_ event: SplitEvent, into output: inout OutputBuffer) throws(OperatorError) -> Progress {
        if let eventTime { eventTime.watermarks.split(event, into: &output) } else { output.emit(event) }
        return .done
    }

    public func tick(_ now: ContinuousClock.Instant, into output: inout OutputBuffer) throws(OperatorError) -> Progress
    {
        eventTime?.watermarks.tick(now, into: &output)
        return .done
    }

    /// Rows without event time leave through errors.
    private func refuseNulls(_ times: Column, _ broken: inout RowErrors) {
        guard let validity = times.validity, validity.setCount < times.count else { return }
        for row in (~validity).setIndices.array {
            broken.insert(RowError(.missingValue, "the event time is null"), at: Int(row))
        }
    }

    /// The rows with the marks of those that are behind; the time column has no nulls by now.
    private func withMarks(
        _ rows: RecordBatch, _ eventTime: (column: Int, watermarks: WatermarkGenerator)
    ) -> RecordBatch {
        var columns = rows.columns
        columns[eventTime.column] = columns[eventTime.column].withValidity(nil)
        let marks = columns[eventTime.column].int64Values.flatMap {
            eventTime.watermarks.observe($0, split: rows.split)
        }
        return rows.replacingColumns(schema, columns).withSplit(rows.split, splitWatermark: marks)
    }
}

/// `select`.
public enum SelectPlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.transform(Select.self)]
}
