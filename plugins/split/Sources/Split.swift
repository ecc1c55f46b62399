public import DataflowOperator

/// Settings of `split`.
public struct SplitConfig: OperatorConfig {
    /// Whether a row leaves by one port or by several.
    public enum Mode: String, ConfigEnum {
        case first, all
    }

    public var routes = ConfigMap<ExpressionText>()
    public var mode = Mode.first

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField(
            "routes", \.routes, .required,
            "Ports and their conditions: rows for which `big: amount > 100` is true leave through `<node>.big`. Rows that no route takes stay in the main output."
        )
        ConfigField(
            "mode", \.mode,
            "`first`: a row leaves through the first route that takes it. `all`: through every one that does.")
    }

    public func validate() -> [Diagnostic] {
        guard !routes.isEmpty else {
            return [.error(field: "routes", "`routes` is empty, expected at least one such as `big: amount > 100`")]
        }
        return routes.entries.compactMap { route in
            if route.key == "errors" {
                return Diagnostic(
                    .error, "port-name", "`errors` is the port of rows that cannot be processed, expected another name",
                    at: route.keyMark, length: route.key.count, path: "routes")
            }
            let isName = route.key.utf8.allSatisfy {
                (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0 | 0x20) || (48...57).contains($0) || $0 == 45
                    || $0 == 95
            }
            guard !isName || route.key.isEmpty else { return nil }
            return Diagnostic(
                .error, "port-name", "`\(route.key)` is no name of a port, expected letters, digits, `-` and `_`",
                at: route.keyMark, length: route.key.count, path: "routes")
        }
    }
}

/// `split`: routes rows by conditions to ports; what no route takes stays in the main output.
///
/// Of an upsert stream every port gets every key: the row where its condition holds, else a delete, since the key's row may
/// have been there before.
public final class Split: Transform {
    public typealias Config = SplitConfig

    public static let info = OperatorInfo(
        "split", .transform, "Routes rows by conditions to ports.", portsSetting: "routes")

    public static func ports(_ config: Config) -> [ExtraPort] {
        config.routes.keys.map { ExtraPort($0, unread: .deadLetterWithWarning) }
    }

    private static func conditions(_ config: Config, _ input: Stream) throws(ConfigError) -> [TypedExpression] {
        var findings = DiagnosticCollector()
        var conditions: [TypedExpression] = []
        for route in config.routes.entries {
            do throws(ExpressionErrors) {
                conditions.append(try route.value.parsed.check(input.schema, expecting: .bool))
            } catch { findings.append(contentsOf: route.value.placed(error).diagnostics) }
        }
        try findings.throwErrors()
        return conditions
    }

    public static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        _ = try conditions(config, inputs[0])
        var stream = inputs[0]
        stream.deletes = stream.kind != .append
        return Array(repeating: stream, count: config.routes.count + 1)
    }

    public static func columnsUsed(_ config: Config, inputs: [Stream], downstream: ColumnSet) -> [ColumnSet] {
        guard let conditions = try? conditions(config, inputs[0]) else { return [.all] }
        let own = (inputs[0].kind.key ?? []) + [inputs[0].eventTime].compactMap { $0 }
        return [downstream.union(conditions.flatMap(\.columnsUsed) + own)]
    }

    private let context: OperatorContext
    private let conditions: [CompiledExpression]
    private let isUpsert: Bool
    private let takesFirst: Bool

    public init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        self.context = context
        isUpsert = context.inputs[0].kind != .append
        takesFirst = config.mode == .first
        do throws(ConfigError) {
            conditions = try Split.conditions(config, context.inputs[0]).map { $0.compiled() }
        } catch {
            throw OperatorError(.user, .never, "invalid_config", error.description)
        }
    }

    public func process(
        _ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress {
        let now = context.clock.wallMicroseconds
        let none = Bitmap(repeating: false, count: batch.rowCount)
        var routes: [Bitmap] = []
        var taken = none
        var failed = RowErrors(rowCount: batch.rowCount)
        for condition in conditions {
            var (chosen, errors) = condition.select(batch, now: now)
            if takesFirst {
                // A row that a route has taken is not asked again, so an error of a later condition does not matter.
                for (row, error) in errors.rows where !taken[row] { failed.insert(error, at: row) }
                chosen = chosen & ~taken
            } else {
                failed.formUnion(errors)
            }
            if let failed = failed.failed { chosen = chosen & ~failed }
            routes.append(chosen)
            taken = taken | chosen
        }
        if let broken = failed.failed {
            // With `all` an error counts for every route, those in front too.
            routes = routes.map { $0 & ~broken }
            taken = taken | broken
        }
        let lost = report(failed, of: batch, into: &output)
        context.counters.add(passed: batch.rowCount - lost, errors: lost)
        for (index, chosen) in ([~taken] + routes).enumerated() {
            let port = OutputPort(index: index)
            if isUpsert {
                output.emit(batch.withDeletes(batch.deletes.map { $0 | ~chosen } ?? ~chosen), to: port)
            } else if chosen.setCount > 0 {
                output.emit(batch.filter(chosen), to: port)
            }
        }
        return .done
    }

    /// Rows for which a condition has no value; of deletes only the key counts, so they are none.
    private func report(_ failed: RowErrors, of batch: RecordBatch, into output: inout OutputBuffer) -> Int {
        guard !failed.isEmpty else { return 0 }
        var reported = RowErrors(rowCount: batch.rowCount)
        for (row, error) in failed.rows where batch.deletes?[row] != true { reported.insert(error, at: row) }
        guard !reported.isEmpty else { return 0 }
        var report = ErrorRows(context)
        report.append(reported, of: batch)
        output.emit(report.finish(), to: .errors)
        return reported.count
    }
}

/// `split`.
public enum SplitPlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.transform(Split.self)]
}
