import DataflowColumnar
import DataflowConfig
import DataflowOperator
import DataflowPipeline

// Operators that only declare: the graph's tests need their streams, not their rows.

struct RowsConfig: OperatorConfig {
    var columns: ConfigMap<String> = ["a": "int64", "b": "string"]
    var key: [String] = []
    var deletes = false
    var url = ""
    init() {}
    static let schema = ConfigSchema<Self> {
        ConfigField("columns", \.columns, "Columns and their types.")
        ConfigField("key", \.key, "Makes it an upsert stream.")
        ConfigField("deletes", \.deletes, "It may delete.")
        ConfigField("url", \.url, "Any text.")
    }
}

final class RowsSource: Source {
    static let info = OperatorInfo("rows-source", .source, "Rows of any shape.", maxParallelism: 1)
    static func outputs(_ config: RowsConfig, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        let types: [String: DataType] = ["int64": .int64, "string": .string, "timestamp": .timestamp]
        let fields = config.columns.map { Field($0.key, types[$0.value] ?? .string) }
        return [
            Stream(
                Schema(fields), kind: config.key.isEmpty ? .append : .upsert(key: config.key), deletes: config.deletes)
        ]
    }
    init(_ config: RowsConfig, _ context: OperatorContext) throws(OperatorError) {}
    func open(restoring state: StateSnapshot) async throws(OperatorError) {}
    func poll(until deadline: ContinuousClock.Instant, into output: inout OutputBuffer) async throws(OperatorError)
        -> PollResult
    {
        .endOfInput
    }
    func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot { [] }
}

struct PickConfig: OperatorConfig {
    var column: Located<String>?
    var linger: Duration = .seconds(1)
    var eventTime: EventTimeConfig?
    init() {}
    static let schema = ConfigSchema<Self> {
        ConfigField("column", \.column, "The one column to keep.")
        ConfigField("event_time", \.eventTime, "Declares event time.")
        ConfigField("linger", \.linger, "A time.")
    }
}

/// Keeps one column, or all.
final class Pick: Transform {
    static let info = OperatorInfo("pick", .transform, "One column.", extraPorts: ["late"])
    static func outputs(_ config: PickConfig, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        if let time = config.eventTime { return [Stream(inputs[0].schema, eventTime: time.column.value), inputs[0]] }
        guard let column = config.column else { return [inputs[0], inputs[0]] }
        guard let field = inputs[0].schema[column.value] else {
            let suggestion = Suggestion.phrase(for: column.value, among: inputs[0].schema.names)
            throw ConfigError("unknown-column", "there is no column `\(column.value)`\(suggestion)", at: column.mark)
        }
        return [Stream(Schema([field])), inputs[0]]
    }
    static func columnsUsed(_ config: PickConfig, inputs: [Stream], downstream: ColumnSet) -> [ColumnSet] {
        config.column.map { [.some([$0.value])] } ?? [downstream]
    }
    init(_ config: PickConfig, _ context: OperatorContext) throws(OperatorError) {}
    func process(_ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer) throws(OperatorError)
        -> Progress
    { .done }
}

/// A source of as many subtasks as wanted.
final class ManySource: Source {
    static let info = OperatorInfo("many-source", .source, "Rows of any shape.")
    static func outputs(_ config: RowsConfig, inputs: [Stream]) throws(ConfigError) -> [Stream] {
        try RowsSource.outputs(config, inputs: inputs)
    }
    init(_ config: RowsConfig, _ context: OperatorContext) throws(OperatorError) {}
    func open(restoring state: StateSnapshot) async throws(OperatorError) {}
    func poll(until deadline: ContinuousClock.Instant, into output: inout OutputBuffer) async throws(OperatorError)
        -> PollResult
    {
        .endOfInput
    }
    func snapshot(_ checkpoint: CheckpointID) throws(OperatorError) -> StateSnapshot { [] }
}

