public import DataflowOperator

/// Settings of `union`.
public struct UnionConfig: OperatorConfig {
    /// What becomes of a column that an input does not have.
    public enum Missing: String, ConfigEnum {
        case error, null

        public static var jsonSchema: JSONSchema { JSONSchema(["enum": ["error", "null", .null]]) }

        /// As any word; `null` is one too, although YAML has another meaning for it.
        public init(decoding node: ConfigNode) throws(ConfigError) {
            switch node.scalar?.text {
            case "error": self = .error
            case "null": self = .null
            default: throw .expected("`error` or `null`", found: node)
            }
        }
    }

    public var missing = Missing.error
    public var source: Located<String>?

    public init() {}

    public static let schema = ConfigSchema<Self> {
        ConfigField(
            "missing", \.missing,
            "What becomes of a column that one of the inputs does not have: `error` refuses it, `null` fills it with nulls."
        )
        ConfigField(
            "source", \.source, "Adds a column of this name with the name of the input that the row comes from.")
    }
}

/// `union`: the rows of several nodes as one stream. Columns are matched by name.
public final class Union: Transform {
    public typealias Config = UnionConfig

    public static let info = OperatorInfo(
        "union", .transform, "Puts the rows of several nodes into one stream.", separatesInputs: true)

    /// A checked union.
    private struct Plan {
        var output: Stream
        /// For each input the positions of the output's columns in it; nil for one that it does not have.
        var positions: [[Int?]]
        var hasSource: Bool
    }

    private static func plan(_ config: Config, _ inputs: [Stream]) throws(ConfigError) -> Plan {
        var findings = DiagnosticCollector()
        var fields: [Field] = []
        /// The input that each field was first found in.
        var origins: [Int] = []
        func name(_ input: Int) -> String { inputs[input].name ?? "input \(input + 1)" }
        func report(_ input: Int, _ code: String, _ message: String, hint: String? = nil) {
            findings.append(Diagnostic(.error, code, message, hint: hint, path: "from.\(input)"))
        }
        for (index, input) in inputs.enumerated() {
            if let key = input.kind.key {
                report(
                    index, "union",
                    "`\(name(index))` is an upsert stream (by \(key.joined(separator: ", "))): rows of the others would replace its own"
                )
            }
            if input.eventTime != inputs[0].eventTime {
                report(
                    index, "union",
                    "`\(name(0))` and `\(name(index))` differ in event time: \(inputs[0].eventTime ?? "none") and \(input.eventTime ?? "none")"
                )
            }
            for field in input.schema.fields {
                guard let known = fields.firstIndex(where: { $0.name == field.name }) else {
                    fields.append(field)
                    origins.append(index)
                    continue
                }
                fields[known].nullable = fields[known].nullable || field.nullable
                if fields[known].type != field.type {
                    report(
                        index, "union",
                        "the column `\(field.name)` is \(field.type) in `\(name(index))`, but \(fields[known].type) in `\(name(origins[known]))`",
                        hint: "a `select` in front of one of them can cast it")
                }
            }
        }
        for (column, field) in fields.enumerated() {
            for (index, input) in inputs.enumerated() where input.schema[field.name] == nil {
                fields[column].nullable = true
                if config.missing == .error {
                    report(
                        index, "union",
                        "`\(name(index))` has no column `\(field.name)`, but `\(name(origins[column]))` has",
                        hint: "`missing: null` fills it with nulls")
                }
            }
        }
        let positions = inputs.map { input in fields.map { input.schema.index(of: $0.name) } }
        if let source = config.source {
            if fields.contains(where: { $0.name == source.value }) {
                findings.append(
                    Diagnostic(
                        .error, "duplicate-column", "the inputs already have a column `\(source.value)`",
                        at: source.mark, length: source.value.count, path: "source"))
            }
            fields.append(Field(source.value, .string, nullable: false))
        }
        try findings.throwErrors()
        return Plan(
            output: Stream(Schema(fields), eventTime: inputs[0].eventTime), positions: positions,
            hasSource: config.source != nil)
    }

    public static func outputs(_ config: Config, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        [try plan(config, inputs).output]
    }

    public static func columnsUsed(_ config: Config, inputs: [Stream], downstream: ColumnSet) -> [ColumnSet] {
        inputs.map { downstream.union([$0.eventTime].compactMap { $0 }) }
    }

    private let context: OperatorContext
    private let plan: Plan
    /// For each input its name, once.
    private let names: [Column]

    public init(_ config: Config, _ context: OperatorContext) throws(OperatorError) {
        self.context = context
        do throws(ConfigError) { plan = try Union.plan(config, context.inputs) } catch {
            throw OperatorError(.user, .never, "invalid_config", error.description)
        }
        names = context.inputs.enumerated().map { .string([$1.name ?? "input \($0 + 1)"]) }
    }

    public func process(
        _ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer
    ) throws(OperatorError) -> Progress {
        context.counters.add(passed: batch.rowCount)
        let fields = plan.output.schema.fields
        var columns = plan.positions[port.index].enumerated().map { index, position in
            position.map { batch.columns[$0] } ?? .nulls(fields[index].type, count: batch.rowCount)
        }
        if plan.hasSource { columns.append(names[port.index].take(Values(repeating: 0, count: batch.rowCount))) }
        output.emit(batch.replacingColumns(plan.output.schema, columns))
        return .done
    }
}

/// `union`.
public enum UnionPlugin: Plugin {
    public static let operators: [OperatorDescriptor] = [.transform(Union.self)]
}