/// All rows in one place.
final class Gather: Transform {
    static let info = OperatorInfo("gather", .transform, "One place.")
    static func outputs(_ config: PickConfig, inputs: [Stream]) throws(ConfigError) -> [Stream] { [inputs[0]] }
    static func partitioning(_ config: PickConfig, inputs: [Stream]) throws(ConfigError) -> Partitioning { .single }
    init(_ config: PickConfig, _ context: OperatorContext) throws(OperatorError) {}
    func process(_ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer) throws(OperatorError)
        -> Progress
    { .done }
}

final class Join: Transform {
    static let info = OperatorInfo("join", .transform, "Two inputs.", inputs: ["left", "right"])
    static func outputs(_ config: PickConfig, inputs: [Stream]) throws(ConfigError) -> [Stream] { [inputs[0]] }
    static func partitioning(_ config: PickConfig, inputs: [Stream]) throws(ConfigError) -> Partitioning {
        .hashEach([["a"], ["b"]])
    }
    init(_ config: PickConfig, _ context: OperatorContext) throws(OperatorError) {}
    func process(_ batch: RecordBatch, from port: InputPort, into output: inout OutputBuffer) throws(OperatorError)
        -> Progress
    { .done }
}

struct NullConfig: OperatorConfig {
    var path = ""
    var format = ""
    var password = Secret()
    init() {}
    static let schema = ConfigSchema<Self> {
        ConfigField("path", \.path, "Where.")
        ConfigField("format", \.format, "How.")
        ConfigField("password", \.password, "Hidden.")
    }
}

final class LogSink: Sink {
    static let info = OperatorInfo("log-sink", .sink, "No commit.")
    static func outputs(_ config: NullConfig, inputs: [Stream]) throws(ConfigError) -> [Stream] { [] }
    init(_ config: NullConfig, _ context: OperatorContext) throws(OperatorError) {}
    func write(_ batch: RecordBatch, errors: inout OutputBuffer) async throws(OperatorError) {}
    func flush(_ checkpoint: CheckpointID, errors: inout OutputBuffer) async throws(OperatorError) {}
}

final class TableSink: Sink {
    typealias Committable = Int
    static let info = OperatorInfo("file-sink", .sink, "With commit.", maxParallelism: 1)
    static func outputs(_ config: NullConfig, inputs: [Stream]) throws(ConfigError) -> [Stream] { [] }
    init(_ config: NullConfig, _ context: OperatorContext) throws(OperatorError) {}
    func write(_ batch: RecordBatch, errors: inout OutputBuffer) async throws(OperatorError) {}
    func flush(_ checkpoint: CheckpointID, errors: inout OutputBuffer) async throws(OperatorError) {}
    func prepareCommit(_ checkpoint: CheckpointID) async throws(OperatorError) -> [Int] { [] }
    func commit(_ committables: [Int], _ checkpoint: CheckpointID) async throws(OperatorError) {}
}

enum TestPlugin: Plugin {
    static let operators: [OperatorDescriptor] = [
        .source(RowsSource.self), .transform(Pick.self), .transform(Join.self), .sink(LogSink.self),
        .sink(TableSink.self), .source(ManySource.self), .transform(Gather.self),
    ]
}

let testRegistry = OperatorRegistry([TestPlugin.self])

/// Validates a text against the test operators.
func validate(_ text: String, _ environment: [String: String] = [:], set: [String] = []) throws(ConfigError)
    -> PipelineDefinition
{
    var file = try PipelineFile(text: text, path: "p.yaml")
    for setting in set { try file.set(setting) }
    return try PipelineDefinition(file, registry: testRegistry, environment: EnvironmentVariables(environment))
}

/// The findings of a text, one line each.
func problems(_ text: String, _ environment: [String: String] = [:], set: [String] = []) -> [String] {
    do throws(ConfigError) {
        _ = try validate(text, environment, set: set)
        return []
    } catch {
        return error.diagnostics.map { $0.rendered(.short) }
    }
}
